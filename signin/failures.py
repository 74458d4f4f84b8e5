"""Failed sign-ins, counted: guessing fills no table. Each hour, and at the next success, the count becomes an entry."""

from datetime import datetime, timedelta
from typing import Literal

from django.db import IntegrityError, transaction
from django.db.models import F

from accounts import auditing
from accounts.actors import Actor
from accounts.models import User
from signin import recording
from signin.models import FailedSignIns

_UNKNOWN = 0
# A guesser leaves one entry for so long.
_COUNTED_FOR = timedelta(hours=1)


def count(username: str, kind: Literal["passwords", "codes"], *, address: str, at: datetime) -> None:
    """Count one failure for the person with this name, or for unknown names. Costs the same for both."""
    user_id = User.objects.filter(username=username).values_list("pk", flat=True).first() or _UNKNOWN
    change = {kind: F(kind) + 1, "last_at": at, "last_address": address}
    if FailedSignIns.objects.filter(pk=user_id).update(**change):
        return
    try:
        with transaction.atomic():
            FailedSignIns.objects.create(user_id=user_id, first_at=at, last_at=at, last_address=address, **{kind: 1})
    except IntegrityError:
        FailedSignIns.objects.filter(pk=user_id).update(**change)


def settle(user: User, *, at: datetime) -> FailedSignIns | None:
    """Make one entry of what was counted for a person; gives it, None for nothing."""
    return _settle(user.pk, user, at=at)


def settle_all(*, at: datetime, limit: int = 200) -> int:
    """Make entries of what was counted for an hour; gives how many."""
    due = FailedSignIns.objects.filter(first_at__lte=at - _COUNTED_FOR).order_by("first_at")
    ids = list(due.values_list("pk", flat=True)[:limit])
    people = User.objects.in_bulk([user_id for user_id in ids if user_id != _UNKNOWN])
    return sum(_settle(user_id, people.get(user_id), at=at) is not None for user_id in ids)


@transaction.atomic
def _settle(user_id: int, user: User | None, *, at: datetime) -> FailedSignIns | None:
    row = FailedSignIns.objects.select_for_update().filter(pk=user_id).first()
    if row is None:
        return None
    actor = Actor("admin", "somebody", address=row.last_address)
    counted = {
        "passwords": row.passwords,
        "codes": row.codes,
        "first_at": row.first_at.isoformat(),
        "last_at": row.last_at.isoformat(),
    }
    if user is not None:
        recording.record(actor, user, "person.sign_ins_failed", at=at, after=counted)
    elif user_id == _UNKNOWN:
        auditing.record(
            actor, organization_id=None, action="person.sign_ins_failed", subject="unknown user names", at=at,
            after=counted,
        )  # fmt: skip
    FailedSignIns.objects.filter(pk=user_id).delete()
    return row
