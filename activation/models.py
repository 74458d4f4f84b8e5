"""Activation's tables: codes that were issued, who read them again, and the buckets that slow guessing."""

from datetime import datetime
from typing import Self

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Length, Upper
from django.db.models.lookups import Exact

from accounts.models import Organization
from accounts.tenancy import ProfileQuerySet, TenantQuerySet
from activation.status import CodeStatus
from onboarding.models import RedirectProfile

# Neither redeemed nor revoked; whether it has expired, the clock says.
OPEN = Q(redeemed_at=None, revoked_at=None)


class IssuedCodeQuerySet(ProfileQuerySet):
    def with_status(self, status: CodeStatus, *, at: datetime) -> Self:
        """The codes that have this status at a moment; the same rule as `status.status`."""
        return self.filter(
            {
                CodeStatus.ISSUED: OPEN & Q(expires_at__gt=at),
                CodeStatus.EXPIRED: OPEN & Q(expires_at__lte=at),
                CodeStatus.REDEEMED: Q(redeemed_at__isnull=False, revoked_at=None),
                CodeStatus.REVOKED: Q(revoked_at__isnull=False),
            }[status]
        )


class IssuedCode(models.Model):
    """One 16-digit code: whom it is for, and what became of it. The digits are only in `lookup` and `seal` (`vault`).

    `refusals` are {"at", "reason", "mac"}: why right digits were refused, newest last, at most ten.
    """

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    profile = models.ForeignKey(RedirectProfile, on_delete=models.PROTECT, related_name="+")
    lookup = models.CharField(max_length=64, unique=True, help_text="Keyed hash of the digits.")
    seal = models.BinaryField(help_text="The digits, encrypted.")
    model = models.CharField(max_length=40, blank=True, default="", help_text="Works on phones of this model only.")
    mac = models.CharField(
        "MAC", max_length=12, blank=True, default="", help_text="Works on the phone with this MAC only."
    )
    serial = models.CharField(
        max_length=32, blank=True, default="", help_text="Works on the phone with this serial number only."
    )
    label = models.CharField(max_length=120, blank=True, default="", help_text="Whose phone it will be, or where.")
    email = models.EmailField(blank=True, default="", help_text="The code is sent there.")
    batch = models.UUIDField(help_text="The codes of one order have the same.")
    issued_at = models.DateTimeField()
    issued_by = models.CharField(max_length=160)
    expires_at = models.DateTimeField()
    redeemed_at = models.DateTimeField(null=True, blank=True)
    redeemed_mac = models.CharField(max_length=12, blank=True, default="")
    # A plain number: a device that was released takes nothing from the code's record.
    device_id = models.BigIntegerField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.CharField(max_length=160, blank=True, default="")
    refusals = models.JSONField(
        default=list, blank=True, help_text="The last refusals that were not a wrong code: at, reason, mac."
    )
    mail_due_at = models.DateTimeField(null=True, blank=True, help_text="Not before then it is sent; empty: no mail.")
    mail_tries = models.PositiveSmallIntegerField(default=0)
    mailed_at = models.DateTimeField(null=True, blank=True)
    mail_error = models.CharField(max_length=200, blank=True, default="")

    objects = IssuedCodeQuerySet.as_manager()

    class Meta:
        verbose_name = "activation code"
        constraints = [
            models.CheckConstraint(condition=Q(mac="") | Q(Exact(Length("mac"), 12)), name="code_mac_length"),
            models.CheckConstraint(condition=Q(mac=Upper("mac")), name="code_mac_upper"),
            models.CheckConstraint(condition=Q(issued_at__lt=F("expires_at")), name="code_lifetime_forward"),
            models.CheckConstraint(
                condition=Q(redeemed_at=None, redeemed_mac="") | (Q(redeemed_at__isnull=False) & ~Q(redeemed_mac="")),
                name="code_redeemed_by_somebody",
            ),
        ]
        indexes = [
            # Lists, newest first: all, and those of one status.
            models.Index(fields=["organization", "-id"], name="code_by_organization"),
            models.Index(fields=["organization", "-id"], name="code_open", condition=OPEN),
            models.Index(
                fields=["organization", "-id"],
                name="code_redeemed",
                condition=Q(redeemed_at__isnull=False, revoked_at=None),
            ),
            models.Index(fields=["organization", "-id"], name="code_revoked", condition=Q(revoked_at__isnull=False)),
            models.Index(fields=["organization", "profile", "-id"], name="code_by_profile"),
            models.Index(fields=["organization", "label"], name="code_by_label"),
            models.Index(fields=["organization", "redeemed_mac"], name="code_by_phone", condition=~Q(redeemed_mac="")),
            models.Index(fields=["batch", "id"], name="code_by_batch"),
            # Codes that one phone may still redeem.
            models.Index(fields=["mac"], name="code_bound_to_mac", condition=OPEN & ~Q(mac="")),
            models.Index(fields=["serial"], name="code_bound_to_serial", condition=OPEN & ~Q(serial="")),
            models.Index(fields=["mail_due_at"], name="code_mail_queue", condition=Q(mail_due_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"code {self.pk}" + (f" for {self.label}" if self.label else "")


class AuditedReading(models.Model):
    """Who read issued codes again, append-only: one row a code. It holds no digits."""

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    # A plain number: the record outlives the code.
    issued_code_id = models.BigIntegerField()
    at = models.DateTimeField()
    source = models.CharField(max_length=16, help_text="The way in: api, admin, command.")
    reader = models.CharField(max_length=160)
    purpose = models.CharField(
        max_length=10,
        choices=[("reveal", "Revealed"), ("print", "Printed"), ("export", "Exported")],
    )

    objects = TenantQuerySet.as_manager()

    class Meta:
        verbose_name = "reading of a code"
        verbose_name_plural = "readings of codes"
        constraints = [
            models.CheckConstraint(condition=Q(purpose__in=["reveal", "print", "export"]), name="reading_purpose_known")
        ]
        indexes = [
            models.Index(fields=["issued_code_id", "-id"], name="reading_by_code"),
            models.Index(fields=["organization", "-id"], name="reading_by_organization"),
        ]

    def __str__(self) -> str:
        return f"{self.get_purpose_display()} by {self.reader}"
