"""What arrives at a door from the internet, over real sockets and its real server: half, wrong, large, slow."""

import re
import time
from contextlib import ExitStack

import pytest

from tests.redirect import doors
from tests.redirect.doors import BEACON, EDOS, ID, MAC, REPORT, wait_until

_ID = ID.encode()
_EDOS, _REPORT = EDOS.encode(), REPORT.encode()
# For requests that are given up: what is made of them may come late.
_GIVEN_UP = "00562B00BBBB"
_REPORT_GIVEN_UP = f"POST {REPORT}?id={_GIVEN_UP}&event=acquired HTTP/1.1\r\nHost: a\r\n".encode()
_END = b"Host: door\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def door(tmp_path_factory):
    with doors.started(doors.build(tmp_path_factory.mktemp("hostile"))) as door:
        yield door


@pytest.fixture
def unchanged(door):
    """Nothing is written to the journal while a test runs, the door still answers after it, and made no error."""
    before = _lines(door)
    yield
    assert _lines(door) == before
    assert door.ask("", path="/readyz").status == 200
    assert "Traceback" not in door.errors()


def _lines(door):
    return [line for line in doors.journal_lines(door.data_dir) if line["mac"] != _GIVEN_UP]


def _get(query: bytes) -> bytes:
    return b"GET " + _EDOS + b"?" + query + b" HTTP/1.1\r\n" + _END


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    "request_",
    [
        _get(b""),
        _get(b"id="),
        _get(b"id=" + _ID + b"&id=" + _ID),
        _get(b"id=%00"),
        _get(b"mac=" + MAC.encode() + b"%00"),
        _get(b"id=" + _ID + b"\x00"),
        _get(b"id=" + _ID + b"&sw=\xff\xfe"),
        _get(b"id=" + _ID + b"&sw=%ff"),
        _get(b"id=" + _ID + b"&sw=%c0%80"),
        _get(b"id=" + b"a" * 5000),
        _get(b"id=" + b"a" * 70_000),
        _get(b"&" * 500 + b"id=" + _ID),
        b"GET " + _EDOS + b"?id=" + _ID + b" HTTP/3.0\r\n" + _END,
        b"GET " + _EDOS + b"?id=" + _ID + b"\r\n\r\n",
        b"GET " + _EDOS + b"?id=" + _ID + b" HTTP/1.1\r\nno colon\r\n" + _END,
        b"GET " + _EDOS + b"?id=" + _ID + b" HTTP/1.1\r\nX: " + b"a" * 600_000 + b"\r\n" + _END,
        b"GET " + _EDOS + b"?id=" + _ID + b" HTTP/1.1\r\n" + b"X: a\r\n" * 500 + _END,
        b"POST " + _EDOS + b"?id=" + _ID + b" HTTP/1.1\r\nContent-Length: 3\r\n" + _END + b"abc",
        b"PUT " + _EDOS + b"?id=" + _ID + b" HTTP/1.1\r\n" + _END,
        b"BREW " + _EDOS + b"?id=" + _ID + b" HTTP/1.1\r\n" + _END,
        b"OPTIONS * HTTP/1.1\r\n" + _END,
        b"CONNECT door:80 HTTP/1.1\r\n" + _END,
        b"GET " + _EDOS + b"\xff?id=" + _ID + b" HTTP/1.1\r\n" + _END,
        b"GET " + _EDOS + b"%00?id=" + _ID + b" HTTP/1.1\r\n" + _END,
        b"GET " + _EDOS + b"%ff?id=" + _ID + b" HTTP/1.1\r\n" + _END,
        b"GET " + _REPORT + b"?id=" + _ID + b"&event=acquired HTTP/1.1\r\n" + _END,
        b"POST " + _REPORT + b"?id=" + _ID + b"&event=x HTTP/1.1\r\nContent-Length: 3\r\n" + _END + b"abc",
        b"POST " + _REPORT + b"?id=" + _ID + b"&event=acquired HTTP/1.1\r\nContent-Length: -1\r\n" + _END,
        b"POST " + _REPORT + b"?id=" + _ID + b"&event=acquired HTTP/1.1\r\nContent-Length: 99999999999\r\n" + _END,
        b"POST "
        + _REPORT
        + b"?id="
        + _ID
        + b"&event=acquired HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n"
        + _END,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 100 + b"\r\n\r\n",
        b"\x00" * 1000 + b"\r\n\r\n",
        b"\r\n" * 1000 + b"x\r\n\r\n",
    ],
    ids=lambda request: request[:40].decode("latin-1"),
)
def test_what_no_phone_sends_gets_a_4xx_without_a_body(door, request_):
    answer = doors.read_answer(door.say(request_))

    assert 400 <= answer.status < 500
    assert answer.body == b""


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    "request_",
    [
        b"",
        b"G",
        b"GET " + _EDOS + b"?id=" + _ID,
        b"GET " + _EDOS + b"?id=" + _ID + b" HTTP/1.1\r\nHos",
        b"POST " + _REPORT + b"?id=" + _ID + b"&event=acquired HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n",
        b"POST " + _REPORT + b"?id=" + _ID + b"&event=acquired HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc",
    ],
    ids=["nothing", "a letter", "half a line", "half the headers", "no body", "half a body"],
)
@pytest.mark.parametrize("end", ["closed", "half-closed"])
def test_half_a_request_changes_nothing(door, request_, end):
    if end == "half-closed":
        received = door.say(request_, end=True)
        assert received == b"" or 400 <= doors.read_answer(received).status < 500
    else:
        with door.connect() as connection:
            connection.sendall(request_)
            time.sleep(0.05)
    # Time for the door to notice.
    time.sleep(0.1)


@pytest.mark.parametrize(
    "request_",
    [
        b"GET " + _EDOS + b"?id=" + _ID + b" HTTP/1.0\r\n\r\n",
        b"GET " + _EDOS + b"?id=" + _ID + b" HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"GET " + _EDOS + b"?id=" + _ID + b" HTTP/1.1\nHost: door\nConnection: close\n\n",
        b"\r\n\r\nGET " + _EDOS + b"?id=" + _ID + b" HTTP/1.1\r\n" + _END,
        b"GET http://webapps.example" + _EDOS + b"?id=" + _ID + b" HTTP/1.1\r\n" + _END,
        b"GET " + _EDOS + b"?id=" + _ID + b"#fragment HTTP/1.1\r\n" + _END,
        b"GET /software/edos/callhome/%72c?id=" + _ID + b" HTTP/1.1\r\n" + _END,
        b"GET " + _EDOS + b"?id=" + _ID.replace(b":", b"%3A") + b" HTTP/1.1\r\n" + _END,
        b"GET " + _EDOS + b"?id=" + _ID + b" HTTP/1.1\r\nX: " + b"a" * 100 * 1024 + b"\r\n" + _END,
        b"GET " + _EDOS + b"?id=" + _ID + b" HTTP/1.1\r\nX-Forwarded-For: \xff\xfe\r\nX: \xff\r\n" + _END,
        b"GET " + _EDOS + b"?id=" + _ID + b" HTTP/1.1\r\nContent-Length: 3\r\n" + _END + b"abc",
        b"GET " + _EDOS + b"?id=" + _ID + b"&sw=\xc3\xa4 HTTP/1.1\r\n" + _END,
    ],
    ids=[
        "HTTP/1.0", "no Host", "bare newlines", "empty lines before", "absolute form", "fragment", "encoded path",
        "encoded colons", "100 KiB header", "odd headers", "a body", "raw UTF-8",
    ],
)  # fmt: skip
def test_what_is_odd_but_can_be_read_is_answered(door, request_):
    answer = doors.read_answer(door.say(request_))

    assert (answer.status, answer.header("content-type")) == (200, "application/xml")
    assert doors.TARGET.encode() in answer.body


@pytest.mark.parametrize(
    "host", ["activate.example", "webapps.example:8080", "", "[::1]", "127.0.0.1", "a" * 300, "x y", '"', "\xff"]
)
@pytest.mark.parametrize("path", [EDOS, BEACON, "/healthz", "/readyz"])
def test_phones_and_probes_are_answered_under_any_host(door, host, path):
    request = f"GET {path}?id={ID} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode("latin-1")

    assert doors.read_answer(door.say(request)).status == 200


def test_requests_in_a_row_on_one_connection_are_answered_in_order(door):
    one = b"GET " + _EDOS + b"?id=" + _ID + b" HTTP/1.1\r\nHost: a\r\n\r\n"
    report = b"POST " + _REPORT + b"?id=" + _ID + b"&event=acquired HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
    refused = b"GET " + _EDOS + b"?id=zz HTTP/1.1\r\nHost: a\r\n\r\n"
    last = b"HEAD " + _EDOS + b"?id=" + _ID + b" HTTP/1.1\r\n" + _END

    received = door.say(one + report + refused + one + last)

    assert re.findall(rb"HTTP/1\.1 (\d+)", received) == [b"200", b"204", b"400", b"200", b"200"]


def test_a_body_that_was_not_asked_for_is_no_request(door):
    hidden = b"GET " + _EDOS + b"?id=00562B00EEEE HTTP/1.1\r\nHost: a\r\n\r\n"
    request = (
        b"GET " + _EDOS + b"?id=" + _ID + b" HTTP/1.1\r\nHost: a\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(hidden), hidden)
    )

    door.say(request + b"GET /healthz HTTP/1.1\r\n" + _END)

    assert all(line["mac"] != "00562B00EEEE" for line in doors.journal_lines(door.data_dir))


def test_a_report_in_chunks_is_taken_up_to_the_limit(door):
    head = b"POST " + _REPORT + b"?id=" + _ID + b"&event=acquired HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + _END
    chunk = b"1000\r\n" + b"a" * 4096 + b"\r\n"

    assert doors.read_answer(door.say(head + chunk * 16 + b"0\r\n\r\n")).status == 204
    assert doors.read_answer(door.say(head + chunk * 17 + b"0\r\n\r\n")).status == 413


def test_a_request_that_comes_slowly_is_answered(door):
    request = _get(b"id=" + _ID)
    with door.connect() as connection:
        for start in range(0, len(request), 20):
            connection.sendall(request[start : start + 20])
            time.sleep(0.01)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk

    assert doors.read_answer(received).status == 200


@pytest.mark.parametrize(
    "held",
    [
        b"GET " + _EDOS + b"?id=",
        _REPORT_GIVEN_UP + b"Content-Length: 100\r\n\r\nabc",
        _REPORT_GIVEN_UP + b"Transfer-Encoding: chunked\r\n\r\n",
        b"POST " + _EDOS + b"?id=" + _ID + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc",
    ],
    ids=["headers", "body of a report", "chunks of a report", "body of a query"],
)
def test_requests_that_never_end_hold_up_no_phone(door, held):
    with ExitStack() as stack:
        for _ in range(60):
            stack.enter_context(door.connect()).sendall(held)
        time.sleep(0.2)

        for _ in range(10):
            began = time.monotonic()
            assert door.ask().status == 200
            assert time.monotonic() - began < 1.0


def test_a_report_beyond_those_being_read_is_kept_without_its_body(door):
    head = f"POST {REPORT}?id=00562B00AAAA&event=acquired HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"
    with ExitStack() as stack:
        waiting = [stack.enter_context(door.connect()) for _ in range(12)]
        for connection in waiting:
            connection.sendall(head.encode())
        # Those for whose body there is no place are answered at once, one in each process waits.
        wait_until(lambda: len(_reports_of(door, "00562B00AAAA")) >= 10, what="the answers")
        for connection in waiting:
            try:
                connection.sendall(b"abcd")
            except ConnectionError:
                continue
        wait_until(lambda: len(_reports_of(door, "00562B00AAAA")) == 12, what="the last answers")

    said = [line["said"] for line in _reports_of(door, "00562B00AAAA")]
    assert said.count({"body": "unread"}) == len([one for one in said if "sha256" not in one]) >= 10


def _reports_of(door, mac):
    return [line for line in doors.journal_lines(door.data_dir) if line["mac"] == mac]
