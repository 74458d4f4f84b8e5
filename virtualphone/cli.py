"""The command line: `python -m virtualphone COMMAND`. Reads what was typed; `commands` does it."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from virtualphone import activation, commands, edos, flash, identity, manufacturer, wire
from virtualphone.activation import Slip
from virtualphone.provider import Fault
from virtualphone.states import State

_Subparsers = argparse._SubParsersAction  # argparse names the type nowhere else

_EXAMPLES = """\
examples:
  %(prog)s boot --server http://127.0.0.1:8000 --mac 00562B043615 --model CP-8841-3PCC
  %(prog)s activate '#123456' --mac 00562B043615
  %(prog)s factory-reset --mac 00562B043615
  %(prog)s provider --port 8001 --fail 503 --fail-first 2
  %(prog)s swarm --server http://127.0.0.1:8000 --phones 1000 --mac-start 005600000000

"%(prog)s COMMAND --help" says more about each.
"""
_EXIT_STATUS = """
exit status: 0 the phone ended where it should (acquired, or --expect); 1 it did not, and the last line says what
to do; 2 bad usage; 130 interrupted.
"""
_BOOT_EXAMPLES = """\
examples:
  a phone out of the box, asking a service on this machine
    %(prog)s --server http://127.0.0.1:8000 --mac 00562B043615 --model CP-8841-3PCC
  the local network provisions it: the service is never asked
    %(prog)s --server … --mac … --model … --dhcp 'http://127.0.0.1:8001/$MA.xml' --expect aborted
  the answer to its query is lost on the way; it asks again, a thousand times sooner than a real phone
    %(prog)s --server … --mac … --model … --lose-answer --retry-scale 0.001
"""
_ACTIVATE_EXAMPLES = """\
examples:
  a phone out of the box, and the label that came with it
    %(prog)s '1234 5678 9012 3456' --server http://127.0.0.1:8000 --mac 00562B043615 --model CP-8841-3PCC
  a provider's short code, at a phone that was booted before (# in quotes: for the shell it begins a comment)
    %(prog)s '#123456' --mac 00562B043615
  a user who swaps two digits, then types a wrong one, then gets it right
    %(prog)s 1234567890123456 --mac 00562B043615 --slip swap --slip digit

The phone is switched on first if it is out of the box: only one that nobody provisions shows the screen. A profile
rule gds:// brings it up, too: boot --manual gds://
"""
_PROVIDER_EXAMPLES = """\
examples:
  a healthy server; register http://127.0.0.1:8001/$MA.xml as the profile rule
    %(prog)s --port 8001
  a server that is overloaded at first, then recovers
    %(prog)s --port 8001 --fail 503 --fail-first 2
  a server that wants credentials; the rule is then [--uid u --pwd p] http://127.0.0.1:8001/$MA.xml
    %(prog)s --port 8001 --user u --password p
"""
_CERTIFICATE_EXAMPLES = """\
examples:
  an authority of your own, and a phone's certificate of it; load the authority and show the certificate
    %(prog)s --mac 00562B043615 --model CP-8841-3PCC --serial FCH2133E8B9
    manage.py trust add var/manufacturer/authority.pem
    python -m virtualphone boot … --certificate var/manufacturer/00562B043615.pem --ca server-authority.pem
  one that expired ten days ago, and one that names no phone
    %(prog)s --mac … --model … --days -10
    %(prog)s --mac … --model … --layout generic
"""
_SWARM_EXAMPLES = """\
examples:
  the storm after a power cut: a thousand phones at once
    %(prog)s --server http://127.0.0.1:8000 --phones 1000 --mac-start 005600000000
  a steady fifty phones a second, for a script to read
    %(prog)s --server http://127.0.0.1:8000 --phones 3000 --mac-start 005600000000 --rate 50 --json
  ten thousand users at their activation screens, one in ten of whom mistypes first; one code a line, or CSV
    %(prog)s --server http://127.0.0.1:8000 --phones 10000 --mac-start 005600000000 \\
      --activate codes.csv --slip-share 0.1

exit status: 0 every phone got an answer to its query, and its code was taken; 1 some did not; 2 bad usage;
130 interrupted.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. The exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A terminal without UTF-8 shows question marks instead of ending the program.
            stream.reconfigure(errors="replace")
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except (commands.Refused, activation.Untypeable, identity.InvalidIdentity, flash.DamagedFlash, OSError) as error:
        sys.stderr.write(f"virtualphone: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("\nvirtualphone: interrupted\n")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m virtualphone",
        description="An IP phone in software: it boots, asks the zero-touch service whose it is, gets its profile.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands_of = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (
        _add_boot,
        _add_reboot,
        _add_activate,
        _add_factory_reset,
        _add_show,
        _add_certificate,
        _add_provider,
        _add_swarm,
    ):
        add(commands_of)
    return parser


def _add_boot(parsers: "_Subparsers[argparse.ArgumentParser]") -> None:
    parser = _add(parsers, "boot", commands.boot, "switch a phone on", _BOOT_EXAMPLES + _EXIT_STATUS)
    _phone_options(parser)
    _identity_options(parser, model_required=True)
    _service_options(parser)
    _experiment_options(parser, retry_scale=1.0)
    _ending_options(parser)
    parser.add_argument("--manual", metavar="RULE", help="a person types this profile rule before the phone asks")


def _add_reboot(parsers: "_Subparsers[argparse.ArgumentParser]") -> None:
    parser = _add(parsers, "reboot", commands.reboot, "switch a phone off and on that was booted before", _EXIT_STATUS)
    _phone_options(parser)
    _experiment_options(parser, retry_scale=1.0)
    _ending_options(parser)


def _add_activate(parsers: "_Subparsers[argparse.ArgumentParser]") -> None:
    text = "type an activation code or a short code at a phone"
    parser = _add(parsers, "activate", commands.activate, text, _ACTIVATE_EXAMPLES + _EXIT_STATUS)
    parser.add_argument("code", type=_code, metavar="CODE", help="16 digits, or '#' and the digits of a short code")
    _phone_options(parser)
    _identity_options(parser, model_required=False)
    _service_options(parser, server_required=False)
    _experiment_options(parser, retry_scale=1.0)
    parser.add_argument(
        "--slip",
        action="append",
        default=[],
        type=_slip,
        choices=list(Slip),
        metavar="HOW",
        help=f"mistype it first; may be given several times: {', '.join(Slip)} (the # forgotten, or one too many)",
    )
    parser.add_argument("--seed", type=_count, metavar="N", help="mistype in the same way at every run")
    parser.add_argument(
        "--no-boot", dest="boots", action="store_false", help="type at once, without asking the EDOS server before"
    )
    _ending_options(parser)


def _add_factory_reset(parsers: "_Subparsers[argparse.ArgumentParser]") -> None:
    text = "wipe a phone's memory, then boot it as out of the box"
    parser = _add(parsers, "factory-reset", commands.factory_reset, text, _EXIT_STATUS)
    _phone_options(parser)
    _experiment_options(parser, retry_scale=1.0)
    _ending_options(parser)
    parser.add_argument("--no-boot", dest="boots", action="store_false", help="leave it switched off, in state Open")


def _add_show(parsers: "_Subparsers[argparse.ArgumentParser]") -> None:
    parser = _add(parsers, "show", commands.show, "print what a phone knows about itself, or list all phones")
    _phone_options(parser, mac_required=False)


def _add_certificate(parsers: "_Subparsers[argparse.ArgumentParser]") -> None:
    text = "make a phone's certificate, as its manufacturer would"
    parser = _add(parsers, "certificate", commands.certificate, text, _CERTIFICATE_EXAMPLES)
    parser.add_argument("--mac", required=True, help="the MAC that it names, in any notation")
    _identity_options(parser, model_required=True)
    parser.add_argument(
        "--layout", choices=manufacturer.LAYOUTS, default=manufacturer.ENTERPRISE, help="of its subject"
    )
    parser.add_argument("--days", type=int, default=3650, metavar="N", help="it is valid so long; negative: expired")
    parser.add_argument("--sha1", action="store_true", help="sign it with SHA-1, as long ago (needs openssl)")
    parser.add_argument(
        "--to", type=Path, default=Path("var/manufacturer"), metavar="DIR",
        help="where the authority is kept and the certificate goes (default: %(default)s)",
    )  # fmt: skip


def _add_provider(parsers: "_Subparsers[argparse.ArgumentParser]") -> None:
    text = "run a provider's small provisioning server, healthy or failing"
    parser = _add(parsers, "provider", commands.provider, text, _PROVIDER_EXAMPLES)
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=8001, help="default: %(default)s; 0 takes any free one")
    parser.add_argument("--fail", type=Fault, choices=list(Fault), metavar="HOW", help=f"one of {', '.join(Fault)}")
    parser.add_argument("--fail-first", type=_count, metavar="N", help="fail the first N requests only")
    parser.add_argument("--user", help="ask for this user …")
    parser.add_argument("--password", default="", help="… and this password (Basic)")


def _add_swarm(parsers: "_Subparsers[argparse.ArgumentParser]") -> None:
    parser = _add(parsers, "swarm", commands.swarm, "boot many phones and draw what became of them", _SWARM_EXAMPLES)
    parser.add_argument("--phones", type=_count, required=True, metavar="N", help="how many")
    parser.add_argument("--mac-start", required=True, metavar="MAC", help="MAC of the first; the others follow")
    parser.add_argument("--model", default="CP-8841-3PCC", help="default: %(default)s")
    parser.add_argument("--firmware", default="", help="default: 11.3(2) of its series")
    parser.add_argument("--concurrency", type=_count, default=64, metavar="N", help="at once (default: %(default)s)")
    parser.add_argument("--rate", type=_positive, metavar="N", help="start this many a second (default: no limit)")
    _service_options(parser)
    _experiment_options(parser, retry_scale=0.01)
    group = parser.add_argument_group("activation")
    group.add_argument(
        "--activate",
        metavar="FILE|CODE",
        help="type codes instead of asking the EDOS server: one a phone from FILE, or the same CODE at each",
    )
    group.add_argument(
        "--slip-share", type=_share, default=0.0, metavar="X", help="share of users who mistype a digit first, 0 to 1"
    )
    group.add_argument("--seed", type=_count, metavar="N", help="mistype in the same way at every run")
    parser.add_argument("--json", action="store_true", help="print the result for machines")


def _add(
    parsers: "_Subparsers[argparse.ArgumentParser]",
    name: str,
    run: Callable[[argparse.Namespace], int],
    text: str,
    epilog: str = "",
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = parsers.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def _phone_options(parser: argparse.ArgumentParser, *, mac_required: bool = True) -> None:
    parser.add_argument("--mac", required=mac_required, help="the phone's MAC address, in any notation")
    parser.add_argument(
        "--memory",
        type=Path,
        default=Path("var/phones"),
        metavar="DIR",
        help="the phones' flash (default: var/phones)",
    )


def _identity_options(parser: argparse.ArgumentParser, *, model_required: bool) -> None:
    parser.add_argument("--model", required=model_required, default="", help="product name, as CP-8841-3PCC")
    parser.add_argument("--serial", default="", help="serial number (default: none)")
    parser.add_argument("--firmware", default="", help="as sip88xx.11-3-2MPP0001-609 (default: 11.3(2) of its series)")


def _service_options(parser: argparse.ArgumentParser, *, server_required: bool = True) -> None:
    group = parser.add_argument_group("the service")
    group.add_argument(
        "--server", type=_base_url, required=server_required, metavar="URL", help="as http://127.0.0.1:8000"
    )
    group.add_argument("--edos-path", type=_path, default=edos.EDOS_PATH, help="default: %(default)s")
    group.add_argument("--report-path", type=_path, default=edos.REPORT_PATH, help="default: %(default)s")
    group.add_argument("--short-code-path", type=_path, default=edos.SHORT_CODE_PATH, help="default: %(default)s")
    group.add_argument("--activation-path", type=_path, default=edos.ACTIVATION_PATH, help="default: %(default)s")


def _experiment_options(parser: argparse.ArgumentParser, *, retry_scale: float) -> None:
    group = parser.add_argument_group("the experiment")
    group.add_argument("--dhcp", default="", metavar="RULE", help="URL or rule that the local DHCP server gives")
    group.add_argument(
        "--retry-scale",
        type=_positive,
        default=retry_scale,
        metavar="X",
        help="scale of every wait (default: %(default)s)",
    )
    group.add_argument(
        "--max-retries", type=_count, default=3, metavar="N", help="then give up; a real phone never does (default: 3)"
    )
    group.add_argument(
        "--report", action=argparse.BooleanOptionalAction, default=True, help="whether the phone reports to the service"
    )
    group.add_argument("--lose-answer", action="store_true", help="the first answer to the query never arrives")
    group.add_argument(
        "--timeout",
        type=_positive,
        default=wire.TIMEOUT_SECONDS,
        metavar="S",
        help="seconds a request (default: 10)",
    )
    group.add_argument("--ca", metavar="FILE", help="also trust servers of this certificate authority (PEM)")
    group.add_argument(
        "--certificate", metavar="FILE", help="show this certificate to servers (PEM); made by the command certificate"
    )
    group.add_argument("--key", metavar="FILE", help="its private key (default: the file of that name ending in .key)")


def _ending_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--expect",
        type=lambda text: State(text.lower().replace("-", "_")),
        choices=list(State),
        metavar="STATE",
        help=f"succeed if the phone ends in this state: {', '.join(State)}",
    )


def _code(text: str) -> activation.Entry:
    try:
        return activation.Entry.parse(text)
    except activation.Untypeable as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _slip(text: str) -> Slip | str:
    # What is none is left to `choices`, which names them all.
    return Slip(text) if text in set(Slip) else text


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share from 0 to 1")
    return share


def _base_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
        raise argparse.ArgumentTypeError(f"{text!r} is not a server; give it as http://127.0.0.1:8000")
    return text.rstrip("/")


def _path(text: str) -> str:
    if not text.startswith("/"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a path; it begins with /")
    return text


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; it is a number up to 65535")
    return int(text)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 on")
    return int(text)


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number
