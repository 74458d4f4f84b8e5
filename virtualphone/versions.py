"""Firmware versions: `sip88xx.11-3-2MPP0001-609`, `sip78xx.11-0-1MPP-376`, and the dotted `11.3.2`.

The vendor compares major, minor and micro, then the build; the family before the dot does not count.
"""

import re
from typing import NamedTuple, Self

_FORM = re.compile(
    r"(?:[A-Za-z][A-Za-z0-9]*\.)?(\d{1,6})[-.](\d{1,6})[-.](\d{1,6})(?:[A-Za-z]+\d{0,6})?(?:-(\d{1,9}))?(?:\.loads)?"
)


class Version(NamedTuple):
    """One firmware version. `build` is None where the text names none."""

    major: int
    minor: int
    micro: int
    build: int | None = None

    @classmethod
    def find(cls, text: str) -> Self | None:
        """Read a version, or None if the text is not one."""
        match = _FORM.fullmatch(text.strip())
        if not match:
            return None
        major, minor, micro, build = match.groups()
        return cls(int(major), int(minor), int(micro), None if build is None else int(build))

    def compare(self, other: "Version") -> int:
        """Negative, zero or positive. A version without a build stands for every build of its release."""
        mine, theirs = self[:3], other[:3]
        if mine == theirs and self.build is not None and other.build is not None:
            return self.build - other.build
        return (mine > theirs) - (mine < theirs)

    @property
    def release(self) -> str:
        """As the User-Agent prints it: `11.3.2`."""
        return f"{self.major}.{self.minor}.{self.micro}"
