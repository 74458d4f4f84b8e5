"""Profile rules: every form of the grammar is read, everything else is refused with its position and the reason."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding.profilerule import MAX_RULE_LENGTH, InvalidProfileRule, ProfileRule
from tests import strategies

# (rule, [(scheme, server, port, path) of each alternative])
READ = [
    ("https://cfg.example.net/$MA.xml", [("https", "cfg.example.net", None, "/$MA.xml")]),
    ("HTTPS://CFG.Example.NET/$MA.xml", [("https", "CFG.Example.NET", None, "/$MA.xml")]),
    ("  https://cfg.example.net/a  ", [("https", "cfg.example.net", None, "/a")]),
    ("https://cfg.example.net", [("https", "cfg.example.net", None, "")]),
    ("https://cfg.example.net./a", [("https", "cfg.example.net.", None, "/a")]),
    ("http://cfg.example.net:8080/$PN/$(MAU).cfg", [("http", "cfg.example.net", 8080, "/$PN/$(MAU).cfg")]),
    ("http://cfg.example.net:00080/", [("http", "cfg.example.net", 80, "/")]),
    ("http://cfg.example.net:80?mac=$MA", [("http", "cfg.example.net", 80, "?mac=$MA")]),
    ("http://cfg.example.net?mac=$MA", [("http", "cfg.example.net", None, "?mac=$MA")]),
    ("tftp://192.168.1.5/CP_x8xx_MPP.cfg", [("tftp", "192.168.1.5", None, "/CP_x8xx_MPP.cfg")]),
    ("192.168.1.5/CP_x8xx_MPP.cfg", [("", "192.168.1.5", None, "/CP_x8xx_MPP.cfg")]),
    ("cfg.example.net:69/a", [("", "cfg.example.net", 69, "/a")]),
    ("/$PSN.xml", [("", "", None, "/$PSN.xml")]),
    ("$PN.cfg", [("", "", None, "$PN.cfg")]),
    ("spa942.cfg", [("", "", None, "spa942.cfg")]),
    ("$A", [("", "", None, "$A")]),
    ("$(A)/x", [("", "", None, "$(A)/x")]),
    ("https://[2001:db8::1]:8443/a", [("https", "[2001:db8::1]", 8443, "/a")]),
    ("[2001:db8::1]/a", [("", "[2001:db8::1]", None, "/a")]),
    ("https://$(A)/x", [("https", "$(A)", None, "/x")]),
    ("https://$(MA:0:6).example.net:$P/x", [("https", "$(MA:0:6).example.net", None, "/x")]),
    ("https://cfg.example.net/$$5/$(MA)", [("https", "cfg.example.net", None, "/$$5/$(MA)")]),
    ("gds://", [("gds", "", None, "")]),
    ("GDS://", [("gds", "", None, "")]),
    ("[--srv] https://example.com/$PSN.xml", [("https", "example.com", None, "/$PSN.xml")]),
    ("[--key $B --post a --alias c]https://e.net/x", [("https", "e.net", None, "/x")]),
    ('[--uid "a user|x" --pwd "p]w"] http://e.net/x', [("http", "e.net", None, "/x")]),
    ("[--post f ] http://ps.one.com/cpe/resyncs?", [("http", "ps.one.com", None, "/cpe/resyncs?")]),
    (
        '($SWVER lt 11.0)? tftp://a.net/x | ($PN eq "CP-8841")? http://b.net/y | https://c.net/z',
        [("tftp", "a.net", None, "/x"), ("http", "b.net", None, "/y"), ("https", "c.net", None, "/z")],
    ),
    (
        '($A = "x|y) (")? http://a.net/x | http://b.net/y',
        [("http", "a.net", None, "/x"), ("http", "b.net", None, "/y")],
    ),
    ('(GPP_A="x";GPP_B="y)|(";)!https://a.net/', [("https", "a.net", None, "/")]),
    ('(GPP_A="x"; )!', [("", "", None, "")]),
    ('($PRVTMR ge 600)?(GPP_A="x")!', [("", "", None, "")]),
    ("($PRVTMR ge 600 and $A != $B)? https://a.net/", [("https", "a.net", None, "/")]),
    ("https://a.net/x(1)", [("https", "a.net", None, "/x(1)")]),
    ("($A = 1)? https://a.net/( | https://b.net/", [("https", "a.net", None, "/("), ("https", "b.net", None, "/")]),
]


@pytest.mark.parametrize(("text", "expected"), READ)
def test_a_rule_of_the_grammar_is_read(text, expected):
    rule = ProfileRule.parse(text)

    assert [(a.scheme, a.server, a.port, a.path) for a in rule.alternatives] == expected
    assert str(rule) == text


def test_the_parts_of_an_alternative_are_told_apart():
    rule = ProfileRule.parse('($A eq "x" and $B ge 5)? (GPP_A="y";)! [--key "k e y" --post b --srv] https://a.net/')

    (alternative,) = rule.alternatives
    assert alternative.condition == '$A eq "x" and $B ge 5'
    assert alternative.assignments == 'GPP_A="y";'
    assert alternative.options == (("--key", "k e y"), ("--post", "b"), ("--srv", ""))


MACRO = '"$" begins a macro, as $MA or $(MA:0:6); write "$$" for the character itself.'
NO_SERVER = "a server name was expected here."
AFTER_SCHEME = "a server name was expected after the scheme."
COMPARISON = "a comparison was expected here, as $PRVTMR ge 600."
ASSIGNMENT = 'an assignment was expected here, as Name="value";.'
NEEDS_CONDITION = 'every alternative but the last needs a condition "(…)?".'
NOTHING = "this alternative says nothing: give a URL."
MARK = '")" must be followed by "?" (condition) or "!" (assignment).'
ORDER = "an alternative is at most one condition, then one assignment, then options, then a URL."

# (rule, position counted from 0, reason)
REFUSED = [
    ("", 0, "it is empty."),
    ("   ", 0, "it is empty."),
    ("x" * (MAX_RULE_LENGTH + 1), MAX_RULE_LENGTH, f"it is longer than {MAX_RULE_LENGTH} characters."),
    ("https://a.net/\n", 14, "character '\\n' is not printable ASCII."),
    ("https://é.net/", 8, "character 'é' is not printable ASCII."),
    ("https://a.net/\u202e", 14, "character '\\u202e' is not printable ASCII."),
    ("https://a.net/\0", 14, "character '\\x00' is not printable ASCII."),
    ("https://a.net/\ud800", 14, "character '\\ud800' is not printable ASCII."),
    ("ftp://a.net/x", 0, "scheme 'ftp' is unknown to phones; they take tftp, http, https and gds."),
    ("javascript://a.net/", 0, "scheme 'javascript' is unknown to phones; they take tftp, http, https and gds."),
    ("https://", 8, AFTER_SCHEME),
    ("https:///x", 8, AFTER_SCHEME),
    ("http:// a.net/", 7, "a URL holds no blanks; write %20."),
    ("https://a.net/a b", 15, "a URL holds no blanks; write %20."),
    ("https://user:secret@a.net/", 19, "a user name does not belong into the URL; use [--uid U --pwd P]."),
    ("https://a.net\\@b.net/", 14, "a user name does not belong into the URL; use [--uid U --pwd P]."),
    ("https://a..net/x", 8, "'a..net' is not a server name."),
    ("https://a.net../x", 8, "'a.net..' is not a server name."),
    ("https://./x", 8, "'.' is not a server name."),
    ("https://-a.net/x", 8, "'-a.net' is not a server name."),
    ("https://a,b/x", 8, "'a,b' is not a server name."),
    ("https://exa%6dple.net/", 8, "'exa%6dple.net' is not a server name."),
    ("https://a.net\\b/", 8, "'a.net\\\\b' is not a server name."),
    ("https://" + "a" * 64 + "/", 8, f"'{'a' * 64}' is not a server name."),
    ("https://[::1/x", 8, NO_SERVER),
    ("https://[1.2.3.4]/x", 8, "'[1.2.3.4]' is not a server name."),
    ("https://[::::]/x", 8, "'[::::]' is not a server name."),
    ("https://[fe80::1%25eth0]/x", 8, NO_SERVER),
    ("https://a]b/x", 8, NO_SERVER),
    ("https://a.net#x", 8, NO_SERVER),
    ("https://#x", 8, NO_SERVER),
    ("https://?x", 8, NO_SERVER),
    ("https://:80/x", 8, NO_SERVER),
    ("https://a.net:/x", 14, "'' is not a port; it is a number from 1 to 65535."),
    ("https://a.net:0/x", 14, "'0' is not a port; it is a number from 1 to 65535."),
    ("https://a.net:65536/x", 14, "'65536' is not a port; it is a number from 1 to 65535."),
    ("https://a.net:+80/x", 14, "'+80' is not a port; it is a number from 1 to 65535."),
    ("https://a.net:80:80/x", 14, "'80:80' is not a port; it is a number from 1 to 65535."),
    ("https://a.net/$", 14, MACRO),
    ("https://a.net/$_", 14, MACRO),
    ("https://a.net/$(MA", 14, MACRO),
    ("https://a.net/$(MA:0:1:2)", 14, MACRO),
    ("https://a.net/$$$", 16, MACRO),
    ("$()", 0, MACRO),
    ("|", 0, NOTHING),
    ("https://a.net/|", 0, NEEDS_CONDITION),
    ("https://a.net/|https://b.net/", 0, NEEDS_CONDITION),
    ("($A = 1)?https://a.net/ | https://b.net/ | https://c.net/", 25, NEEDS_CONDITION),
    ('(GPP_A="x")!https://a.net/|https://b.net/', 0, NEEDS_CONDITION),
    ("($A = 1)?https://a.net/ | ", 26, NOTHING),
    ("($A = 1", 0, '"(" is never closed.'),
    ('($A = "x)?https://a.net/', 0, '"(" is never closed.'),
    ("($A = 1)https://a.net/", 7, MARK),
    ("($A = 1)", 7, MARK),
    ("($A = 1) ?https://a.net/", 7, MARK),
    ("()?https://a.net/", 1, COMPARISON),
    ("( )?https://a.net/", 1, COMPARISON),
    ("($A)?https://a.net/", 1, COMPARISON),
    ("($A == 1)?https://a.net/", 1, COMPARISON),
    ("($A = 1 or $B = 2)?https://a.net/", 8, 'only "and" may join comparisons.'),
    ("($A = 1 $B = 2)?https://a.net/", 8, 'only "and" may join comparisons.'),
    ("($A = 1 AND $B = 2)?https://a.net/", 8, 'only "and" may join comparisons.'),
    ("($A = 1 andy = 2)?https://a.net/", 8, 'only "and" may join comparisons.'),
    ("($A = 1 and)?https://a.net/", 11, COMPARISON),
    ('($A < "x")?https://a.net/', 4, "strings compare with = and != only."),
    ('("x" ge $A)?https://a.net/', 5, "strings compare with = and != only."),
    ("($ = 1)?https://a.net/", 1, MACRO),
    ("()!https://a.net/", 1, "the assignment is empty."),
    ("( )!https://a.net/", 1, ASSIGNMENT),
    ("(A=x)!https://a.net/", 1, ASSIGNMENT),
    ('(1A="x")!https://a.net/', 1, ASSIGNMENT),
    ('(A="x" B="y")!https://a.net/', 1, ASSIGNMENT),
    ('(A="x";;)!https://a.net/', 7, ASSIGNMENT),
    ('(A="x")!($A = 1)?https://a.net/', 8, ORDER),
    ("($A = 1)?($B = 2)?x", 9, ORDER),
    ('(A="x")!(A="y")!x', 8, ORDER),
    ('[--key k](A="x")!x', 9, ORDER),
    ("[--key k][--post a]x", 9, ORDER),
    ("[", 0, '"[" is never closed.'),
    ('[--key "k]https://a.net/', 0, '"[" is never closed.'),
    ("[]https://a.net/", 0, "the options are empty."),
    ("[ ]https://a.net/", 0, "the options are empty."),
    ("[--key]https://a.net/", 6, "--key needs a value."),
    ('[--key ""]https://a.net/', 7, "--key needs a value."),
    ("[--post]https://a.net/", 7, "--post needs a letter from A to P."),
    ("[--post q]https://a.net/", 8, "--post needs a letter from A to P."),
    ("[--alias ab]https://a.net/", 9, "--alias needs a letter from A to P."),
    ("[--key a --key b]https://a.net/", 0, "--key stands twice."),
    ("[--key $_]https://a.net/", 7, MACRO),
    ("[--proxy x]https://a.net/", 1, "'--proxy' is not an option; there are --key --uid --pwd --post --alias --srv."),
    ("[x]https://a.net/", 1, "'x' is not an option; there are --key --uid --pwd --post --alias --srv."),
    ("[--key k]", 9, NOTHING),
    ("[--srv] tftp://a.net/x", 22, "--srv works with http and https only."),
    ("[--srv] /x", 10, "--srv works with http and https only."),
]


@pytest.mark.parametrize(("text", "position", "reason"), REFUSED)
def test_anything_else_is_refused_with_position_and_reason(text, position, reason):
    with pytest.raises(InvalidProfileRule) as caught:
        ProfileRule.parse(text)

    assert (caught.value.reason, caught.value.position) == (reason, position)
    assert str(caught.value) == f"Profile rule, position {position + 1}: {reason}"
    assert (caught.value.code, caught.value.field) == ("invalid_profile_rule", "target")


def test_every_alternative_names_its_server():
    rule = ProfileRule.parse(
        "($A = 1)?http://A.net:81/x | ($B = 1)?https://[2001:DB8::1]/ | ($C = 1)?/x | tftp://b.net./"
    )

    assert rule.hosts() == {"a.net", "2001:db8::1", "b.net"}


@pytest.mark.parametrize(
    "hidden",
    [
        "($A = 1)?https://a.net/( | https://here.net/",
        "($A = 1)?https://a.net/[ | https://here.net/",
        '($A = 1)?https://a.net/" | https://here.net/',
        '($A = 1)?https://a.net/("| https://here.net/',
        "($A = 1)?[--key (]https://a.net/ | https://here.net/",
        "($A = 1)?[--key []https://a.net/ | https://here.net/",
        '($A = "[")?https://a.net/ | https://here.net/',
        '(A="(")!https://here.net/',
    ],
)
def test_no_bracket_or_quote_hides_an_alternative(hidden):
    assert "here.net" in ProfileRule.parse(hidden).hosts()


@given(strategies.profile_rules)
def test_a_printed_rule_reads_as_the_same(text):
    rule = ProfileRule.parse(text)

    assert str(rule) == text
    assert ProfileRule.parse(str(rule)) == rule


@given(st.one_of(st.text(), st.text('()[]|$"?!:/@= -and.1', max_size=40), strategies.rule_shards))
def test_reading_a_rule_raises_nothing_but_its_own_error(text):
    rule = refused = None
    try:
        rule = ProfileRule.parse(text)
    except InvalidProfileRule as error:
        refused = error

    if refused is not None:
        assert 0 <= refused.position <= min(len(text), MAX_RULE_LENGTH)
    if rule is not None:
        assert str(rule) == text
        assert len(rule.alternatives) <= text.count("|") + 1
        assert all(a.condition for a in rule.alternatives[:-1])


HOSTILE = [
    "(" * 1024,
    "[" * 1024,
    '"' * 1024,
    "|" * 1024,
    "$(" * 512,
    "(" + " " * 1023,
    "(" + "a" * 1023,
    '("' + "a" * 1022,
    "(a =" + " " * 1000 + ")?x",
    "(" + "A=1 and " * 100 + ")?x",
    "https://" + "a." * 500,
    "https://" + "$(A)" * 250,
    "https://" + "$(A:" * 200,
    "https://" + "-" * 1000,
    "https://[" + ":" * 1000,
    "[--key " + '"' * 1000,
    "[" + "--key a " * 120 + "]x",
    "(a=1)?x|" * 128,
]


@pytest.mark.parametrize(
    "hostile", [*HOSTILE, *(text * 2000 for text in HOSTILE)], ids=lambda text: f"{text[:12]}×{len(text)}"
)
def test_hostile_rules_cost_next_to_nothing(hostile):
    started = time.process_time()
    for _ in range(5):
        try:
            ProfileRule.parse(hostile)
        except InvalidProfileRule:
            continue

    assert time.process_time() - started < 0.5
