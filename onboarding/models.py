"""The registry's tables: redirect profiles, devices, their history, and sightings of phones that nobody registered."""

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Length, Reverse, Upper
from django.db.models.lookups import Exact

from accounts.models import Organization
from accounts.tenancy import ProfileQuerySet, TenantQuerySet


def _one_of(column: str, values: list[str]) -> Q:
    return Q(**{f"{column}__in": values})


STATES = ["open", "pending", "custom_pending", "acquired", "unavailable", "aborted"]


class RedirectProfileQuerySet(TenantQuerySet):
    profile_column = "id"


class RedirectProfile(models.Model):
    """Where an organization's phones are sent, and how they confirm it."""

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="profiles")
    name = models.CharField(max_length=80)
    targets = models.JSONField(help_text="Profile rules in order; phones get the first healthy one.")
    parameters = models.JSONField(default=dict, blank=True, help_text="Further flat-profile parameters by name.")
    confirm = models.CharField(
        max_length=10,
        default="callback",
        choices=[("callback", "Provider's call-back"), ("beacon", "Beacon in Profile_Rule_B"), ("none", "Not at all")],
        help_text="How the service learns that a phone acquired its profile.",
    )
    unproven_evidence = models.CharField(
        max_length=10,
        default="record",
        choices=[
            ("record_all", "Only record anything without a certificate"),
            ("record", "Only record reports without a token"),
            ("apply", "Let everything move the state"),
        ],
        help_text="What nothing proves to be the phone's own may do to its state.",
    )
    identity = models.CharField(
        max_length=10,
        default="none",
        choices=[("required", "Required"), ("preferred", "Preferred"), ("none", "Not asked for")],
        help_text="Whether phones must show a manufacturer certificate.",
    )
    accepts_expired_certificates = models.BooleanField(
        default=False, db_default=False,
        help_text="An expired certificate counts as one that is required; old phones have no other.",
    )  # fmt: skip
    match_model = models.BooleanField(default=False, help_text="Refuse phones that say they are another model.")
    enabled = models.BooleanField(default=True)
    stalled_after_minutes = models.PositiveIntegerField(
        default=30, help_text="A phone that stays Custom Pending longer than this is marked stalled."
    )
    # Written by `targethealth` alone. With a default of the database's own: older code writes rows without it.
    failing_targets = models.JSONField(
        default=list, db_default=models.Value([], models.JSONField()), editable=False,
        help_text="Targets that phones are not given while another is healthy.",
    )  # fmt: skip
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = RedirectProfileQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "name"], name="profile_name_once"),
            models.CheckConstraint(
                condition=_one_of("confirm", ["callback", "beacon", "none"]), name="profile_confirm_known"
            ),
            models.CheckConstraint(
                condition=_one_of("unproven_evidence", ["record_all", "record", "apply"]),
                name="profile_unproven_evidence_known",
            ),
            models.CheckConstraint(
                condition=_one_of("identity", ["required", "preferred", "none"]), name="profile_identity_known"
            ),
            models.CheckConstraint(condition=Q(stalled_after_minutes__gte=1), name="profile_stalled_after_positive"),
        ]

    def __str__(self) -> str:
        return self.name


class TargetCheckQuerySet(TenantQuerySet):
    """Target checks, which belong to their profile's organization."""

    organization_column = "profile__organization_id"
    profile_column = "profile_id"


class TargetCheck(models.Model):
    """What tests of one target of one profile found: its health, and when it is tested next. The rows are the queue."""

    profile = models.ForeignKey(RedirectProfile, on_delete=models.CASCADE, db_index=False, related_name="checks")
    target = models.CharField(max_length=1024)
    host = models.CharField(max_length=260, blank=True, default="", help_text="Host and port, whose tests are limited.")
    health = models.CharField(
        max_length=7,
        default="unknown",
        choices=[("healthy", "healthy"), ("failing", "failing"), ("unknown", "unknown")],
    )
    since = models.DateTimeField(help_text="When the present health began.")
    checked_at = models.DateTimeField(null=True, blank=True)
    seen_at = models.DateTimeField(null=True, blank=True, help_text="When anything at its address last reacted.")
    findings = models.JSONField(default=list, help_text="What the last test found.")
    http_status = models.PositiveSmallIntegerField(default=0)
    certificate_expires_at = models.DateTimeField(null=True, blank=True)
    failures = models.PositiveSmallIntegerField(default=0, help_text="In a row.")
    successes = models.PositiveSmallIntegerField(default=0, help_text="In a row.")
    next_check_at = models.DateTimeField()
    leased_until = models.DateTimeField(null=True, blank=True)

    objects = TargetCheckQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["profile", "target"], name="target_check_once"),
            models.CheckConstraint(
                condition=_one_of("health", ["healthy", "failing", "unknown"]), name="target_check_health_known"
            ),
        ]
        indexes = [
            models.Index(fields=["next_check_at"], name="target_check_due"),
            models.Index(fields=["-since"], name="target_check_failing", condition=Q(health="failing")),
            models.Index(fields=["host"], name="target_check_leased", condition=~Q(leased_until=None)),
        ]

    def __str__(self) -> str:
        return self.target


class Device(models.Model):
    """One phone in the hands of one organization: a claim begins the row, a release ends it.

    The columns from `state` on are written by `customization` alone.
    """

    # No index of its own: those below begin with it, and each one more is written with every change of state.
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="devices", db_index=False)
    mac = models.CharField("MAC", max_length=12, unique=True, help_text="Twelve upper-case hexadecimal digits.")
    model = models.CharField(max_length=40)
    serial = models.CharField(max_length=32, blank=True, default="")
    label = models.CharField(max_length=120, blank=True, default="", help_text="Whose phone it is, or where.")
    profile = models.ForeignKey(
        RedirectProfile, on_delete=models.PROTECT, null=True, blank=True, related_name="devices"
    )
    target = models.CharField(
        max_length=1024, blank=True, default="", help_text="A profile rule of its own, instead of the profile's."
    )
    valid_from = models.DateTimeField(null=True, blank=True, help_text="The onboarding window opens.")
    valid_until = models.DateTimeField(null=True, blank=True, help_text="The onboarding window closes.")
    proven = models.BooleanField(default=True, help_text="Claimed by its owner, not merely typed in on some phone.")
    claimed_at = models.DateTimeField()
    changed_at = models.DateTimeField(help_text="Last change of the registration or of the state.")

    state = models.CharField(max_length=14, default="open", choices=[(s, s.replace("_", " ").title()) for s in STATES])
    state_since = models.DateTimeField()
    stalled_at = models.DateTimeField(null=True, blank=True)
    last_seen = models.DateTimeField(null=True, blank=True)
    evidence_at = models.DateTimeField(null=True, blank=True)
    evidence_machine = models.CharField(max_length=120, blank=True, default="")
    evidence_sequence = models.BigIntegerField(default=0)
    resets = models.PositiveSmallIntegerField(default=0)
    resets_since = models.DateTimeField(null=True, blank=True)
    # Rows of the history that tell of what the phone did within the running hour: `observations.tell`.
    told = models.PositiveIntegerField(default=0, db_default=0)
    untold = models.PositiveIntegerField(default=0, db_default=0)
    told_since = models.DateTimeField(null=True, blank=True)
    revision = models.BigIntegerField(default=0, help_text="Counts the writes of the state: the guard of each.")

    objects = ProfileQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(mac=Upper("mac")), name="device_mac_upper"),
            models.CheckConstraint(condition=Exact(Length("mac"), 12), name="device_mac_length"),
            models.CheckConstraint(condition=_one_of("state", STATES), name="device_state_known"),
            models.CheckConstraint(
                condition=Q(valid_from=None) | Q(valid_until=None) | Q(valid_from__lt=F("valid_until")),
                name="device_window_forward",
            ),
        ]
        indexes = [
            # The lists of API and admin: one organization's phones, by MAC or by what changed last.
            models.Index(fields=["organization", "mac"], name="device_by_organization"),
            models.Index(fields=["organization", "state", "mac"], name="device_by_state"),
            models.Index(fields=["organization", "changed_at"], name="device_by_change"),
            models.Index(fields=["organization", "model", "mac"], name="device_by_model"),
            models.Index(fields=["organization", "serial", "mac"], name="device_by_serial"),
            # The end of either is what people read off a box. Indexes, and no table of ends: whatever writes a device
            # keeps them.
            models.Index("organization", Reverse("mac"), name="device_by_mac_end"),
            models.Index("organization", Reverse("serial"), name="device_by_serial_end"),
            models.Index(fields=["organization", "mac"], name="device_stalled", condition=~Q(stalled_at=None)),
            models.Index(fields=["state_since"], name="device_may_stall", condition=Q(state="custom_pending")),
            # Their number is limited for each profile.
            models.Index(fields=["profile"], name="device_unproven", condition=Q(proven=False)),
        ]

    def __str__(self) -> str:
        return self.mac


class StateChange(models.Model):
    """One row of a phone's history, append-only: what was seen, and what it did to the state.

    It outlives its device, so that a release takes nothing from the former owner's record: `device` is no enforced
    reference, and `organization` and `mac` stand in the row itself.
    """

    # Neither has an index of its own: those below begin with them.
    device = models.ForeignKey(
        Device, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="changes"
    )
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, db_index=False, related_name="+")
    mac = models.CharField("MAC", max_length=12)
    at = models.DateTimeField(help_text="When it happened.")
    recorded_at = models.DateTimeField(help_text="When it was written down.")
    event = models.CharField(max_length=24)
    before = models.CharField(max_length=14)
    after = models.CharField(max_length=14)
    inferred = models.BooleanField(default=False)
    refused = models.CharField(
        max_length=16, blank=True, default="", help_text="Why it moved nothing; empty if it did."
    )
    source = models.CharField(max_length=16)
    evidence = models.JSONField(default=dict)

    objects = TenantQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["device", "-id"], name="change_by_device"),
            models.Index(fields=["organization", "-id"], name="change_by_organization"),
            models.Index(fields=["recorded_at"], name="change_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.mac} {self.event}: {self.before} → {self.after}"


class UnsettledObservation(models.Model):
    """Evidence that is illegal so far and may become legal when what came before it arrives (settling time)."""

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="unsettled")
    event = models.CharField(max_length=24)
    at = models.DateTimeField()
    machine = models.CharField(max_length=120, blank=True, default="")
    sequence = models.BigIntegerField(default=0)
    source = models.CharField(max_length=16)
    hearsay = models.BooleanField(default=False)
    evidence = models.JSONField(default=dict)

    class Meta:
        indexes = [models.Index(fields=["at"], name="unsettled_by_age")]

    def __str__(self) -> str:
        return f"{self.device_id} {self.event}"


class Sighting(models.Model):
    """A MAC that asked although nobody registered it. Bounded: pruned by age, and by number beyond a limit."""

    mac = models.CharField("MAC", max_length=12, unique=True)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    count = models.PositiveBigIntegerField(default=1)
    model = models.CharField(max_length=40, blank=True, default="")
    serial = models.CharField(max_length=32, blank=True, default="")
    firmware = models.CharField(max_length=64, blank=True, default="")

    class Meta:
        indexes = [models.Index(fields=["last_at"], name="sighting_by_age")]

    def __str__(self) -> str:
        return self.mac


class ShortCode(models.Model):
    """Digits under which phones can have a profile, while they are enabled. A disabled row stays: its digits rest."""

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="short_codes")
    # Disabled rows let go of a profile that is deleted.
    profile = models.ForeignKey(
        RedirectProfile, on_delete=models.PROTECT, null=True, blank=True, related_name="short_codes"
    )
    code = models.CharField(max_length=16, help_text="3 to 16 digits, without the # that is typed before them.")
    enabled_at = models.DateTimeField()
    enabled_by = models.CharField(max_length=160)
    disabled_at = models.DateTimeField(null=True, blank=True)
    disabled_by = models.CharField(max_length=160, blank=True, default="")
    valid_until = models.DateTimeField(null=True, blank=True, help_text="It does not work from then on.")
    max_devices = models.PositiveIntegerField(
        null=True, blank=True, help_text="It does not work for further phones when so many have used it."
    )
    devices = models.PositiveIntegerField(default=0, help_text="Phones that became devices by it.")
    is_full = models.BooleanField(default=False, help_text="As many phones as may have used it.")
    last_used_at = models.DateTimeField(null=True, blank=True)

    objects = ProfileQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["code"], condition=Q(disabled_at=None), name="short_code_once"),
            models.CheckConstraint(
                condition=Q(profile__isnull=False) | Q(disabled_at__isnull=False), name="short_code_has_profile"
            ),
        ]
        indexes = [
            models.Index(fields=["organization", "-id"], name="short_code_by_owner"),
            models.Index(fields=["code"], name="short_code_by_digits"),
        ]

    def __str__(self) -> str:
        return f"#{self.code}"


class ShortCodeUse(models.Model):
    """How often phones used a short code on one day (UTC), and how many of them became devices by it."""

    short_code = models.ForeignKey(ShortCode, on_delete=models.CASCADE, related_name="uses")
    day = models.DateField()
    answers = models.PositiveIntegerField(default=0)
    devices = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["short_code", "day"], name="short_code_use_once")]

    def __str__(self) -> str:
        return f"{self.day}: {self.answers}"


class CodeGuessing(models.Model):
    """A network that tried so many short codes that a door slowed it down.

    One row for the operator (no organization), and one for each organization of whose codes it found one.
    """

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, null=True, related_name="+")
    network = models.CharField(max_length=50)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    times = models.PositiveIntegerField(default=1, help_text="How often a door reported it.")

    objects = TenantQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "code guessing"
        constraints = [
            models.UniqueConstraint(fields=["network", "organization"], name="code_guessing_once"),
            models.UniqueConstraint(fields=["network"], condition=Q(organization=None), name="code_guessing_seen_once"),
        ]
        indexes = [models.Index(fields=["last_at"], name="code_guessing_by_age")]

    def __str__(self) -> str:
        return self.network


class DeviceWord(models.Model):
    """A word of a device's label, for the search (`search` writes them). Octets compare alike on every database."""

    pk = models.CompositePrimaryKey("organization_id", "word", "device_id")
    organization = models.ForeignKey(
        Organization, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    word = models.BinaryField(max_length=240)
    device = models.ForeignKey(
        Device, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="words"
    )

    objects = TenantQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{bytes(self.word).decode()} of {self.device_id}"


class SavedFilter(models.Model):
    """A list as one person asked for it, under a name of their own."""

    user = models.ForeignKey("accounts.User", on_delete=models.CASCADE, db_index=False, related_name="+")
    name = models.CharField(max_length=40)
    query = models.CharField(max_length=500, help_text="The list's address after the question mark.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "name"], name="saved_filter_once")]

    def __str__(self) -> str:
        return self.name


class StateCount(models.Model):
    """How many devices of an organization were in a state when they were last counted (`figures`)."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, db_index=False, related_name="+")
    state = models.CharField(max_length=14)
    count = models.PositiveBigIntegerField()
    counted_at = models.DateTimeField()

    objects = TenantQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization", "state"], name="state_count_once")]

    def __str__(self) -> str:
        return f"{self.count} {self.state}"


class DailyMovement(models.Model):
    """How many phones came into a state on one day (UTC), and how many left it; claims and releases among them."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, db_index=False, related_name="+")
    day = models.DateField()
    state = models.CharField(max_length=14)
    came = models.PositiveBigIntegerField(default=0)
    left = models.PositiveBigIntegerField(default=0)

    objects = TenantQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization", "day", "state"], name="daily_movement_once")]
        indexes = [models.Index(fields=["day"], name="daily_movement_by_age")]

    def __str__(self) -> str:
        return f"{self.day} {self.state}: +{self.came} −{self.left}"


class DailyWait(models.Model):
    """How many phones took about so long, on one day (UTC), from their first question to their profile.

    `bucket` counts factors of `figures.STEP` above a second: a histogram, of which percentiles cost little.
    """

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, db_index=False, related_name="+")
    day = models.DateField()
    # A plain number, 0 for none: figures outlive their profile.
    profile_id = models.BigIntegerField()
    model = models.CharField(max_length=40)
    bucket = models.PositiveSmallIntegerField()
    count = models.PositiveBigIntegerField(default=0)

    objects = TenantQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "day", "profile_id", "model", "bucket"], name="daily_wait_once"
            )
        ]
        indexes = [models.Index(fields=["day"], name="daily_wait_by_age")]

    def __str__(self) -> str:
        return f"{self.day} {self.model}: {self.count}"


class FigureReading(models.Model):
    """How far the history was read for the figures: one row.

    `gaps` are [first, last] ids below `read_to` that were not there: of transactions that had not yet committed.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    read_to = models.BigIntegerField(default=0)
    gaps = models.JSONField(default=list)
    counted_at = models.DateTimeField(null=True, help_text="When the states were last counted.")
    count_seconds = models.FloatField(default=0.0, help_text="How long that took.")

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="figure_reading_is_one")]

    def __str__(self) -> str:
        return f"read to {self.read_to}"
