"""Idempotency keys: a write that is sent again with the same key has its effect once, and gets the same answer.

The answer is kept in the transaction of the effect, so there is never one without the other: whoever is killed in
between has done nothing, and the database itself lets go of the lock. Two requests at the same moment: on PostgreSQL
an advisory lock tells the second that the first is running; SQLite has one writer at a time, and the second waits.

A row holds no key and no request, only digests; the answer is sealed, since it may hold codes, keys and secrets.
Keys belong to the API key that sent them. (draft-ietf-httpapi-idempotency-key-header-07)
"""

import hashlib
import json
import re
import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

from accounts.models import ApiKey, KeptAnswer
from accounts.seals import Seal
from onboarding.errors import OnboardingError

KEPT = timedelta(hours=24)
# How long a caller is asked to wait for the first request to end.
RETRY_AFTER_SECONDS = 1
# Far beyond the answers there are (10,000 codes take 7 MB); longer ones are not kept.
MOST_ANSWER_OCTETS = 32 * 1024 * 1024

_FORM = re.compile(r"[\x20-\x7e]{1,255}")


class InvalidIdempotencyKey(OnboardingError):
    """The header cannot be used."""

    code = "invalid_idempotency_key"
    remedy = "Send 1 to 255 printable ASCII characters, best of all a random UUID, new for each thing to be done."


class IdempotencyKeyReused(OnboardingError):
    """The key was used for another request."""

    code = "idempotency_key_reused"
    remedy = "Send a new key with each new request; send the same one only to repeat exactly the same request."


class RequestInProgress(OnboardingError):
    """The first request with this key has not ended yet."""

    code = "request_in_progress"
    remedy = (
        "Repeat the request with the same key after the seconds in Retry-After; you will get the first one's answer."
    )
    retry_after_seconds = RETRY_AFTER_SECONDS


class AnswerNotKept(OnboardingError):
    """The request was done, but its answer was too long to be kept."""

    code = "answer_not_kept"
    remedy = "The request had its effect. Read the resource to see it."


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request with an idempotency key: `digest` finds the first one, `fingerprint` says whether it was the same."""

    digest: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered: status, headers, body."""

    status: int
    headers: dict[str, str]
    body: bytes


def attempt(text: str, *, key: ApiKey, organization_id: int, method: str, path: str, body: bytes) -> Attempt:
    """Read the header. `path` is with its query; `organization_id` the one acted for. Raises InvalidIdempotencyKey."""
    if not _FORM.fullmatch(text):
        raise InvalidIdempotencyKey("The Idempotency-Key does not have 1 to 255 printable characters.")
    request = json.dumps([method, path, organization_id, hashlib.sha256(body).hexdigest()])
    return Attempt(_digest(f"{key.prefix}:{text}"), _digest(request))


def begin(attempt: Attempt, *, seal: Seal, at: datetime) -> Answer | None:
    """Take the key, in the caller's transaction; gives the answer if the request was done before.

    Raises IdempotencyKeyReused, RequestInProgress, AnswerNotKept.
    """
    free = _lock(attempt)
    kept = KeptAnswer.objects.filter(digest=attempt.digest, at__gt=at - KEPT).first()
    if kept is None:
        if not free:
            raise RequestInProgress("The first request with this Idempotency-Key is still running.")
        return None
    if kept.fingerprint != attempt.fingerprint:
        raise IdempotencyKeyReused("This Idempotency-Key was used for another method, path or body.")
    if not kept.answer:
        raise AnswerNotKept(f"The request was answered {kept.status} before, at too great a length to be kept.")
    headers, body = _unpack(seal.open(bytes(kept.answer)))
    return Answer(kept.status, headers, body)


def keep(attempt: Attempt, answer: Answer, *, seal: Seal, at: datetime) -> None:
    """Write the answer down, in the transaction of its effect."""
    fits = len(answer.body) <= MOST_ANSWER_OCTETS
    row = KeptAnswer(
        digest=attempt.digest,
        fingerprint=attempt.fingerprint,
        status=answer.status,
        answer=seal.close(_pack(answer)) if fits else b"",
        at=at,
    )
    # One that is older than KEPT may still be there.
    KeptAnswer.objects.bulk_create(
        [row], update_conflicts=True, unique_fields=["digest"], update_fields=["fingerprint", "status", "answer", "at"]
    )


def prune(*, at: datetime, limit: int = 10_000) -> int:
    """Delete the oldest answers that are kept no longer; gives how many."""
    old = KeptAnswer.objects.filter(at__lte=at - KEPT).order_by("at").values("pk")[:limit]
    return KeptAnswer.objects.filter(pk__in=list(old.values_list("pk", flat=True))).delete()[0]


def _lock(attempt: Attempt) -> bool:
    """Hold the key until the transaction ends; False where another transaction holds it."""
    if connection.vendor != "postgresql":
        return True
    with connection.cursor() as cursor:
        number = int.from_bytes(bytes.fromhex(attempt.digest[:16]), "big", signed=True)
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
        return bool(cursor.fetchone()[0])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _pack(answer: Answer) -> bytes:
    return zlib.compress(json.dumps(answer.headers).encode() + b"\n" + answer.body, level=1)


def _unpack(packed: bytes) -> tuple[dict[str, str], bytes]:
    headers, _, body = zlib.decompress(packed).partition(b"\n")
    return json.loads(headers), body
