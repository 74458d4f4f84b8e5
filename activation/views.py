"""The phones' activation endpoint: a POST of what the user typed and what the phone says of itself.

    code, mac, model, serial, firmware      as JSON or as a form

    200  flat-profile                       404  {"code": "invalid_activation_code"}: it does not work, whyever
    400  what cannot be a code or a MAC     429  too many wrong codes, with Retry-After
    405  anything but POST                  503  the registry is down, with Retry-After; nothing is spent

Cheap refusals come first: what is mistyped, and what comes while a limit is closed, costs no query. Source: contract 3.
"""

import json
import logging
import random
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol
from urllib.parse import parse_qsl

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, UnreadablePostError
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from activation import limits, redemption
from activation.codes import ActivationCode
from activation.limits import ClosedLimits
from activation.redemption import BoundPhones, TooManyAttempts, WrongCode
from activation.vault import Vault
from onboarding import flatprofile, sources
from onboarding.answers import Links
from onboarding.customization import StateContended
from onboarding.errors import OnboardingError
from onboarding.identifiers import MacAddress, ModelName, SerialNumber
from onboarding.registration import PhoneQuery
from onboarding.sources import Network
from trust.headers import RefusedHeader
from trust.identity import Shown

logger = logging.getLogger(__name__)

MAX_BODY_OCTETS = 4096
_MAX_FIELDS = 16
_FIELDS = ("code", "mac", "model", "serial", "firmware")
_FIRMWARE = re.compile(r"[A-Za-z0-9._()+/-]{1,64}")

# Every wrong code takes this long: what it cost to find out why is not to be seen. The limits let few through.
REFUSAL_SECONDS = 0.05
_COMPLAINT_SECONDS = 60.0

# What makes the beacon and report URLs of one phone, answered at this moment (epoch seconds).
MakeLinks = Callable[[PhoneQuery, float], Links]


class Prove(Protocol):
    """What reads and checks the certificate that the phone behind a request showed."""

    def __call__(self, environ: Mapping[str, Any], /, *, at: float) -> Shown | None:
        """None where none was shown, or nobody believes it. Raises RefusedHeader."""
        ...


def _unproven(environ: Mapping[str, Any], /, *, at: float) -> Shown | None:
    return None


class BadRequest(OnboardingError):
    """The body is not what a phone sends."""

    code = "bad_request"
    remedy = "Send code and mac, as JSON or as a form of at most 4 KiB."


def endpoint(
    *, vault: Vault, make_links: MakeLinks, trusted_proxies: Iterable[Network], prove: Prove = _unproven
) -> Callable[[HttpRequest], HttpResponse]:
    """The view. What this process remembers of limits lives as long as it."""
    trusted = tuple(trusted_proxies)
    closed_limits, bound_phones = ClosedLimits(), BoundPhones()
    complain = _Complaint()

    @csrf_exempt
    def activate(request: HttpRequest) -> HttpResponse:
        if request.method != "POST":
            return HttpResponse(status=405, headers={"Allow": "POST"})
        began = time.monotonic()
        try:
            said = _said(request)
            code, mac = ActivationCode.parse(said["code"]), MacAddress.parse(said["mac"])
        except OnboardingError as error:
            return _problem(400, error.code)
        at = timezone.now()
        try:
            shown = prove(request.META, at=at.timestamp())
        except RefusedHeader as error:
            return _problem(400, error.code)
        phone = PhoneQuery(mac, *_optional(said), certified=shown.certified if shown else None)
        try:
            redeemed = redemption.redeem(
                code=code,
                mac=mac,
                model=phone.model,
                serial=phone.serial,
                firmware=phone.firmware,
                certified=phone.certified,
                source=_source(request, trusted),
                at=at,
                vault=vault,
                links=lambda: make_links(phone, at.timestamp()),
                closed_limits=closed_limits,
                bound_phones=bound_phones,
            )
        except WrongCode as error:
            time.sleep(max(0.0, began + REFUSAL_SECONDS - time.monotonic()))
            return _problem(404, error.code)
        except TooManyAttempts as error:
            if error.closed.attempt.limit is limits.SERVICE:
                complain()
            return _problem(429, error.code, retry_after=error.retry_after_seconds)
        except (OperationalError, InterfaceError, StateContended) as error:
            logger.error("A phone's activation waits for the registry: %s", type(error).__name__)
            # Jittered, so that phones that failed in the same second do not return in the same second.
            return _problem(503, "unavailable", retry_after=random.randint(5, 30))  # noqa: S311  (no secret)
        return HttpResponse(
            redeemed.document, content_type=flatprofile.CONTENT_TYPE, headers={"Cache-Control": "no-store"}
        )

    return activate


class _Complaint:
    """Tells the operator that somebody is guessing, once in a while."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _COMPLAINT_SECONDS
            logger.warning(
                "Wrong activation codes reached the limit of the whole service: somebody may be guessing. Only phones "
                "with codes of their own are let in meanwhile."
            )


def _problem(status: int, code: str, *, retry_after: int | None = None) -> HttpResponse:
    # The codes are ours and need no escaping.
    body, headers = f'{{"code": "{code}"}}', {"Cache-Control": "no-store"}
    response = HttpResponse(body, status=status, content_type="application/json", headers=headers)
    if retry_after is not None:
        response["Retry-After"] = str(retry_after)
    # Django writes a line for every refusal: a flood of guesses would fill the log.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response


def _source(request: HttpRequest, trusted: tuple[Network, ...]) -> str:
    return sources.sender(request.META.get("REMOTE_ADDR") or "", request.META.get("HTTP_X_FORWARDED_FOR", ""), trusted)


def _said(request: HttpRequest) -> dict[str, str]:
    """The body's fields, `code` and `mac` at least. Raises BadRequest."""
    body = _body(request)
    content_type = request.META.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    is_json = content_type == "application/json" or (not content_type and body.lstrip().startswith(b"{"))
    try:
        pairs = _json_pairs(body) if is_json else _form_pairs(body)
    except (ValueError, RecursionError):
        raise BadRequest("The body cannot be read.") from None
    said: dict[str, str] = {}
    for name, value in pairs:
        if name not in _FIELDS:
            continue
        if name in said or not isinstance(value, str):
            raise BadRequest("A field is repeated, or no text.", field=name)
        said[name] = value
    for name in ("code", "mac"):
        if name not in said:
            raise BadRequest("A field is missing.", field=name)
    return said


def _body(request: HttpRequest) -> bytes:
    length = request.META.get("CONTENT_LENGTH") or ""
    if length and not (length.isascii() and length.isdigit() and len(length) < 8 and int(length) <= MAX_BODY_OCTETS):
        raise BadRequest("The body is too large.")
    chunked = not length and request.META.get("HTTP_TRANSFER_ENCODING", "").lower() == "chunked"
    try:
        # Django takes a body without a length for none.
        body = request.META["wsgi.input"].read(MAX_BODY_OCTETS + 1) if chunked else request.body
    except (UnreadablePostError, OSError):
        raise BadRequest("The body ended early.") from None
    if len(body) > MAX_BODY_OCTETS or (length and len(body) < int(length)):
        raise BadRequest("The body is too large, or cut.")
    return bytes(body)


def _json_pairs(body: bytes) -> list[tuple[str, Any]]:
    """The pairs of one JSON object, repeated names included. Raises ValueError."""
    value = json.loads(body.decode("utf-8"), object_pairs_hook=_Pairs)
    if not isinstance(value, _Pairs):
        raise ValueError("no object")
    return value


class _Pairs(list[tuple[str, Any]]):
    """The pairs of an object as they stand there."""


def _form_pairs(body: bytes) -> list[tuple[str, Any]]:
    """The pairs of a form. Raises ValueError."""
    return list(parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict"))


def _optional(said: dict[str, str]) -> tuple[str, str, str]:
    """Model, serial and firmware. What cannot be read counts as not said."""
    firmware = said.get("firmware", "")
    return (
        _or_nothing(ModelName.parse, said.get("model", "")),
        _or_nothing(SerialNumber.parse, said.get("serial", "")),
        firmware if _FIRMWARE.fullmatch(firmware) else "",
    )


def _or_nothing(parse: Callable[[str], object], text: str) -> str:
    try:
        return str(parse(text))
    except OnboardingError:
        return ""
