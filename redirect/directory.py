"""The directory: the registry's answers, in one LMDB environment a machine. Many processes read, the relay writes.

    d + MAC (6 octets)       device: [id, organization, profile or 0, model, serial, target, from, until]
    p + id (8 octets)        profile: [organization, enabled, targets (failing ones last), parameters, confirm,
                             identity, match_model, accepts_expired]
    s + digits               short code: [organization, profile, until]
    o + id (8 octets)        a suspended organization (others have no entry)
    c + id (8 octets)        authority: its certificate's SHA-256 (32 octets), 1 or 0 for SHA-1, the certificate (DER)
    r + id (8 octets)        revocation list: its authority's mark (32 octets), its SHA-256 (32 octets), the list (DER)
    m + name                 what the writer must know: format, cursor

Values are JSON arrays but for the last three; times are epoch seconds or null. The environment in use is the one that
the symbolic link `current` names, so that a rebuilt one can be switched to in one step while readers go on reading the
old.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from threading import Lock

import lmdb
import orjson

from onboarding.registration import Profile, Registration
from trust.verifying import NO_AUTHORITIES, Authorities, Authority

# Sparse: nothing is allocated before it is used. Large, so that it never has to grow under readers.
MAP_OCTETS = 64 * 1024**3
_MAX_READERS = 1024
_FORMAT = b"1"
_FORMAT_KEY = b"mformat"
_CURSOR_KEY = b"mcursor"

# How often a reader looks whether the environment was switched.
_LOOK_SECONDS = 0.1
# How often in a row a switch may overtake a reader that follows the link.
_MOST_OVERTAKEN = 5

Item = tuple[bytes, bytes]


class DirectoryUnusable(Exception):
    """There is no directory, or it is damaged or of another format."""


def device_key(mac: bytes) -> bytes:
    return b"d" + mac


def profile_key(id: int) -> bytes:
    return b"p" + id.to_bytes(8, "big")


def organization_key(id: int) -> bytes:
    return b"o" + id.to_bytes(8, "big")


def short_code_key(digits: str) -> bytes:
    return b"s" + digits.encode()


def authority_key(id: int) -> bytes:
    return b"c" + id.to_bytes(8, "big")


def revocation_key(id: int) -> bytes:
    return b"r" + id.to_bytes(8, "big")


def authority_item(id: int, fingerprint: bytes, certificate: bytes, *, allows_sha1: bool) -> Item:
    """An authority's entry."""
    return authority_key(id), fingerprint + (b"1" if allows_sha1 else b"0") + certificate


def revocation_item(id: int, mark: bytes, digest: bytes, content: bytes) -> Item:
    """A revocation list's entry."""
    return revocation_key(id), mark + digest + content


# What tells one version of an authority or a list from another stands at the head of its value.
_AUTHORITY_HEAD, _REVOCATION_HEAD = 33, 64


# Stand in for what an unknown device lacks, so that it costs the same work as any other refusal.
_DECOY_DEVICE = orjson.dumps([0, 0, 0, "CP-8841-3PCC", "FCH00000000", "", None, None])
_DECOY_CODE = orjson.dumps([0, 0, None])
_DECOY_PROFILE = orjson.dumps([0, False, ["https://example.net/$MA.xml"], [], "callback", "none", False])


# Bounded; a door meets as many as there are profiles in use. Keyed by content, so it can never be stale.
@lru_cache(maxsize=4096)
def _profile(id: int, raw: bytes) -> Profile:
    organization_id, enabled, targets, parameters, confirm, identity, match_model, *later = orjson.loads(raw)
    pairs = tuple((name, value) for name, value in parameters)
    # An entry that an earlier version wrote ends before it.
    accepts_expired = bool(later and later[0])
    return Profile(id, organization_id, enabled, tuple(targets), pairs, confirm, identity, match_model, accepts_expired)


def _open(path: Path, *, readonly: bool) -> lmdb.Environment:
    """Open an environment and check that all of it is there: reading beyond a truncated file kills the process."""
    data = path / "data.mdb"
    try:
        environment = lmdb.open(
            str(path),
            map_size=MAP_OCTETS,
            readonly=readonly,
            create=not readonly,
            readahead=False,
            max_readers=_MAX_READERS,
            max_spare_txns=64,
        )
    except (lmdb.Error, OSError) as error:
        raise DirectoryUnusable(f"The directory cannot be opened: {error}") from error
    if data.stat().st_size < _used_octets(environment):
        raise DirectoryUnusable("The directory is truncated.")
    return environment


def _used_octets(environment: lmdb.Environment) -> int:
    """How long the file must be for the pages in use. A new environment has two pages that may not be written yet."""
    last_page: int = environment.info()["last_pgno"]
    return (last_page + 1) * int(environment.stat()["psize"]) if last_page > 1 else 0


def _entries(transaction: lmdb.Transaction, prefix: bytes) -> Iterator[tuple[bytes | memoryview, bytes | memoryview]]:
    """All entries of one kind; what is given is gone with the transaction."""
    with transaction.cursor() as position:
        if position.set_range(prefix):
            for key, value in position:
                if key[:1] != prefix:
                    break
                yield key, value


def _stamp(transaction: lmdb.Transaction) -> bytes:
    """What differs whenever any authority or revocation list does."""
    digest = hashlib.sha256()
    for prefix, head in ((b"c", _AUTHORITY_HEAD), (b"r", _REVOCATION_HEAD)):
        for key, value in _entries(transaction, prefix):
            digest.update(key)
            digest.update(value[:head])
    return digest.digest()


def _read_authorities(transaction: lmdb.Transaction, stamp: bytes) -> Authorities:
    certificates = [
        Authority(bytes(value[_AUTHORITY_HEAD:]), bytes(value[_AUTHORITY_HEAD - 1 : _AUTHORITY_HEAD]) == b"1")
        for _, value in _entries(transaction, b"c")
    ]
    revocations = [(bytes(value[:32]), bytes(value[_REVOCATION_HEAD:])) for _, value in _entries(transaction, b"r")]
    return Authorities(stamp, tuple(certificates), tuple(revocations))


class _Opened:
    """An environment in use, with the file that it reads. Both close when the last thread lets go of them."""

    def __init__(self, path: Path) -> None:
        self.file = -1
        # The last write when the authorities were looked at, and what they were.
        self.authorities: tuple[int, Authorities] = (-1, NO_AUTHORITIES)
        self.environment = _open(path, readonly=True)
        self.file = os.open(path / "data.mdb", os.O_RDONLY | os.O_CLOEXEC)
        status = os.fstat(self.file)
        self.identity = (status.st_dev, status.st_ino)
        self.used = _used_octets(self.environment)

    def truncated(self) -> bool:
        # The cheapest way to ask for a file's length; nobody else moves the position.
        return os.lseek(self.file, 0, os.SEEK_END) < self.used

    def note_growth(self) -> None:
        """Keep in mind how long the file has become: it never gets shorter again."""
        if not self.truncated():
            self.used = _used_octets(self.environment)

    def __del__(self) -> None:
        if self.file >= 0:
            os.close(self.file)


class Directory:
    """The reading side, for one process and all its threads."""

    def __init__(self, folder: Path) -> None:
        self._link = folder / "current"
        self._opened: _Opened | None = None
        self._look_at = 0.0
        self._opening = Lock()
        self._problem = "There is no directory yet: the relay has not built it."

    def find(self, mac: bytes) -> tuple[Registration, bool]:
        """The registration of a phone (six octets), and whether it is known. Raises DirectoryUnusable.

        An unknown device gets a stand-in that is refused, found by the same steps: what is done with it takes as long
        as for any refused device, so that time tells nobody which phones exist.
        """
        opened = self._usable()
        try:
            with opened.environment.begin() as transaction:
                get = transaction.get
                raw = get(b"d" + mac)
                id, organization_id, profile_id, model, serial, target, valid_from, valid_until = orjson.loads(
                    raw or _DECOY_DEVICE
                )
                profile_raw = get(b"p%b" % profile_id.to_bytes(8, "big"))
                suspended = get(b"o%b" % organization_id.to_bytes(8, "big")) is not None
        except (lmdb.Error, orjson.JSONDecodeError) as error:
            self._forget()
            raise DirectoryUnusable(f"The directory cannot be read: {error}") from error
        # Read for everybody: time must not tell who has a profile.
        profile = _profile(profile_id, profile_raw or _DECOY_PROFILE)
        registration = Registration(
            id,
            organization_id,
            suspended,
            model,
            serial,
            target,
            valid_from,
            valid_until,
            profile if profile_id else None,
        )
        return registration, raw is not None

    def find_code(self, digits: str, mac: bytes, model: str) -> tuple[Registration, bool, bool]:
        """What a phone (six octets) is registered as by a short code: (registration, known, elsewhere).

        A short code is for phones of every model, so the registered `model` is whichever asks.

        `known` tells whether the code works at all, `elsewhere` whether another organization than the code's has
        proven the phone. As in `find`, what is unknown is found by the same steps. Raises DirectoryUnusable.
        """
        opened = self._usable()
        try:
            with opened.environment.begin() as transaction:
                get = transaction.get
                raw = get(b"s" + digits.encode())
                organization_id, profile_id, valid_until = orjson.loads(raw or _DECOY_CODE)
                device_raw = get(b"d" + mac)
                owner = orjson.loads(device_raw or _DECOY_DEVICE)[1]
                profile_raw = get(b"p%b" % profile_id.to_bytes(8, "big"))
                suspended = get(b"o%b" % organization_id.to_bytes(8, "big")) is not None
        except (lmdb.Error, orjson.JSONDecodeError) as error:
            self._forget()
            raise DirectoryUnusable(f"The directory cannot be read: {error}") from error
        profile = _profile(profile_id, profile_raw or _DECOY_PROFILE)
        registration = Registration(0, organization_id, suspended, model, "", "", None, valid_until, profile)
        return registration, raw is not None, device_raw is not None and owner != organization_id

    def authorities(self) -> Authorities:
        """Everything that phones' certificates are checked against; read anew only when it changed.

        Raises DirectoryUnusable.
        """
        opened = self._usable()
        try:
            with opened.environment.begin(buffers=True) as transaction:
                # Which write was the last: without one since, nothing can have changed.
                last_write = transaction.id()
                as_of, known = opened.authorities
                if as_of != last_write:
                    stamp = _stamp(transaction)
                    if stamp != known.stamp:
                        known = _read_authorities(transaction, stamp)
                    # Both at once: another thread may be at an older or a newer write.
                    opened.authorities = (last_write, known)
        except lmdb.Error as error:
            self._forget()
            raise DirectoryUnusable(f"The directory cannot be read: {error}") from error
        return known

    def check(self) -> None:
        """Whether phones can be answered now. Raises DirectoryUnusable."""
        self._look_at = 0.0
        self._usable()

    def _usable(self) -> _Opened:
        now = time.monotonic()
        # Without a usable one every query looks: phones are answered from the moment that there is one.
        if now >= self._look_at or self._opened is None:
            self._look(now)
        opened = self._opened
        # Asked each time: to read beyond the end of the file would kill this process and every query in it.
        if opened is not None and opened.truncated():
            self._forget("The directory is truncated.")
            del opened
            self._look(now)
            opened = self._opened
        if opened is None:
            raise DirectoryUnusable(self._problem)
        return opened

    def _look(self, now: float) -> None:
        """Follow a switch of the environment."""
        with self._opening:
            if now < self._look_at and self._opened is not None:
                return
            for _ in range(_MOST_OVERTAKEN):
                path = self._target()
                if self._follow(path) or self._target() == path:
                    break
            self._look_at = time.monotonic() + _LOOK_SECONDS

    def _target(self) -> Path:
        """The folder that the link names now; its name is never used again."""
        return Path(os.path.realpath(self._link))

    def _follow(self, path: Path) -> bool:
        """Use the environment in `path`, which may be the present one; gives whether phones can be answered from it."""
        try:
            status = (path / "data.mdb").stat()
        except OSError:
            self._forget("There is no directory yet: the relay has not built it.")
            return False
        opened = self._opened
        try:
            if opened is not None and (status.st_dev, status.st_ino) == opened.identity:
                opened.note_growth()
                return True
            opened = _Opened(path)
            with opened.environment.begin() as transaction:
                if transaction.get(_FORMAT_KEY) != _FORMAT:
                    raise DirectoryUnusable("The directory is of another version.")
        except (DirectoryUnusable, lmdb.Error, OSError) as error:
            self._forget(str(error))
            return False
        self._opened = opened
        return True

    def _forget(self, problem: str = "The directory is damaged.") -> None:
        self._opened, self._problem = None, problem


class DirectoryWriter:
    """The writing side. At most one process may hold it: the relay, behind its lock."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._environment: lmdb.Environment | None = None

    @property
    def folder(self) -> Path:
        return self._folder

    def cursor(self) -> dict[str, object] | None:
        """How far the registry was followed; None when the directory is missing, damaged or of another format."""
        try:
            environment = self._current()
            environment.reader_check()
            with environment.begin() as transaction:
                raw = transaction.get(_CURSOR_KEY)
                if transaction.get(_FORMAT_KEY) != _FORMAT or raw is None:
                    return None
                cursor: dict[str, object] = orjson.loads(raw)
                return cursor
        except (DirectoryUnusable, lmdb.Error, OSError, orjson.JSONDecodeError):
            self.close()
            return None

    def apply(self, puts: Iterable[Item], deletes: Iterable[bytes], cursor: dict[str, object] | None) -> None:
        """Write entries and, if given, how far they go, in one transaction. Raises lmdb.Error, DirectoryUnusable."""
        with self._current().begin(write=True) as transaction:
            for key, value in puts:
                transaction.put(key, value)
            for key in deletes:
                transaction.delete(key)
            if cursor is not None:
                transaction.put(_CURSOR_KEY, orjson.dumps(cursor))

    def rebuild(self, items: Iterable[Item], cursor: dict[str, object]) -> int:
        """Make a new environment of `items` (in order of their keys) and switch to it; gives the number of entries.

        Readers go on with the old one until the switch, and through it.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"env-{time.time_ns()}"
        environment = lmdb.open(str(path), map_size=MAP_OCTETS, max_readers=_MAX_READERS, sync=False)
        try:
            with environment.begin(write=True) as transaction:
                with transaction.cursor() as position:
                    _consumed, count = position.putmulti(items, append=True)
                transaction.put(_FORMAT_KEY, _FORMAT)
                transaction.put(_CURSOR_KEY, orjson.dumps(cursor))
            environment.sync(True)
        except BaseException:
            environment.close()
            shutil.rmtree(path, ignore_errors=True)
            raise
        environment.close()
        previous = self._target()
        link = self._folder / f"current-{path.name}"
        link.symlink_to(path.name)
        link.replace(self._folder / "current")
        _sync_folder(self._folder)
        self.close()
        # A reader may have followed the link a moment ago: what it points to stays until the next switch.
        for other in self._folder.glob("env-*"):
            if other.name not in {path.name, previous}:
                shutil.rmtree(other, ignore_errors=True)
        return count

    def close(self) -> None:
        if self._environment is not None:
            self._environment.close()
            self._environment = None

    def _target(self) -> str:
        with suppress(OSError):
            return os.readlink(self._folder / "current")
        return ""

    def _current(self) -> lmdb.Environment:
        if self._environment is None:
            path = self._folder / "current"
            if not (path / "data.mdb").exists():
                raise DirectoryUnusable("There is no directory yet.")
            self._environment = _open(path.resolve(), readonly=False)
        elif (Path(self._environment.path()) / "data.mdb").stat().st_size < _used_octets(self._environment):
            self.close()
            raise DirectoryUnusable("The directory is truncated.")
        return self._environment


def scan(folder: Path, prefix: bytes) -> Iterator[Item]:
    """All entries of one kind in the order of their keys, from one snapshot. Raises DirectoryUnusable."""
    environment = _open((folder / "current").resolve(), readonly=True)
    try:
        with environment.begin() as transaction, transaction.cursor() as position:
            if position.set_range(prefix):
                for key, value in position:
                    if not key.startswith(prefix):
                        break
                    yield key, value
    finally:
        environment.close()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
