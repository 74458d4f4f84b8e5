"""What a door makes of a phone's query string."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding.states import Event
from redirect import wire
from redirect.wire import BadRequest
from tests.redirect.doors import MAC, MODEL, SERIAL


def read(query: str) -> tuple[str, str, str, str]:
    phone = wire.parse_query(query)
    return str(phone.mac), phone.model, phone.serial, phone.firmware


@pytest.mark.parametrize(
    "id",
    [
        f"{MAC}:{SERIAL}:{MODEL}",
        f"{MAC}:{MODEL}:{SERIAL}",
        f"{SERIAL}:{MAC}:{MODEL}",
        f"{SERIAL}:{MODEL}:{MAC}",
        f"{MODEL}:{MAC}:{SERIAL}",
        f"{MODEL}:{SERIAL}:{MAC}",
        f"00:56:2b:04:36:15:{SERIAL}:{MODEL}",
        f"{SERIAL}:00:56:2b:04:36:15:{MODEL}",
        f"{SERIAL}:{MODEL}:00:56:2b:04:36:15",
        f"00562b043615:{SERIAL.lower()}:{MODEL.lower()}",
        f"0056.2b04.3615:{SERIAL}:{MODEL}",
        f"{MODEL}:00-56-2B-04-36-15:{SERIAL}",
        f":{MAC}::{SERIAL}:{MODEL}:",
    ],
)
def test_the_parts_of_the_id_stand_in_any_order_and_notation(id):
    assert read(f"id={id}") == (MAC, MODEL, SERIAL, "")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (f"id={MAC}", (MAC, "", "", "")),
        (f"id={MAC}&sw=sip88xx.11-2-3MSR1-1", (MAC, "", "", "sip88xx.11-2-3MSR1-1")),
        (f"id={MAC}:{MODEL}", (MAC, MODEL, "", "")),
        (f"id={MAC}:{SERIAL}", (MAC, "", SERIAL, "")),
        (f"sw=1.0&id={MAC}", (MAC, "", "", "1.0")),
        (f"mac={MAC}&model={MODEL}&serial={SERIAL}&sw=11.0", (MAC, MODEL, SERIAL, "11.0")),
        ("mac=00:56:2b:04:36:15", (MAC, "", "", "")),
        ("mac=00%3A56%3a2b%3A04%3A36%3A15", (MAC, "", "", "")),
        ("mac=0056.2B04.3615", (MAC, "", "", "")),
        ("mac=00-56-2b-04-36-15", (MAC, "", "", "")),
        # mac= wins, with what stands beside it.
        (f"id=00562B00FFFF:FCH00000009:CP-6841-3PCC&mac={MAC}&model={MODEL}", (MAC, MODEL, "", "")),
        # Of two that could be a MAC the first is; the other may be a serial number.
        (f"id={MAC}:88012BA01234:{MODEL}", (MAC, MODEL, "88012BA01234", "")),
        (f"id=88012BA01234:{MAC}:{MODEL}", ("88012BA01234", MODEL, MAC, "")),
        # What cannot be a phone's MAC is none, in either notation: a group address, all zeros.
        (f"id=01562B043615:{MAC}", (MAC, "", "01562B043615", "")),
        (f"id=000000000000:{MAC}", (MAC, "", "000000000000", "")),
        (f"id=AB:00:56:2b:04:36:15:{MODEL}", (MAC, "AB", "", "")),
        # Five groups are no MAC.
        (f"id=00:56:2b:04:36:zz:{MAC}", (MAC, "00", "", "")),
        # What cannot be read counts as not said.
        (f"mac={MAC}&model=%00&serial=%22%7D&sw=%0A", (MAC, "", "", "")),
        (f"mac={MAC}&model={'x' * 200}&serial={'1' * 200}&sw={'1' * 65}", (MAC, "", "", "")),
        (f"mac={MAC}&sw=a b", (MAC, "", "", "")),
        (f"mac={MAC}&model=CP%2D8841%2d3PCC", (MAC, "CP-8841-3PCC", "", "")),
        (f"mac={MAC}&model=C%C3%9F", (MAC, "", "", "")),
        (f"mac={MAC}&serial=%C5%BFCH2133E8B9", (MAC, "", "", "")),
        # A plus sign is one: phones do not write forms.
        (f"mac={MAC}&model=SPA8000%2B", (MAC, "SPA8000+", "", "")),
        (f"mac={MAC}&model=SPA8000+", (MAC, "SPA8000+", "", "")),
        # Unknown parameters, empty ones, and ones without a value.
        (f"x=%41&mac={MAC}&y&z=", (MAC, "", "", "")),
        (f"mac={MAC}&", (MAC, "", "", "")),
        (f"mac={MAC}&sw=100%", (MAC, "", "", "")),
    ],
)
def test_what_is_read(query, expected):
    assert read(query) == expected


@pytest.mark.parametrize(
    "query",
    [
        "",
        "&",
        "id",
        "id=",
        "id=:",
        f"id={MODEL}",
        "id=00562B04361",
        "id=00562B04361G",
        "id=00:56:2b:04:36",
        "id=005.62b0.4361",
        "id=01:00:5e:00:00:01",
        "id=000000000000",
        "mac=",
        "mac=FFFFFFFFFFFF",
        # mac= wins, even where id= would do.
        f"mac=&id={MAC}",
        f"mac=nonsense&id={MAC}",
        # Digits that only look like ours.
        "mac=%EF%BC%90%EF%BC%90562B043615",
        f"mac={MAC}%00",
        f"mac={MAC}%0A",
        f"mac=%00{MAC}",
        f"mac={MAC}&mac={MAC}",
        f"id={MAC}&id={MAC}",
        f"id={MAC}&sw=1&sw=2",
        f"id={MAC}&x=1&x=2",
        f"id={MAC}&sw=%FF",
        f"id={MAC}&sw=%C0%80",
        f"id={MAC}&sw=%ED%A0%80",
        f"id={MAC}&sw=\xff",
        f"id={MAC}&sw=\u0100",
        "id=" + ":" * 17,
        f"id={':' * 16}{MAC}",
        "&".join(f"p{i}=" for i in range(16)) + f"&mac={MAC}",
        f"mac={MAC}&sw=" + "1" * 1024,
        # Twice encoded is not decoded twice.
        "mac=00%253A56%253A2b%253A04%253A36%253A15",
    ],
)
def test_what_is_refused(query):
    with pytest.raises(BadRequest):
        wire.parse_query(query)


def test_a_query_of_the_greatest_length_is_read():
    query = f"mac={MAC}&x="

    assert read(query + "a" * (1024 - len(query)))[0] == MAC


@pytest.mark.parametrize(
    "event", ["acquired", "resync_failed", "dhcp_provisioned", "manually_provisioned", "factory_reset"]
)
def test_a_report_names_one_of_the_events(event):
    report = wire.parse_report(f"id={MAC}&event={event}&t=token")

    assert (report.event, report.token, str(report.query.mac)) == (Event(event), "token", MAC)


@pytest.mark.parametrize("event", ["", "asked", "answered", "not_found", "ACQUIRED", "acquired%00", "x"])
def test_a_report_of_anything_else_is_refused(event):
    with pytest.raises(BadRequest):
        wire.parse_report(f"id={MAC}&event={event}")


def test_a_beacon_says_acquired_whatever_event_it_names():
    beacon = wire.parse_beacon(f"id={MAC}&event=factory_reset")

    assert (beacon.event, beacon.token) == (Event.ACQUIRED, "")


_TEXTS = st.text(st.characters(codec="latin-1"), max_size=60)
_QUERIES = st.one_of(
    _TEXTS,
    st.builds("id={}".format, _TEXTS),
    st.builds("mac={}&model={}&serial={}&sw={}".format, st.sampled_from([MAC, "x"]), _TEXTS, _TEXTS, _TEXTS),
    st.builds(
        lambda parts: "id=" + ":".join(parts),
        st.lists(st.sampled_from([MAC, MODEL, SERIAL, "00", "56", "", "%00", "%ff", "é", "ſſſſſſſſſſ"]), max_size=20),
    ),
)


@given(_QUERIES)
def test_reading_anything_gives_harmless_texts_or_a_refusal(query):
    try:
        phone = wire.parse_query(query)
    except BadRequest:
        return

    said = f"{phone.mac}{phone.model}{phone.serial}{phone.firmware}"
    assert said.isascii()
    assert said.isprintable()
    assert not set(said) & set('"\\ <>&')


@given(
    mac=st.integers(0, (1 << 48) - 1),
    serial=st.from_regex(r"[0-9A-Za-z]{9,33}", fullmatch=True),
    model=st.from_regex(r"[0-9A-Za-z][0-9A-Za-z._+/-]{0,41}", fullmatch=True),
    firmware=st.from_regex(r"[A-Za-z0-9._()+/-]{0,66}", fullmatch=True),
)
def test_the_usual_request_line_is_read_as_any_other(mac, serial, model, firmware):
    """It has a short cut; the same line with percent-encoded colons has not."""

    def read(colon: str) -> object:
        try:
            return wire.parse_query(f"id={mac:012x}{colon}{serial}{colon}{model}&sw={firmware}")
        except wire.BadRequest:
            return None

    assert read(":") == read("%3A")
