"""VirtualPhone: what a phone does from power-on until it has its provider's profile.

1. Acquired or Aborted: resync to the stored profile rule; the EDOS server is never asked.
2. Otherwise DHCP first. If it names a provisioning server and that profile can be downloaded: Aborted.
3. Then DNS SRV (nothing here), then EDOS. Asking makes it Pending. An empty answer: Unavailable. An answer with a
   profile rule: Custom Pending, and a resync. As soon as Profile_Rule was downloaded: Acquired.
4. A phone that nobody provisioned, or whose rule is gds://, shows its activation screen. A code typed there is asked
   with in the same way; one that is refused changes nothing.

A resync runs Profile_Rule, Profile_Rule_B, _C and _D in sequence. Each is read when its turn comes, so a profile just
downloaded may change or empty those after it. The first that fails stops the sequence, which starts again after
Resync_Error_Retry_Delay. Source: the seed, "DNS SRV for HTTP Provisioning" (the order) and "Remote Customization".
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from virtualphone import activation, delays, downloads, edos, flash, macros, profile, rules, wire
from virtualphone.downloads import Download
from virtualphone.identity import Identity
from virtualphone.outcomes import Failure, Outcome, Step
from virtualphone.states import State
from virtualphone.statuses import Reaction

# $PRVST: why the phone resyncs.
_AT_POWER_UP, _AFTER_FAILURE, _BY_HAND = "0", "2", "-1"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What surrounds the phone, and how far the experiment goes.

    `dhcp` is the rule or URL that the local network names, if any. A real phone tries again for ever; `max_retries`
    lets it end, and `retry_scale` shortens every wait. `loses_answer`: the first answer to the query never arrives.
    """

    dhcp: str = ""
    max_retries: int = 3
    retry_scale: float = 1.0
    reports: bool = True
    loses_answer: bool = False


class NoActivationScreen(Exception):
    """The phone has its provisioning server, or is about to ask it: there is nowhere to type a code."""

    def __init__(self, state: State) -> None:
        super().__init__(
            f"the phone is {state.label} and does not show its activation screen; a factory reset brings it back, "
            "as does a profile rule gds://."
        )


class VirtualPhone:
    """A phone. It belongs to one thread."""

    def __init__(
        self,
        identity: Identity,
        service: edos.Service,
        *,
        memory: flash.Flash | None = None,
        transport: wire.Transport | None = None,
        circumstances: Circumstances | None = None,
        on_step: Callable[[Step], None] = lambda step: None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.identity = identity
        self.service = service
        self._flash = memory or flash.VolatileFlash()
        self._contents = self._flash.read()
        self._wire = transport or wire.Wire()
        self._around = circumstances or Circumstances()
        self._on_step = on_step
        self._clock = clock
        self._sleep = sleep
        self._moved: dict[str, str] = {}
        self._last_url = ""
        self._failures: list[Failure] = []
        self._queries: list[Download] = []

    @property
    def state(self) -> State:
        return self._contents.state

    @property
    def parameters(self) -> Mapping[str, str]:
        """What profiles have set so far."""
        return self._contents.parameters

    @property
    def token(self) -> str:
        """What proves to the service that this phone had its answer; empty if it never got one."""
        return self._contents.token

    @property
    def shows_activation_screen(self) -> bool:
        """A phone that nobody has provisioned offers it; one whose profile rule comes to gds:// does, too."""
        if self.state in {State.OPEN, State.PENDING, State.UNAVAILABLE}:
            return True
        try:
            target = self._evaluated(self.parameters.get("Profile_Rule", ""), _BY_HAND)
        except rules.InvalidRule:
            return False
        return target is not None and target.scheme.lower() == "gds"

    def close(self) -> None:
        """Unplug the network cable."""
        self._wire.close()

    def power_on(self) -> Outcome:
        """Boot, and end when the phone would be idle or has given up."""
        self._wake()
        self._tell("power on", f"{self.identity.model} {self.identity.mac}, {self.identity.firmware}")
        if self.state.is_provisioned:
            return self._ended(self._resync(_AT_POWER_UP))
        if self._provision_by_dhcp():
            return self._ended(None)
        self._tell("DNS SRV", "nothing")
        failure = self._ask(self.service.query(self.identity))
        if failure is None and self.state is State.CUSTOM_PENDING:
            failure = self._resync(_AT_POWER_UP)
        return self._ended(failure)

    def provision_by_hand(self, rule: str) -> Outcome:
        """A person types a profile rule on the keypad or the web page, before the phone asks anybody."""
        self._wake()
        self._tell("by hand", f"Profile_Rule {rule}")
        self._store({"Profile_Rule": rule})
        if rule.strip().lower().startswith("gds://"):
            # Choosing the activation screen does not provision anything yet.
            return self._ended(self._resync(_BY_HAND))
        if not self.state.is_provisioned:
            self._become(State.ABORTED, "by hand", "provisioned by a person: EDOS is not asked until a factory reset")
        self._report(edos.MANUALLY_PROVISIONED)
        return self._ended(self._resync(_BY_HAND))

    def activate(self, *entries: activation.Entry) -> Outcome:
        """A person types a code at the activation screen, and the next one while the screen says that it is invalid.

        Raises NoActivationScreen.
        """
        self._wake()
        if not self.shows_activation_screen:
            raise NoActivationScreen(self.state)
        failure: Failure | None = None
        for entry in entries:
            self._tell("screen", f"a person types {entry}")
            failure = self._ask(entry.question(self.service, self.identity), entry)
            if failure:
                self._tell("screen", f"“{activation.message(failure)}”", is_problem=True)
            if failure is None or failure.kind != activation.REFUSED:
                break
        if failure is None and self.state is State.CUSTOM_PENDING:
            failure = self._resync(_BY_HAND)
        return self._ended(failure)

    def factory_reset(self) -> None:
        """Forget everything. The report goes out first, with the token that is about to be forgotten."""
        self._wake()
        if self.token:
            self._report(edos.FACTORY_RESET)
        self._contents = flash.Contents()
        self._flash.write(self._contents)
        self._tell("reset", "factory settings: everything is forgotten")

    # Sources, in the phone's order.

    def _provision_by_dhcp(self) -> bool:
        """Whether DHCP named a provisioning server whose profile could be downloaded. Only that counts."""
        if not self._around.dhcp:
            self._tell("DHCP", "nothing")
            return False
        self._tell("DHCP", f"provisioning server: {self._around.dhcp}")
        keep = {"Profile_Rule": self._around.dhcp}
        self._run("DHCP", self._around.dhcp, _AT_POWER_UP, then=State.ABORTED, keep=keep)
        # The state says it, not the lack of a failure: a rule of which no alternative holds does not fail either.
        if self.state is not State.ABORTED:
            return False
        self._report(edos.DHCP_PROVISIONED)
        return True

    def _ask(self, question: edos.Question, entry: activation.Entry | None = None) -> Failure | None:
        """Ask until there is an answer, or patience ends. A code that was refused leaves the phone as it was."""
        before = self.state
        for failures in range(1, self._around.max_retries + 2):
            failure = self._ask_once(question, entry, is_first=failures == 1)
            if failure and failure.needs_person:
                self._store({}, state=before)
                return self._note(failure, question.what)
            if failure is None or failures > self._around.max_retries:
                return failure
            self._wait(failure, failures)
        raise AssertionError("unreachable")

    def _ask_once(self, question: edos.Question, entry: activation.Entry | None, *, is_first: bool) -> Failure | None:
        self._become(State.PENDING, question.what, f"{question.method} {question.url}")
        download = self._fetch(question.url, post=question.post, content_type=question.content_type)
        if is_first and self._around.loses_answer:
            # The server has answered and recorded it; the phone sees nothing of it.
            download = Download(Reaction.FAILURE, "timeout", "the answer was lost", seconds=download.seconds)
        self._queries.append(download)
        self._tell_hops(question.what, download)
        if entry and (refusal := activation.refusal(entry, download)):
            return refusal
        if not download.succeeded:
            return self._failed(question.what, download)
        timed = f"{download.kind} in {download.seconds * 1000:.0f} ms"
        if not download.body.strip():
            self._become(State.UNAVAILABLE, question.what, f"{timed}, empty: no provider for this phone")
            return None
        try:
            answer = profile.parse(download.body)
        except profile.CorruptProfile as error:
            return self._corrupt(question.what, str(error))
        if not answer.get("Profile_Rule"):
            return self._corrupt(question.what, "without a Profile_Rule")
        self._store(answer, token=self._token_in(answer), state=State.CUSTOM_PENDING)
        self._tell(question.what, f"{timed}: Profile_Rule {answer['Profile_Rule']}")
        return None

    def _token_in(self, answer: Mapping[str, str]) -> str:
        """The token of the beacon that an answer carries, else the one from before."""
        return edos.token_of(answer.get("Profile_Rule_B", "")) or self.token

    # Resync.

    def _resync(self, reason: str) -> Failure | None:
        """Run all profile rules until they succeed, or patience ends."""
        if not any(self.parameters.get(name, "").strip() for name in rules.NAMES):
            self._tell("resync", "no profile rule: nothing to do")
            return None
        for failures in range(1, self._around.max_retries + 2):
            failure = self._run_all(reason)
            if failure is None or failure.needs_person:
                return failure
            self._report(edos.RESYNC_FAILED)
            if failures > self._around.max_retries:
                return failure
            self._wait(failure, failures)
            reason = _AFTER_FAILURE
        raise AssertionError("unreachable")

    def _run_all(self, reason: str) -> Failure | None:
        for name in rules.NAMES:
            text = self.parameters.get(name, "")
            if not text.strip():
                continue
            wins = name == "Profile_Rule" and self.state is State.CUSTOM_PENDING
            failure = self._run(name, text, reason, then=State.ACQUIRED if wins else None)
            if failure:
                return failure
        return None

    def _run(
        self, name: str, text: str, reason: str, *, then: State | None = None, keep: Mapping[str, str] | None = None
    ) -> Failure | None:
        """Evaluate one rule and follow it. With its profile the phone stores `keep` and goes to the state `then`."""
        shown = "beacon" if self.token and edos.token_of(text) == self.token else name
        try:
            target = self._evaluated(text, reason)
        except rules.InvalidRule as error:
            return self._note(Failure(name, "invalid rule", detail=str(error)), shown)
        if target is None:
            self._tell(shown, "no alternative holds: skipped")
            return None
        if target.assignments:
            self._store(target.assignments)
            self._tell(shown, f"sets {', '.join(target.assignments)}")
        if not target.url:
            return None
        if target.scheme.lower() == "gds":
            self._tell(shown, "gds:// shows the activation screen: enter the activation code")
            return Failure(name, "activation code needed", needs_person=True)
        return self._download(name, shown, target, reason, then=then, keep=keep or {})

    def _evaluated(self, text: str, reason: str) -> rules.Target | None:
        return rules.evaluate(text, self._values(reason), macros.secrets(self.parameters))

    def _values(self, reason: str) -> dict[str, str]:
        return {
            **macros.of_phone(self.identity, self.parameters),
            **macros.of_request(self._last_url),
            "PRVST": reason,
            "ERR": self._failures[-1].kind if self._failures else "",
        }

    def _download(
        self,
        name: str,
        shown: str,
        target: rules.Target,
        reason: str,
        *,
        then: State | None,
        keep: Mapping[str, str],
    ) -> Failure | None:
        post = target.options.get("post")
        body = None
        if post is not None:
            body = macros.expand(self.parameters.get(f"GPP_{post}", ""), self._values(reason)).encode()
        self._tell(shown, f"{'GET' if body is None else 'POST'} {target.url}")
        download = self._fetch(target.url, login=target.login, post=body)
        self._tell_hops(shown, download)
        if not download.succeeded:
            return self._failed(name, download, shown)
        try:
            found = profile.parse(download.body)
        except profile.CorruptProfile as error:
            return self._corrupt(name, str(error), shown)
        self._store({**keep, **found}, state=then)
        self._tell(shown, f"{download.kind} in {download.seconds * 1000:.0f} ms, class A: {_count(found)}")
        return None

    def _fetch(
        self, url: str, *, login: tuple[str, str] | None = None, post: bytes | None = None, content_type: str = ""
    ) -> Download:
        self._last_url = url
        return downloads.fetch(
            self._wire,
            url,
            user_agent=self.identity.user_agent,
            moved=self._moved,
            login=login,
            post=post,
            content_type=content_type,
        )

    def _report(self, event: str) -> None:
        """Tell the service. Nothing that the phone does depends on whether it listened."""
        if not self._around.reports:
            return
        url = self.service.report_url(self.identity, event, self.token)
        download = downloads.fetch(self._wire, url, user_agent=self.identity.user_agent, moved={}, post=b"")
        self._tell("report", f"{event}: {download.kind}{'' if self.token else ', without a token'}")

    # What is remembered, and what is told.

    def _wake(self) -> None:
        self._moved, self._last_url, self._failures, self._queries = {}, "", [], []

    def _ended(self, failure: Failure | None) -> Outcome:
        return Outcome(self.state, failure, tuple(self._failures), tuple(self._queries))

    def _store(self, parameters: Mapping[str, str], *, token: str = "", state: State | None = None) -> None:
        """Change the memory in one write, so that a profile and the state it leads to are never apart."""
        self._contents = replace(
            self._contents,
            state=state or self.state,
            parameters={**self.parameters, **parameters},
            token=token or self.token,
        )
        self._flash.write(self._contents)

    def _become(self, state: State, what: str, detail: str) -> None:
        if state is not self.state:
            self._store({}, state=state)
        self._tell(what, detail)

    def _tell(self, what: str, detail: str, *, is_problem: bool = False) -> None:
        self._on_step(Step(self._clock(), what, detail, self.state, is_problem))

    def _tell_hops(self, what: str, download: Download) -> None:
        for hop in download.hops:
            self._tell(what, hop)

    def _failed(self, name: str, download: Download, shown: str = "") -> Failure:
        # Retry-After is between the phone and the service: for a resync the seed's table names its own delay.
        retry_after = download.retry_after if name in {"EDOS", activation.ACTIVATION, activation.SHORT_CODE} else ""
        failure = Failure(name, download.kind, download.reaction, download.detail, retry_after)
        return self._note(failure, shown or name)

    def _corrupt(self, name: str, detail: str, shown: str = "") -> Failure:
        return self._note(Failure(name, "corrupt profile", Reaction.NOT_FOUND, detail), shown or name)

    def _note(self, failure: Failure, shown: str) -> Failure:
        self._failures.append(failure)
        detail = f": {failure.detail}" if failure.detail else ""
        self._tell(shown, f"{failure.kind}, class {failure.reaction}{detail}", is_problem=True)
        return failure

    def _wait(self, failure: Failure, failures: int) -> None:
        asked = delays.asked_by_server(failure.retry_after, self._clock()) if failure.retry_after else None
        seconds = delays.after_failure(self.parameters, failures) if asked is None else asked
        source = "Resync_Error_Retry_Delay" if asked is None else "Retry-After"
        scaled = seconds * self._around.retry_scale
        shortened = "" if scaled == seconds else f", scaled to {scaled:g} s"
        self._tell("wait", f"{seconds:g} s ({source}){shortened}")
        self._sleep(scaled)


def _count(parameters: Mapping[str, str]) -> str:
    return "1 parameter" if len(parameters) == 1 else f"{len(parameters)} parameters"
