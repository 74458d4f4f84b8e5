"""Activation codes for tests."""

from datetime import datetime, timedelta
from typing import Any

from activation import issuing
from activation.codes import ActivationCode
from activation.models import IssuedCode
from activation.vault import Vault
from onboarding.identifiers import MacAddress, ModelName, SerialNumber
from onboarding.models import RedirectProfile
from tests.factories import ACTOR, AT, make_profile

VAULT = Vault(["a key for tests, long enough to be one: 0123456789"])


def make_code(
    *, profile: RedirectProfile | None = None, at: datetime = AT, columns: dict[str, Any] | None = None, **over: Any
) -> tuple[IssuedCode, ActivationCode]:
    """A code issued by the verb; gives the row and the digits.

    `mac`, `model` and `serial` may be texts; `columns` sets further columns past the verbs.
    """
    profile = profile or make_profile()
    parsers: dict[str, Any] = {"mac": MacAddress.parse, "model": ModelName.parse, "serial": SerialNumber.parse}
    values: dict[str, Any] = {
        name: parsers[name](str(value)) if name in parsers else value for name, value in over.items()
    }
    values = {"vault": VAULT, "lifetime": timedelta(hours=168), **values}
    ((row, code),) = issuing.issue(actor=ACTOR, organization=profile.organization, profile=profile, at=at, **values)
    if columns:
        IssuedCode.objects.filter(pk=row.pk).update(**columns)
        row.refresh_from_db()
    return row, code
