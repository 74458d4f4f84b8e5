"""Headings of vendors' shipping lists, as columns of ours. Pure."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

# Ours → usual headings in the order of preference, without case, accents and signs. Where a list has several of a
# column, the first of these counts: a product name says more than a part number.
_HEADINGS: dict[str, tuple[str, ...]] = {
    "mac": (
        "mac", "macaddress", "macaddr", "macid", "ethernetmac", "ethernetmacaddress", "ethmac", "ethmacaddress",
        "lanmac", "lanmacaddress", "wiredmac", "wiredmacaddress", "basemac", "basemacaddress", "phonemac",
        "devicemac", "mac1", "macno", "macnumber", "hwaddress", "hardwareaddress", "physicaladdress",
        "macadresse", "macadress", "macadres", "adressemac", "direccionmac", "indirizzomac",
    ),
    "model": (
        "model", "modelname", "phonemodel", "devicemodel", "product", "productname", "producttype", "productid", "pid",
        "modelnumber", "modelno", "productnumber", "productno", "productcode", "partnumber", "partno", "partnr", "pn",
        "partcode", "sku", "itemnumber", "itemno", "item", "devicetype", "type", "modell", "produkt",
        "artikelnummer", "artikel", "modele", "modelo", "modello",
    ),
    "serial": (
        "serial", "serialnumber", "serialno", "serialnr", "serialnum", "sn", "serialid", "phoneserial",
        "deviceserial", "productserialnumber", "seriennummer", "seriennr", "numerodeserie", "nodeserie",
        "numerodiserie", "serienummer", "numeroserie",
    ),
    "profile": ("profile", "profilename", "profileid", "redirectprofile", "provisioningprofile", "profil"),
    "label": (
        "label", "name", "displayname", "username", "user", "fullname", "assignedto", "employee", "description",
        "desc", "comment", "comments", "remark", "remarks", "note", "notes", "location", "room", "extension",
        "bezeichnung", "beschreibung", "benutzer", "bemerkung", "standort", "nom", "nombre", "nome",
    ),
    "target": (
        "target", "targeturl", "url", "profilerule", "profileurl", "provisioningurl", "provisioningserver",
        "configurl", "configurationurl", "redirecturl",
    ),
    "valid_from": ("validfrom", "notbefore", "windowopens", "gueltigab", "gultigab"),
    "valid_until": (
        "validuntil", "validto", "notafter", "expires", "expiresat", "windowcloses", "gueltigbis", "gultigbis",
    ),
}  # fmt: skip

COLUMNS = tuple(_HEADINGS)
_RANKS = {heading: (column, rank) for column, headings in _HEADINGS.items() for rank, heading in enumerate(headings)}

# What is shown of a heading.
_LONGEST = 80


@dataclass(frozen=True, slots=True)
class Recognized:
    """Which cell of a row is which column of ours; `headed` is what the file calls it."""

    places: dict[str, int] = field(default_factory=dict)
    headed: dict[str, str] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)


def recognize(headings: Sequence[str]) -> Recognized:
    """Find our columns among headings. Each is taken once; what is left over is named and ignored."""
    best: dict[str, tuple[int, int]] = {}
    for place, heading in enumerate(headings):
        column, rank = _RANKS.get(plain(heading), ("", 0))
        # Of two alike the first: further ones are mostly for a second interface.
        if column and (column not in best or rank < best[column][0]):
            best[column] = (rank, place)
    places = {column: best[column][1] for column in COLUMNS if column in best}
    taken = set(places.values())
    ignored = [
        heading.strip()[:_LONGEST] for place, heading in enumerate(headings) if place not in taken and heading.strip()
    ]
    return Recognized(places, {column: headings[place].strip()[:_LONGEST] for column, place in places.items()}, ignored)


def plain(heading: str) -> str:
    """A heading without case, accents and signs: `S/N` and `s.n.` are `sn`."""
    decomposed = unicodedata.normalize("NFKD", heading[:_LONGEST].casefold())
    return "".join(letter for letter in decomposed if letter.isalnum())
