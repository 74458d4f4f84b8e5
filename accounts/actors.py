"""Actor: who did something, as the history tells it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Actor:
    """`source` is the way in (`api`, `admin`, `command`); `name` is a key's prefix, a user's name or a command's."""

    source: str
    name: str
