"""What a door process that runs alone needs in memory, its mapped directory aside, after some thousand queries."""

import re
from pathlib import Path

from bench import directories, load, servers
from bench.fleet import Fleet
from bench.load import Load
from bench.results import Row, progress

_SECONDS = 3
_MEBIOCTET = 1024


def measure(phones: Fleet) -> list[Row]:
    """One row: the larger of both sizes of directory."""
    found = {}
    for devices, data in ((directories.SMALL, directories.small()), (phones.devices, directories.whole())):
        queries = load.write_queries(data / "queries", Fleet(devices), phones.mac)
        with servers.door(data, workers=1) as door:
            worker = door.process.children()[0].pid
            Load(door, queries).run(_SECONDS)
            found[f"{devices:,} devices"] = _resident(worker)
        directories.forget_journals(data)
        progress(f"memory: {found[f'{devices:,} devices']} (MiB) with {devices:,} devices")
    sizes = [sizes["without the directory"] for sizes in found.values()]
    details = {"unit": "MiB", "growth": round(max(sizes) / min(sizes), 3)} | found
    return [Row("memory of one door process, its directory aside", max(sizes), "MiB", 80, least=False, details=details)]


def _resident(pid: int) -> dict[str, float]:
    """From smaps: everything resident but the directory's pages, and of that what is the process's own."""
    total = directory = 0
    inside = False
    for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8").splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            inside = line.endswith("/data.mdb")
        elif line.startswith("Rss:"):
            octets = int(line.split()[1])
            total += octets
            directory += octets if inside else 0
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    anonymous = re.search(r"RssAnon:\s+(\d+)", status)
    return {
        "without the directory": round((total - directory) / _MEBIOCTET, 1),
        "of that anonymous": round(int(anonymous[1]) / _MEBIOCTET, 1) if anonymous else 0.0,
        "directory": round(directory / _MEBIOCTET, 1),
    }
