"""Macros, as the vendor's guide prints them."""

import pytest

from virtualphone import identity, macros

VALUES = macros.of_phone(
    identity.Identity.parse("00:0e:08:AA:bb:cc", "CP-8841-3PCC", "88012BA01234"),
    {"GPP_A": "ABCDEF", "GPP_B": "$MA", "GPP_SA": "hidden"},
)


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$MA", "000e08aabbcc"),
        ("$MAU", "000E08AABBCC"),
        ("$MAC", "00:0e:08:aa:bb:cc"),
        ("$PN.cfg", "CP-8841-3PCC.cfg"),
        ("/$PSN.xml", "/8841-3PCC.xml"),
        ("$SN", "88012BA01234"),
        ("$SWVER $HWVER $IP", "sip88xx.11-3-2MPP0001-609 2.0.1 127.0.0.1"),
        ("$(MA)String1", "000e08aabbccString1"),
        ("$MAString1", "$MAString1"),
        ("$(A:2)", "CDEF"),
        ("$(A:2:3)", "CDE"),
        ("$(A:0:0)|$(A:9)", "|"),
        ("$(MAU:6:6)", "AABBCC"),
        ("$$MA", "$MA"),
        ("$$$MA", "$000e08aabbcc"),
        ("$NOPE $(NOPE:1)", "$NOPE $(NOPE:1)"),
        ("$ $( $(MA $", "$ $( $(MA $"),
        ("$(MA:x)", "$(MA:x)"),
        ("$B", "$MA"),
        ("$SA", "$SA"),
        ("$C.", "."),
    ],
)
def test_macros_expand(text: str, expanded: str) -> None:
    assert macros.expand(text, VALUES) == expanded


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://cfg.example.net:8080/a/b.xml", ("http", "cfg.example.net", "8080", "/a/b.xml")),
        ("https://cfg.example.net", ("https", "cfg.example.net", "443", "")),
        ("http://[::1]/a", ("http", "[::1]", "80", "/a")),
        ("http://[::1]:81/a", ("http", "[::1]", "81", "/a")),
        ("", ("", "", "", "")),
    ],
)
def test_parts_of_the_last_request(url: str, parts: tuple[str, ...]) -> None:
    found = macros.of_request(url)

    assert (found["SCHEME"], found["SERV"], found["PORT"], found["PATH"]) == parts
