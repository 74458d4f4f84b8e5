"""What the bar codes of a phone's box say: Scan.read(text) -> MAC, serial number, model, as far as one scan has them.

    plain            00562B043615   00:56:2b:04:36:15   FCH2133E8B9   88012BA01234 (a serial that looks like a MAC)
    labelled         MAC: 00562B043615   S/N FCH2133E8B9   PID=CP-8841-3PCC-K9
    data identifiers 23S00562B043615 (MAC)   SFCH2133E8B9 (serial)   1PCP-8841-3PCC-K9 (product)   ANSI MH10.8.2
    GS1              (01)00882658563331(21)FCH2133E8B9   ]C1 0100882658563331 21FCH2133E8B9   application identifiers
    2D codes         several of these, divided by ; , | / tabs or the separators RS, GS

A scanner may put the symbology before the text (`]C1`, ISO 15424). Product codes (UPC, EAN) are refused by name: twelve
digits are a MAC's form too, and every box of a model would be the same phone.
"""

import re
from dataclasses import dataclass
from typing import Self

from onboarding.errors import OnboardingError
from onboarding.identifiers import InvalidMacAddress, MacAddress, ModelName, SerialNumber

# The longest 2D code on a box has a few dozen characters.
MAX_SCAN_LENGTH = 300

_SYMBOLOGY = re.compile(r"\][A-Za-z][0-9A-Za-z]")
_SEPARATORS = re.compile(r"[;,|\t\r\n\x1d\x1e\x1f\x04]+")
_LABELLED = re.compile(
    r"(?P<name>mac(?:[ _-]?(?:addr(?:ess)?|id))?|ethernet|s/?n|serial(?:[ _-]?(?:no|number))?|p(?:roduct[ _-]?)?/?id|"
    r"p/?n|model|upc|ean|gtin|(?:23s|1p)(?=:))\.?(?:\s*[:=#]\s*|\s+)(?P<value>\S.*)",
    re.IGNORECASE,
)
_KINDS = {"m": "mac", "e": "mac", "2": "mac", "s": "serial", "p": "model", "1": "model", "u": "product", "g": "product"}
_SPACED_MAC = re.compile(r"[0-9A-Fa-f]{2}(?: [0-9A-Fa-f]{2}){5}")
# A manufacturer's serial of place, year, week and number: the only one of which a bare "S" before it is surely none.
_MAKERS_SERIAL = re.compile(r"[A-Z]{3}[0-9]{4}[0-9A-Z]{4}", re.IGNORECASE)
_BRACKETED = re.compile(r"\((?P<ai>[0-9]{2,4}|S|23S|1P)\)(?P<value>[^()]+)", re.IGNORECASE)
_GTIN_SERIAL = re.compile(r"01(?P<gtin>[0-9]{14})(?:[\x1d ]?21(?P<serial>[0-9A-Za-z]{5,20}))?")


class UnreadableScan(OnboardingError):
    """The text is nothing that stands on a phone's box."""

    code = "unreadable_scan"
    remedy = "Scan the bar code beside the word MAC, or the one beside S/N."


class ProductCodeScanned(OnboardingError):
    """The bar code is that of the product, the same on every box of the model."""

    code = "product_code_scanned"
    remedy = "Scan the bar code beside the word MAC instead. (A MAC of digits only can be typed with colons.)"


@dataclass(frozen=True, slots=True)
class Scan:
    """What one scan says. `may_be_serial` is the serial number that a text read as a MAC could be as well."""

    mac: MacAddress | None = None
    serial: SerialNumber | None = None
    model: ModelName | None = None
    may_be_serial: SerialNumber | None = None

    @classmethod
    def read(cls, text: str) -> Self:
        """Read what a scanner typed. Raises UnreadableScan, ProductCodeScanned, and InvalidMacAddress for a label MAC
        that is none."""
        if len(text) > MAX_SCAN_LENGTH:
            raise UnreadableScan("That is longer than any bar code of a phone's box.")
        plain = _SYMBOLOGY.sub("", text.strip(), count=1) if text.strip().startswith("]") else text.strip()
        if not plain:
            raise UnreadableScan("Nothing was scanned.")
        found: dict[str, object] = {}
        for kind, value in _pieces(plain):
            for name, part in _read_piece(kind, value).items():
                found.setdefault(name, part)
        product = found.pop("product", None)
        if not found:
            if product:
                raise ProductCodeScanned(f"{plain[:64]!r} is the product's code, the same on every box.")
            raise UnreadableScan(f"{plain[:64]!r} is neither a MAC nor a serial number.")
        return cls(**found)  # type: ignore[arg-type]


def _pieces(text: str) -> list[tuple[str, str]]:
    """The parts of a code, each with what its label says that it is (empty for no label)."""
    if text.startswith("(") and (bracketed := list(_BRACKETED.finditer(text))):
        kinds = {"21": "serial", "S": "serial", "23S": "mac", "1P": "model", "240": "model", "241": "model"}
        kinds |= {"01": "product", "02": "product"}
        return [(kinds.get(part["ai"].upper(), ""), part["value"].strip()) for part in bracketed]
    if (match := _GTIN_SERIAL.fullmatch(text)) and _is_product_code(match["gtin"]):
        return [("product", match["gtin"]), *([("serial", match["serial"])] if match["serial"] else [])]
    return [_labelled(piece.strip()) for piece in _SEPARATORS.split(text) if piece.strip()][:16]


def _labelled(piece: str) -> tuple[str, str]:
    match = _LABELLED.fullmatch(piece)
    if match is None:
        return "", piece
    name = match["name"].lower()
    kind = "product" if name == "ean" else _KINDS[name[0]]
    return kind, match["value"].strip()


def _read_piece(kind: str, value: str) -> dict[str, object]:
    if kind == "mac":
        return {"mac": MacAddress.parse(_joined(value))}
    if kind == "product":
        return {"product": value}
    if kind == "model":
        return {"model": model} if (model := _model(value)) else {}
    if kind == "serial":
        return {"serial": serial} if (serial := _serial(value)) else {}
    return _read_unlabelled(value)


def _read_unlabelled(value: str) -> dict[str, object]:
    upper = value.upper()
    if upper.startswith("23S") and (mac := _mac(value[3:])):
        return {"mac": mac}
    if upper.startswith("1P") and (model := _model(value[2:])):
        return {"model": model}
    if upper.startswith("S") and _MAKERS_SERIAL.fullmatch(value[1:]):
        return {"serial": SerialNumber.parse(value[1:])}
    if _is_product_code(value):
        return {"product": value}
    if mac := _mac(_joined(value)):
        serial = _serial(value)
        return {"mac": mac, **({"may_be_serial": serial} if serial else {})}
    serial = _serial(value)
    return {"serial": serial} if serial else {}


def _joined(value: str) -> str:
    return value.replace(" ", ":") if _SPACED_MAC.fullmatch(value) else value


def _mac(text: str) -> MacAddress | None:
    try:
        return MacAddress.parse(text)
    except InvalidMacAddress:
        return None


def _serial(text: str) -> SerialNumber | None:
    try:
        serial = SerialNumber.parse(text)
    except OnboardingError:
        return None
    # A word is none: some digit is in each.
    return serial if any(character.isdigit() for character in text) else None


def _model(text: str) -> ModelName | None:
    try:
        # The name by which a product is ordered ends with K9 (encryption) and, for a spare, "="; phones say neither.
        return ModelName.parse(re.sub(r"(?<=..)(?:-K9)?=?$", "", text, flags=re.IGNORECASE))
    except OnboardingError:
        return None


def _is_product_code(text: str) -> bool:
    """Whether this is a UPC (12 digits), EAN (8, 13) or GTIN (14) by its check digit (GS1, 7.9)."""
    if len(text) not in {8, 12, 13, 14} or not (text.isascii() and text.isdigit()):
        return False
    digits = [int(digit) for digit in reversed(text)]
    return (sum(digits[0::2]) + 3 * sum(digits[1::2])) % 10 == 0
