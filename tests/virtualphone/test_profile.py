"""Flat-profiles as phones read them."""

import gzip

import pytest

from virtualphone import profile


@pytest.mark.parametrize(
    ("document", "parameters"),
    [
        ("<flat-profile/>", {}),
        ("<flat-profile><A>1</A></flat-profile>", {"A": "1"}),
        ('<device><flat-profile><A ua="na">1</A></flat-profile></device>', {"A": "1"}),
        ("<flat-profile><A>1</A><B>2</B><A>3</A></flat-profile>", {"B": "2", "A": "3"}),
        ("<flat-profile><A>  x\n y </A></flat-profile>", {"A": "x  y"}),
        ("<flat-profile><A>&lt;&amp;&#65;&apos;</A></flat-profile>", {"A": "<&A'"}),
        ("<flat-profile><A ua='na'></A><B/></flat-profile>", {"A": "", "B": ""}),
        ("<flat-profile><!-- c --><A>1<deep>2<A>x</A></deep>3</A></flat-profile>", {"A": "13"}),
        ("<x><A>outside</A></x>".replace("<x>", "<x><flat-profile/>"), {}),
        ('<?xml version="1.0" encoding="ISO-8859-1"?><flat-profile><A>ä</A></flat-profile>', {"A": "Ã¤"}),
    ],
)
def test_parameters_are_read(document: str, parameters: dict[str, str]) -> None:
    assert profile.parse(document.encode()) == parameters


def test_gzip_is_recognized() -> None:
    assert profile.parse(gzip.compress(b"<flat-profile><A>1</A></flat-profile>")) == {"A": "1"}


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"hello",
        b"<html></html>",
        b"<flat-profile><A>1</flat-profile>",
        b"<flat-profile></flat-profile><x/>",
        b"\x00\xff",
        b"Salted__12345678",
        b"\x1f\x8bnot gzip",
        b'<!DOCTYPE x [<!ENTITY a "b">]><flat-profile><A>&a;</A></flat-profile>',
        '<!DOCTYPE x SYSTEM "http://127.0.0.1/"><flat-profile/>'.encode("utf-16"),
        b'<?xml version="1.0" encoding="nope"?><flat-profile/>',
        b'<?xml version="1.0" encoding="utf-7"?><flat-profile/>',
        b"<a>" * 100 + b"<flat-profile/>" + b"</a>" * 100,
        b"<flat-profile><A>" + b"x" * (1 << 20) + b"</A></flat-profile>",
        gzip.compress(b"<flat-profile>" + b" " * (1 << 24) + b"</flat-profile>", mtime=0),
        gzip.compress(b"<flat-profile></flat-profile>", mtime=0)[:-12],
    ],
)
def test_what_is_no_flat_profile_is_corrupt(document: bytes) -> None:
    with pytest.raises(profile.CorruptProfile):
        profile.parse(document)
