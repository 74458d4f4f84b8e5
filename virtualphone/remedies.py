"""One sentence for whoever stands before the phone: how its start ended, and what to do if that was not the aim."""

from virtualphone import activation
from virtualphone.outcomes import Failure, Outcome
from virtualphone.states import State
from virtualphone.statuses import Reaction

_CALM = {
    State.OPEN: "Open: the phone has not asked anybody. Switch it on.",
    State.PENDING: "Pending: the phone has asked and has no answer.",
    State.CUSTOM_PENDING: "Custom Pending: the phone knows its profile rule and does not have the profile yet.",
    State.ACQUIRED: "Acquired: the phone has its provider's profile.",
    State.UNAVAILABLE: "Unavailable: the service has no provider for this phone. Register its MAC and model with a "
    "provider and a profile and switch it on again, or type a code at its screen with `activate`.",
    State.ABORTED: "Aborted: DHCP or a person provisioned the phone first. Only a factory reset makes it ask the "
    "service again.",
}
_BY_KIND = {
    "timeout": "Look at the server's load and the network between, or raise --timeout.",
    "connection refused": "Start the server, or correct the address.",
    "name not found": "Correct the server's name, or this machine's resolver.",
    "TLS failed": "The server's certificate is not trusted: give its authority with --ca FILE.",
    "scheme not supported": "The virtual phone speaks http and https only: change the profile rule.",
    "bad URL": "Correct the URL in the profile rule.",
    "invalid rule": "Correct the profile rule.",
    "corrupt profile": "The server must answer with a <flat-profile>.",
    "activation code needed": "The phone shows its activation screen and waits for a code: type it with `activate`.",
    activation.REFUSED: "Compare the digits with the label, or ask the provider for a new code. A short code begins "
    "with #, an activation code has 16 digits.",
    activation.NOT_TRIED: "Wait, then type the code again; the provider can lift the limit at once.",
    "HTTP 401": "Give the user and password in the rule: [--uid U --pwd P].",
    "HTTP 404": "The server has no such file: put it there, or correct the profile rule.",
    "HTTP 503": "The server is overloaded or not ready: try again later.",
}

_ASKED = {
    "EDOS": "the EDOS query",
    activation.ACTIVATION: "the activation",
    activation.SHORT_CODE: "the activation with a short code",
}


def sentence(outcome: Outcome) -> str:
    """How it ended and what to do."""
    if outcome.failure is None:
        return _CALM[outcome.state]
    return f"{outcome.state.label}: {_where(outcome.failure)}. {_what_to_do(outcome.failure)}"


def _where(failure: Failure) -> str:
    detail = f", {failure.detail}" if failure.detail else ""
    if failure.kind in {activation.REFUSED, activation.NOT_TRIED}:
        return f"the screen says “{activation.message(failure)}” ({failure.what}{detail})"
    if failure.needs_person:
        return f"{failure.what} asks for an activation code"
    asked = _ASKED.get(failure.what, f"the resync to {failure.what}")
    return f"{asked} failed ({failure.kind}{detail})"


def _what_to_do(failure: Failure) -> str:
    if failure.kind in _BY_KIND:
        return _BY_KIND[failure.kind]
    if failure.reaction is Reaction.FAILURE and failure.kind.startswith("HTTP"):
        return "The server refused or broke down: its log says why."
    return "Check the server and the network between."
