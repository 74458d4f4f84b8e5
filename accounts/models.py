"""Organizations, their people, their keys, the mandates between them, and the audit of all changes."""

from typing import Self

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import F, Q

from accounts.tenancy import TenantQuerySet, Viewer


class OrganizationQuerySet(TenantQuerySet):
    organization_column = "id"


class Organization(models.Model):
    """A provider, whose phones these are, or a partner, who acts for providers."""

    name = models.CharField(max_length=120, unique=True)
    kind = models.CharField(
        max_length=10, choices=[("provider", "Provider"), ("partner", "Partner")], default="provider"
    )
    suspended_at = models.DateTimeField(
        null=True, blank=True, help_text="While set, phones are refused and keys and people of it locked out."
    )
    requires_second_factor = models.BooleanField(
        default=False, help_text="Its people sign in with a second factor, or set one up before anything else."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = OrganizationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=["provider", "partner"]), name="organization_kind_known"),
        ]

    def __str__(self) -> str:
        return self.name


class MandateQuerySet(TenantQuerySet):
    """Mandates are both organizations' to see."""

    def visible_to(self, viewer: Viewer) -> Self:
        if viewer.sees_everything:
            return self
        ids = viewer.organization_ids
        return self.filter(Q(provider_id__in=ids) | Q(partner_id__in=ids))

    def in_force(self) -> Self:
        """Those that are not withdrawn, between organizations that are not suspended."""
        return self.filter(withdrawn_at=None, provider__suspended_at=None, partner__suspended_at=None)


class User(AbstractUser):
    """A person who signs in to the admin site. The operator is a superuser; others belong to organizations."""


class Membership(models.Model):
    """A person's place in an organization."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(
        max_length=10,
        choices=[("admin", "Administrator"), ("staff", "Staff"), ("reader", "Read-only")],
        default="staff",
    )

    objects = TenantQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "organization"], name="membership_once"),
            models.CheckConstraint(condition=Q(role__in=["admin", "staff", "reader"]), name="membership_role_known"),
        ]

    def __str__(self) -> str:
        return f"{self.user} at {self.organization}"


class ApiKey(models.Model):
    """A partner's key. Only a digest of it is kept; `prefix` is the part that may be shown again."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=80)
    prefix = models.CharField(max_length=12, unique=True)
    digest = models.CharField(max_length=64)
    scopes = models.JSONField(default=list)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    suspended_at = models.DateTimeField(null=True, blank=True, help_text="Stopped by the operator, who can resume it.")
    # The key that takes its place; until it expires both are good.
    successor = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="predecessors")
    last_used_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = TenantQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class Mandate(models.Model):
    """A provider lets a partner act for it: with these scopes, on these profiles (none named: on all).

    `profile_ids` are plain numbers, since profiles are a subject of a floor above. A mandate ends by being withdrawn;
    the row stays, as the record of who gave what when.
    """

    provider = models.ForeignKey(Organization, on_delete=models.PROTECT, db_index=False, related_name="mandates_given")
    partner = models.ForeignKey(Organization, on_delete=models.PROTECT, db_index=False, related_name="mandates_held")
    scopes = models.JSONField(default=list)
    profile_ids = models.JSONField(default=list, blank=True)
    note = models.CharField(max_length=200, blank=True, default="")
    given_at = models.DateTimeField()
    given_by = models.CharField(max_length=160)
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    withdrawn_by = models.CharField(max_length=160, blank=True, default="")

    objects = MandateQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["provider", "partner"], condition=Q(withdrawn_at=None), name="mandate_in_force_once"
            ),
            models.CheckConstraint(condition=~Q(provider=F("partner")), name="mandate_for_another"),
        ]
        indexes = [
            models.Index(fields=["provider", "-id"], name="mandate_by_provider"),
            models.Index(fields=["partner", "-id"], name="mandate_by_partner"),
        ]

    def __str__(self) -> str:
        return f"{self.partner} for {self.provider}"


class AuditEntry(models.Model):
    """Who changed what, on whose behalf, from where. Append-only; `position` and `digest` are the chain's (`chaining`).

    An entry without an organization is the operator's alone. `through` is the organization of an actor who held a
    mandate. `seal` proves that this service wrote the entry as it stands.
    """

    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, null=True, db_index=False, related_name="+"
    )
    at = models.DateTimeField()
    source = models.CharField(max_length=16, help_text="The way in: api, admin, command.")
    name = models.CharField(max_length=160, help_text="Who: a key's prefix, a user's name, a command.")
    through = models.ForeignKey(Organization, on_delete=models.PROTECT, null=True, db_index=False, related_name="+")
    address = models.CharField(max_length=45, blank=True, default="", help_text="From where.")
    request_id = models.CharField(max_length=64, blank=True, default="")
    action = models.CharField(max_length=40)
    subject = models.CharField(max_length=200)
    thing = models.CharField(max_length=60, blank=True, default="", help_text="What finds its entries: profile:12.")
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)
    seal = models.CharField(max_length=64, blank=True, default="")
    position = models.BigIntegerField(null=True, help_text="Its place in the organization's chain, once it has one.")
    digest = models.CharField(max_length=64, blank=True, default="")

    objects = TenantQuerySet.as_manager()

    class Meta:
        verbose_name = "audit entry"
        verbose_name_plural = "audit entries"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "position"],
                condition=Q(position__isnull=False, organization__isnull=False),
                name="audit_position_once",
            ),
            models.UniqueConstraint(
                fields=["position"],
                condition=Q(position__isnull=False, organization=None),
                name="audit_operators_position_once",
            ),
        ]
        indexes = [
            models.Index(fields=["organization", "-id"], name="audit_by_organization"),
            # What is looked for first: the operator does so without an organization.
            models.Index(fields=["action", "organization", "-id"], name="audit_by_action"),
            models.Index(fields=["organization", "at"], name="audit_by_time"),
            models.Index(fields=["thing", "organization", "-id"], name="audit_by_thing", condition=~Q(thing="")),
            models.Index(fields=["id"], name="audit_unchained", condition=Q(position=None)),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.subject}"


class AuditHead(models.Model):
    """Where the chain of an organization (its id; 0: the operator's own) ends. Locked by the job that extends it."""

    chain = models.BigIntegerField(primary_key=True)
    position = models.BigIntegerField(default=0)
    digest = models.CharField(max_length=64)
    seal = models.CharField(max_length=64)

    def __str__(self) -> str:
        return f"{self.chain}: {self.position}"


class AuditCheckpoint(models.Model):
    """A sealed mark in a chain. With `pruned_at`, entries up to it may be gone: the chain is proven from here on."""

    chain = models.BigIntegerField(help_text="The organization's id; 0: the operator's own.")
    position = models.BigIntegerField()
    digest = models.CharField(max_length=64)
    at = models.DateTimeField()
    pruned_at = models.DateTimeField(null=True, blank=True)
    seal = models.CharField(max_length=64)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["chain", "position"], name="audit_checkpoint_once")]
        indexes = [models.Index(fields=["at"], name="audit_checkpoint_by_age")]

    def __str__(self) -> str:
        return f"{self.chain}: {self.position}"


class KeptAnswer(models.Model):
    """What was answered to a write with an Idempotency-Key (`idempotency`). Nothing in it can be read by itself."""

    digest = models.CharField(max_length=64, primary_key=True)
    fingerprint = models.CharField(max_length=64)
    status = models.SmallIntegerField()
    answer = models.BinaryField(help_text="Sealed. Empty: too long to be kept.")
    at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.digest[:8]}…: {self.status}"


class Bucket(models.Model):
    """How far a limit is used up (`pacing`): the time at which the next attempt would arrive if all were paced."""

    key = models.CharField(max_length=160, primary_key=True)
    arrival = models.FloatField(help_text="Seconds since 1970.", db_index=True)

    def __str__(self) -> str:
        return self.key
