"""The phones' door: a WSGI callable that answers from the directory and writes the journal before it answers.

No Django request, no database connection, no broker. What it does not answer itself goes to the application behind it,
if there is one. Status, headers and body of every refusal are the same, so that nobody learns which phones exist.
"""

import hashlib
import logging
import math
import random
import re
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any

import orjson

from onboarding import answers, flatprofile, sources
from onboarding.answers import REDIRECTED, Answer
from onboarding.identifiers import MacAddress
from onboarding.proving import Prover
from onboarding.registration import PhoneQuery
from onboarding.sources import Network
from redirect import wire
from redirect.directory import Directory, DirectoryUnusable
from redirect.enumeration import Tries
from redirect.journal import Journal
from redirect.tokens import LinkMaker, Tokens
from trust.headers import RefusedHeader
from trust.identity import Proof, Shown, proof

logger = logging.getLogger(__name__)

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]
Response = tuple[str, list[tuple[str, str]], bytes]

# The beacon removes itself: its answer empties the rule that fetched it.
BEACON_BODY = b'<flat-profile><Profile_Rule_B ua="na"></Profile_Rule_B></flat-profile>'

# How many bodies of reports a process reads at once. A body that is slow to come holds a thread, and phones need the
# others; a report beyond is taken without its body.
_BODIES_AT_ONCE = 1

# What a report's body may leave in the history, beside its hash: it can hold passwords.
_HARMLESS_FIELDS = re.compile(
    r"<(Product_Name|Hardware_Version|Software_Version|Customization|Reboot_Reason_1)\b[^<>]*>([\w .:()/+-]{1,64})</"
)

_OK, _NO_CONTENT, _BAD_REQUEST, _NOT_ALLOWED, _TOO_LARGE, _UNAVAILABLE, _NOT_FOUND, _TOO_MANY = (
    f"{status.value} {status.phrase}"
    for status in (
        HTTPStatus.OK,
        HTTPStatus.NO_CONTENT,
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.METHOD_NOT_ALLOWED,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.TOO_MANY_REQUESTS,
    )
)
# Looked up for what is no short code, so that it costs the same steps: longer than any.
_NO_CODE = "0" * 17
_COMPLAINT_SECONDS = 10.0
_XML = [("Content-Type", flatprofile.CONTENT_TYPE), ("Cache-Control", "no-store")]


class Door:
    """Answers phones at the given paths, and hands every other request to `behind`."""

    def __init__(
        self,
        *,
        directory: Path,
        journal: Path,
        machine: str,
        public_url: str,
        edos_path: str,
        short_code_path: str,
        beacon_path: str,
        report_path: str,
        secret_key: str,
        trusted_proxies: Iterable[Network] = (),
        behind: Application | None = None,
    ) -> None:
        self._directory = Directory(directory)
        self._journal = Journal(journal, machine)
        self._tokens = Tokens(secret_key)
        self._trusted_proxies = tuple(trusted_proxies)
        self._prover = Prover(self._directory.authorities, trusted_proxies=self._trusted_proxies)
        self._tries = Tries()
        self._bodies = BoundedSemaphore(_BODIES_AT_ONCE)
        self._links = LinkMaker(
            self._tokens, beacon_url=f"{public_url}{beacon_path}", report_url=f"{public_url}{report_path}"
        )
        self._behind = behind or _nothing_behind
        self._complain_at = 0.0
        self._routes: dict[str, Callable[[Environ], Response]] = {
            edos_path: self._query,
            short_code_path: self._short_code,
            beacon_path: self._beacon,
            report_path: self._report,
            "/healthz": self._alive,
            "/readyz": self._ready,
        }

    @property
    def verifications(self) -> int:
        """How many certificates of phones were really checked, and not remembered."""
        return self._prover.verifications

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        route = self._routes.get(environ["PATH_INFO"])
        if route is None:
            return self._behind(environ, start_response)
        try:
            status, headers, body = route(environ)
        except (wire.BadRequest, RefusedHeader):
            status, headers, body = _BAD_REQUEST, [], b""
        except DirectoryUnusable as problem:
            self._complain(problem)
            status, headers, body = _come_back_later()
        except Exception:
            logger.exception("A phone's request failed.")
            status, headers, body = _come_back_later()
        if status != _NO_CONTENT:
            headers = [*headers, ("Content-Length", str(len(body)))]
        start_response(status, headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _complain(self, problem: DirectoryUnusable) -> None:
        # Once in a while: thousands of phones may ask meanwhile.
        if time.monotonic() >= self._complain_at:
            self._complain_at = time.monotonic() + _COMPLAINT_SECONDS
            logger.error("Phones are told to come back later: %s", problem)

    def _query(self, environ: Environ) -> Response:
        method = environ["REQUEST_METHOD"]
        if method not in {"GET", "HEAD"}:
            return _NOT_ALLOWED, [("Allow", "GET, HEAD")], b""
        query = wire.parse_query(environ["QUERY_STRING"])
        mac = bytes(query.mac)
        at = time.time()
        shown = self._prover.shown(environ, at=at)
        if shown is not None:
            query = query._replace(certified=shown.certified)
        registration, known = self._directory.find(mac)
        answer = answers.decide(query, registration, at)
        if not known:
            # Decided all the same, on the stand-in: time must not tell unknown from refused.
            answer = answers.decide(query, None, at)
        body = answers.document(answer, lambda: self._links.make(query, at))
        if method == "GET":
            owner = (registration.device_id, registration.organization_id) if known else ("null", "null")
            self._write_query(environ, query, answer, owner, shown)
        return _OK, _XML, body

    def _write_query(
        self,
        environ: Environ,
        query: PhoneQuery,
        answer: Answer,
        owner: tuple[int | str, int | str],
        shown: Shown | None,
    ) -> None:
        # Every text here was checked to hold nothing that JSON escapes, but the target.
        self._journal.append(
            f'"event":"query","mac":"{query.mac}","model":"{query.model}","serial":"{query.serial}",'
            f'"firmware":"{query.firmware}","from":"{self._source(environ)}","outcome":"{answer.outcome}",'
            f'"device":{owner[0]},"organization":{owner[1]},"target":{_quoted(answer.target)},'
            f"{_identity(query.mac, shown)}"
        )

    def _short_code(self, environ: Environ) -> Response:
        method = environ["REQUEST_METHOD"]
        if method not in {"GET", "HEAD"}:
            return _NOT_ALLOWED, [("Allow", "GET, HEAD")], b""
        query, digits = wire.parse_short_code(environ["QUERY_STRING"])
        at = time.time()
        shown = self._prover.shown(environ, at=at)
        if shown is not None:
            query = query._replace(certified=shown.certified)
        source = self._source(environ)
        network = sources.network_of(source)
        # Refused before the code is looked at, so it tells nothing about the code. Not 404: the user should try again
        # later, not believe that the code is wrong.
        if wait := self._tries.wait(network, at):
            self._report_enumeration(network, at)
            return _TOO_MANY, [("Retry-After", str(math.ceil(wait)))], b""
        registration, known, elsewhere = self._directory.find_code(digits or _NO_CODE, bytes(query.mac), query.model)
        answer = answers.decide(query, registration, at)
        if not known:
            # As for an EDOS query: the same steps for all.
            answer = answers.decide(query, None, at)
        # A token of a phone that somebody else has proven would let anybody who knows a code testify for it.
        body = answers.document(answer, lambda: self._links.make(query, at, proving=not elsewhere))
        if method == "GET":
            owner = (registration.organization_id, registration.profile.id) if known and registration.profile else None
            organization_id, profile_id = owner or ("null", "null")
            self._journal.append(
                f'"event":"short_code","code":"{digits}","mac":"{query.mac}","model":"{query.model}",'
                f'"serial":"{query.serial}","firmware":"{query.firmware}","from":"{source}",'
                f'"outcome":"{answer.outcome}","organization":{organization_id},"profile":{profile_id},'
                f'"target":{_quoted(answer.target)},{_identity(query.mac, shown)}'
            )
        if answer.outcome != REDIRECTED:
            self._tries.take(network, at)
            return _NOT_FOUND, [("Cache-Control", "no-store")], b""
        self._tries.found(network, registration.organization_id)
        return _OK, _XML, body

    def _report_enumeration(self, network: str, at: float) -> None:
        found = self._tries.report(network, at)
        if found is not None:
            logger.warning("Short codes are being tried one after another from %s; it is slowed down.", network)
            self._journal.append(f'"event":"enumeration","network":"{network}","organizations":{found}')

    def _beacon(self, environ: Environ) -> Response:
        method = environ["REQUEST_METHOD"]
        if method not in {"GET", "HEAD"}:
            return _NOT_ALLOWED, [("Allow", "GET, HEAD")], b""
        if method == "GET":
            try:
                report = wire.parse_beacon(environ["QUERY_STRING"])
                shown = self._shown(environ)
            except (wire.BadRequest, RefusedHeader):
                # Whatever a phone makes of the URL: it must get the answer that lets it go on.
                pass
            else:
                self._write_report(environ, report, "beacon", {}, shown)
        return _OK, _XML, BEACON_BODY

    def _report(self, environ: Environ) -> Response:
        if environ["REQUEST_METHOD"] != "POST":
            return _NOT_ALLOWED, [("Allow", "POST")], b""
        report = wire.parse_report(environ["QUERY_STRING"])
        shown = self._shown(environ)
        length = environ.get("CONTENT_LENGTH") or ""
        if length and not (length.isascii() and length.isdigit()):
            raise wire.BadRequest("The length is no number.")
        if len(length) > 16 or (length and int(length) > wire.MAX_REPORT_OCTETS):
            return _TOO_LARGE, [], b""
        if not self._bodies.acquire(blocking=False):
            self._write_report(environ, report, "report", {"body": "unread"}, shown)
            return _NO_CONTENT, [], b""
        try:
            body = environ["wsgi.input"].read(wire.MAX_REPORT_OCTETS + 1)
        finally:
            self._bodies.release()
        if len(body) > wire.MAX_REPORT_OCTETS:
            return _TOO_LARGE, [], b""
        if length and len(body) < int(length):
            raise wire.BadRequest("The body is cut.")
        self._write_report(environ, report, "report", _harmless(body), shown)
        return _NO_CONTENT, [], b""

    def _shown(self, environ: Environ) -> Shown | None:
        """The certificate of a beacon or a report, which are taken without a directory too: nothing is proven then."""
        try:
            return self._prover.shown(environ, at=time.time())
        except DirectoryUnusable:
            return None

    def _write_report(
        self, environ: Environ, report: wire.Report, event: str, said: dict[str, str], shown: Shown | None
    ) -> None:
        query = report.query
        answered_at = self._tokens.answered_at(report.token, bytes(query.mac), time.time())
        self._journal.append(
            f'"event":"{event}","what":"{report.event}","mac":"{query.mac}","model":"{query.model}",'
            f'"serial":"{query.serial}","from":"{self._source(environ)}",'
            f'"answered_at":{"null" if answered_at is None else answered_at},"said":{orjson.dumps(said).decode()},'
            f"{_identity(query.mac, shown, token=answered_at is not None)}"
        )

    def _source(self, environ: Environ) -> str:
        """The phone's address: the last one in the chain that no trusted proxy has (all before it can be forged)."""
        peer = str(environ.get("REMOTE_ADDR") or "")
        return sources.sender(peer, environ.get("HTTP_X_FORWARDED_FOR", ""), self._trusted_proxies)

    def _alive(self, environ: Environ) -> Response:
        return _OK, [("Content-Type", "text/plain")], b"alive\n"

    def _ready(self, environ: Environ) -> Response:
        """Whether phones can be answered, and what is missing."""
        missing = []
        try:
            self._directory.check()
        except DirectoryUnusable as problem:
            missing.append(str(problem))
        try:
            self._journal.check()
        except OSError as problem:
            missing.append(f"The journal cannot be written: {problem.strerror}.")
        # Phones are answered without a journal too, so only the directory decides.
        ready = not missing or missing[0].startswith("The journal")
        body = orjson.dumps({"ready": ready, "missing": missing, "dropped_lines": self._journal.dropped})
        return _OK if ready else _UNAVAILABLE, [("Content-Type", "application/json")], body


def _come_back_later() -> Response:
    # Jittered, so that phones that failed in the same second do not return in the same second.
    return _UNAVAILABLE, [("Retry-After", str(random.randint(5, 30)))], b""  # noqa: S311  (no secret)


def _nothing_behind(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response(_NOT_FOUND, [("Content-Length", "0")])
    return [b""]


_UNPROVEN, _BY_TOKEN = (f'"identity":"{known}"' for known in (Proof.NONE, Proof.TOKEN))


def _identity(mac: MacAddress, shown: Shown | None, *, token: bool = False) -> str:
    """What a journal line says of how the phone's identity is known, and of the certificate that it showed."""
    if shown is None:
        return _BY_TOKEN if token else _UNPROVEN
    named = "null" if shown.subject.mac is None else f'"{shown.subject.mac}"'
    return (
        f'"identity":"{proof(mac, shown.certified, token=token)}","certificate":{{"sha256":"{shown.fingerprint}",'
        f'"verdict":"{shown.verdict}","mac":{named},"weak":{"true" if shown.weak else "false"}}}'
    )


@lru_cache(maxsize=4096)
def _quoted(text: str) -> str:
    return orjson.dumps(text).decode()


def _harmless(body: bytes) -> dict[str, str]:
    if not body:
        return {}
    said = {name.lower(): value for name, value in _HARMLESS_FIELDS.findall(body.decode("utf-8", "ignore"))}
    return {"sha256": hashlib.sha256(body).hexdigest(), **said}
