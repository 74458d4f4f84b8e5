"""The settings of a service on the open Internet: Django's own checks, headers, cookies, and who may say HTTPS."""

import dataclasses
import json
import os
import subprocess
import sys
from ipaddress import ip_network

import pytest
from django.conf import settings as configured
from django.test import Client
from pytest_django.fixtures import Settings

from tests.factories import make_key, make_organization

# What a production process is started with, and what it then says of itself.
_ENVIRONMENT = {"PUBLIC_URL": "https://phones.example.net", "TRUSTED_PROXIES": "192.0.2.0/24", "DEMO": "0"}
_TELL = """
import json, django
django.setup()
from django.conf import settings
from django.test import Client
answer = Client().get(
    "/admin/login/", headers={"Host": "phones.example.net", "X-Forwarded-Proto": "https"}, REMOTE_ADDR="192.0.2.1"
)
names = ("SESSION_COOKIE_SECURE", "SESSION_COOKIE_HTTPONLY", "SESSION_COOKIE_SAMESITE", "CSRF_COOKIE_SECURE", "DEBUG")
print(json.dumps({
    "status": answer.status_code,
    "headers": dict(answer.items()),
    "csrf": dict(answer.cookies["csrftoken"].items()),
    "settings": {name: getattr(settings, name) for name in names},
}))
"""


def _started(tmp_path: object, *command: str) -> "subprocess.CompletedProcess[str]":
    # Nothing of the tests' own environment, but where programs are.
    clean = {name: text for name, text in os.environ.items() if name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV")}
    given = clean | _ENVIRONMENT | {"DATA_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "config.settings"}
    return subprocess.run(
        [sys.executable, *command], env=given, capture_output=True, text=True, check=False, timeout=60
    )


def test_django_finds_nothing_to_warn_of_in_a_production_environment(tmp_path: object) -> None:
    done = _started(tmp_path, "manage.py", "check", "--deploy", "--fail-level", "WARNING")

    assert done.returncode == 0, done.stderr


def test_pages_and_cookies_are_for_https_and_this_site_alone(tmp_path: object) -> None:
    done = _started(tmp_path, "-W", "ignore", "-c", _TELL)

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    headers = told["headers"]
    assert told["status"] == 200
    assert headers["Strict-Transport-Security"] == "max-age=31536000"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "no-store" in headers["Cache-Control"]
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "'unsafe-inline'" not in policy["script-src"]
    assert (told["csrf"]["secure"], told["csrf"]["samesite"]) == (True, "Lax")
    assert told["settings"] == {
        "SESSION_COOKIE_SECURE": True, "SESSION_COOKIE_HTTPONLY": True, "SESSION_COOKIE_SAMESITE": "Lax",
        "CSRF_COOKIE_SECURE": True, "DEBUG": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("peer", "scheme"), [("192.0.2.9", "https"), ("198.51.100.1", "http"), ("127.0.0.1", "http"), ("", "https")]
)
@pytest.mark.django_db
def test_only_our_own_proxy_says_that_a_request_came_by_https(peer: str, scheme: str, settings: Settings) -> None:
    settings.DOOR = dataclasses.replace(configured.DOOR, trusted_proxies=(ip_network("192.0.2.0/24"),))
    _, key = make_key(organization=make_organization())
    headers = {"Authorization": f"Bearer {key}", "X-Forwarded-Proto": "https"}

    made = Client().post(
        "/api/v1/profiles/", {"name": "x", "targets": ["https://cfg.example.net/"]}, content_type="application/json",
        headers=headers, REMOTE_ADDR=peer,
    )  # fmt: skip

    assert made.status_code == 201
    assert made["Location"].startswith(f"{scheme}://")
