"""What `make bench` measures reaches its floors, here with fewer devices; needs nginx, wrk and a quiet machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests import postgresql

DEVICES = 100_000


def test_every_ratio_reaches_its_floor(tmp_path: Path) -> None:
    written = tmp_path / "results.json"
    with postgresql.running(options=postgresql.DURABLE) as server:
        environment = os.environ | {"DATABASE_URL": server.url()}
        command = [
            sys.executable,
            "-m",
            "bench",
            "--devices",
            str(DEVICES),
            "--json",
            str(written),
        ]
        subprocess.run(command, cwd=Path(__file__).parents[1], env=environment, check=True)  # noqa: S603  (our own benchmarks)

    results = json.loads(written.read_text())["results"]

    assert len(results) >= 20
    assert {row["what"]: row["measured"] for row in results if row["verdict"] == "FALLS SHORT"} == {}
