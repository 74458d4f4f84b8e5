"""The partner API: `PUT /devices/{mac}/` beside the least that such a request could be.

Ours: a key, its quota, the body checked, the device locked and changed, its history row, its audit entry, the words
that find it, the feed for the doors, and the device with its ETag in the answer. The peer: an APIView without key,
quota, history or audit that reads the same body with a serializer, changes the same row by one guarded UPDATE, and
answers what it was given. Both behind the same middleware, on the same connection, in turns. Beside them, without a
floor, a view without a serializer whose UPDATE is of a table with nothing but a key.
"""

import io
import json
import secrets
import statistics
import time
from collections.abc import Callable
from typing import Any

from django.core.handlers.wsgi import WSGIHandler
from django.db import connection
from django.test.utils import override_settings
from django.urls import include, path
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import keys
from accounts.actors import Actor
from accounts.models import Organization
from bench.results import Row, progress
from onboarding.models import Device, RedirectProfile

_DEVICES, _TURNS = 2000, 10
_MODEL = "CP-8841-3PCC"


class DeviceBody(serializers.Serializer[Any]):
    model = serializers.CharField(max_length=40)
    profile = serializers.IntegerField()
    serial = serializers.CharField(max_length=32)
    label = serializers.CharField(max_length=120)  # type: ignore[assignment]


class Plain(APIView):
    """What a tutorial would write."""

    authentication_classes = ()
    permission_classes = ()

    def put(self, request: Request, mac: str) -> Response:
        body = DeviceBody(data=request.data)
        body.is_valid(raise_exception=True)
        given = body.validated_data
        changed = Device.objects.filter(mac=mac, profile_id=given["profile"]).exclude(label=given["label"])
        written = changed.update(
            model=given["model"], serial=given["serial"], label=given["label"], changed_at=timezone.now()
        )
        return Response({"mac": mac, **given, "changed": written})


class Least(APIView):
    """Less than anybody would write."""

    authentication_classes = ()
    permission_classes = ()

    def put(self, request: Request, mac: str) -> Response:
        label = request.data["label"]
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE bench_device SET label = %s, changed_at = %s WHERE mac = %s AND label <> %s",
                [label, timezone.now(), mac, label],
            )
            changed = cursor.rowcount
        return Response({"mac": mac, "label": label, "changed": changed})


def measure() -> list[Row]:
    """One row. Adds an organization of its own to the database."""
    organization = Organization.objects.create(name=f"API {secrets.token_hex(4)}")
    profile = RedirectProfile.objects.create(
        organization=organization, name="Bench", targets=["https://cfg.example.net/$MA.xml"]
    )
    actor, at = Actor("command", "bench"), timezone.now()
    scopes = ["devices:read", "devices:write"]
    _, key = keys.create(actor=actor, organization=organization, name="bench", scopes=scopes, at=at)
    progress(f"api: {_DEVICES:,} devices claimed, then changed, by PUT, beside a bare view")
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE bench_device (mac text PRIMARY KEY, label text, changed_at timestamptz)")
        cursor.execute(
            "INSERT INTO bench_device SELECT '1CDEA7' || lpad(upper(to_hex(n)), 6, '0'), '', now()"
            " FROM generate_series(0, %s) AS n",
            [_DEVICES - 1],
        )
        cursor.execute("ANALYZE bench_device")
    try:
        # A quota that the bench does not meet.
        with override_settings(ROOT_URLCONF="bench.api", ALLOWED_HOSTS=["*"], API_REQUESTS_PER_MINUTE=1_000_000):
            return [_putting(profile.pk, key)]
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE bench_device")


def _putting(profile_id: int, key: str) -> Row:
    application = WSGIHandler()

    def ours(number: int, label: str) -> str:
        body = {"model": _MODEL, "profile": profile_id, "label": label, "serial": f"FCH{number:08d}"}
        return _put(application, f"/api/v1/devices/{_mac(number)}/", body, key=key)

    def plain(number: int, label: str) -> str:
        # The devices of its own that `ours` has claimed: another half of them.
        body = {"model": _MODEL, "profile": profile_id, "label": label, "serial": f"FCH{number:08d}"}
        return _put(application, f"/plain/{_mac(number + _DEVICES)}/", body)

    def least(number: int, label: str) -> str:
        return _put(application, f"/least/{_mac(number)}/", {"model": _MODEL, "label": label})

    claiming = _seconds(lambda: [_expect(ours(number, "new"), "201") for number in range(2 * _DEVICES)])
    _expect(plain(0, "first"), "200")
    _expect(least(0, "first"), "200")
    statements: list[str] = []
    with connection.execute_wrapper(lambda run, sql, *rest: (statements.append(sql), run(sql, *rest))[1]):
        ours(0, "first")
    share = _DEVICES // _TURNS
    taken: dict[str, list[float]] = {"ours": [], "plain": [], "least": []}
    for turn in range(_TURNS):
        part = range(turn * share, (turn + 1) * share)
        for name, put in (("ours", ours), ("plain", plain), ("least", least)):
            taken[name].append(_seconds(lambda p=put, n=part: [_expect(p(i, "changed"), "200") for i in n]))  # type: ignore[misc]
    details = {
        "puts_per_second": share / statistics.median(taken["ours"]),
        "plain_per_second": share / statistics.median(taken["plain"]),
        "least_per_second": share / statistics.median(taken["least"]),
        "claims_per_second": 2 * _DEVICES / claiming,
        "statements": len(statements),
    }
    ratio = statistics.median(b / o for o, b in zip(taken["ours"], taken["plain"], strict=True))
    return Row("PUT of a device ÷ a bare view with one guarded write", ratio, "×", 0.5, details=details)


def _mac(number: int) -> str:
    return f"1CDEA7{number:06X}"


def _put(application: WSGIHandler, asked: str, content: dict[str, object], *, key: str = "") -> str:
    """Ask as a server does; gives the status line."""
    body = json.dumps(content).encode()
    seen: list[str] = []
    environ = {
        "REQUEST_METHOD": "PUT", "PATH_INFO": asked, "QUERY_STRING": "", "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)), "SERVER_NAME": "localhost", "SERVER_PORT": "80", "HTTP_HOST": "localhost",
        "REMOTE_ADDR": "198.51.100.7", "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_ACCEPT": "application/json",
        "wsgi.input": io.BytesIO(body), "wsgi.url_scheme": "http",
        **({"HTTP_AUTHORIZATION": f"Bearer {key}"} if key else {}),
    }  # fmt: skip
    response = application(environ, lambda status, headers: seen.append(status))  # type: ignore[arg-type]
    b"".join(response)
    response.close()
    return seen[0]


def _expect(status: str, wanted: str) -> None:
    assert status.startswith(wanted), f"{status} instead of {wanted}"


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


# This module is the URL configuration while it measures.
urlpatterns = [
    path("api/v1/", include("onboarding.api.urls")),
    path("plain/<str:mac>/", Plain.as_view()),
    path("least/<str:mac>/", Least.as_view()),
]
