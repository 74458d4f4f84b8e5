"""The registry's side of the two local files: the change feed that the database writes, and the journals' inbox."""

import uuid

from django.db import models


class RegistryEpoch(models.Model):
    """One row: which life of the registry this is. A new epoch makes every relay rebuild its directory."""

    epoch = models.UUIDField(default=uuid.uuid4)
    pruned_id = models.BigIntegerField(default=0, help_text="The highest feed row that was ever pruned.")
    pruned_writer = models.BigIntegerField(default=0, help_text="The latest transaction of which one was.")

    def __str__(self) -> str:
        return str(self.epoch)


class RegistryChange(models.Model):
    """One key that changed, written by the database's triggers alone (`changefeed`).

    `writer` is the transaction that wrote it (0 on SQLite, where writers come one after another); `stamp` is random, so
    that a cursor can tell this row from another that a restored registry put at the same id.
    """

    kind = models.CharField(
        max_length=1,
        choices=[
            ("c", "authority"),
            ("d", "device"),
            ("o", "organization"),
            ("p", "profile"),
            ("r", "revocation list"),
            ("s", "short code"),
        ],
    )
    key = models.CharField(max_length=20)
    writer = models.BigIntegerField(default=0)
    stamp = models.BigIntegerField()
    at = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index(fields=["writer"], name="registry_change_by_writer"),
            models.Index(fields=["at"], name="registry_change_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.kind}{self.key}"


class Journal(models.Model):
    """One journal file of one machine: how far it was received, and how far it was applied (both in bytes)."""

    machine = models.CharField(max_length=80, help_text="MACHINE/BOOT: where its lines stand in one order.")
    name = models.CharField(max_length=160)
    received = models.BigIntegerField(default=0)
    applied = models.BigIntegerField(default=0)
    lines = models.BigIntegerField(default=0)
    torn = models.BigIntegerField(default=0, help_text="Lines that could not be read, and were skipped.")
    seen_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["machine", "name"], name="journal_once"),
            models.CheckConstraint(
                condition=models.Q(applied__lte=models.F("received")), name="journal_received_first"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.machine}/{self.name}"


class Batch(models.Model):
    """Lines of one journal, from byte `start` to byte `end`, waiting to be applied. Batches of one relay round share a
    `round`, so that the lines of all journals of the machine can be merged by their sequence."""

    journal = models.ForeignKey(Journal, on_delete=models.CASCADE, related_name="batches")
    start = models.BigIntegerField()
    end = models.BigIntegerField()
    round = models.UUIDField()
    content = models.BinaryField()
    received_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["journal", "start"], name="batch_once"),
            models.CheckConstraint(condition=models.Q(start__lt=models.F("end")), name="batch_forward"),
        ]

    def __str__(self) -> str:
        return f"{self.journal_id} {self.start}-{self.end}"
