"""The phones' HTTP: query string -> PhoneQuery, and the few answers that a door gives.

The EDOS query is `?id=MAC:SERIAL:MODEL&sw=FIRMWARE` with the parts of `id` in any order, or
`?mac=…&model=…&serial=…&sw=…`, which wins. What a phone says of itself beside its MAC and cannot be read counts as not
said; without a readable MAC the request is refused. Parameters that nobody knows are ignored, repeated ones refused.

    MAC      the first part that can be one; written with colons it takes six parts
    model    a remaining part with a hyphen, or shorter than a serial number
    serial   a remaining part of ten or more letters and digits; of two alike the first (the vendor's order is SN, PN)

A short code is asked for by `?code=%23123456` beside these; without the `#` it is none.

Source: contract 3; the vendor's own request line is not public (protocol 1.2).
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from onboarding.errors import OnboardingError
from onboarding.identifiers import (
    InvalidMacAddress,
    InvalidModelName,
    InvalidSerialNumber,
    InvalidShortCode,
    MacAddress,
    ModelName,
    SerialNumber,
    ShortCode,
)
from onboarding.registration import PhoneQuery
from onboarding.states import REPORTABLE_EVENTS, Event

MAX_QUERY_LENGTH = 1024
_MAX_PARAMETERS = 16
_MAX_PARTS = 16
MAX_FIRMWARE_LENGTH = 64
MAX_REPORT_OCTETS = 64 * 1024

# Shorter serial numbers than this are not known of these phones; longer product names without a hyphen neither.
_SHORTEST_SERIAL = 10

# How phones ask as a rule, read in one step. Whatever is otherwise goes the long way, which gives the same (tests/…).
_USUAL = re.compile(
    r"id=([0-9A-Fa-f]{12}):([0-9A-Za-z]{10,32}):([0-9A-Za-z][0-9A-Za-z._+/-]{0,38}[0-9A-Za-z+])"
    rf"&sw=([A-Za-z0-9._()+/-]{{1,{MAX_FIRMWARE_LENGTH}}})"
)
_USUAL_CODE = re.compile(r"code=%23([0-9]{3,16})&(id=[^&]*&sw=[^&]*)")
_PAIR = re.compile(r"[0-9A-Fa-f]{2}")
_FIRMWARE = re.compile(rf"[A-Za-z0-9._()+/-]{{1,{MAX_FIRMWARE_LENGTH}}}")
_REPORTABLE = {event.value: event for event in REPORTABLE_EVENTS}


class BadRequest(OnboardingError):
    """The request is not one that a phone makes; it is answered 400 with an empty body."""

    code = "bad_request"


@dataclass(frozen=True, slots=True)
class Report:
    """A beacon or a report: which phone says what, and the token that may prove it."""

    query: PhoneQuery
    event: Event
    token: str


def parse_query(query_string: str) -> PhoneQuery:
    """Read an EDOS query. Raises BadRequest."""
    if usual := _USUAL.fullmatch(query_string):
        digits, serial, model, firmware = usual.groups()
        number = int(digits, 16)
        if "-" in model and number and not number >> 40 & 1:
            return PhoneQuery(MacAddress(number), model.upper(), serial.upper(), firmware)
    return _phone(_parameters(query_string))


def parse_short_code(query_string: str) -> tuple[PhoneQuery, str]:
    """Read `?code=%23123456&id=…`: the phone, and the code's digits, "" for what is none. Raises BadRequest."""
    if usual := _USUAL_CODE.fullmatch(query_string):
        digits, rest = usual.groups()
        # Short enough to be read at once; the other way reads what is longer, and what is otherwise.
        if len(query_string) <= MAX_QUERY_LENGTH:
            return parse_query(rest), digits
    parameters = _parameters(query_string)
    query = _phone(parameters)
    try:
        return query, ShortCode.parse(parameters.get("code", "")).digits
    except InvalidShortCode:
        return query, ""


def parse_beacon(query_string: str) -> Report:
    """Read a beacon: the phone fetched it, so it acquired its profile. Raises BadRequest."""
    parameters = _parameters(query_string)
    return Report(_phone(parameters), Event.ACQUIRED, parameters.get("t", ""))


def parse_report(query_string: str) -> Report:
    """Read a report. Raises BadRequest."""
    parameters = _parameters(query_string)
    event = _REPORTABLE.get(parameters.get("event", ""))
    if event is None:
        raise BadRequest("There is no such event.")
    return Report(_phone(parameters), event, parameters.get("t", ""))


def _parameters(query_string: str) -> dict[str, str]:
    if len(query_string) > MAX_QUERY_LENGTH:
        raise BadRequest("The query is too long.")
    pairs = query_string.split("&", _MAX_PARAMETERS)
    if len(pairs) > _MAX_PARAMETERS:
        raise BadRequest("There are too many parameters.")
    parameters: dict[str, str] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        if name in parameters:
            raise BadRequest("A parameter is repeated.")
        if "%" in value or not value.isascii():
            try:
                value = unquote_to_bytes(value.encode("latin-1")).decode("utf-8")
            except (UnicodeDecodeError, UnicodeEncodeError):
                raise BadRequest("A value is not UTF-8.") from None
        parameters[name] = value
    return parameters


def _phone(parameters: dict[str, str]) -> PhoneQuery:
    try:
        if "mac" in parameters:
            mac = MacAddress.parse(parameters["mac"])
            rest = (parameters.get("model", ""), parameters.get("serial", ""))
        else:
            mac, rest = _parse_id(parameters.get("id", ""))
    except InvalidMacAddress:
        raise BadRequest("No MAC address can be read.") from None
    firmware = parameters.get("sw", "")
    return PhoneQuery(
        mac, _model_or_nothing(rest[0]), _serial_or_nothing(rest[1]), firmware if _FIRMWARE.fullmatch(firmware) else ""
    )


def _parse_id(text: str) -> tuple[MacAddress, tuple[str, str]]:
    """Split `id` into the MAC and (model, serial). Raises InvalidMacAddress, BadRequest."""
    parts = text.split(":", _MAX_PARTS)
    if len(parts) > _MAX_PARTS:
        raise BadRequest("The id has too many parts.")
    for position, part in enumerate(parts):
        if len(part) >= 12:
            try:
                mac = MacAddress.parse(part)
            except InvalidMacAddress:
                continue
            return mac, _model_and_serial(parts[:position] + parts[position + 1 :])
        if len(part) == 2 and all(map(_PAIR.fullmatch, group := parts[position : position + 6])) and len(group) == 6:
            try:
                mac = MacAddress.parse(":".join(group))
            except InvalidMacAddress:
                continue
            return mac, _model_and_serial(parts[:position] + parts[position + 6 :])
    raise InvalidMacAddress("No part of the id is a MAC address.", field="id")


def _model_and_serial(parts: list[str]) -> tuple[str, str]:
    model = serial = ""
    unsure = []
    for part in parts:
        if not part:
            continue
        if "-" in part or len(part) < _SHORTEST_SERIAL:
            model = model or part
        else:
            unsure.append(part)
    if unsure:
        serial = unsure[0]
        if len(unsure) > 1 and not model:
            model = unsure[1]
    return model, serial


def _model_or_nothing(text: str) -> str:
    if not text:
        return ""
    try:
        return ModelName.parse(text).text
    except InvalidModelName:
        return ""


def _serial_or_nothing(text: str) -> str:
    if not text:
        return ""
    try:
        return SerialNumber.parse(text).text
    except InvalidSerialNumber:
        return ""
