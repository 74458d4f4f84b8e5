"""Bulk work's tables: sheets with their parts, operations with what became of each row, and whose turn it is.

Rows lie in parts of a few thousand, packed: a million rows are a few hundred database rows, written and pruned quickly.
"""

from django.db import models
from django.db.models import Q

from accounts.models import Organization
from accounts.tenancy import TenantQuerySet
from onboarding.models import RedirectProfile

KINDS = {"import": "Import", "assign": "Assign", "release": "Release", "revert": "Revert"}
STATUSES = {
    "queued": "Queued",
    "running": "Running",
    "done": "Done",
    "failed": "Failed",
    "cancelled": "Cancelled",
    "reverted": "Reverted",
}
UNFINISHED = ("queued", "running")


class Sheet(models.Model):
    """Rows that somebody handed in, as text. `received_at` is set when all of them are there."""

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+", db_index=False)
    file_name = models.CharField(max_length=200, blank=True, default="")
    begun_at = models.DateTimeField()
    received_at = models.DateTimeField(null=True, blank=True)
    total = models.PositiveIntegerField(default=0, help_text="Rows in it.")
    columns = models.JSONField(default=dict, help_text="The columns that were recognized, and their headings.")
    ignored = models.JSONField(default=list, help_text="Headings of columns that mean nothing here.")

    objects = TenantQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["organization", "-id"], name="sheet_by_organization"),
            models.Index(fields=["begun_at"], name="sheet_by_age"),
        ]

    def __str__(self) -> str:
        return self.file_name or f"{self.total} rows"


class SheetPart(models.Model):
    """Some thousand rows of a sheet, packed (`packing`): lists of the row's number and its cells."""

    sheet = models.ForeignKey(Sheet, on_delete=models.CASCADE, related_name="parts", db_index=False)
    number = models.PositiveIntegerField(help_text="Its place, from 0.")
    rows = models.PositiveIntegerField()
    content = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["sheet", "number"], name="sheet_part_once")]

    def __str__(self) -> str:
        return f"{self.sheet_id}: {self.number}"


class Operation(models.Model):
    """Something to be done with every row of a sheet, or of the operation that it reverts.

    `position` is the next part to do; it is committed with the effects of the part before. While a worker is at it, it
    holds the lease.
    """

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="operations", db_index=False)
    kind = models.CharField(max_length=10, choices=list(KINDS.items()))
    dry_run = models.BooleanField(default=False, help_text="Tells what the run would do, and changes nothing.")
    status = models.CharField(max_length=10, choices=list(STATUSES.items()), default="queued")
    reason = models.CharField(max_length=300, blank=True, default="", help_text="Why it failed.")
    sheet = models.ForeignKey(Sheet, on_delete=models.PROTECT, null=True, related_name="operations")
    reverts = models.ForeignKey("self", on_delete=models.PROTECT, null=True, related_name="reverted_by")
    # Of no effect where the profile is gone: rows that name none fail then.
    profile = models.ForeignKey(
        RedirectProfile, on_delete=models.SET_NULL, null=True, related_name="+", db_constraint=False,
        help_text="For rows that name none.",
    )  # fmt: skip

    source = models.CharField(max_length=16)
    by = models.CharField(max_length=160)
    through = models.ForeignKey(Organization, on_delete=models.PROTECT, null=True, db_index=False, related_name="+")

    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    cancel_asked_at = models.DateTimeField(null=True, blank=True)

    total = models.PositiveIntegerField(default=0)
    processed = models.PositiveIntegerField(default=0)
    created = models.PositiveIntegerField(default=0)
    changed = models.PositiveIntegerField(default=0)
    unchanged = models.PositiveIntegerField(default=0)
    released = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)

    taken = models.PositiveIntegerField(default=0, help_text="Rows of which it was told that they are others' devices.")

    position = models.PositiveIntegerField(default=0)
    lease = models.CharField(max_length=32, blank=True, default="")
    lease_until = models.DateTimeField(null=True, blank=True)
    served_at = models.DateTimeField(help_text="When it last had its turn.")
    has_met = models.BooleanField(default=False, help_text="The MACs that it met are still kept.")
    failures = models.PositiveSmallIntegerField(default=0, help_text="Tries of the present part that went wrong.")

    objects = TenantQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=list(KINDS)), name="operation_kind_known"),
            models.CheckConstraint(condition=Q(status__in=list(STATUSES)), name="operation_status_known"),
            models.CheckConstraint(
                condition=Q(sheet__isnull=False) | Q(reverts__isnull=False), name="operation_has_rows"
            ),
            models.UniqueConstraint(
                fields=["reverts"],
                condition=Q(status__in=["queued", "running", "done"]),
                name="operation_reverted_once",
            ),
        ]
        indexes = [
            models.Index(fields=["organization", "-id"], name="operation_by_organization"),
            models.Index(fields=["organization", "id"], name="operation_unfinished", condition=Q(finished_at=None)),
            models.Index(fields=["finished_at"], name="operation_by_end"),
            models.Index(fields=["id"], name="operation_to_tidy", condition=Q(has_met=True)),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"

    @property
    def succeeded(self) -> int:
        """Rows that did not fail."""
        return self.processed - self.failed

    @property
    def is_over(self) -> bool:
        return self.status not in UNFINISHED


class OperationPart(models.Model):
    """What became of the rows of one part, packed (`packing`): lists of row, MAC, status, code and detail."""

    operation = models.ForeignKey(Operation, on_delete=models.CASCADE, related_name="parts", db_index=False)
    number = models.PositiveIntegerField()
    first_row = models.PositiveIntegerField()
    last_row = models.PositiveIntegerField()
    rows = models.PositiveIntegerField()
    # Parts without any of the kind that somebody looks for are not unpacked.
    created = models.PositiveIntegerField(default=0)
    changed = models.PositiveIntegerField(default=0)
    unchanged = models.PositiveIntegerField(default=0)
    released = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    content = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["operation", "number"], name="operation_part_once")]
        indexes = [models.Index(fields=["operation", "last_row"], name="operation_part_by_row")]

    def __str__(self) -> str:
        return f"{self.operation_id}: {self.number}"


class MetMac(models.Model):
    """A MAC that an operation has met, as a number: the next row with it is a duplicate. Gone after its end."""

    pk = models.CompositePrimaryKey("operation_id", "mac")
    operation = models.ForeignKey(
        Operation, on_delete=models.DO_NOTHING, related_name="+", db_index=False, db_constraint=False
    )
    mac = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.mac:012X}"


class Turn(models.Model):
    """The one bell that is out for a slice of work: messages with an older number are void."""

    bell = models.BigIntegerField(default=0)
    rung_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return str(self.bell)
