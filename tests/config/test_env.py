"""The environment: what cannot be used stops the start with one line that names the variable."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from config import env, phones
from config.env import ConfigurationError
from tests.onboarding.targetservers import Authority

STRONG = "a-Strong-secret-0123456789-with-many-letters"
# Everything that the service reads; tests begin without any of it.
NAMES = (
    "HOST", "PORT", "WORKERS", "DATA_DIR", "DATABASE_URL", "SECRET_KEY", "CODE_KEYS", "ALLOWED_HOSTS", "PUBLIC_URL",
    "TRUSTED_PROXIES", "DEMO", "EDOS_PATH", "SHORT_CODE_PATH", "ACTIVATION_PATH", "BEACON_PATH", "REPORT_PATH",
    "HISTORY_KEPT_DAYS", "TARGET_NETWORKS", "TARGET_CA_FILE", "CELERY_BROKER_URL", "REQUIRE_OPERATOR_SECOND_FACTOR",
)  # fmt: skip


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """An environment with a data directory and nothing else."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    return monkeypatch


def test_nothing_needs_to_be_given(environment, tmp_path):
    configuration = phones.read()

    assert configuration.data_dir == tmp_path
    assert configuration.public_url == "http://127.0.0.1:8000"
    assert configuration.edos_path == "/software/edos/callhome/rc"
    assert configuration.short_code_path == "/software/edos/callhome/cda"
    assert configuration.activation_path == "/gds/activate"
    assert configuration.beacon_path == "/software/edos/callhome/acquired"
    assert configuration.report_path == "/software/edos/callhome/report"
    assert configuration.trusted_proxies == ()
    assert (configuration.directory, configuration.journal) == (tmp_path / "directory", tmp_path / "journal")


# The name blamed, if it is not the one that was set, comes third.
BAD = [
    ("HOST", "a b"),
    ("HOST", "http://localhost"),
    ("HOST", "127.0.0.1:8000"),
    ("HOST", "host\nname"),
    ("PORT", "0"),
    ("PORT", "65536"),
    ("PORT", "-1"),
    ("PORT", "8000.0"),
    ("PORT", "http"),
    ("PORT", "٨٠"),
    ("PORT", "9" * 5000),
    ("PORT", "80 80"),
    ("PUBLIC_URL", "activate.example.net"),
    ("PUBLIC_URL", "ftp://activate.example.net"),
    ("PUBLIC_URL", "https://"),
    ("PUBLIC_URL", "https://h/path"),
    ("PUBLIC_URL", "https://h?x=1"),
    ("PUBLIC_URL", "https://h?"),
    ("PUBLIC_URL", "https://h#x"),
    ("PUBLIC_URL", "https://user:pass@h"),
    ("PUBLIC_URL", "https://:pass@h"),
    ("PUBLIC_URL", "https://h:0"),
    ("PUBLIC_URL", "https://h:99999"),
    ("PUBLIC_URL", "https://h:x"),
    ("PUBLIC_URL", "https://[::1"),
    ("PUBLIC_URL", "https://[zz]"),
    ("PUBLIC_URL", 'https://h"<'),
    ("PUBLIC_URL", "https://a b"),
    ("PUBLIC_URL", "https://h\nX: y"),
    ("EDOS_PATH", "software/edos"),
    ("EDOS_PATH", "/"),
    ("EDOS_PATH", "//rc"),
    ("EDOS_PATH", "/rc/"),
    ("EDOS_PATH", "/r c"),
    ("EDOS_PATH", "/rc?x"),
    ("EDOS_PATH", "/rc#x"),
    ("EDOS_PATH", "/r%63"),
    ("EDOS_PATH", "/rc\tx"),
    ("EDOS_PATH", "/é"),
    ("EDOS_PATH", "/software/edos/callhome/cda", "SHORT_CODE_PATH"),
    ("REPORT_PATH", "/gds/activate"),
    ("BEACON_PATH", "/healthz"),
    ("EDOS_PATH", "/readyz"),
    ("ACTIVATION_PATH", "/metrics"),
    ("TRUSTED_PROXIES", "10.0.0.1/8"),
    ("TRUSTED_PROXIES", "10.0.0.0/33"),
    ("TRUSTED_PROXIES", "nginx"),
    ("TRUSTED_PROXIES", "10.0.0.0/8 192.168.0.0/16"),
    ("SECRET_KEY", "short"),
    ("SECRET_KEY", "a" * 64),
    ("SECRET_KEY", "changeme" * 8),
]


def _ids(rows):
    return [f"{row[0]}={row[1][:24]!r}" for row in rows]


@pytest.mark.parametrize("row", BAD, ids=_ids(BAD))
def test_a_value_that_cannot_be_used_is_named(environment, row):
    environment.setenv(row[0], row[1])

    with pytest.raises(ConfigurationError) as caught:
        phones.read()

    assert str(caught.value).startswith(f"{row[-1] if len(row) == 3 else row[0]}: ")
    assert "\n" not in str(caught.value)


GOOD = [
    ("HOST", "0.0.0.0", "public_url", "http://0.0.0.0:8000"),
    ("HOST", "::1", "public_url", "http://[::1]:8000"),
    ("HOST", "localhost", "public_url", "http://localhost:8000"),
    ("PORT", " 8080 ", "public_url", "http://127.0.0.1:8080"),
    ("PORT", "", "public_url", "http://127.0.0.1:8000"),
    ("PUBLIC_URL", "https://activate.example.net/", "public_url", "https://activate.example.net"),
    ("PUBLIC_URL", "http://[2001:db8::1]:8443", "public_url", "http://[2001:db8::1]:8443"),
    ("EDOS_PATH", "/a/b.c_d-e~1", "edos_path", "/a/b.c_d-e~1"),
]


@pytest.mark.parametrize("row", GOOD, ids=_ids(GOOD))
def test_a_value_that_can_be_used_is_used(environment, row):
    name, value, field, expected = row
    environment.setenv(name, value)

    assert getattr(phones.read(), field) == expected


def test_trusted_proxies_are_a_list_of_networks(environment):
    environment.setenv("TRUSTED_PROXIES", " 10.0.0.0/8, 2001:db8::/32,192.0.2.1 ,")

    assert [str(network) for network in phones.read().trusted_proxies] == [
        "10.0.0.0/8",
        "2001:db8::/32",
        "192.0.2.1/32",
    ]


def test_every_value_can_come_from_a_file(environment, tmp_path):
    (tmp_path / "key").write_text(f"{STRONG}\n")
    environment.setenv("SECRET_KEY_FILE", str(tmp_path / "key"))

    assert phones.read().secret_key == STRONG


def test_a_value_and_its_file_are_a_contradiction(environment, tmp_path):
    (tmp_path / "key").write_text(STRONG)
    environment.setenv("SECRET_KEY_FILE", str(tmp_path / "key"))
    environment.setenv("SECRET_KEY", STRONG)

    with pytest.raises(ConfigurationError, match=r"^SECRET_KEY: .*SECRET_KEY_FILE"):
        phones.read()


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff\xfe\x00"], ids=["missing", "empty", "blank", "no text"])
@pytest.mark.parametrize("name", ["SECRET_KEY", "PORT"])
def test_a_file_that_gives_nothing_is_named_and_never_replaced_by_the_default(environment, tmp_path, name, content):
    if content is not None:
        (tmp_path / "value").write_bytes(content)
    environment.setenv(f"{name}_FILE", str(tmp_path / "value"))

    with pytest.raises(ConfigurationError) as caught:
        phones.read()

    assert str(caught.value).startswith(f"{name}_FILE: ")
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_file(environment, tmp_path):
    environment.setenv("SECRET_KEY_FILE", str(tmp_path))

    with pytest.raises(ConfigurationError, match=r"^SECRET_KEY_FILE: "):
        phones.read()


def test_certificates_are_a_file_of_pem(environment, tmp_path):
    (tmp_path / "no.pem").write_text("nothing")
    environment.setenv("TARGET_CA_FILE", str(tmp_path / "no.pem"))

    with pytest.raises(ConfigurationError, match=r"TARGET_CA_FILE: .* cannot be read as PEM certificates"):
        env.certificates("TARGET_CA_FILE")

    file = Authority(tmp_path).file
    environment.setenv("TARGET_CA_FILE", str(file))
    assert env.certificates("TARGET_CA_FILE") == str(file)
    environment.delenv("TARGET_CA_FILE")
    assert env.certificates("TARGET_CA_FILE") == ""


def test_a_secret_is_made_once_and_kept_from_others(environment, tmp_path):
    first = phones.read().secret_key

    assert len(first) >= 32
    assert phones.read().secret_key == first
    assert (tmp_path / "secrets" / "secret_key").stat().st_mode & 0o077 == 0
    assert len(list((tmp_path / "secrets").iterdir())) == 1


def test_a_kept_secret_that_is_damaged_stops_the_start(environment, tmp_path):
    phones.read()

    for damage in (b"", b"short", b"\xff" * 64):
        (tmp_path / "secrets" / "secret_key").write_bytes(damage)
        with pytest.raises(ConfigurationError, match=r"^SECRET_KEY: .*damaged"):
            phones.read()


def test_a_data_directory_that_cannot_be_used_is_named(environment, tmp_path):
    (tmp_path / "file").write_text("")
    environment.setenv("DATA_DIR", str(tmp_path / "file"))

    with pytest.raises(ConfigurationError, match=r"^DATA_DIR: "):
        phones.read()


def test_processes_that_start_at_once_agree_on_a_secret(tmp_path):
    code = (
        "import secrets, sys; from pathlib import Path; from config import env; sys.stdin.readline();"
        "print(env.secret('SECRET_KEY', Path(sys.argv[1]) / sys.argv[2], make=secrets.token_urlsafe(48)))"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SECRET_KEY")}
    for attempt in range(3):
        starting = [
            subprocess.Popen(
                [sys.executable, "-c", code, str(tmp_path), str(attempt)],
                env=clean, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            for _ in range(6)
        ]  # fmt: skip
        for process in starting:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        said = {process.communicate(timeout=30)[0] for process in starting}

        assert len(said) == 1
        assert len(said.pop()) > 32


BAD_DATABASES = [
    "x",
    "mysql://h/name",
    "postgresql://",
    "postgresql://h",
    "postgresql://h/",
    "postgresql://user:pa-ss-word@h:port/name",
    "postgresql://user:pa-ss-word@h:99999/name",
    "postgresql://user:pa-ss-word/x@h:5432/name",
    "postgresql://user:pa-ss-word#x@h/name",
    "postgresql://user:pa-ss-word@[h/name",
    "postgresql://user:pa-ss-word\u2100@h/name",
    "postgresql://user:pa-ss-word@h/name?sslmode=require",
]


@pytest.mark.parametrize("url", BAD_DATABASES)
def test_a_database_url_that_cannot_be_used_is_named_but_not_shown(environment, url):
    environment.setenv("DATABASE_URL", url)

    with pytest.raises(ConfigurationError) as caught:
        env.database("DATABASE_URL", Path("registry.sqlite3"))

    assert str(caught.value).startswith("DATABASE_URL: ")
    assert "pa-ss-word" not in str(caught.value)


def test_a_database_url_is_taken_apart(environment):
    environment.setenv("DATABASE_URL", "postgresql://on%40boarding:p%2Fw%23@[::1]:5433/regis%20try")

    settings = env.database("DATABASE_URL", Path("registry.sqlite3"))

    assert [settings[name] for name in ("NAME", "USER", "PASSWORD", "HOST", "PORT")] == [
        "regis try", "on@boarding", "p/w#", "::1", "5433",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKERS", "0"),
        ("WORKERS", "two"),
        ("PORT", "x"),
        ("DEMO", "yes"),
        ("REQUIRE_OPERATOR_SECOND_FACTOR", "true"),
        ("SECRET_KEY", "short"),
        ("DATABASE_URL", "mysql://h/n"),
        ("EDOS_PATH", "/gds/activate"),
        ("HISTORY_KEPT_DAYS", "-1"),
        ("TARGET_NETWORKS", "10.0.0.1/8"),
        ("TARGET_CA_FILE", "/does/not/exist"),
        ("SECRET_KEY_FILE", "/does/not/exist"),
    ],
)
def test_the_command_line_ends_with_one_line_that_names_the_variable(tmp_path, name, value):
    clean = {key: text for key, text in os.environ.items() if key.removesuffix("_FILE") not in NAMES}

    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        env=clean | {"DATA_DIR": str(tmp_path), name: value},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    blamed = "ACTIVATION_PATH" if name == "EDOS_PATH" else name
    assert line.startswith(f"Cannot start. {blamed}: ")
    assert done.stdout == ""
