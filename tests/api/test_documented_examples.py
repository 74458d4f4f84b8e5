"""The examples of docs/api.md run as they stand there, against the real service; its table of errors is complete."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from accounts.models import Organization
from config.problems import STATUSES
from tests.factories import make_key
from tests.service import Service, wait_until

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "api.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def service(tmp_path):
    with Service(tmp_path / "data") as service:
        service.start("web")

        def alive():
            try:
                return service.request("GET", "/healthz")[0] == 200
            except OSError:
                return False

        wait_until(alive, what="the start")
        yield service


@pytest.mark.processes
@pytest.mark.skipif(shutil.which("curl") is None, reason="the examples use curl")
# The examples name the first profile of an empty database.
@pytest.mark.django_db(transaction=True, reset_sequences=True)
def test_every_example_does_what_it_says(service, tmp_path, monkeypatch):
    _, key = make_key(organization=Organization.objects.create(name="Demo Telecom"))
    monkeypatch.setenv("API", f"{service.url}/api/v1")
    monkeypatch.setenv("KEY", key)
    answered = {}
    session: dict[str, object] = {}
    run = 0
    for kind, block in BLOCKS:
        if kind == "python":
            exec(compile(block, "docs/api.md", "exec"), session)
            run += 1
        elif kind == "json":
            assert_alike(json.loads(block), answered)
        else:
            for command in commands(block):
                answered = ask(command, service, tmp_path / "answer")
                run += 1
    assert run > 20


def commands(block):
    return [line for line in block.replace("\\\n", " ").splitlines() if line and not line.startswith("export ")]


def ask(command, service, file):
    """Run one command as a shell does, and check the status that it announces."""
    if command.startswith(".venv/bin/python manage.py"):
        done = service.manage(*shlex.split(command)[2:])
        assert done.stdout.startswith("zt_"), done.stderr
        return None
    command, _, announced = command.partition("  # ")
    file.unlink(missing_ok=True)
    done = subprocess.run(
        ["bash", "-euc", f"{command} -sS -o {shlex.quote(str(file))} -w '%{{http_code}}'"],
        capture_output=True, text=True, env=dict(os.environ), check=False,
    )  # fmt: skip
    content = file.read_text() if file.exists() else ""
    assert done.stdout == (announced or "200"), f"{command}\n{done.stdout} {content} {done.stderr}"
    return json.loads(content)


def assert_alike(shown, answered):
    """What the page shows has the names that the answer has; a part of them where it says so by leaving out."""
    assert set(shown) <= set(answered)
    if "type" not in shown and "organization" not in shown:
        assert set(shown) == set(answered)
    for name, value in shown.items():
        if isinstance(value, dict) and isinstance(answered[name], dict):
            assert set(value) <= set(answered[name]), name


def test_the_table_of_errors_is_that_of_the_code():
    rows = re.findall(r"^\| (\d{3}) \| (.+) \|$", TEXT, flags=re.MULTILINE)
    documented = {code: int(status) for status, codes in rows for code in re.findall(r"`(\w+)`", codes)}

    assert documented == STATUSES


def test_every_link_leads_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", TEXT):
        assert (DOCS / target).exists(), target


def test_the_python_examples_need_nothing_but_requests():
    imported = {
        name for kind, block in BLOCKS if kind == "python" for name in re.findall(r"^import (\w+)", block, re.M)
    }

    assert imported - set(sys.stdlib_module_names) == {"requests"}
