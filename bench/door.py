"""The door under load: beside nginx, a plain Django view, with few devices, for unknown phones, and by short code."""

import os
import statistics
from collections.abc import Iterator
from contextlib import ExitStack

from bench import directories, fleet, load, servers
from bench.fleet import Fleet
from bench.load import Load
from bench.results import Row, progress
from onboarding import flatprofile

ROUNDS, SECONDS = 7, 3
# Old journals go while the door still writes: nobody hands them in here.
_JOURNAL_SECONDS = 5.0


def measure(phones: Fleet, database_url: str) -> list[Row]:
    """The first rows of the table."""
    data = directories.whole()
    small = directories.small()
    progress(
        f"door: {ROUNDS} rounds of nginx, door, door of {directories.SMALL} devices, unknown phones, short code, Django"
    )
    known = load.write_queries(data / "known", phones, phones.mac)
    few = Fleet(min(directories.SMALL, phones.devices))
    known_of_few = load.write_queries(data / "few", few, few.mac)
    unknown = load.write_queries(data / "unknown", phones, phones.unregistered_mac)
    coded = load.write_queries(data / "coded", phones, phones.unregistered_mac, before=f"code=%23{fleet.SHORT_CODE}&")
    with ExitStack() as stack:
        nginx = Load(stack.enter_context(servers.nginx(data / "nginx", _answers(phones))), known)
        large_door = stack.enter_context(servers.door(data))
        door = Load(large_door, known)
        strangers = Load(large_door, unknown)
        short_code = Load(large_door, coded, "/software/edos/callhome/cda")
        small_door = Load(stack.enter_context(servers.door(small)), known_of_few)
        django = Load(stack.enter_context(servers.django(data, database_url)), known)
        _same_answer(phones, nginx.server, door.server, django.server)

        def clean() -> None:
            for folder in (data, small):
                directories.forget_journals(folder, older_than=_JOURNAL_SECONDS)

        load.alternate(
            [nginx, door, small_door, strangers, short_code, django], rounds=ROUNDS, seconds=SECONDS, between=clean
        )
    for folder in (data, small):
        directories.forget_journals(folder)
    for one in (nginx, door, small_door, strangers, short_code, django):
        progress(
            f"  {one.server.name} ({one.queries.name}): {one.rate:.0f} requests/s,"
            f" {statistics.median(one.processor_microseconds):.0f} µs of processor each"
        )
    return _rows(phones, nginx, door, small_door, strangers, short_code, django)


def _rows(
    phones: Fleet, nginx: Load, door: Load, small_door: Load, strangers: Load, short_code: Load, django: Load
) -> list[Row]:
    own = {"door": door.details()}
    of_map = f"nginx, a map of {phones.devices:,} entries"
    return [
        Row("known phone: door ÷ nginx map", load.ratio(door, nginx), "×", 0.25, aim=0.4,
            details=own | {of_map: nginx.details()}),
        Row("known phone: door ÷ plain Django view", load.ratio(door, django), "×", 40,
            details=own | {"django": django.details()}),
        Row(f"door with {phones.devices:,} devices ÷ {directories.SMALL:,}", load.ratio(door, small_door), "×", 0.9,
            details=own | {"few": small_door.details()}),
        Row("unknown phone ÷ known phone", load.ratio(strangers, door), "×", 0.95,
            details=own | {"unknown": strangers.details()}),
        Row("short code ÷ EDOS query", load.ratio(short_code, door), "×", 0.9,
            details=own | {"short code": short_code.details()}),
    ]  # fmt: skip


def _answers(phones: Fleet) -> Iterator[tuple[str, str]]:
    bodies = [
        flatprofile.document([("Profile_Rule", fleet.TARGET.format(number))]).decode()
        for number in range(fleet.PROFILES + 1)
    ]
    for number in range(phones.devices):
        id = phones.query(phones.mac(number), number).removeprefix("id=").partition("&")[0]
        yield id, bodies[phones.profile(number)]


def _same_answer(phones: Fleet, *all_servers: servers.Server) -> None:
    """All peers must say the same, or the ratios mean nothing."""
    number = phones.devices // 3
    query = phones.query(phones.mac(number), number)
    answers = {server.fetch(query) for server in all_servers}
    if len(answers) != 1:
        raise SystemExit(f"The peers answer differently: {answers}")


def database_of_peer() -> str:
    """DATABASE_URL of a copy of the registry, so that the Django view's writes are not in anybody's way."""
    fleet.copy_database("bench_django")
    return os.environ["DATABASE_URL"].rpartition("/")[0] + "/bench_django"
