"""Everything that is printed: colored and live on a terminal, plain text in a pipe.

NO_COLOR is honored (https://no-color.org).
"""

import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TextIO

from virtualphone import charts
from virtualphone.flash import Contents
from virtualphone.identity import Identity
from virtualphone.outcomes import Step
from virtualphone.provider import Request
from virtualphone.states import State
from virtualphone.swarm import Result

_RED, _GREEN, _YELLOW, _BLUE, _MAGENTA, _CYAN = range(31, 37)
_BOLD, _DIM = 1, 2
_COLORS = {
    State.OPEN: _BLUE,
    State.PENDING: _YELLOW,
    State.CUSTOM_PENDING: _CYAN,
    State.ACQUIRED: _GREEN,
    State.UNAVAILABLE: _RED,
    State.ABORTED: _MAGENTA,
}
_STATE_WIDTH = max(len(state.label) for state in State)
_WHAT_WIDTH = len("Profile_Rule_B")
# Values that `show` keeps to itself: passwords, the secret general purpose parameters, the profile key.
_SECRET_NAMES = ("password", "pwd", "gpp_s", "ikm", "secret")


class Terminal:
    """One output stream. Lines may come from several threads."""

    def __init__(self, stream: TextIO, environment: Mapping[str, str] = os.environ) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._shown: State | None = None
        self.is_live = stream.isatty() and environment.get("TERM") != "dumb"
        self._has_color = self.is_live and not environment.get("NO_COLOR")

    def line(self, text: str = "") -> None:
        with self._lock:
            print(text, file=self._stream, flush=True)

    def step(self, step: Step) -> None:
        """One step of a phone. The state stands out on the line on which it changes."""
        changed = step.state is not self._shown
        self._shown = step.state
        state = self._paint(f"● {step.state.label:<{_STATE_WIDTH}}", _COLORS[step.state], _BOLD if changed else _DIM)
        what = self._paint(f"{step.what:<{_WHAT_WIDTH}}", _BOLD)
        told = _printable(step.detail)
        detail = self._paint(f"✗ {told}", _RED) if step.is_problem else told
        self.line(f"{self._paint(f'{step.at.astimezone():%H:%M:%S}', _DIM)}  {state}  {what}  {detail}")

    def verdict(self, sentence: str, *, is_good: bool) -> None:
        mark, color = ("✓", _GREEN) if is_good else ("✗", _RED)
        self.line(f"\n{self._paint(f'{mark} {sentence}', color, _BOLD)}")

    def memory(self, identity: Identity, service_url: str, contents: Contents) -> None:
        """What a phone knows about itself."""
        facts = {
            "MAC": identity.mac,
            "model": identity.model,
            "serial": identity.serial or "none",
            "firmware": identity.firmware,
            "User-Agent": identity.user_agent,
            "service": service_url,
            "token": "known" if contents.token else "none",
        }
        self.line(self._state(contents.state))
        self._table(facts)
        if contents.parameters:
            self.line("\nparameters")
            self._table({name: _discreet(name, value) for name, value in contents.parameters.items()})

    def phones(self, listed: Sequence[tuple[Identity, State]]) -> None:
        for identity, state in listed:
            self.line(f"{identity.mac}  {self._state(state)}  {identity.model}")

    def request(self, request: Request) -> None:
        """One line of the sample provider's log."""
        color = {2: _GREEN, 0: _YELLOW}.get(request.status // 100, _RED)
        status = self._paint(str(request.status) if request.status else "---", color)
        answer = f"{request.sent_bytes} bytes" if request.status else "left hanging"
        # What a client sent is printed without its control characters: they could repaint the terminal.
        path, agent = (_printable(text) for text in (request.path, request.user_agent))
        now = self._paint(time.strftime("%H:%M:%S"), _DIM)
        self.line(f"{now}  {status}  {request.method} {path}  {answer}  {self._paint(agent, _DIM)}")

    def progress(self, result: Result, phones: int) -> None:
        """The live line of a swarm; nothing in a pipe."""
        if not self.is_live:
            return
        done = charts.bar(result.phones, phones, 24)
        rate = result.phones / result.seconds if result.seconds else 0.0
        states = "  ".join(
            self._paint(f"{state.label} {result.states[state]}", _COLORS[state])
            for state in State
            if result.states[state]
        )
        text = f"{self._paint(f'{done:<24}', _GREEN)} {result.phones}/{phones}  {rate:.0f}/s  {states}"
        with self._lock:
            print(f"\r\x1b[2K{text}", end="", file=self._stream, flush=True)

    def end_progress(self) -> None:
        if self.is_live:
            with self._lock:
                print("\r\x1b[2K", end="", file=self._stream, flush=True)

    def swarm(self, result: Result) -> None:
        """What became of a swarm."""
        rate = result.phones / result.seconds if result.seconds else 0.0
        self.line(self._paint(f"{result.phones} phones in {result.seconds:.1f} s, {rate:.0f} a second", _BOLD))
        self.line("\ncustomization state")
        states = [state for state in State if result.states[state]]
        for state, row in zip(
            states, charts.rows([(state.label, result.states[state]) for state in states]), strict=True
        ):
            self.line(f"  {self._paint(row, _COLORS[state])}")
        if result.answer_seconds:
            self._answer_times(result)
        if result.errors:
            self.line("\nerrors on the way")
            for (where, kind), count in result.errors.most_common():
                self.line(f"  {self._paint(f'{count:>6}', _RED)}  {where}: {kind}")

    def _answer_times(self, result: Result) -> None:
        marks = {"p50": 50, "p95": 95, "p99": 99, "max": 100}
        told = "   ".join(f"{name} {charts.milliseconds(result.percentile(at))}" for name, at in marks.items())
        self.line(f"\nanswer time of the query   {told}")
        longest = 0.0
        named = []
        for end, count in result.histogram():
            shown = f"< {end * 1000:g} ms" if end < 1 else f"< {end:g} s"
            named.append((shown if end != float("inf") else f"≥ {longest:g} s", count))
            longest = end
        for row in charts.rows(named):
            self.line(f"  {row}")

    def _state(self, state: State) -> str:
        return self._paint(f"● {state.label:<{_STATE_WIDTH}}", _COLORS[state], _BOLD)

    def _table(self, facts: Mapping[str, str]) -> None:
        width = max(len(name) for name in facts)
        for name, value in facts.items():
            self.line(f"  {self._paint(f'{name:<{width}}', _DIM)}  {_printable(value)}")

    def _paint(self, text: str, *codes: int) -> str:
        return f"\x1b[{';'.join(map(str, codes))}m{text}\x1b[0m" if self._has_color else text


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


def _discreet(name: str, value: str) -> str:
    return "(set)" if value and any(word in name.lower() for word in _SECRET_NAMES) else value
