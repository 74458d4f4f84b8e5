"""Profile rules and their conditions, evaluated as a phone does."""

import time

import pytest

from virtualphone import rules
from virtualphone.versions import Version

VALUES = {"MA": "00562b043615", "PN": "CP-8841-3PCC", "SWVER": "sip88xx.11-3-2MPP0001-609", "PRVST": "0", "A": "http"}


@pytest.mark.parametrize(
    ("rule", "url"),
    [
        ("https://h/$MA.xml", "https://h/00562b043615.xml"),
        ("  https://h/a  ", "https://h/a"),
        ("", None),
        ("   ", None),
        ("$A://h/a", "http://h/a"),
        ("h/a", "tftp://h/a"),
        ("/$PN.cfg", "tftp:///CP-8841-3PCC.cfg"),
        ("gds://", "gds://"),
        ("http://[::1]:80/a", "http://[::1]:80/a"),
        ("(1 = 1)? http://one | http://two", "http://one"),
        ("(1 = 2)? http://one | http://two", "http://two"),
        ("(1 = 2)?http://one|(2 = 2)?http://two|http://three", "http://two"),
        ("(1 = 2)? http://one", None),
        ('("a|b" = "a|b")? http://one | http://two', "http://one"),
        ('("a)?" = "a)?")? http://one', "http://one"),
        ("($SWVER ge 11-3-1)? http://new | http://old", "http://new"),
        ("($SWVER lt sip88xx.11-3-2MPP0001-610)? http://old | http://new", "http://old"),
        ("($(MA:0:6) = 00562b)? http://ours | http://theirs", "http://ours"),
        ("(1 = 2)?", None),
    ],
)
def test_the_first_alternative_that_holds_is_taken(rule: str, url: str | None) -> None:
    target = rules.evaluate(rule, VALUES)

    assert (target and target.url) == url


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("$SWVER = 11.3.2", True),
        ("$SWVER > 11-3-2", False),
        ("$SWVER >= 11-3-2", True),
        ("$SWVER != sip88xx.11-3-2MPP0001-609", False),
        ("$SWVER lt 12-0-1", True),
        ("$SWVER gt 9-9-9MPP-1", True),
        ("$SWVER le sip68xx.11-3-2MPP0001-600", False),
        ('"$SWVER" = "sip88xx.11-3-2MPP0001-609"', True),
        ('"$SWVER" = "11-3-2"', False),
        ('"$PN" eq "CP-8841-3PCC"', True),
        ("$PN ne CP-8841-3PCC", False),
        ("10 > 9", True),
        ("$PRVST eq 0 and 10 gt 9", True),
        ("10 > 9 and 9 > 10", False),
        ('"and" = "and" and 1 = 1', True),
        ("$UNKNOWN ge 600", False),
        ("$UNKNOWN lt 600", False),
    ],
)
def test_conditions(condition: str, holds: bool) -> None:
    target = rules.evaluate(f"({condition})? http://yes", VALUES)

    assert (target is not None) is holds


@pytest.mark.parametrize(
    "rule",
    [
        "http://a http://b",
        "(1 = 1) http://a",
        "(1 = 1? http://a",
        "(1)? http://a",
        "(1 = 1 or 2 = 2)? http://a",
        '("a" < "b")? http://a',
        "(1 = 1 and)? http://a",
        "| http://a",
        "[--nope x] http://a",
        "[--uid] http://a",
        "[--post Z] http://a",
        "[--uid u http://a",
        "(Name=unquoted)! http://a",
    ],
)
def test_what_is_no_rule_is_refused(rule: str) -> None:
    with pytest.raises(rules.InvalidRule):
        rules.evaluate(rule, VALUES)


def test_options_combine_and_take_secret_macros() -> None:
    rule = '[--uid $MA --pwd "$SA" --key abc --post b --alias C --srv] https://h/a'

    target = rules.evaluate(rule, VALUES, {"SA": "s3cret"})

    assert target
    assert target.login == ("00562b043615", "s3cret")
    assert target.options == {
        "uid": "00562b043615",
        "pwd": "s3cret",
        "key": "abc",
        "post": "B",
        "alias": "C",
        "srv": "",
    }


def test_secret_macros_stay_out_of_the_url() -> None:
    target = rules.evaluate("https://h/$SA", VALUES, {"SA": "s3cret"})

    assert target
    assert target.url == "https://h/$SA"


def test_an_alternative_may_set_parameters() -> None:
    rule = '($PRVST eq 0)? (GPP_A="$MA"; GPP_B="b";)! http://h/a'

    target = rules.evaluate(rule, VALUES)

    assert target
    assert target.assignments == {"GPP_A": "00562b043615", "GPP_B": "b"}


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("sip88xx.11-3-2MPP0001-609", Version(11, 3, 2, 609)),
        ("sip78xx.11-0-1MPP-376", Version(11, 0, 1, 376)),
        ("sip88xx.11-2-3MSR1-1.loads", Version(11, 2, 3, 1)),
        ("11.3.2", Version(11, 3, 2)),
        ("11-3", None),
        ("", None),
    ],
)
def test_versions(text: str, version: Version | None) -> None:
    assert Version.find(text) == version


@pytest.mark.parametrize("piece", ["(", '("', "$(", "[--uid ", "(a)", " ", "(1 = 1 and ", '"', "[", "|", "$(MA:1)"])
def test_hostile_rules_are_read_in_linear_time(piece: str) -> None:
    begun = time.monotonic()
    for rule in (piece * 20000, (piece * 2000)[:2000] + " x y", "(" + (piece * 2000)[:2000]):
        with pytest.raises(rules.InvalidRule):
            rules.evaluate(rule, VALUES)

    assert time.monotonic() - begun < 0.5
