"""What each command does, and its exit status."""

import json
import random
import ssl
import sys
from argparse import Namespace
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from virtualphone import activation, flash, identity, manufacturer, remedies, wire
from virtualphone import provider as providers
from virtualphone import swarm as swarms
from virtualphone.edos import Service
from virtualphone.outcomes import Outcome
from virtualphone.phone import Circumstances, NoActivationScreen, VirtualPhone
from virtualphone.states import State
from virtualphone.terminal import Terminal

# A phone whose failure is one of these has not got what it came for.
_WHAT_COUNTS = frozenset({"EDOS", "Profile_Rule", activation.ACTIVATION, activation.SHORT_CODE})


class Refused(Exception):
    """A command cannot be done; the text says why and what to do."""


def boot(options: Namespace) -> int:
    """A phone with these names, on whatever its flash remembers."""
    me = identity.Identity.parse(options.mac, options.model, options.serial, options.firmware)
    memory = flash.FlashFile(flash.path_of(options.memory, me.mac), me, _service(options))
    with _wire(options) as transport:
        terminal = Terminal(sys.stdout)
        phone = _phone(memory, options, transport, terminal)
        outcome = phone.power_on() if options.manual is None else phone.provision_by_hand(options.manual)
        return _verdict(terminal, outcome, options.expect)


def reboot(options: Namespace) -> int:
    """A phone that was booted before."""
    memory = _known(options)
    with _wire(options) as transport:
        terminal = Terminal(sys.stdout)
        return _verdict(terminal, _phone(memory, options, transport, terminal).power_on(), options.expect)


def activate(options: Namespace) -> int:
    """Type a code, with the slips before it. A phone out of the box is switched on first, as by its user."""
    code: activation.Entry = options.code
    rng = random.Random(options.seed)
    memory = _new_or_known(options)
    with _wire(options) as transport:
        terminal = Terminal(sys.stdout)
        phone = _phone(memory, options, transport, terminal)
        if options.boots and phone.state is State.OPEN:
            outcome = phone.power_on()
            if not phone.shows_activation_screen:
                terminal.line("\nThe phone was provisioned without a code; its activation screen never came up.")
                return _verdict(terminal, outcome, options.expect)
        try:
            outcome = phone.activate(*[code.mistyped(slip, rng) for slip in options.slip], code)
        except NoActivationScreen as error:
            raise Refused(str(error)) from error
        return _verdict(terminal, outcome, options.expect)


def factory_reset(options: Namespace) -> int:
    """Wipe, then boot unless told otherwise."""
    memory = _known(options)
    with _wire(options) as transport:
        terminal = Terminal(sys.stdout)
        phone = _phone(memory, options, transport, terminal)
        phone.factory_reset()
        if options.boots:
            return _verdict(terminal, phone.power_on(), options.expect)
    return 0 if options.expect in {None, State.OPEN} else 1


def show(options: Namespace) -> int:
    """One phone, or the list of all."""
    terminal = Terminal(sys.stdout)
    if options.mac:
        memory = _known(options)
        terminal.memory(memory.identity, memory.service.base, memory.read())
        return 0
    macs = sorted(path.stem for path in options.memory.glob("*.json") if not path.name.startswith("."))
    found = [known for mac in macs if (known := flash.find(options.memory, mac))]
    if not found:
        raise Refused(f"no phone in {options.memory} yet; boot one first.")
    terminal.phones([(known.identity, known.read().state) for known in found])
    return 0


def certificate(options: Namespace) -> int:
    """Make a certificate, and the authority before it if there is none yet."""
    me = identity.Identity.parse(options.mac, options.model, options.serial, options.firmware)
    authority = manufacturer.load_or_make(options.to, "authority")
    ends = datetime.now(UTC) + timedelta(days=options.days)
    made = authority.issue_phone(
        options.layout, mac=me.mac, model=me.model, serial=me.serial or "FCH00000000", ends=ends, sha1=options.sha1
    )
    made.save(options.to, me.mac)
    terminal = Terminal(sys.stdout)
    terminal.line(f"{options.to / me.mac}.pem names {me.mac}, until {ends:%Y-%m-%d}.")
    terminal.line(f"Its authority is {options.to / 'authority.pem'}: load it with manage.py trust add.")
    return 0


def provider(options: Namespace) -> int:
    """Serve until interrupted."""
    terminal = Terminal(sys.stdout)
    server = providers.SampleProvider(
        options.host,
        options.port,
        fault=options.fail,
        fail_first=options.fail_first,
        login=(options.user, options.password) if options.user else None,
        on_request=terminal.request,
    )
    terminal.line(f"Provisioning server ready. Profile rule: {server.url}/$MA.xml   (Ctrl-C ends it)")
    try:
        server.serve()
    except KeyboardInterrupt:
        # The usual way to end it, not a failure.
        return 0
    finally:
        server.close()
    return 0


def swarm(options: Namespace) -> int:
    """Boot them all, draw the outcome. Interrupted, it draws what there is."""
    plan = swarms.Plan(
        swarms.identities(options.mac_start, options.phones, options.model, options.firmware),
        _service(options),
        concurrency=options.concurrency,
        phones_per_second=options.rate,
        circumstances=_circumstances(options),
        codes=_codes(options.activate, options.phones) if options.activate else (),
        slip_share=options.slip_share,
        seed=options.seed,
    )
    trust = _trust(options)
    run = swarms.Swarm(plan, wires=lambda: wire.Wire(timeout_seconds=options.timeout, trust=trust))
    live = Terminal(sys.stderr)
    interrupted = False
    try:
        run.run(lambda result: live.progress(result, options.phones))
    except KeyboardInterrupt:
        interrupted = True
    live.end_progress()
    terminal = Terminal(sys.stdout)
    if options.json:
        terminal.line(json.dumps(run.result.as_json(), indent=2))
    else:
        terminal.swarm(run.result)
        _swarm_verdict(terminal, run.result)
    return 130 if interrupted else int(run.result.unanswered + run.result.refused > 0)


def _codes(text: str, phones: int) -> Sequence[activation.Entry]:
    """The codes of a file, one a phone; a code that was typed instead is typed at each of them."""
    try:
        return [activation.Entry.parse(text)] * phones
    except activation.Untypeable:
        file = Path(text)
    try:
        found = activation.codes_in(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise Refused(f"{text} is neither a code nor a file of codes.") from error
    except (activation.Untypeable, UnicodeDecodeError) as error:
        raise Refused(f"{text}: {error}") from error
    if len(found) < phones:
        raise Refused(f"{text} has {len(found)} codes for {phones} phones; issue more, or lower --phones.")
    return found


def _swarm_verdict(terminal: Terminal, result: swarms.Result) -> None:
    if result.refused:
        unanswered = f", {result.unanswered} got no answer" if result.unanswered else ""
        terminal.verdict(
            f"{result.refused} of {result.phones} phones had their code refused{unanswered}.", is_good=False
        )
    elif result.unanswered:
        terminal.verdict(
            f"{result.unanswered} of {result.phones} phones got no answer: the errors above say why.", is_good=False
        )
    else:
        terminal.verdict(f"Every one of {result.phones} phones got an answer.", is_good=True)


def _verdict(terminal: Terminal, outcome: Outcome, expected: State | None) -> int:
    """A wanted state counts as such. Without one it is Acquired, with the provider's profile downloaded just now.

    A rule after Profile_Rule that fails (the beacon) is told and tried again, but the phone has what it came for.
    """
    failure = outcome.failure
    if expected is None:
        has_profile = failure is None or failure.what not in _WHAT_COUNTS
        is_good = outcome.state is State.ACQUIRED and has_profile
    else:
        is_good = outcome.state is expected
    sentence = remedies.sentence(outcome)
    if expected is not None and not is_good:
        sentence = f"{expected.label} was expected. {sentence}"
    terminal.verdict(sentence, is_good=is_good)
    return 0 if is_good else 1


def _phone(memory: flash.FlashFile, options: Namespace, transport: wire.Transport, terminal: Terminal) -> VirtualPhone:
    return VirtualPhone(
        memory.identity,
        memory.service,
        memory=memory,
        transport=transport,
        circumstances=_circumstances(options),
        on_step=terminal.step,
    )


def _new_or_known(options: Namespace) -> flash.FlashFile:
    """A phone that was booted before needs no server and no model; one that is given either needs both."""
    if not options.server and not options.model:
        return _known(options)
    if not (options.server and options.model):
        raise Refused("a phone that was never booted needs both --server and --model.")
    me = identity.Identity.parse(options.mac, options.model, options.serial, options.firmware)
    return flash.FlashFile(flash.path_of(options.memory, me.mac), me, _service(options))


def _known(options: Namespace) -> flash.FlashFile:
    mac = identity.normal_mac(options.mac)
    memory = flash.find(options.memory, mac)
    if memory is None:
        raise Refused(f"no phone {mac} in {options.memory}; boot it first, or name the folder with --memory.")
    return memory


def _service(options: Namespace) -> Service:
    return Service(
        options.server, options.edos_path, options.report_path, options.short_code_path, options.activation_path
    )


def _circumstances(options: Namespace) -> Circumstances:
    return Circumstances(
        dhcp=options.dhcp,
        max_retries=options.max_retries,
        retry_scale=options.retry_scale,
        reports=options.report,
        loses_answer=options.lose_answer,
    )


def _wire(options: Namespace) -> wire.Wire:
    # Without an authority of its own the wire makes its context when it first meets https.
    own = options.ca or options.certificate
    return wire.Wire(timeout_seconds=options.timeout, trust=_trust(options) if own else None)


def _trust(options: Namespace) -> ssl.SSLContext:
    """One context for all phones: reading the system's authorities takes longer than a whole boot."""
    trust = ssl.create_default_context()
    if options.ca:
        trust.load_verify_locations(options.ca)
    if options.certificate:
        key = options.key or Path(options.certificate).with_suffix(".key")
        try:
            trust.load_cert_chain(options.certificate, key)
        except ssl.SSLError as error:
            raise Refused(
                f"{options.certificate} and {key} are no certificate with its key: {error.reason}."
            ) from error
    return trust
