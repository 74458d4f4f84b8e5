"""Bulk work in tests: a sheet out of text, an operation done to its end, and what became of each row."""

import io
from datetime import datetime, timedelta
from typing import Any

from accounts.models import Organization
from onboarding.models import RedirectProfile
from operations import receiving, reporting, running
from operations.models import Operation, Sheet
from operations.reporting import Result
from tests.factories import ACTOR, AT, OWN


def receive(organization: Organization, text: str | bytes, *, at: datetime = AT) -> Sheet:
    octets = text.encode() if isinstance(text, str) else text
    return receiving.receive_csv(organization=organization, stream=io.BytesIO(octets), file_name="list.csv", at=at)


def start(
    organization: Organization,
    text: str | bytes,
    *,
    kind: str = "import",
    dry_run: bool = False,
    profile: RedirectProfile | None = None,
    at: datetime = AT,
) -> Operation:
    sheet = receive(organization, text, at=at)
    return running.start(actor=ACTOR, sheet=sheet, kind=kind, dry_run=dry_run, profile=profile, at=at)


def run_all(*, at: datetime = AT) -> None:
    """Do slices, as the worker does, until nothing waits."""
    seconds = iter(range(10_000_000))
    for _ in range(100):
        if not running.run_slice(at=at, own=OWN, seconds=lambda: float(next(seconds)), rest=lambda _: None):
            return
    raise AssertionError("it never ended")


def done(operation: Operation, *, at: datetime = AT) -> Operation:
    run_all(at=at)
    operation.refresh_from_db()
    assert operation.is_over, operation.status
    return operation


def do(organization: Organization, text: str | bytes, **options: Any) -> list[Result]:
    """Start an operation, do it, and give its results."""
    operation = done(start(organization, text, **options), at=options.get("at", AT))
    assert operation.status == "done", operation.reason
    return all_results(operation)


def all_results(operation: Operation) -> list[Result]:
    return reporting.results(operation, most=2_000_000)


def short(results: list[Result]) -> list[tuple[int, str, str]]:
    """Row, and status or code."""
    return [(result.row, result.status, result.code) for result in results]


def later(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)
