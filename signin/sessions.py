"""Sessions of the admin site: Django's, in a table that also tells whose each is, since when, from where.

Ending one is deleting its row: the next request of that browser is nobody's. A person has at most MOST_SESSIONS; a
further sign-in ends the oldest. `SessionStore` is what settings name as SESSION_ENGINE.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends import db
from django.utils import timezone

from accounts.models import User
from signin.models import Session

# Beyond what one person signs in to in two weeks.
MOST_SESSIONS = 20
# Writing every request down would make a write of every read.
_LAST_SEEN_RESOLUTION = timedelta(minutes=5)
# Where a session keeps what its row tells: at (epoch seconds), address, browser, factor.
ENTERED = "entered"


class SessionStore(db.SessionStore):
    """Django's store on our table, as its documentation has it ("Extending database-backed session engines")."""

    @classmethod
    def get_model_class(cls) -> type[Session]:
        return Session

    def create_model_instance(self, data: Mapping[str, Any]) -> Session:
        row: Session = super().create_model_instance(data)  # type: ignore[arg-type,assignment]
        entered = data.get(ENTERED)
        if SESSION_KEY in data:
            row.user_id = int(data[SESSION_KEY])
        if SESSION_KEY in data and entered:
            row.signed_in_at = datetime.fromtimestamp(entered["at"], UTC)
            row.last_seen_at = timezone.now()
            row.address, row.browser, row.factor = entered["address"], entered["browser"], entered["factor"]
        return row

    def _get_session_from_db(self) -> Session | None:
        """Notes that it was seen."""
        row: Session | None = super()._get_session_from_db()  # type: ignore[misc]
        at = timezone.now()
        if row is not None and row.last_seen_at is not None and at - row.last_seen_at > _LAST_SEEN_RESOLUTION:
            Session.objects.filter(pk=row.pk, last_seen_at=row.last_seen_at).update(last_seen_at=at)
        return row


def handle(session_key: str) -> str:
    """What a page may call a session: who knows its key has it."""
    return hashlib.sha256(session_key.encode()).hexdigest()[:24]


def of(user: User, *, at: datetime) -> list[Session]:
    """The sessions that a person has at `at`, newest first."""
    rows = Session.objects.filter(user=user, expire_date__gt=at).order_by("-signed_in_at")
    return list(rows[: MOST_SESSIONS + 1])


def end(user: User, *, handles: set[str] | None = None, but: str | None = None) -> int:
    """End a person's sessions: those with these handles, or all, except the one with the key `but`; gives how many."""
    rows = Session.objects.filter(user=user)
    if handles is not None:
        keys = [key for key in rows.values_list("session_key", flat=True) if handle(key) in handles]
        rows = rows.filter(session_key__in=keys)
    ended, _ = rows.exclude(session_key=but or "").delete()
    return ended


def end_oldest(user: User) -> None:
    """Keep the newest MOST_SESSIONS."""
    keys = Session.objects.filter(user=user).order_by("-signed_in_at").values_list("session_key", flat=True)
    beyond = list(keys[MOST_SESSIONS : MOST_SESSIONS + 100])
    if beyond:
        Session.objects.filter(session_key__in=beyond).delete()


def prune(*, at: datetime, limit: int = 1000) -> int:
    """Delete sessions that are over; gives how many."""
    keys = list(Session.objects.filter(expire_date__lte=at).values_list("session_key", flat=True)[:limit])
    deleted, _ = Session.objects.filter(session_key__in=keys).delete()
    return deleted
