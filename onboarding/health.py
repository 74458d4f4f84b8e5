"""Health of targets: what a test found means, when a target counts as failing, and which target phones are given.

    healthy   the server answers as a phone needs it
    failing   three tests in a row failed; two good ones in a row end it
    unknown   not tested yet, or not to be told from here: a private network, a server that wants a phone's certificate

Only `failing` targets are passed over. What cannot be seen from here is never held against a target: providers' servers
often answer nobody but their own customers' phones.
Source: the seed, table 2 (phone behavior for HTTP responses): A success, B file not found, C other failure.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

FAILURES_IN_A_ROW, SUCCESSES_IN_A_ROW = 3, 2

# A certificate that ends within this is mentioned.
EXPIRES_SOON = timedelta(days=21)

_PERIOD_SECONDS = 3600
# After a first failure or a first success: soon again, to know.
_DOUBT = timedelta(minutes=1)
# While it fails, so that its recovery is seen soon; after two hours of that, once an hour as all others.
_FAILING_PERIOD, _FAILURES_WATCHED = timedelta(minutes=5), 24


class Health(StrEnum):
    """Where a target stands."""

    HEALTHY = "healthy"
    FAILING = "failing"
    UNKNOWN = "unknown"


# What a test can find, and what each finding means by itself.
FINDINGS: dict[str, tuple[Health, str]] = {
    "answers": (Health.HEALTHY, "Answers with a file for the example phone."),
    "no_example_file": (Health.HEALTHY, "Answers, but has no file for the example phone."),
    "asks_for_credentials": (
        Health.HEALTHY, "Answers, and asks for a user name and password, which the test does not send.",
    ),
    "expects_post": (Health.HEALTHY, "Answers, and takes only POST, as the rule has it."),
    "expires_soon": (Health.HEALTHY, "Its certificate expires soon."),
    "web_page": (Health.HEALTHY, "What it gives is a web page, which phones take for a corrupt profile."),
    "unknown_issuer": (
        Health.UNKNOWN,
        "Its certificate cannot be verified from here: the issuer is unknown, or an intermediate certificate is "
        "missing. Phones trust their maker's authorities and the profile's Custom_CA_Rule.",
    ),
    "wants_certificate": (
        Health.UNKNOWN, "Wants the phone's own certificate, so more cannot be tested from here.",
    ),
    "refuses_example": (
        Health.UNKNOWN,
        "Answers, but refuses the example phone (status {status}). Phones that it knows may fare better; others give "
        "up and try later.",
    ),
    "private_network": (Health.UNKNOWN, "Lies in a private network, which is not tested from here."),
    "depends_on_phone": (Health.UNKNOWN, "Where it leads depends on the phone and its network; not tested from here."),
    "by_srv": (Health.UNKNOWN, "Phones find its servers by DNS SRV (--srv), which is not tested from here."),
    "tftp_silent": (
        Health.UNKNOWN, "Does not answer by TFTP, which many networks let nobody use from outside.",
    ),
    "untestable": (Health.UNKNOWN, "Cannot be tested."),
    "name_unknown": (Health.FAILING, "Its name cannot be resolved."),
    "refused": (Health.FAILING, "Refuses the connection."),
    "unreachable": (Health.FAILING, "Cannot be reached."),
    "timed_out": (Health.FAILING, "Does not answer in time."),
    "no_http": (Health.FAILING, "Ends the connection without an answer, or what it answers is not HTTP."),
    "tls_failed": (Health.FAILING, "Offers no TLS that could be agreed on."),
    "certificate_expired": (Health.FAILING, "Its certificate has expired, so phones refuse it."),
    "certificate_not_yet_valid": (Health.FAILING, "Its certificate is not valid yet, so phones refuse it."),
    "certificate_wrong_name": (Health.FAILING, "Its certificate is for another name, so phones refuse it."),
    "server_error": (
        Health.FAILING, "Answers with an error of its own (status {status}); phones give up and try later.",
    ),
    "odd_redirect": (Health.FAILING, "Answers with status {status}; phones follow 301 and 302 only."),
    "bad_redirect": (Health.FAILING, "Redirects to nowhere, to what phones cannot follow, or in a circle."),
}  # fmt: skip

# Findings of tests that met nobody.
_NOTHING_SEEN = frozenset(
    {
        "name_unknown", "private_network", "depends_on_phone", "by_srv", "untestable", "tftp_silent", "unreachable",
        "timed_out",
    }
)  # fmt: skip

# What a name that never answered from here may be: one of the provider's own network.
_NAME_MAY_BE_INTERNAL = (
    "Its name cannot be resolved from here. If only your own network knows it, all is well; otherwise correct it."
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What one test found, worst first decides. `status` is the last HTTP status, 0 where there was none."""

    findings: tuple[str, ...]
    status: int = 0
    certificate_expires_at: datetime | None = None

    def health(self, *, seen_before: bool) -> Health:
        """What the test says of the target. A name is missed only where it was once seen to lead somewhere."""
        healths = {FINDINGS[finding][0] for finding in self.findings}
        if self.findings == ("name_unknown",) and not seen_before:
            return Health.UNKNOWN
        return next((health for health in (Health.FAILING, Health.UNKNOWN) if health in healths), Health.HEALTHY)

    @property
    def saw_something(self) -> bool:
        """Whether anything at the target's address reacted."""
        return self.status > 0 or self.findings[0] not in _NOTHING_SEEN


def of_status(status: int, *, posts: bool = False) -> str:
    """What phones make of an HTTP status, as a finding. Not for 301 and 302, which they follow."""
    if status == 404:
        return "no_example_file"
    if status in {401, 407}:
        return "asks_for_credentials"
    if status == 405 and posts:
        return "expects_post"
    # 1xx never ends an exchange; what is beyond the table is no success.
    return {2: "answers", 3: "odd_redirect", 4: "refuses_example"}.get(status // 100, "server_error")


def words(findings: Sequence[str], *, status: int = 0, failing: bool = True) -> str:
    """The findings as sentences for the target's owner. `failing` is False for what does not count against it."""
    if tuple(findings) == ("name_unknown",) and not failing:
        return _NAME_MAY_BE_INTERNAL
    return " ".join(FINDINGS[finding][1].format(status=status) for finding in findings if finding in FINDINGS)


class Standing(NamedTuple):
    """A target's health with the tests in a row that speak against it or for it."""

    health: str = Health.UNKNOWN
    failures: int = 0
    successes: int = 0


def after(standing: Standing, found: Health) -> Standing:
    """The standing after one more test: three failures in a row make it failing, two others in a row end that."""
    if found == Health.FAILING:
        failures = min(standing.failures + 1, 32_000)
        fails = standing.health == Health.FAILING or failures >= FAILURES_IN_A_ROW
        return Standing(Health.FAILING if fails else standing.health, failures, 0)
    successes = min(standing.successes + 1, 32_000)
    if standing.health == Health.FAILING and successes < SUCCESSES_IN_A_ROW:
        return Standing(Health.FAILING, standing.failures, successes)
    return Standing(found, 0, successes)


def next_test(standing: Standing, *, number: int, at: datetime) -> datetime:
    """When to test again: hourly, at a place in the hour that `number` decides, and sooner while it is in doubt."""
    in_doubt = standing.failures > 0 and (standing.health != Health.FAILING or standing.successes > 0)
    if in_doubt:
        return at + _DOUBT
    if standing.health == Health.FAILING and standing.failures < _FAILURES_WATCHED:
        return at + _FAILING_PERIOD
    # Multiplied by a large odd number: neighbours in the table stand far apart in the hour.
    place = number * 2_654_435_761 % _PERIOD_SECONDS
    soonest = int(at.timestamp()) + _PERIOD_SECONDS // 2
    return datetime.fromtimestamp(soonest + (place - soonest) % _PERIOD_SECONDS, UTC)


def in_order(targets: Sequence[str], failing: Collection[str]) -> list[str]:
    """The targets in the order in which phones are given them, which is the first only: the failing ones last.

    With none healthy the order is the owner's, so that the first is given.
    """
    if not failing:
        return list(targets)
    return [text for text in targets if text not in failing] + [text for text in targets if text in failing]
