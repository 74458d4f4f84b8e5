"""On what it was measured."""

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from django.db import connection


def describe() -> dict[str, Any]:
    """Processor, memory, versions, and how busy the machine was when the run began."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version'), current_setting('fsync')")
        version, durable = cursor.fetchone()
    return {
        "processor": f"{os.cpu_count()} × {_first('/proc/cpuinfo', 'model name')}",
        "memory": _first("/proc/meminfo", "MemTotal"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "nginx": _version("nginx", "-v"),
        "postgresql": f"{version}, durability {durable}",
        "load average at the start": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def _first(path: str, name: str) -> str:
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return "unknown"


def _version(program: str, option: str) -> str:
    try:
        done = subprocess.run(
            [program, option], check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    except FileNotFoundError:
        return "not installed"
    return done.stdout.strip().rpartition("/")[2]
