"""Whom the journal names as the sender: the chain of X-Forwarded-For is believed from trusted proxies only."""

import ipaddress

import pytest

from tests.redirect import doors
from tests.redirect.doors import ask

PROXIES = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("2001:db8:1::/48")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "source"),
    [
        # Not from a proxy: whatever it claims.
        ("192.0.2.7", None, "192.0.2.7"),
        ("192.0.2.7", "198.51.100.1", "192.0.2.7"),
        ("192.0.2.7", "10.0.0.1", "192.0.2.7"),
        # One proxy.
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "2001:DB8::0:5", "2001:db8::5"),
        ("10.0.0.1", None, "10.0.0.1"),
        # What the sender put before its own address can be forged.
        ("10.0.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.9,198.51.100.1", "198.51.100.1"),
        # Several proxies in a row.
        ("10.0.0.1", "1.1.1.1, 198.51.100.1, 10.0.0.2, 2001:db8:1::3", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        # A hop that cannot be read: the last that is known.
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, _hidden, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", ",,,", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1" + " " * 100 + "x", "10.0.0.1"),
        ("10.0.0.1", "x" * 100_000, "10.0.0.1"),
        # No more than a few hops are looked at.
        ("10.0.0.1", "198.51.100.1" + ", 10.0.0.2" * 50, "10.0.0.2"),
        # A Unix socket is our own proxy's.
        ("", "198.51.100.1", "198.51.100.1"),
        ("", "1.1.1.1, 198.51.100.1", "198.51.100.1"),
        ("", "198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("", None, ""),
        ("", "x" * 100_000, ""),
        # A socket for both families.
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("::ffff:192.0.2.7", "198.51.100.1", "192.0.2.7"),
        # A zone can hold anything; it is not ours to keep.
        ("10.0.0.1", 'fe80::1%a"}\\', "fe80::1"),
        ('fe80::1%"', None, "fe80::1"),
        ("a socket", "198.51.100.1", ""),
    ],
)
def test_the_sender_is_the_last_address_that_no_proxy_of_ours_has(tmp_path, peer, forwarded, source):
    door = doors.make_door(doors.build(tmp_path), trusted_proxies=PROXIES)
    header = {} if forwarded is None else {"HTTP_X_FORWARDED_FOR": forwarded}

    assert ask(door, REMOTE_ADDR=peer, **header).status == 200

    (line,) = doors.journal_lines(tmp_path)
    assert line["from"] == source


def test_without_trusted_proxies_no_chain_is_believed(tmp_path):
    door = doors.make_door(doors.build(tmp_path))

    ask(door, REMOTE_ADDR="127.0.0.1", HTTP_X_FORWARDED_FOR="198.51.100.1")

    assert doors.journal_lines(tmp_path)[0]["from"] == "127.0.0.1"
