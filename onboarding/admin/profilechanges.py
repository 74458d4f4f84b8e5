"""A profile's history of changes, and the question before its phones are sent elsewhere."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from accounts import auditing
from accounts.admin import audit
from onboarding.admin import drawing
from onboarding.admin.dashboard import capped
from onboarding.errors import OnboardingError
from onboarding.models import Device, RedirectProfile

_SHOWN = 20
# A person who reads "10,000+" knows enough.
_MOST_COUNTED = 10_000


class PhonesMove(OnboardingError):
    """Phones would be sent elsewhere by this change, and nobody has said yes to that yet."""

    code = "phones_move"
    remedy = "Save again to do it."


def history(row: RedirectProfile) -> list[dict[str, Any]]:
    """The newest changes of a profile, newest first, each with what it was before and after."""
    entries = auditing.of_subject(organization_id=row.organization_id, thing=f"profile:{row.pk}", most=_SHOWN)
    return [
        {
            "words": audit.words(entry.action),
            "who": audit.who(entry),
            "ago": drawing.ago(entry.at),
            "changes": audit.changes(entry.before, entry.after),
        }
        for entry in entries
    ]


def confirmation(targets: Sequence[str]) -> str:
    """What a form says when somebody has said yes to these very targets."""
    return hashlib.sha256("\n".join(targets).encode()).hexdigest()[:16]


def ask_before_moving(row: RedirectProfile, targets: Sequence[str], said: Mapping[str, Any]) -> None:
    """Raises PhonesMove where the change sends phones elsewhere and `said` does not confirm it."""
    if list(targets) == row.targets or said.get("confirmed") == confirmation(targets):
        return
    # A device with a target of its own stays where it is.
    devices = Device.objects.filter(profile=row, target="").order_by()
    count = devices[: _MOST_COUNTED + 1].count()
    if not count:
        return
    acquired = devices.filter(state="acquired")[: _MOST_COUNTED + 1].count()
    raise PhonesMove(
        f"This sends {capped(count, _MOST_COUNTED)} phone{'s' if count != 1 else ''} to other targets when they ask "
        f"next; {capped(acquired, _MOST_COUNTED)} of them have their profile already, and stay with it until a factory "
        "reset.",
        field="targets",
    )
