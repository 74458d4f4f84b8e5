"""What was measured, beside what was promised: one Row a promise, printed as a table and written as JSON."""

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_STARTED_AT = time.monotonic()


@dataclass(frozen=True)
class Row:
    """One promise. `least`: the measured value must be at least the floor; otherwise it must be at most the floor."""

    what: str
    measured: float
    unit: str
    floor: float
    least: bool = True
    aim: float | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def reaches(self, value: float) -> bool:
        return self.measured >= value if self.least else self.measured <= value

    @property
    def verdict(self) -> str:
        if not self.reaches(self.floor):
            return "FALLS SHORT"
        return "pass" if self.aim is None else "pass, aim reached" if self.reaches(self.aim) else "pass, aim missed"


def progress(text: str) -> None:
    """A line that says what is being done, with the seconds since the start."""
    print(f"{time.monotonic() - _STARTED_AT:6.0f} s  {text}", flush=True)


def show(rows: list[Row], machine: dict[str, Any]) -> str:
    """The table for people."""
    lines = [("what", "measured", "floor", "aim", "")]
    for row in rows:
        sign = "≥" if row.least else "≤"
        aim = "" if row.aim is None else f"{sign} {_number(row.aim)}"
        lines.append(
            (row.what, f"{_number(row.measured)} {row.unit}", f"{sign} {_number(row.floor)}", aim, row.verdict)
        )
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    table.insert(1, "-" * max(map(len, table)))
    return "\n".join([*table, "", *(f"{name}: {value}" for name, value in machine.items())])


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def write(path: Path, rows: list[Row], machine: dict[str, Any], options: dict[str, Any]) -> None:
    """The same for programs."""
    content = {
        "machine": machine,
        "options": options,
        "results": [asdict(row) | {"verdict": row.verdict} for row in rows],
    }
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
