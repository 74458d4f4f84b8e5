"""Bars and histograms as lines of text. Pure: the terminal prints them."""

from collections.abc import Sequence

_EIGHTHS = " ▏▎▍▌▋▊▉█"


def bar(value: float, most: float, width: int) -> str:
    """A bar of eighths of a character; what is not nothing is always seen."""
    if value <= 0 or most <= 0:
        return ""
    eighths = max(1, round(value / most * width * 8))
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def rows(named: Sequence[tuple[str, int]], *, width: int = 40, name_width: int = 16) -> list[str]:
    """One line for each name: name, bar, count."""
    most = max((count for _, count in named), default=0)
    digits = len(str(most))
    return [f"{name:<{name_width}} {bar(count, most, width):<{width}} {count:>{digits}}" for name, count in named]


def milliseconds(seconds: float) -> str:
    """`0.8 ms`, `12 ms`, `1.5 s`."""
    if seconds >= 1:
        return f"{seconds:.1f} s"
    return f"{seconds * 1000:.1f} ms" if seconds < 0.01 else f"{seconds * 1000:.0f} ms"
