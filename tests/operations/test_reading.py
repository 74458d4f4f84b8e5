"""Files as vendors send them and spreadsheets save them: which are read, and what is said of the others."""

import contextlib
import io
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onboarding.identifiers import InvalidMacAddress
from operations import interpreting, reading
from operations.headings import recognize
from operations.reading import Row, SheetTooLarge, UnreadableSheet

MAC = "00562B043615"


def _read(octets: bytes) -> tuple[dict[str, str], list[str], list[Row]]:
    read = reading.read_csv(io.BytesIO(octets))
    return read.columns, read.ignored, list(read.rows)


_PLAIN = f"MAC,Model\n{MAC},CP-8841-3PCC\n"
_GOOD = {
    "plain": _PLAIN.encode(),
    "with a BOM": b"\xef\xbb\xbf" + _PLAIN.encode(),
    "UTF-16 with a BOM": _PLAIN.encode("utf-16"),
    "UTF-16, big end first": b"\xfe\xff" + _PLAIN.encode("utf-16-be"),
    "semicolons": f"MAC;Model\r\n{MAC};CP-8841-3PCC\r\n".encode(),
    "tabs": f"MAC\tModel\r\n{MAC}\tCP-8841-3PCC\r\n".encode(),
    "bars": f"MAC|Model\n{MAC}|CP-8841-3PCC".encode(),
    "lines of an old Mac": f"MAC,Model\r{MAC},CP-8841-3PCC\r".encode(),
    "quoted": f'"MAC","Model"\n"{MAC}","CP-8841-3PCC"\n'.encode(),
    "Excel's own hint": f"sep=;\nMAC;Model\n{MAC};CP-8841-3PCC\n".encode(),
    "a title above": f"Shipment 4711;;\n;;\nMAC;Model\n{MAC};CP-8841-3PCC\n".encode(),
    "apostrophes": f"MAC,Model\n'{MAC},'CP-8841-3PCC\n".encode(),
    "formulas that keep texts": f'MAC,Model\n="{MAC}","=""CP-8841-3PCC"""\n'.encode(),
    "blanks that do not break": f"\xa0MAC\xa0,Model \n\xa0{MAC}\xa0, CP-8841-3PCC\u200b\n".encode(),
    "empty rows and columns at the end": f"MAC,Model,,,\n{MAC},CP-8841-3PCC,,,\n,,,,\n,,,,\n\n".encode(),
    "columns in another order": f"Model,MAC\nCP-8841-3PCC,{MAC}\n".encode(),
}


@pytest.mark.parametrize("name", _GOOD)
def test_a_file_is_read_however_it_was_saved(name: str) -> None:
    columns, ignored, rows = _read(_GOOD[name])

    assert list(columns) == ["mac", "model"]
    assert ignored == []
    assert [tuple(row.cells) for row in rows] == [(MAC, "CP-8841-3PCC")]
    assert rows[0].problem == ""


_BAD = {
    "nothing": (b"", "empty"),
    "an Excel workbook": (b"PK\x03\x04\x14\x00\x06\x00", "Excel workbook"),
    "an old Excel workbook": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Excel workbook"),
    "a PDF": (b"%PDF-1.7\n", "PDF"),
    "Windows-1252": ("MAC,Name\n00562B043615,Müller\n".encode("cp1252"), "Windows-1252"),
    "UTF-16 without its mark": (_PLAIN.encode("utf-16-le"), "UTF-16"),
    "UTF-32": (_PLAIN.encode("utf-32"), "UTF-32"),
    "no headings": (f"{MAC},CP-8841-3PCC\n".encode(), "MAC column"),
    "no MAC column": (b"Serial,Model\nFCH2133E8B9,CP-8841-3PCC\n", "'Serial'"),
    "a quote that never closes": (f'MAC,Name\n{MAC},"open\n'.encode() + b"x\n" * 100, "does not close"),
    "a line without end": (b"MAC,Name\n" + b"x" * 40_000, "longer than"),
}


@pytest.mark.parametrize("name", _BAD)
def test_a_file_that_cannot_be_read_is_refused_with_what_is_wrong(name: str) -> None:
    octets, said = _BAD[name]

    with pytest.raises(UnreadableSheet) as refusal:
        _read(octets)

    assert said in refusal.value.detail
    assert refusal.value.remedy


def test_rows_have_the_numbers_that_a_spreadsheet_shows() -> None:
    _, _, rows = _read(f'\nMAC,Name\n\n{MAC},"two\nlines"\n,,\n{MAC},x\n'.encode())

    assert [(row.number, row.cells[1]) for row in rows] == [(4, "two\nlines"), (6, "x")]


def test_what_stands_beside_the_columns_makes_a_row_wrong_not_the_file() -> None:
    _, _, rows = _read(f"MAC,Name\n{MAC},Meier, Anna\n{MAC},{'x' * 2000}\n{MAC},Anna\n".encode())

    assert [bool(row.problem) for row in rows] == [True, True, False]
    assert "3 cells" in rows[0].problem


def test_a_file_with_too_many_rows_or_octets_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_ROWS", 2)
    with pytest.raises(SheetTooLarge):
        _read(b"MAC\n" + f"{MAC}\n".encode() * 3)
    monkeypatch.setattr(reading, "MAX_OCTETS", 1000)
    with pytest.raises(SheetTooLarge):
        _read(b"MAC\n" + b" " * 1000)


@pytest.mark.parametrize(
    ("headings", "columns"),
    [
        ("MAC Address;S/N;Product", {"mac": "MAC Address", "serial": "S/N", "model": "Product"}),
        ("Ethernet MAC;SN;PID", {"mac": "Ethernet MAC", "serial": "SN", "model": "PID"}),
        ("LAN MAC;WLAN MAC;Serial No.", {"mac": "LAN MAC", "serial": "Serial No."}),
        ("mac_address;serial_no;part_number", {"mac": "mac_address", "serial": "serial_no", "model": "part_number"}),
        ("Part Number;Model;Mac", {"mac": "Mac", "model": "Model"}),
        ("MAC-Adresse;Seriennummer;Gerät", {"mac": "MAC-Adresse", "serial": "Seriennummer"}),
        ("Mac;User;Description", {"mac": "Mac", "label": "User"}),
        ("MAC ID;Profile;Valid until;Provisioning URL",
         {"mac": "MAC ID", "profile": "Profile", "valid_until": "Valid until", "target": "Provisioning URL"}),
        ("Mac;Mac", {"mac": "Mac"}),
    ],
)  # fmt: skip
def test_usual_headings_are_recognized_and_others_are_named(headings: str, columns: dict[str, str]) -> None:
    found = recognize(headings.split(";"))

    assert found.headed == columns
    assert len(found.ignored) == len(headings.split(";")) - len(columns)


@pytest.mark.parametrize(
    "text",
    [
        MAC,
        "00:56:2b:04:36:15",
        "0056.2b04.3615",
        "00-56-2B-04-36-15",
        "00 56 2B 04 36 15",
        "00562B-043615",
        "0056-2b04-3615",
    ],
)
def test_macs_are_read_in_the_notations_of_shipping_lists(text: str) -> None:
    assert str(interpreting.mac(text)) == MAC


@pytest.mark.parametrize("text", ["5.62E+10", "5,62E+10", "5.62043615E+08", "562043615", "562043615,0", "12345678901"])
def test_a_mac_that_a_spreadsheet_spoilt_is_refused_with_what_it_did(text: str) -> None:
    with pytest.raises(InvalidMacAddress) as refusal:
        interpreting.mac(text)

    assert "spreadsheet" in refusal.value.detail
    assert "as text" in refusal.value.remedy


class _Stuttering(io.RawIOBase):
    """Gives a few octets at a time, as a network does."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    def read(self, size: int = -1, /) -> bytes:
        given, self._octets = self._octets[:3], self._octets[3:]
        return given


def test_a_file_that_arrives_in_small_pieces_is_read_as_well() -> None:
    read = reading.read_csv(_Stuttering("MAC;Name\n".encode("utf-16") + f"{MAC};Müller\n".encode("utf-16-le")))

    assert [tuple(row.cells) for row in read.rows] == [(MAC, "Müller")]


def _taken(rows: Iterator[Row]) -> int:
    return sum(1 for _ in rows)


@given(st.binary(max_size=400) | st.text(max_size=200).map(lambda text: f"mac,{text}".encode("utf-8", "replace")))
@settings(max_examples=300, deadline=None)
def test_any_octets_are_read_or_refused(octets: bytes) -> None:
    with contextlib.suppress(UnreadableSheet, SheetTooLarge):
        assert _taken(reading.read_csv(io.BytesIO(octets)).rows) >= 0
