"""What docs/webhooks.md tells receivers to do works, and its tables are those of the code."""

import os
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from events import kinds, schedule, signatures

TEXT = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text(encoding="utf-8")
BODY = '{"id": "evt_1", "data": {"label": "Büro"}}'


@pytest.fixture
def secret():
    return signatures.new_secret()


@pytest.fixture
def headers(secret):
    return signatures.headers([Webhook(secret)], message_id="evt_1", at=datetime.now(UTC), body=BODY)


def block(language: str, containing: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    (found,) = [one for one in blocks if containing in one]
    return found


def test_the_check_by_hand_in_python_tells_genuine_messages_from_others(secret, headers):
    names: dict = {}
    exec(block("python", "def is_genuine"), names)
    is_genuine = names["is_genuine"]
    assert is_genuine(secret, headers, BODY.encode())
    assert not is_genuine(secret, headers, BODY.encode() + b" ")
    assert not is_genuine(signatures.new_secret(), headers, BODY.encode())
    old = signatures.headers(
        [Webhook(secret)], message_id="evt_1", at=datetime.now(UTC) - timedelta(minutes=6), body=BODY
    )
    assert not is_genuine(secret, old, BODY.encode())


def test_the_check_in_the_shell_prints_the_signature(secret, headers, tmp_path):
    (tmp_path / "body.json").write_text(BODY, encoding="utf-8")
    environment = os.environ | {
        "SECRET": secret, "WEBHOOK_ID": headers["webhook-id"], "WEBHOOK_TIMESTAMP": headers["webhook-timestamp"],
    }  # fmt: skip
    done = subprocess.run(
        ["sh", "-c", block("sh", "openssl")], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert f"v1,{done.stdout.strip()}" == headers["webhook-signature"]


def test_the_table_of_attempts_is_the_schedule():
    units = {"seconds": "seconds", "minutes": "minutes", "hour": "hours", "hours": "hours"}
    rows = re.findall(r"^\| (\d+) \| (\d+) (\w+) \|$", TEXT, re.MULTILINE)
    told = {int(attempt): timedelta(**{units[unit]: int(count)}) for attempt, count, unit in rows}
    assert told == dict(enumerate(schedule.DELAYS, 2))
    assert timedelta(days=3) <= sum(schedule.DELAYS, timedelta()) <= timedelta(days=3, hours=1)


def test_the_table_of_types_is_complete():
    told = re.findall(r"^\| `(\w+\.\w+)` \|", TEXT, re.MULTILINE)
    assert told == [*kinds.TYPES, kinds.WEBHOOK_TEST]
