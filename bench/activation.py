"""Activation codes: issuing, redeeming, and refusing a flood of guesses, each beside the least that it could cost.

Peers: `bulk_create` of as many bare rows of the same table; a bare guarded UPDATE and one INSERT in a transaction of
the same connection; a plain 404 view behind the same middleware.
"""

import io
import json
import secrets
import time
import uuid
from collections.abc import Callable
from datetime import timedelta

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseNotFound
from django.test.utils import CaptureQueriesContext, override_settings
from django.urls import path
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from accounts import pacing
from accounts.actors import Actor
from accounts.models import Bucket, Organization
from accounts.pacing import Attempt
from activation import issuing, limits, redemption, views
from activation.codes import ActivationCode
from activation.models import IssuedCode
from activation.vault import Vault
from bench.results import Row, progress
from onboarding.answers import Links
from onboarding.identifiers import MacAddress
from onboarding.models import RedirectProfile

_CODES, _REDEMPTIONS, _GUESSES, _TURNS = 10_000, 1000, 2000, 5
_ACTOR = Actor("command", "bench")
_NO_LINKS = Links("", "")


def measure() -> list[Row]:
    """Three rows. Adds an organization of its own to the database."""
    organization = Organization.objects.create(name=f"Activation {secrets.token_hex(4)}")
    profile = RedirectProfile.objects.create(
        organization=organization, name="Bench", targets=["https://cfg.example.net/$MA.xml"]
    )
    vault = Vault(settings.CODE_KEYS)
    return [_issuing(profile, vault), _redeeming(profile, vault), _guessing(vault)]


def _issuing(profile: RedirectProfile, vault: Vault) -> Row:
    progress(f"activation: issuing {_CODES:,} codes, and as many bare rows")
    ours, bare = [], []
    for _ in range(3):
        ours.append(_seconds(lambda: _issue(profile, vault, _CODES)))
        rows = _bare_rows(profile)
        bare.append(_seconds(lambda rows=rows: IssuedCode.objects.bulk_create(rows, batch_size=500)))  # type: ignore[misc]
    return Row(
        f"issuing {_CODES:,} codes ÷ bulk_create of bare rows",
        min(ours) / min(bare), "×", 3.0, least=False, details={"seconds": ours, "bare_seconds": bare},
    )  # fmt: skip


def _bare_rows(profile: RedirectProfile) -> list[IssuedCode]:
    now, batch = timezone.now(), uuid.uuid4()
    return [
        IssuedCode(
            organization_id=profile.organization_id, profile=profile, lookup=secrets.token_hex(32), seal=bytes(100),
            batch=batch, issued_at=now, issued_by="bench", expires_at=now + timedelta(hours=1),
        )
        for _ in range(_CODES)
    ]  # fmt: skip


def _redeeming(profile: RedirectProfile, vault: Vault) -> Row:
    progress(f"activation: redeeming {_REDEMPTIONS:,} codes, and as many bare transactions")
    codes = [code for _, code in _issue(profile, vault, _REDEMPTIONS)]
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE bench_code (id int PRIMARY KEY, redeemed_at timestamptz, mac text)")
        cursor.execute("CREATE TABLE bench_redemption (code int, at timestamptz, mac text)")
        cursor.execute("INSERT INTO bench_code SELECT * FROM generate_series(1, %s)", [_REDEMPTIONS])
    ours = bare = 0.0
    try:
        # In turns, so that whatever disturbs the machine disturbs both.
        share = _REDEMPTIONS // _TURNS
        for turn in range(_TURNS):
            part = range(turn * share, (turn + 1) * share)
            ours += _seconds(lambda part=part: [_redeem(codes[n], 0x10_0000_0000 + n, vault) for n in part])  # type: ignore[misc, func-returns-value]
            bare += _seconds(lambda part=part: [_redeem_bare(n + 1) for n in part])  # type: ignore[misc, func-returns-value]
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE bench_code, bench_redemption")
    details = {"redemptions_per_second": _REDEMPTIONS / ours, "bare_per_second": _REDEMPTIONS / bare}
    return Row("redemptions ÷ bare guarded UPDATE and INSERT", bare / ours, "×", 0.4, details=details)


def _redeem(code: ActivationCode, number: int, vault: Vault) -> None:
    redemption.redeem(
        code=code, mac=MacAddress(number), model="CP-8841-3PCC", serial="", firmware="12.0.1", source="192.0.2.7",
        at=timezone.now(), vault=vault, links=lambda: _NO_LINKS,
    )  # fmt: skip


def _redeem_bare(number: int) -> None:
    now = timezone.now()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE bench_code SET redeemed_at = %s, mac = %s WHERE id = %s AND redeemed_at IS NULL",
            [now, "00562B043615", number],
        )
        assert cursor.rowcount == 1
        cursor.execute("INSERT INTO bench_redemption VALUES (%s, %s, %s)", [number, now, "00562B043615"])


def _guessing(vault: Vault) -> Row:
    progress(f"activation: {_GUESSES:,} guesses after the limits closed, and a plain 404")
    while pacing.take([Attempt(limits.SERVICE, "")], at=timezone.now().timestamp() + 3600) is None:
        pass
    with override_settings(ROOT_URLCONF="bench.activation", ALLOWED_HOSTS=["*"]):
        application = WSGIHandler()
        assert _status(application, "/guess", 0) == "429 Too Many Requests"
        assert _status(application, "/plain", 0) == "404 Not Found"
        with CaptureQueriesContext(connection) as captured:
            _status(application, "/guess", 1)
        seconds = {"/guess": 0.0, "/plain": 0.0}
        share = _GUESSES // _TURNS
        for turn in range(_TURNS):
            for asked in seconds:
                part = range(turn * share, (turn + 1) * share)
                seconds[asked] += _seconds(lambda a=asked, p=part: [_status(application, a, n) for n in p])  # type: ignore[misc]
    Bucket.objects.filter(key=limits.SERVICE.name).delete()
    details = {asked: _GUESSES / taken for asked, taken in seconds.items()} | {"queries": len(captured)}
    return Row(
        "guesses after closing ÷ a plain 404 view", seconds["/plain"] / seconds["/guess"], "×", 0.7, details=details
    )


def _status(application: WSGIHandler, asked: str, number: int) -> str:
    """Ask as a server does; the request is another phone's and another network's each time."""
    body = json.dumps({"code": _GUESS, "mac": f"10{number:010X}", "model": "CP-8841-3PCC"}).encode()
    seen: list[str] = []
    environ = {
        "REQUEST_METHOD": "POST", "PATH_INFO": asked, "QUERY_STRING": "", "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)), "SERVER_NAME": "localhost", "SERVER_PORT": "80", "HTTP_HOST": "localhost",
        "REMOTE_ADDR": f"198.51.{number // 250}.{number % 250}", "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.input": io.BytesIO(body), "wsgi.url_scheme": "http",
    }  # fmt: skip
    response = application(environ, lambda status, headers: seen.append(status))  # type: ignore[arg-type]
    response.close()
    return seen[0]


def _plain(request: HttpRequest) -> HttpResponse:
    return HttpResponseNotFound()


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _issue(profile: RedirectProfile, vault: Vault, count: int) -> list[tuple[IssuedCode, ActivationCode]]:
    return issuing.issue(
        actor=_ACTOR, organization=profile.organization, profile=profile, count=count, at=timezone.now(), vault=vault
    )


_GUESS = ActivationCode.random().digits
# This module is the URL configuration while guesses are measured: both views behind the same middleware.
urlpatterns = [
    path(
        "guess",
        views.endpoint(vault=Vault(settings.CODE_KEYS), make_links=lambda query, at: _NO_LINKS, trusted_proxies=()),
    ),
    path("plain", csrf_exempt(_plain)),
]
