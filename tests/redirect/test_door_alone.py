"""The door starts where there is no Django, and the same door stands in front of Django under runserver."""

import os
import re
import signal
import subprocess
import sys
import textwrap

import pytest

from tests.redirect import doors
from tests.redirect.doors import BEACON, ID, MAC, MODEL, REPORT, TARGET, free_port, wait_until

HEAVY = ("django", "rest_framework", "celery", "kombu", "psycopg2", "psycopg", "sqlite3", "pysqlite3", "_sqlite3")


def _environment(data_dir, **over):
    kept = {name: value for name, value in os.environ.items() if name not in {"DJANGO_SETTINGS_MODULE", "DATABASE_URL"}}
    return kept | {"DATA_DIR": str(data_dir), "SECRET_KEY": doors.SECRET, "HOST": "127.0.0.1", "PORT": "8000"} | over


def test_a_door_alone_loads_nothing_of_the_registry(tmp_path):
    doors.build(tmp_path)
    code = f"""
        import sys
        from config.door_alone import application
        from tests.redirect import doors
        for path, method, query in (
            ({doors.EDOS!r}, "GET", "id={ID}"), ({BEACON!r}, "GET", "id={ID}"),
            ({REPORT!r}, "POST", "id={ID}&event=acquired"), ("/readyz", "GET", ""), ("/healthz", "GET", ""),
        ):
            answer = doors.ask(application, query, path=path, method=method, body=b"<Customization>Acquired</")
            assert answer.status in (200, 204), answer
        print([name for name in sorted(sys.modules) if name.partition(".")[0] in {HEAVY!r}])
    """

    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=_environment(tmp_path), capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip

    assert done.stdout == "[]\n"


def test_a_door_alone_starts_with_an_empty_data_directory_and_its_processes_share_one_secret(tmp_path):
    """Both processes want to make the secret at the same moment."""
    for attempt in range(3):
        data_dir = tmp_path / str(attempt)
        data_dir.mkdir()
        doors.build(data_dir, [doors.profile(1, confirm="beacon"), doors.device(MAC)])
        with doors.started(data_dir, SECRET_KEY="") as door:
            urls = {url for _ in range(10) for url in re.findall(rb"\?id=[^<]*", door.ask(f"id={MAC}:{MODEL}").body)}
            assert urls
            for url in urls:
                query = url.decode()[1:].replace("&amp;", "&")
                for _ in range(6):
                    door.ask(query, path=BEACON)
            assert door.errors() == ""
        beacons = [line for line in doors.journal_lines(data_dir) if line["event"] == "beacon"]
        assert len(beacons) >= 6
        assert all(line["answered_at"] for line in beacons)
        assert [file.name for file in (data_dir / "secrets").iterdir()] == ["secret_key"]
        assert (data_dir / "secrets" / "secret_key").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "bad", [{"PORT": "x"}, {"EDOS_PATH": "rc"}, {"SECRET_KEY": "short"}, {"TRUSTED_PROXIES": "10.0.0.1/8"}]
)
def test_a_door_that_cannot_be_configured_says_which_variable_and_nothing_else(tmp_path, bad):
    door = doors.StartedDoor(tmp_path, **bad)
    try:
        door.start(ready=False)
        assert door.process is not None
        assert door.process.wait(20) != 0
    finally:
        door.stop()

    (name,) = bad
    said = [line for line in door.errors().splitlines() if not line.startswith("[ERROR] Unexpected exit from worker")]
    assert said
    assert all(line.startswith(f"Cannot start. {name}: ") for line in said)


def test_a_stopped_door_has_written_everything(tmp_path):
    doors.build(tmp_path)
    with doors.started(tmp_path) as door:
        for _ in range(20):
            door.ask()
        door.stop(signal.SIGKILL)

    assert len(doors.journal_lines(tmp_path)) == 20


@pytest.mark.processes
def test_runserver_serves_the_phones_too(tmp_path):
    doors.build(tmp_path)
    door = doors.StartedDoor(tmp_path)
    door.port = free_port()
    with door.log.open("ab") as log:
        door.process = subprocess.Popen(
            [sys.executable, "manage.py", "runserver", "--noreload", f"127.0.0.1:{door.port}"],
            env=_environment(tmp_path), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        wait_until(door.alive, seconds=60, what="runserver's start")

        assert TARGET.encode() in door.ask().body
        assert door.ask("id=00562B0000F0").body == b""
        assert door.ask("id=zz").status == 400
        assert door.ask(method="POST", body=b"").status == 405
        assert door.ask(method="HEAD").body == b""
        assert door.ask(path=BEACON).status == 200
        assert door.ask(f"id={ID}&event=acquired", path=REPORT, method="POST", body=b"abc").status == 204
        assert door.ask(f"id={ID}&event=acquired", path=REPORT, method="POST", body=b"a" * 70_000).status == 413
        host = b"GET %s?id=%s HTTP/1.1\r\nHost: webapps.example\r\nConnection: close\r\n\r\n"
        assert doors.read_answer(door.say(host % (doors.EDOS.encode(), ID.encode()))).status == 200
        # Django's own pages only under the allowed hosts.
        elsewhere = b"GET /api/v1/me/ HTTP/1.1\r\nHost: webapps.example\r\nConnection: close\r\n\r\n"
        assert doors.read_answer(door.say(elsewhere)).status == 400
        half = f"POST {REPORT}?id={ID}&event=acquired HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc".encode()
        door.say(half, end=True)
    finally:
        door.stop()

    events = [line["event"] for line in doors.journal_lines(tmp_path)]
    assert events == ["query", "query", "beacon", "report", "query"]
    assert "A phone's request failed" not in door.errors()
