"""The feed's tables: events in their order, how far the history has been read, webhooks and what was sent to them."""

from django.db import models
from django.db.models import Q

from accounts.models import Organization
from accounts.tenancy import TenantQuerySet


class Event(models.Model):
    """Something that partners hear of. Its position is given by the sequencer: a higher one was given later, always."""

    position = models.BigIntegerField(primary_key=True)
    # No index of its own: the one below begins with it.
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, db_index=False, related_name="+")
    type = models.CharField(max_length=32)
    at = models.DateTimeField(help_text="When it happened.")
    recorded_at = models.DateTimeField(help_text="When it got its position.")
    data = models.JSONField(default=dict)

    objects = TenantQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["organization", "position"], name="event_by_organization")]

    def __str__(self) -> str:
        return f"{self.message_id} {self.type}"

    @property
    def message_id(self) -> str:
        """What partners call it, in the feed and in webhooks."""
        return f"evt_{self.position}"


class Sequencer(models.Model):
    """One row: how far the history has been read, and the last position given. Its lock makes one sequencer of many.

    `gaps` are ranges of ids below `read_to` that were not there when they were passed, each with who may still bring
    them: [first, last, [virtual transaction, …]].
    """

    read_to = models.BigIntegerField(default=0)
    gaps = models.JSONField(default=list)
    position = models.BigIntegerField(default=0)
    pruned_to = models.BigIntegerField(default=0, help_text="The highest position that was deleted.")

    def __str__(self) -> str:
        return f"read to {self.read_to}"


class WebhookEndpoint(models.Model):
    """A receiver of events. What is sealed here signs what is sent there (`accounts.seals`)."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="webhooks")
    url = models.CharField("URL", max_length=1024)
    types = models.JSONField(default=list, blank=True, help_text="Which events; none: all.")
    enabled = models.BooleanField(default=True, help_text="While off, nothing is sent and nothing waits.")
    secret = models.BinaryField()
    old_secret = models.BinaryField(null=True)
    old_secret_until = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=160)
    through = models.ForeignKey(
        Organization, on_delete=models.SET_NULL, null=True, blank=True, db_index=False, related_name="+",
        help_text="Who made it under a mandate: it is paused when that ends.",
    )  # fmt: skip
    paused_at = models.DateTimeField(null=True, blank=True)
    paused_reason = models.CharField(max_length=200, blank=True, default="")
    # Events after this position have yet to be queued; none: it is up to date.
    queued_to = models.BigIntegerField(null=True, blank=True)

    # Written by `delivering` alone.
    failures = models.PositiveIntegerField(default=0, help_text="Attempts that failed since the last that did not.")
    failing_since = models.DateTimeField(null=True, blank=True)
    retry_at = models.DateTimeField(null=True, blank=True, help_text="Not before then it is asked again.")
    attempted_at = models.DateTimeField(null=True, blank=True)
    delivered_at = models.DateTimeField(null=True, blank=True)
    leased_until = models.DateTimeField(null=True, blank=True, help_text="Some worker sends to it.")

    # The notice of its pause, to the organization's administrators.
    notice_due_at = models.DateTimeField(null=True, blank=True)
    notice_tries = models.PositiveSmallIntegerField(default=0)

    objects = TenantQuerySet.as_manager()

    class Meta:
        verbose_name = "webhook"
        constraints = [
            models.CheckConstraint(
                condition=Q(old_secret=None, old_secret_until=None)
                | Q(old_secret__isnull=False, old_secret_until__isnull=False),
                name="webhook_old_secret_ends",
            ),
        ]
        indexes = [
            models.Index(fields=["organization", "-id"], name="webhook_by_organization"),
            models.Index(fields=["id"], name="webhook_behind", condition=Q(queued_to__isnull=False)),
            models.Index(fields=["notice_due_at"], name="webhook_notice", condition=Q(notice_due_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.url

    def wants(self, type_: str) -> bool:
        return not self.types or type_ in self.types


class DeliveryQuerySet(TenantQuerySet):
    organization_column = "endpoint__organization_id"


class WebhookDelivery(models.Model):
    """One event on its way to one endpoint, and what came of the last attempt.

    `event` is the event's position, no enforced reference: events are pruned by themselves. A test has none, and its
    body in `payload`.
    """

    endpoint = models.ForeignKey(WebhookEndpoint, on_delete=models.CASCADE, db_index=False, related_name="deliveries")
    event = models.BigIntegerField(null=True)
    type = models.CharField(max_length=32)
    payload = models.JSONField(null=True)
    at = models.DateTimeField(help_text="When it was queued.")
    attempt = models.PositiveSmallIntegerField(default=0, help_text="How many were made.")
    status = models.CharField(
        max_length=10,
        default="queued",
        choices=[("queued", "Queued"), ("delivered", "Delivered"), ("failed", "Failed"), ("cancelled", "Cancelled")],
    )
    attempted_at = models.DateTimeField(null=True)
    response_status = models.PositiveSmallIntegerField(null=True)
    response_excerpt = models.CharField(max_length=200, blank=True, default="")
    error = models.CharField(max_length=200, blank=True, default="", help_text="Why there was no answer.")
    duration_ms = models.PositiveIntegerField(null=True)
    next_attempt_at = models.DateTimeField(null=True)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        verbose_name = "delivery"
        verbose_name_plural = "deliveries"
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["queued", "delivered", "failed", "cancelled"]), name="delivery_status_known"
            ),
            models.CheckConstraint(
                condition=Q(status="queued", next_attempt_at__isnull=False)
                | (~Q(status="queued") & Q(next_attempt_at=None)),
                name="delivery_queued_is_due_sometime",
            ),
            models.CheckConstraint(
                condition=Q(event__isnull=False) | Q(payload__isnull=False), name="delivery_of_something"
            ),
        ]
        indexes = [
            models.Index(fields=["endpoint", "-id"], name="delivery_by_endpoint"),
            # What waits: the queue of each endpoint.
            models.Index(
                fields=["endpoint", "next_attempt_at", "id"], name="delivery_due", condition=Q(status="queued")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.message_id} to {self.endpoint_id}"

    @property
    def message_id(self) -> str:
        """The `webhook-id`: the same however often it is sent."""
        return f"evt_{self.event}" if self.event is not None else f"test_{self.pk}"
