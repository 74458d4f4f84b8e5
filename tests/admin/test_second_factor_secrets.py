"""The secrets of second factors: sealed, and sealed anew under a new key."""

import pytest
from allauth.mfa.models import Authenticator
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django.fixtures import Settings

from accounts.models import User
from signin import factors
from tests.admin.people import code_of, give_app
from tests.factories import make_user

OLD, NEW = "the-old-key-0123456789-abcdefghijklmnop", "the-new-key-0123456789-abcdefghijklmnop"


@pytest.fixture
def ann(db: None, settings: Settings) -> User:
    settings.CODE_KEYS = [OLD]
    return make_user(username="ann")


def test_secrets_and_codes_do_not_lie_in_clear(ann: User) -> None:
    secret, codes = give_app(ann)

    kept = str(list(Authenticator.objects.values_list("data", flat=True)))

    assert len(codes) == 10
    assert not any(text in kept for text in (secret, *codes))


def test_a_new_key_in_front_opens_what_the_old_one_sealed(ann: User, settings: Settings) -> None:
    secret, codes = give_app(ann)

    settings.CODE_KEYS = [NEW, OLD]

    assert factors.prove_code(ann, code_of(secret), at=timezone.now()) == "totp"
    assert factors.prove_code(ann, codes[0], at=timezone.now()) == "recovery_codes"


def test_what_was_sealed_anew_needs_the_old_key_no_longer(ann: User, settings: Settings) -> None:
    secret, codes = give_app(ann)
    settings.CODE_KEYS = [NEW, OLD]

    call_command("reseal_second_factors")

    settings.CODE_KEYS = [NEW]
    assert factors.prove_code(ann, code_of(secret), at=timezone.now()) == "totp"
    assert factors.prove_code(ann, codes[0], at=timezone.now()) == "recovery_codes"


def test_a_lost_key_is_named(ann: User, settings: Settings) -> None:
    give_app(ann)
    settings.CODE_KEYS = [NEW]

    with pytest.raises(CommandError, match="CODE_KEYS"):
        call_command("reseal_second_factors")


@pytest.mark.parametrize("command", ["reset_second_factor", "create_password_link"])
def test_a_command_for_nobody_fails_in_words(command: str, db: None) -> None:
    with pytest.raises(CommandError, match="'nobody'"):
        call_command(command, "nobody")


def test_a_reset_takes_everything(ann: User, capsys: pytest.CaptureFixture[str]) -> None:
    give_app(ann)

    call_command("reset_second_factor", "ann")

    assert not Authenticator.objects.exists()
    assert "second factors taken away: 1" in capsys.readouterr().out
