"""The phone's flash memory: what it still knows after the power was gone. One JSON file per phone, or memory only."""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from virtualphone.edos import Service
from virtualphone.identity import Identity
from virtualphone.states import State


class DamagedFlash(Exception):
    """The file is not what a phone wrote."""


@dataclass(frozen=True, slots=True)
class Contents:
    """All that the phone remembers. `token` proves to the service that this phone got its answer."""

    state: State = State.OPEN
    parameters: Mapping[str, str] = field(default_factory=dict)
    token: str = ""


class Flash(Protocol):
    """Where a phone keeps its memory."""

    def read(self) -> Contents: ...

    def write(self, contents: Contents) -> None: ...


class VolatileFlash:
    """For a phone that lives as long as the program: swarms and tests."""

    def __init__(self, contents: Contents | None = None) -> None:
        self._contents = contents or Contents()

    def read(self) -> Contents:
        return self._contents

    def write(self, contents: Contents) -> None:
        self._contents = contents


class FlashFile:
    """The memory of one phone in a folder of phones.

    The file also holds what a factory reset does not touch: who the phone is and which service it was built to ask.
    So a phone that was booted once needs nothing but its MAC to be started again.
    """

    def __init__(self, path: Path, identity: Identity, service: Service) -> None:
        self.path = path
        self.identity = identity
        self.service = service

    def read(self) -> Contents:
        """The memory; that of a phone out of the box if there is no file. Raises DamagedFlash."""
        document = _load(self.path)
        if document is None:
            return Contents()
        try:
            parameters = {str(name): str(value) for name, value in document["parameters"].items()}
            return Contents(State(document["state"]), parameters, str(document["token"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _damaged(self.path) from error

    def write(self, contents: Contents) -> None:
        """Replace the file in one step: a phone that loses power keeps its old memory or has its new one."""
        document = {
            "identity": asdict(self.identity),
            "service": asdict(self.service),
            "state": contents.state.value,
            "token": contents.token,
            "parameters": dict(contents.parameters),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # mkstemp makes it readable for its owner only: parameters hold passwords.
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(document, file, indent=2, ensure_ascii=False)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def path_of(folder: Path, mac: str) -> Path:
    return folder / f"{mac}.json"


def find(folder: Path, mac: str) -> FlashFile | None:
    """The flash of a phone that was booted before, or None. Raises DamagedFlash."""
    path = path_of(folder, mac)
    document = _load(path)
    if document is None:
        return None
    try:
        return FlashFile(path, Identity(**document["identity"]), Service(**document["service"]))
    except (KeyError, TypeError) as error:
        raise _damaged(path) from error


def _load(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise _damaged(path) from error
    if not isinstance(document, dict):
        raise _damaged(path)
    return document


def _damaged(path: Path) -> DamagedFlash:
    return DamagedFlash(f"{path} is not the memory of a phone; delete it to get a phone out of the box.")
