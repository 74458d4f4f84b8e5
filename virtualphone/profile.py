"""Reads a flat-profile, the document in which a phone is told its parameters.

`<flat-profile>` may sit inside other elements; the elements right under it are the parameters. The last occurrence
wins, white space around a value is trimmed, line ends inside it become blanks. An empty element empties the parameter.
Source: the vendor's provisioning guide, "Configuration Profile Formats"; the seed's examples.

The document comes from whoever answers, so it is read with expat itself: bounded, never deep, and no document type,
hence no entities that unfold.
"""

import re
import zlib
from xml.parsers import expat

MAX_PROFILE_BYTES = 1 << 20
# The examples nest three elements; nothing that a phone reads nests more than a few.
MAX_DEPTH = 32

_LINE_ENDS = re.compile(r"[\r\n]+")
_GZIP = b"\x1f\x8b"


class CorruptProfile(ValueError):
    """The document is not a flat-profile. For the phone this is class B, as a file that is not there."""


def parse(document: bytes) -> dict[str, str]:
    """The parameters in the order of the document. Raises CorruptProfile."""
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = reader.doctype
    try:
        parser.Parse(_unpacked(document), True)
    except expat.ExpatError as error:
        raise CorruptProfile(f"not XML: {error}") from error
    except CorruptProfile:
        raise
    except (LookupError, ValueError) as error:
        raise CorruptProfile("written in an encoding that phones do not read") from error
    if not reader.found:
        raise CorruptProfile("without a <flat-profile>")
    return reader.parameters


def _unpacked(document: bytes) -> bytes:
    """Phones recognize gzip by its header. The bound also holds for what a small file unfolds to."""
    if document.startswith(b"Salted__"):
        raise CorruptProfile("encrypted, and this phone in software cannot decrypt")
    if document.startswith(_GZIP):
        unpacker = zlib.decompressobj(wbits=31)
        try:
            document = unpacker.decompress(document, MAX_PROFILE_BYTES + 1)
        except zlib.error as error:
            raise CorruptProfile("damaged gzip") from error
    if len(document) > MAX_PROFILE_BYTES:
        raise CorruptProfile(f"longer than {MAX_PROFILE_BYTES} bytes")
    return document


class _Reader:
    """Collects the parameters while expat reads."""

    def __init__(self) -> None:
        self.parameters: dict[str, str] = {}
        self.found = False
        self._open: list[str] = []
        self._pieces: list[str] | None = None

    def start(self, name: str, _attributes: dict[str, str]) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise CorruptProfile(f"nested deeper than {MAX_DEPTH} elements")
        self.found |= name == "flat-profile"
        if self._open and self._open[-1] == "flat-profile":
            self._pieces = []
        self._open.append(name)

    def text(self, text: str) -> None:
        if self._pieces is not None and len(self._open) >= 2 and self._open[-2] == "flat-profile":
            self._pieces.append(text)

    def end(self, name: str) -> None:
        self._open.pop()
        if self._open and self._open[-1] == "flat-profile" and self._pieces is not None:
            # Taken out first, so that the last occurrence also stands last.
            self.parameters.pop(name, None)
            self.parameters[name] = _LINE_ENDS.sub(" ", "".join(self._pieces).strip())
            self._pieces = None

    def doctype(self, *_declaration: object) -> None:
        raise CorruptProfile("with a document type, which flat-profiles never have")
