"""Organizations, their people and their keys."""

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q

from accounts.tenancy import TenantQuerySet


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
    last_used_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = TenantQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class AuditEntry(models.Model):
    """Who changed what, on whose behalf, from where. Append-only; `position` and `digest` are the chain's (`auditing`).

    An entry without an organization is the operator's alone. `through` is the organization of an actor who held a
    mandate.
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
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)
    position = models.BigIntegerField(null=True, help_text="Its place in the organization's chain, once it has one.")
    digest = models.CharField(max_length=64, blank=True, default="")

    objects = TenantQuerySet.as_manager()

    class Meta:
        verbose_name = "audit entry"
        verbose_name_plural = "audit"
        constraints = [models.UniqueConstraint(fields=["organization", "position"], name="audit_position_once")]
        indexes = [
            models.Index(fields=["organization", "-id"], name="audit_by_organization"),
            models.Index(fields=["id"], name="audit_unchained", condition=Q(position=None)),
            models.Index(fields=["at"], name="audit_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.subject}"
