"""What phones get at the activation path: one answer for what works, one for all that does not, and no mistakes."""

import base64
import hashlib
import io
import ipaddress
import json
import threading
import time
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.conf import settings
from django.db import connection, connections
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import pacing
from accounts.models import Bucket
from accounts.pacing import Attempt
from activation import issuing, limits, views
from activation.codes import ActivationCode
from activation.models import IssuedCode
from activation.vault import Vault
from config import activating, wsgi
from onboarding.answers import Links
from onboarding.models import Device, StateChange
from onboarding.proving import Prover
from onboarding.sources import Network
from tests.activation.factories import make_code
from tests.factories import ACTOR, make_device, make_mac, make_profile
from trust.verifying import Authorities, Authority
from virtualphone.manufacturer import Issued

pytestmark = pytest.mark.django_db

PATH = "/gds/activate"
VAULT = Vault(settings.CODE_KEYS)
MAC = "00562B043615"
WRONG = {"code": "invalid_activation_code"}


def issued(**over: Any) -> tuple[IssuedCode, str]:
    """A code of this service, issued a moment ago; the row and its digits."""
    row, code = make_code(vault=VAULT, at=timezone.now(), **over)
    return row, code.digits


def wrong() -> str:
    return ActivationCode.random().digits


def said(code: str, **over: str) -> dict[str, str]:
    phone = {"mac": MAC, "model": "CP-8841-3PCC", "serial": "FCH2133E8B9", "firmware": "sip88xx.11-2-3"}
    return {"code": code} | phone | over


def post(body: Any, content_type: str = "application/json", **environ: Any):
    raw = json.dumps(body) if isinstance(body, dict) else body
    return Client().post(PATH, raw, content_type=content_type, **environ)


@pytest.fixture
def fresh():
    """An endpoint that remembers nothing, and the request factory for it."""

    def make(*, trusted: list[Network] | None = None, path: str = PATH):
        view = views.endpoint(vault=VAULT, make_links=lambda query, at: Links("", ""), trusted_proxies=trusted or [])

        def ask(code: str, mac: str = MAC, **environ: str):
            body = json.dumps(said(code, mac=mac))
            return view(RequestFactory().post(path, body, content_type="application/json", **environ))

        return ask

    return make


def test_a_code_that_works_is_answered_with_the_flat_profile():
    _, code = issued()

    response = post(said(code))

    assert response.status_code == 200
    assert response["Content-Type"] == "application/xml"
    assert response.content.decode() == (
        '<flat-profile>\n  <Profile_Rule ua="na">https://cfg.example.net/$MA.xml</Profile_Rule>\n</flat-profile>\n'
    )
    device = Device.objects.get(mac=MAC)
    assert (device.model, device.serial, device.state) == ("CP-8841-3PCC", "FCH2133E8B9", "custom_pending")
    asked = StateChange.objects.get(event="asked")
    assert asked.evidence["from"] == "127.0.0.1"
    assert asked.evidence["firmware"] == "sip88xx.11-2-3"


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "", "text/plain"])
def test_a_form_is_read_too(content_type):
    _, code = issued()

    assert post(urlencode(said(code)), content_type).status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {"code": lambda code: f" {code[:4]} {code[4:8]}-{code[8:12]} {code[12:]} "},
        {"mac": "00:56:2b:04:36:15"},
        {"mac": "0056.2b04.3615"},
        {"model": "", "serial": "", "firmware": ""},
        # What the phone says of itself and cannot be read counts as not said.
        {"model": "<script>", "serial": "'", "firmware": "\x00" * 100},
        {"unknown": "field"},
    ],
    ids=lambda change: ", ".join(change),
)
def test_what_phones_write_otherwise_is_understood(change):
    _, code = issued()
    values = {name: value(code) if callable(value) else value for name, value in change.items()}

    assert post(said(code) | values).status_code == 200
    assert post(urlencode(said(code) | values), "application/x-www-form-urlencoded").status_code == 200


def test_the_beacon_of_the_answer_proves_that_the_phone_was_answered():
    _, code = issued(profile=make_profile(confirm="beacon"))

    document = post(said(code)).content.decode()

    assert f"{settings.PUBLIC_URL}/software/edos/callhome/acquired?id={MAC}:FCH2133E8B9:CP-8841-3PCC&amp;t=" in document


def unknown():
    return wrong()


def expired():
    now = timezone.now()
    return issued(columns={"issued_at": now - timedelta(hours=2), "expires_at": now - timedelta(hours=1)})[1]


def used():
    return issued(columns={"redeemed_at": timezone.now(), "redeemed_mac": str(make_mac()), "device_id": 1})[1]


def revoked():
    row, code = issued()
    issuing.revoke(actor=ACTOR, code=row, at=timezone.now())
    return code


def foreign():
    make_device(mac=MAC)
    return issued()[1]


def of_another_phone():
    return issued(mac=str(make_mac()))[1]


@pytest.mark.parametrize("spoiled", [unknown, expired, used, revoked, foreign, of_another_phone])
def test_every_code_that_does_not_work_is_answered_alike(spoiled):
    code, reference = spoiled(), wrong()

    began = time.monotonic()
    response = post(said(code))
    taken = time.monotonic() - began
    other = post(said(reference))

    assert (response.status_code, response.json()) == (404, WRONG)
    assert response.content == other.content
    heads = [{name: value for name, value in r.items() if name != "X-Request-Id"} for r in (response, other)]
    assert heads[0] == heads[1]
    assert "Set-Cookie" not in heads[0]
    assert taken >= views.REFUSAL_SECONDS


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (said("1234"), "mistyped_activation_code"),
        (said("1234567890123456"[::-1]), "mistyped_activation_code"),
        (said("#123456"), "mistyped_activation_code"),
        (said("１２３４５６７８９０１２３４５６"), "mistyped_activation_code"),
        (said(""), "mistyped_activation_code"),
        (said("0" * 16, mac="not a MAC"), "invalid_mac"),
        (said("0" * 16, mac="FFFFFFFFFFFF"), "invalid_mac"),
        (said("0" * 16, mac=""), "invalid_mac"),
        ({"code": "0" * 16}, "bad_request"),
        ({"mac": MAC}, "bad_request"),
        ({"code": 0, "mac": MAC}, "bad_request"),
        ({"code": None, "mac": MAC}, "bad_request"),
        ({"code": ["0" * 16], "mac": MAC}, "bad_request"),
        ({"code": {"$ne": ""}, "mac": MAC}, "bad_request"),
        ("", "bad_request"),
        ("{", "bad_request"),
        ("[]", "bad_request"),
        ("null", "bad_request"),
        ('"0000000000000000"', "bad_request"),
        ("[" * 4000, "bad_request"),
        ('{"code": "0000000000000000", "code": "0000000000000000", "mac": "00562B043615"}', "bad_request"),
        (b"\xff\xfe{}", "bad_request"),
        (b'{"code": "\xff", "mac": "00562B043615"}', "bad_request"),
        ('{"code": "\\ud800", "mac": "00562B043615"}', "mistyped_activation_code"),
        ('{"code": "' + "0" * 5000 + '"}', "bad_request"),
        ("9" * 4000, "bad_request"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_a_code_is_400_and_costs_nothing(body, code, django_assert_num_queries):
    with django_assert_num_queries(0):
        response = post(body)

    assert (response.status_code, response.json()) == (400, {"code": code})


@pytest.mark.parametrize(
    "body",
    [
        "code=0000000000000000",
        "code=0000000000000000&code=0000000000000000&mac=00562B043615",
        "&".join(f"field{number}=x" for number in range(17)),
        "code=%FF%FE&mac=00562B043615",
        "code=ü&mac=00562B043615",
        "=" * 100,
        "code=" + "0" * 5000,
    ],
    ids=lambda value: value[:40],
)
def test_a_form_that_no_phone_sends_is_400(body):
    assert post(body.encode(), "application/x-www-form-urlencoded").status_code == 400


def test_a_slip_that_the_check_digit_catches_costs_no_attempt():
    code = wrong()
    slip = code[:15] + str((int(code[15]) + 1) % 10)

    for _ in range(20):
        assert post(said(slip)).status_code == 400

    assert not Bucket.objects.exists()


@pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete", "options"])
def test_other_methods_are_405(method):
    response = getattr(Client(), method)(PATH)

    assert (response.status_code, response["Allow"], response.content) == (405, "POST", b"")


def test_a_phone_that_guesses_on_is_told_to_come_back_later():
    mac, source = str(make_mac()), "198.51.100.1"
    for _ in range(limits.PHONE.burst):
        assert post(said(wrong(), mac=mac), REMOTE_ADDR=source).status_code == 404
    _, code = issued()

    response = post(said(code, mac=mac), REMOTE_ADDR=source)

    assert (response.status_code, response.json()) == (429, {"code": "too_many_attempts"})
    assert 890 < int(response["Retry-After"]) <= 901
    # Another phone in its network goes on.
    assert post(said(code), REMOTE_ADDR=source).status_code == 200


def test_forged_proxy_headers_change_nothing(fresh):
    ask = fresh()

    def guess(number):
        forged = {
            "HTTP_X_FORWARDED_FOR": f"203.0.113.{number}",
            "HTTP_X_REAL_IP": f"203.0.113.{number}",
            "HTTP_FORWARDED": f"for=203.0.113.{number}",
            "HTTP_CLIENT_CERT": ":AAAA:",
        }
        return ask(wrong(), str(make_mac()), REMOTE_ADDR="198.51.100.2", **forged).status_code

    assert [guess(number) for number in range(52)] == [404] * 50 + [429] * 2
    assert set(Bucket.objects.filter(key__startswith="code-network").values_list("key", flat=True)) == {
        "code-network:198.51.100.2"
    }


def test_behind_a_trusted_proxy_the_network_is_the_senders(fresh):
    ask = fresh(trusted=[ipaddress.ip_network("10.0.0.0/8")])

    ask(wrong(), REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR="203.0.113.7, 2001:db8:7:8::9, 10.2.3.4")

    assert Bucket.objects.filter(key="code-network:2001:db8:7::/48").exists()


def test_a_flood_of_guesses_after_closing_costs_no_query(fresh, caplog):
    ask = fresh()
    while pacing.take([Attempt(limits.SERVICE, "")], at=timezone.now().timestamp()) is None:
        pass
    assert ask(wrong()).status_code == 429

    with CaptureQueriesContext(connection) as queries:
        answers = [ask(wrong(), str(make_mac())) for _ in range(100)]

    assert len(queries) == 0
    assert {response.status_code for response in answers} == {429}
    assert all(1 <= int(response["Retry-After"]) <= 5 for response in answers)
    # The operator hears of it, once.
    warnings = [record for record in caplog.records if record.name == "activation.views"]
    assert [record.levelname for record in warnings] == ["WARNING"]


@pytest.mark.django_db(transaction=True)
def test_without_the_database_it_is_503_and_nothing_is_spent(monkeypatch):
    _, code = issued()
    where = {"sqlite": ("NAME", "/nowhere/registry.sqlite3"), "postgresql": ("PORT", "1")}
    outcomes = []

    def ask():
        outcomes.append(post(said(code)))
        connections.close_all()

    with monkeypatch.context() as patch:
        patch.setitem(connections.settings["default"], *where[connection.vendor])
        # A thread has a connection of its own, and cannot open it.
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join(timeout=30)

    (response,) = outcomes
    assert (response.status_code, response.json()) == (503, {"code": "unavailable"})
    assert 5 <= int(response["Retry-After"]) <= 30
    assert not Bucket.objects.exists()
    assert post(said(code)).status_code == 200


def test_no_code_is_ever_logged(caplog):
    caplog.set_level("DEBUG")
    codes = [unknown(), expired(), used(), revoked(), issued()[1]]

    for code in codes:
        post(said(code))
        post(said(code, mac="nonsense"))
        post(said(code[:15] + str((int(code[15]) + 1) % 10)))

    logged = [record.getMessage() for record in caplog.records if record.name != "django.db.backends"]
    assert not any(code[:15] in line for code in codes for line in logged)
    # Neither do refusals fill the log.
    assert not [record for record in caplog.records if record.name == "django.request"]


def through_the_door(body: bytes, **environ: Any) -> tuple[str, bytes]:
    """The whole application, as its server calls it."""
    seen: list[str] = []
    given = {
        "REQUEST_METHOD": "POST", "PATH_INFO": PATH, "QUERY_STRING": "", "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)), "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "8000", "REMOTE_ADDR": "127.0.0.1",
        "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.input": io.BytesIO(body), "wsgi.url_scheme": "http",
    } | environ  # fmt: skip
    given = {name: value for name, value in given.items() if value is not None}
    content = b"".join(wsgi.application(given, lambda status, headers: seen.append(status)))
    return seen[0], content


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("host", ["activation.webex.com", "[::ffff]:99999", "a b", "", "-", "x" * 500, None])
def test_the_path_is_answered_under_any_host(host):
    _, code = issued()

    status, content = through_the_door(json.dumps(said(code)).encode(), HTTP_HOST=host)

    assert status == "200 OK"
    assert b"Profile_Rule" in content


def test_other_paths_are_not_answered_under_any_host():
    status, _ = through_the_door(b"{}", PATH_INFO="/api/v1/me/", HTTP_HOST="activation.webex.com")

    assert status.startswith("400 ")


@pytest.mark.django_db(transaction=True)
def test_a_body_in_chunks_is_read():
    _, code = issued()

    status, _ = through_the_door(json.dumps(said(code)).encode(), CONTENT_LENGTH=None, HTTP_TRANSFER_ENCODING="chunked")

    assert status == "200 OK"


CHUNKED = {"CONTENT_LENGTH": None, "HTTP_TRANSFER_ENCODING": "chunked"}


@pytest.mark.parametrize(
    ("body", "environ"),
    [
        (b"{}", {"CONTENT_LENGTH": "4097"}),
        (b"{}", {"CONTENT_LENGTH": "100"}),
        (b"{}", {"CONTENT_LENGTH": "0"}),
        (b"{}", {"CONTENT_LENGTH": None}),
        (b" " * 4097, CHUNKED),
        (b"", CHUNKED),
    ],
    ids=str,
)
def test_a_body_that_is_too_long_or_cut_is_400(body, environ):
    assert through_the_door(body, **environ)[0] == "400 Bad Request"


@pytest.mark.parametrize("length", ["-1", "1e3", "x", "9" * 30])
def test_a_length_that_is_none_is_refused_unread(length):
    assert through_the_door(b"{}", CONTENT_LENGTH=length)[0].startswith("4")


def test_the_path_is_the_operators_choice():
    assert activating.PATH == settings.DOOR.activation_path == PATH


class TestCertificates:
    """What a certificate is worth at this endpoint is what it is worth at the door."""

    @pytest.fixture
    def ask(self):
        """An endpoint behind a trusted proxy that knows one authority; the authority, and what asks."""
        root = Issued.root()
        known = Authorities(b"one", (Authority(root.der),))
        loopback = [ipaddress.ip_network("127.0.0.1/32")]
        view = views.endpoint(
            vault=VAULT, make_links=lambda query, at: Links("", ""), trusted_proxies=loopback,
            prove=Prover(lambda: known, trusted_proxies=loopback).shown,
        )  # fmt: skip

        def ask(code: str, issued: Issued | None = None, times: int = 1, **environ: str):
            if issued is not None:
                header = f":{base64.b64encode(issued.der).decode()}:"
                environ["HTTP_CLIENT_CERT"] = ",".join([header] * times)
            return view(RequestFactory().post(PATH, json.dumps(said(code)), "application/json", **environ))

        ask.root = root
        return ask

    def strict(self, **over):
        return issued(profile=make_profile(identity="required", **over))[1]

    def test_a_profile_that_requires_one_gives_nothing_without(self, ask):
        assert ask(self.strict()).status_code == 404

    def test_the_phones_own_certificate_lets_it_in_and_stands_in_the_history(self, ask):
        leaf = ask.root.issue_phone("enterprise", mac=MAC)

        assert ask(self.strict(), leaf).status_code == 200

        evidence = StateChange.objects.get(event="asked").evidence
        assert (evidence["identity"], evidence["certificate"]) == ("certificate", hashlib.sha256(leaf.der).hexdigest())

    def test_another_phones_certificate_does_not(self, ask):
        assert ask(self.strict(), ask.root.issue_phone("enterprise", mac="00562B043616")).status_code == 404

    def test_an_expired_one_does_where_the_profile_says_so(self, ask):
        leaf = ask.root.issue_phone("mpp", mac=MAC, ends=timezone.now() - timedelta(days=9))

        assert ask(self.strict(), leaf).status_code == 404
        assert ask(self.strict(accepts_expired_certificates=True), leaf).status_code == 200

    def test_two_headers_are_refused_and_spend_nothing(self, ask):
        leaf, code = ask.root.issue_phone("mpp", mac=MAC), self.strict()

        assert ask(code, leaf, times=2).status_code == 400
        assert ask(code, leaf).status_code == 200

    def test_nobody_else_is_believed(self, ask):
        leaf = ask.root.issue_phone("mpp", mac=MAC)

        assert ask(self.strict(), leaf, REMOTE_ADDR="198.51.100.1").status_code == 404
