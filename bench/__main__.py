"""`python -m bench`: measures what issue and documentation promise, in one run on one machine.

    python -m tests.postgresql python -m bench [--only door,apply] [--devices 100000] [--json FILE]

Needs an empty PostgreSQL in DATABASE_URL, nginx and wrk. Everything is written to a data directory of its own, which is
deleted at the end.
"""

import argparse
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

SUBJECTS = (
    "rebuild", "door", "handshakes", "certificates", "memory", "apply", "latency", "activation", "api", "imports",
    "webhooks", "pages",
)  # fmt: skip
_LEAST_DEVICES = 5000


def main() -> int:
    arguments = _arguments()
    if not os.environ.get("DATABASE_URL"):
        raise SystemExit("DATABASE_URL is not set. Start the benchmarks with `make bench`, which brings a PostgreSQL.")
    if {"door", "memory", "handshakes"} & set(arguments.only):
        _require_programs()
    # Told to stop, it ends its servers as it does on Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    data = tempfile.mkdtemp(prefix="onboarding-bench-")
    try:
        # Before Django reads its settings.
        os.environ |= {"DATA_DIR": data, "DJANGO_SETTINGS_MODULE": "config.settings"}
        return _measure(arguments)
    finally:
        shutil.rmtree(data, ignore_errors=True)


def _measure(arguments: argparse.Namespace) -> int:
    import django

    django.setup()
    logging.disable(logging.WARNING)
    from bench import (
        activation,
        adminpages,
        api,
        apply,
        certificates,
        door,
        fleet,
        handshakes,
        imports,
        latency,
        machine,
        memory,
        rebuild,
        results,
        webhooks,
    )

    results.progress(f"registering {arguments.devices:,} devices in PostgreSQL")
    described = machine.describe()
    phones = fleet.Fleet(arguments.devices)
    fleet.register(phones)
    measures = {
        "rebuild": lambda: rebuild.measure(phones),
        "door": lambda: door.measure(phones, door.database_of_peer()),
        "handshakes": lambda: handshakes.measure(phones),
        "certificates": certificates.measure,
        "memory": lambda: memory.measure(phones),
        "latency": lambda: latency.measure(phones),
        "apply": lambda: apply.measure(phones),
        "activation": activation.measure,
        "api": api.measure,
        "webhooks": webhooks.measure,
        "imports": lambda: imports.measure(phones),
        "pages": lambda: adminpages.measure(phones),
    }
    rows = [row for subject in SUBJECTS if subject in arguments.only for row in measures[subject]()]
    print("\n" + results.show(rows, described))
    results.write(arguments.json, rows, described, {"devices": arguments.devices, "only": arguments.only})
    print(f"written to {arguments.json}")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", type=_subjects, default=list(SUBJECTS), help=f"some of {','.join(SUBJECTS)}, divided by commas"
    )
    parser.add_argument(
        "--devices", type=int, default=1_000_000, help=f"at least {_LEAST_DEVICES}; a million by default"
    )
    parser.add_argument("--json", type=Path, default=Path("bench-results.json"), help="where the results are written")
    arguments = parser.parse_args()
    if arguments.devices < _LEAST_DEVICES:
        parser.error(f"--devices must be at least {_LEAST_DEVICES}")
    return arguments


def _subjects(text: str) -> list[str]:
    names = text.split(",")
    unknown = set(names) - set(SUBJECTS)
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(SUBJECTS)}")
    return names


def _require_programs() -> None:
    """nginx and wrk are installed where that can be done without asking: as root, on a Debian."""
    if not _missing_programs():
        return
    install = ["apt-get", "install", "-y", "--no-install-recommends", "nginx-light", "wrk"]
    if os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "update"], check=False, stdout=subprocess.DEVNULL)
        subprocess.run(install, check=False, stdout=subprocess.DEVNULL)
    if missing := _missing_programs():
        raise SystemExit(f"{' and '.join(missing)} must be installed for this: {' '.join(install)}")


def _missing_programs() -> list[str]:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    return [program for program in ("nginx", "wrk") if shutil.which(program, path=path) is None]


if __name__ == "__main__":
    sys.exit(main())
