"""The flat-profile document: well-formed whatever it holds, every value read back as it was given."""

import random
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding import answers, flatprofile
from onboarding.answers import Answer, Links
from onboarding.flatprofile import InvalidParameter, check_parameters
from onboarding.registration import Profile
from tests import strategies

PROFILE = Profile(
    id=1,
    organization_id=1,
    enabled=True,
    targets=("https://cfg.example.net/$MA.xml",),
    parameters=(),
    confirm="callback",
    identity="none",
    match_model=False,
)
LINKS = Links(beacon="https://here.example/acquired?id=1&t=<b>", report="https://here.example/report?id=1&t=r&event=")


def read(document):
    root = ElementTree.fromstring(document)
    assert (root.tag, root.attrib) == ("flat-profile", {})
    assert all(element.attrib == {"ua": "na"} for element in root)
    return [(element.tag, element.text or "") for element in root]


def printed(profile, target="https://cfg.example.net/$MA.xml", links=lambda: LINKS):
    return answers.document(Answer("redirected", target, profile), links)


def no_links():
    raise AssertionError("no link was asked for")


def test_the_plain_document_is_the_contracts():
    assert printed(PROFILE, links=no_links) == (
        b'<flat-profile>\n  <Profile_Rule ua="na">https://cfg.example.net/$MA.xml</Profile_Rule>\n</flat-profile>\n'
    )


def test_a_target_without_a_profile_is_a_document_too():
    assert read(printed(None, "https://own.example.net/", no_links)) == [("Profile_Rule", "https://own.example.net/")]


def test_hostile_values_stay_values():
    hostile = "</Profile_Rule><Admin>&amp;]]><!-- \"'é漢\u0007".replace("\u0007", "")

    profile = PROFILE._replace(parameters=(("ACS_URL", hostile),))

    assert read(printed(profile)) == [("Profile_Rule", "https://cfg.example.net/$MA.xml"), ("ACS_URL", hostile)]


def test_the_beacon_stands_right_behind_the_rule():
    profile = PROFILE._replace(confirm="beacon", parameters=(("Profile_Rule_C", "https://c.net/"),))

    assert read(printed(profile)) == [
        ("Profile_Rule", "https://cfg.example.net/$MA.xml"),
        ("Profile_Rule_B", LINKS.beacon),
        ("Profile_Rule_C", "https://c.net/"),
    ]


def test_the_beacon_takes_the_place_of_a_parameter_of_its_name():
    profile = PROFILE._replace(confirm="beacon", parameters=(("Profile_Rule_B", "https://b.net/"),))

    assert [text for name, text in read(printed(profile)) if name == "Profile_Rule_B"] == [LINKS.beacon]


def test_the_report_link_is_put_where_a_parameter_asks_for_it():
    profile = PROFILE._replace(parameters=(("Report_Rule", "[--status] {report_url}x"), ("ACS_URL", "{report}")))

    assert read(printed(profile))[1:] == [("Report_Rule", f"[--status] {LINKS.report}x"), ("ACS_URL", "{report}")]


def test_each_phone_gets_its_own_links():
    profile = PROFILE._replace(confirm="beacon")

    for number in range(3):
        links = Links(f"https://here.example/{number}", "")
        assert dict(read(printed(profile, links=lambda links=links: links)))["Profile_Rule_B"] == links.beacon


@given(
    strategies.profile_rules,
    st.dictionaries(st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,20}", fullmatch=True), st.text(max_size=30), max_size=5),
    st.booleans(),
)
def test_whatever_is_accepted_is_read_back_as_it_was(target, parameters, beacon):
    try:
        checked = check_parameters(parameters)
    except InvalidParameter:
        return
    profile = PROFILE._replace(parameters=tuple(checked.items()), confirm="beacon" if beacon else "none")

    given_back = read(printed(profile, target))

    assert given_back[0] == ("Profile_Rule", target)
    assert [row for row in given_back[1:] if row[0] in parameters and row[0] != "Profile_Rule_B"] == [
        row for row in sorted(parameters.items()) if row[0] != "Profile_Rule_B"
    ]


@given(
    st.dictionaries(
        st.text(max_size=70), st.one_of(st.text(), st.none(), st.integers(), st.lists(st.text())), max_size=4
    )
)
def test_checking_parameters_raises_nothing_but_its_own_error(parameters):
    try:
        checked = check_parameters(parameters)
    except InvalidParameter:
        return
    assert checked == parameters


REFUSED = [
    ({"": "x"}, "'' is not a parameter name."),
    ({"1A": "x"}, "'1A' is not a parameter name."),
    ({"A B": "x"}, "'A B' is not a parameter name."),
    ({"A><B": "x"}, "'A><B' is not a parameter name."),
    ({'A ua="rw"': "x"}, "'A ua=\"rw\"' is not a parameter name."),
    ({"A\n": "x"}, "'A\\n' is not a parameter name."),
    ({"Aé": "x"}, "'Aé' is not a parameter name."),
    ({"A:B": "x"}, "'A:B' is not a parameter name."),
    ({"A" * 65: "x"}, f"'{'A' * 64}' is not a parameter name."),
    ({"Profile_Rule": "https://a.net/"}, "Profile_Rule cannot be set here."),
    ({"flat-profile": ""}, "flat-profile cannot be set here."),
    ({"device": ""}, "device cannot be set here."),
    ({"A": None}, "The value of A is not a text of at most 2048 characters."),
    ({"A": 1}, "The value of A is not a text of at most 2048 characters."),
    ({"A": ["x"]}, "The value of A is not a text of at most 2048 characters."),
    ({"A": "x" * 2049}, "The value of A is not a text of at most 2048 characters."),
    ({"A": "a\nb"}, "The value of A holds control characters."),
    ({"A": "\0"}, "The value of A holds control characters."),
    ({"A": "\ud800"}, "The value of A holds control characters."),
    ({"A": "\ufffe"}, "The value of A holds control characters."),
    ({"A": "\u202e"}, "The value of A holds control characters."),
    ({"A": "{report_url} {report_url}"}, "The value of A holds {report_url} more than once."),
    ({f"A{n}": "x" * 2000 for n in range(9)}, "The parameters have more than 16384 characters together."),
    ({f"A{n}": "x" for n in range(65)}, "More than 64 parameters."),
    ({"Profile_Rule_B": "ftp://a.net/"}, "Profile_Rule_B: Profile rule, position 1: scheme 'ftp' is unknown to phones; "
     "they take tftp, http, https and gds."),
    ({"Profile_Rule_D": "https://"}, "Profile_Rule_D: Profile rule, position 9: a server name was expected after the "
     "scheme."),
]  # fmt: skip


@pytest.mark.parametrize(("parameters", "detail"), REFUSED, ids=range(len(REFUSED)))
def test_what_no_phone_can_take_is_refused(parameters, detail):
    with pytest.raises(InvalidParameter) as caught:
        check_parameters(parameters)

    assert (str(caught.value), caught.value.code) == (detail, "invalid_parameter")


def test_parameters_are_sorted_and_rules_may_be_emptied():
    items = [
        ("Upgrade_Rule", "https://a.net/x.loads"),
        ("ACS_URL", ""),
        ("Profile_Rule_B", ""),
        ("Profile_Rule_C", "$A"),
    ]
    random.Random(1).shuffle(items)

    assert list(check_parameters(dict(items))) == ["ACS_URL", "Profile_Rule_B", "Profile_Rule_C", "Upgrade_Rule"]


def test_the_largest_profile_makes_a_document_of_bounded_size():
    parameters = check_parameters({f"A{n:02}": "&" * 200 + "{report_url}" for n in range(64)})
    profile = PROFILE._replace(parameters=tuple(parameters.items()))

    assert len(printed(profile)) < 128 * 1024
    assert flatprofile.CONTENT_TYPE == "application/xml"
