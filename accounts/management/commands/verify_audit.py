"""`manage.py verify_audit`: is the audit as it was written? Names each entry that is missing, altered or added."""

import argparse
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts import chaining
from accounts.chaining import Flaw
from accounts.models import Organization

# As the service's log has it.
_CHECKPOINT = re.compile(r"Audit checkpoint ([0-9]{1,18}) ([0-9]{1,18}) ([0-9a-f]{64})")
# So many flaws of one organization are printed; after thousands of them the next says nothing new.
_MOST_SHOWN = 100


class Command(BaseCommand):
    help = (
        "Prove the chains of audit entries, all of them or one organization's. Exit status 1 and one line a flaw, with "
        "the organization and the entry's place, if anything was removed, altered, added or put into another order."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--organization", metavar="NAME", help="default: every one, and the operator's own")
        parser.add_argument(
            "--against", type=Path, metavar="FILE",
            help="a log of this service, kept elsewhere: its audit checkpoints must be in the chains",
        )  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:
        names = dict(Organization.objects.values_list("pk", "name"))
        names[chaining.OPERATORS] = "the operator"
        chains = chaining.chains()
        if options["organization"] is not None:
            chains = [pk for pk, name in names.items() if pk and name == options["organization"]]
            if not chains:
                raise CommandError(f"There is no organization {options['organization']!r}.")
        noted = _checkpoints(options["against"]) if options["against"] else {}
        flawed = 0
        for number, chain in enumerate(chains, start=1):
            if self.stderr.isatty():
                self.stderr.write(f"\r{number:,} of {len(chains):,} chains", ending="")
            shown = 0
            for flaw in _flaws(chain, noted.get(chain, ())):
                shown += 1
                if shown <= _MOST_SHOWN:
                    name = names.get(flaw.chain, f"organization {flaw.chain}")
                    self.stdout.write(f"{name}, entry {flaw.position}: {flaw.what}.")
            if shown > _MOST_SHOWN:
                self.stdout.write(f"… and {shown - _MOST_SHOWN:,} more.")
            flawed += shown > 0
        if self.stderr.isatty() and chains:
            self.stderr.write("")
        if flawed:
            raise CommandError(f"The audit is not as it was written, in {flawed} of {len(chains)} chains.")
        self.stdout.write(f"{len(chains)} chains, each as it was written.")


def _flaws(chain: int, noted: Iterable[tuple[int, str]]) -> Iterator[Flaw]:
    yield from chaining.verify(chain)
    pruned = chaining.pruned_until(chain)
    for position, digest in noted:
        if position < pruned:
            continue
        present = chaining.present(chain, position)
        if present is None:
            yield Flaw(chain, position, "the log has a checkpoint here, the database nothing")
        elif present != digest:
            yield Flaw(chain, position, "this is not the entry of which the log has a checkpoint")


def _checkpoints(log: Path) -> dict[int, list[tuple[int, str]]]:
    """The checkpoints that a log names, by chain: position, digest."""
    try:
        with log.open(encoding="utf-8", errors="replace") as lines:
            found = [match for line in lines if (match := _CHECKPOINT.search(line))]
    except OSError as error:
        raise CommandError(f"{log} cannot be read: {error.strerror}.") from error
    if not found:
        raise CommandError(f"{log} has no audit checkpoint.")
    noted: dict[int, list[tuple[int, str]]] = {}
    for match in found:
        noted.setdefault(int(match[1]), []).append((int(match[2]), match[3]))
    return noted
