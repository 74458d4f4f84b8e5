"""The real nginx with the configuration of `docker/nginx`, rendered as containers do it: names replaced, no more."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template

SHIPPED = Path(__file__).resolve().parents[2] / "docker" / "nginx"
PROGRAM = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

_START_SECONDS = 10.0
# As in docker/compose.yaml.
DEFAULTS = {
    "EDOS_PATH": "/software/edos/callhome/rc",
    "SHORT_CODE_PATH": "/software/edos/callhome/cda",
    "ACTIVATION_PATH": "/gds/activate",
    "BEACON_PATH": "/software/edos/callhome/acquired",
    "REPORT_PATH": "/software/edos/callhome/report",
    "REQUESTS_PER_SECOND": "100",
    "REQUESTS_AT_ONCE": "3000",
    "UNLIMITED_NETWORKS": "",
}


@dataclass(frozen=True)
class Edge:
    """A running nginx: its ports by name (`phones`, `partners`, `legacy`), where it is, and its process."""

    ports: Mapping[str, int]
    home: Path
    process: subprocess.Popen[bytes]
    log: Path

    def access_log(self) -> str:
        """What was logged so far; it is written within two seconds, and at the end."""
        return self.log.read_text(encoding="utf-8", errors="replace")


def render(home: Path, *, upstreams: Mapping[str, str], certificate: tuple[Path, Path], **over: str) -> dict[str, int]:
    """Write the configuration to `home`; `over` replaces values. Returns the ports.

    `legacy="1"` adds that listener; with `answer`, nginx answers phones itself with that text.
    """
    ports = {name: free_port() for name in ("phones", "partners", "legacy")}
    values = DEFAULTS | {f"{name.upper()}_ADDRESS": address for name, address in upstreams.items()}
    for name, port in ports.items():
        values |= {
            f"{name.upper()}_LISTEN": f"127.0.0.1:{port}",
            f"{name.upper()}_NAMES": f"{name}.example.net",
            f"{name.upper()}_CERTIFICATE": str(certificate[0]),
            f"{name.upper()}_KEY": str(certificate[1]),
        }
    legacy, answer = over.pop("legacy", ""), over.pop("answer", "")
    values |= over
    configuration = home / "configuration"
    shutil.copytree(SHIPPED / "snippets", configuration / "snippets")
    shutil.copy(SHIPPED / "nginx.conf", configuration)
    (configuration / "conf.d").mkdir()
    if answer:
        quoted = answer.replace("\\", "\\\\").replace('"', '\\"')
        (configuration / "snippets" / "to_phones_upstream.conf").write_text(
            f'default_type application/xml; add_header Cache-Control no-store; return 200 "{quoted}";', encoding="utf-8"
        )
    for folder in ("templates", "legacy") if legacy else ("templates",):
        for template in (SHIPPED / folder).glob("*.template"):
            text = Template(template.read_text(encoding="utf-8")).safe_substitute(values)
            (configuration / "conf.d" / template.stem).write_text(text, encoding="utf-8")
    (home / "run").mkdir()
    return ports


def command(home: Path, *more: str) -> list[str]:
    """How nginx is started on what `render` wrote."""
    assert PROGRAM is not None
    # Root's workers stay root's, so that they reach the tests' directories.
    user = "user root; " if os.geteuid() == 0 else ""
    return [
        PROGRAM, "-e", "stderr", "-p", f"{home / 'run'}/", "-c", str(home / "configuration" / "nginx.conf"),
        "-g", f"{user}daemon off;", *more,
    ]  # fmt: skip


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def complaints(home: Path) -> str:
    """What `nginx -t` complains of; "" for nothing."""
    done = subprocess.run(command(home, "-t"), capture_output=True, text=True, check=False)
    return done.stderr if done.returncode or "[warn]" in done.stderr else ""


@contextmanager
def running(home: Path, **options: object) -> Iterator[Edge]:
    """nginx on what `render(home, **options)` writes, for the length of the block."""
    ports = render(home, **options)  # type: ignore[arg-type]
    listens = str(options.get("PHONES_LISTEN", ports["phones"])).rpartition(":")[2]
    log = home / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(command(home), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
    edge = Edge(ports, home, process, log)
    try:
        until = time.monotonic() + _START_SECONDS
        while not _listens(int(listens)):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"nginx did not start: {edge.access_log()}")
            time.sleep(0.02)
        yield edge
    finally:
        process.terminate()
        process.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
