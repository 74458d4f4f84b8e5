"""What tests of signing in share: an authenticator app in software, and what a person types."""

from datetime import datetime, timedelta

from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.test import Client
from django.utils import timezone

from accounts.actors import Actor
from accounts.models import User
from signin import factors

HOME, SIGN_IN, CODE, ACCOUNT = "/admin/", "/admin/login/", "/admin/login/code/", "/admin/account/"
GIVEN = {"username": "ann", "password": "test-password"}
WRONG = GIVEN | {"password": "wrong-password"}


def code_of(secret: str, *, at: datetime | None = None) -> str:
    """What an authenticator app shows."""
    return format_hotp_value(hotp_value(secret, int((at or timezone.now()).timestamp()) // 30))


def give_app(user: User) -> tuple[str, list[str]]:
    """Set up an authenticator app an hour ago; gives its secret, and recovery codes."""
    secret, at = factors.new_secret(), timezone.now() - timedelta(hours=1)
    actor = Actor("admin", user.username)
    return secret, factors.add_app(user, secret=secret, code=code_of(secret, at=at), session_key="", actor=actor, at=at)


def signed_in(**given: str) -> Client:
    """A browser in which somebody signed in with a password."""
    client = Client()
    client.post(SIGN_IN, GIVEN | given)
    assert is_in(client)
    return client


def is_in(client: Client) -> bool:
    return client.get(HOME).status_code == 200
