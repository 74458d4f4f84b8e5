"""What it costs the door that a phone shows a certificate: the first time, and every time after."""

import base64
import ipaddress
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.results import Row, progress
from redirect.directory import DirectoryWriter, authority_item, device_key, profile_key
from redirect.door import Door
from trust.verifying import Authorities, Authority, Verifier
from virtualphone.manufacturer import ENTERPRISE, Issued, new_key

PHONES, ROUNDS = 300, 7
_MAC = "00562B{:06X}"
_PROXY = "127.0.0.1"


def measure() -> list[Row]:
    """Queries with a certificate that the door remembers, beside such that it has to verify, and beside none."""
    progress(f"certificates: {ROUNDS} rounds of {PHONES} phones, as from a manufacturer with an intermediate authority")
    # RSA, as real ones are; the phones' own keys do not matter for the cost of verifying.
    root = Issued.root(key=new_key("rsa-2048"))
    middle = root.issue("Manufacturing CA", ca=True, key=new_key("rsa-2048"))
    headers = [_header(middle, number) for number in range(PHONES)]
    with TemporaryDirectory() as folder:
        verified, remembered, plain = [], [], []
        for number in range(ROUNDS):
            # A door that has just started remembers nothing; a process opens a directory once.
            data = Path(folder, str(number))
            _build(data, root, middle)
            door = _door(data)
            verified.append(_microseconds(door, headers))
            remembered.append(_microseconds(door, headers))
            if door.verifications != PHONES:
                raise SystemExit(f"{door.verifications} verifications of {PHONES} certificates")
            plain.append(_microseconds(door, [{} for _ in headers]))
    first, again, none = (statistics.median(times) for times in (verified, remembered, plain))
    details: dict[str, Any] = {
        "microseconds a query": {"verified": round(first, 1), "remembered": round(again, 1), "without": round(none, 1)},
        "microseconds a verification": round(_verification_alone(root, middle), 1),
    }
    progress(f"  {first:.0f} µs verified, {again:.0f} µs remembered, {none:.0f} µs without a certificate")
    return [
        Row("certificate remembered ÷ verified, queries a second", first / again, "×", 3, details=details),
        # Not promised to anybody: that it does not grow unnoticed. The header alone takes longer to read than a query.
        Row("query with a remembered certificate ÷ without", none / again, "×", 0.3, details=details),
    ]


def _header(issuer: Issued, number: int) -> dict[str, str]:
    leaf = issuer.issue_phone(ENTERPRISE, mac=_MAC.format(number))
    return {"HTTP_CLIENT_CERT": f":{base64.b64encode(leaf.der).decode()}:"}


def _build(folder: Path, *authorities: Issued) -> None:
    items = [
        authority_item(id, id.to_bytes(32, "big"), one.der, allows_sha1=False) for id, one in enumerate(authorities, 1)
    ]
    items.append((profile_key(1), b'[1,true,["https://cfg.example.net/$MA.xml"],[],"none","preferred",false]'))
    items += [
        (device_key(bytes.fromhex(_MAC.format(number))), b'[%d,1,1,"CP-8841-3PCC","","",null,null]' % (number + 1))
        for number in range(PHONES)
    ]
    DirectoryWriter(folder / "directory").rebuild(sorted(items), {"last": 0})


def _door(folder: Path) -> Door:
    return Door(
        directory=folder / "directory", journal=folder / "journal", machine="bench", public_url="http://door.example",
        edos_path="/rc", short_code_path="/cda", beacon_path="/beacon", report_path="/report",
        secret_key="bench-" * 8, trusted_proxies=[ipaddress.ip_network(f"{_PROXY}/32")],
    )  # fmt: skip


def _microseconds(door: Callable[..., Any], headers: list[dict[str, str]]) -> float:
    """What one query takes, without a server around the door."""
    environs = [
        {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/rc",
            "QUERY_STRING": f"id={_MAC.format(number)}:FCH2133E8B9:CP-8841-3PCC&sw=11.3",
            "REMOTE_ADDR": _PROXY,
            **header,
        }
        for number, header in enumerate(headers)
    ]
    begun = time.perf_counter()
    for environ in environs:
        door(environ, _nothing)
    return (time.perf_counter() - begun) / len(environs) * 1e6


def _nothing(status: str, headers: list[tuple[str, str]]) -> None:
    if not status.startswith("200"):
        raise SystemExit(f"The door answered {status}.")


def _verification_alone(root: Issued, middle: Issued) -> float:
    verifier = Verifier(Authorities(b"", (Authority(root.der), Authority(middle.der))))
    leaf, at = middle.issue_phone(ENTERPRISE, mac=_MAC.format(0)).der, time.time()
    begun = time.perf_counter()
    for _ in range(100):
        verifier.verify(leaf, at=at)
    return (time.perf_counter() - begun) / 100 * 1e6
