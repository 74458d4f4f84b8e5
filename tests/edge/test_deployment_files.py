"""The files that deploy the service are read by the programs they are written for; no engine runs containers here."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.edge import nginx

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
UNITS = sorted((DOCKER / "systemd").glob("*.service"))
_PROGRAMS = Path(sys.executable).parent
# The client itself: the wrapper around it ends with status 0 whatever it said.
_COMPOSE = Path(str(find_spec("compose").origin)).parent / "docker-compose"  # type: ignore[union-attr]
# What `.env` must say for the variants.
_OF_VARIANTS = {
    "LEGACY_NAMES": "old.example.net", "LEGACY_ADDRESS": "192.0.2.9", "WEB_ADDRESS": "10.0.0.1:8000",
}  # fmt: skip


def _compose(*files: str, environment: dict[str, str] | None = None) -> Any:
    """What Compose makes of the files."""
    arguments = [argument for name in files for argument in ("--file", str(DOCKER / name))]
    done = subprocess.run(
        [_COMPOSE, "--env-file", DOCKER / "example.env", *arguments, "config", "--format", "json"],
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **(environment or _OF_VARIANTS)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "level=warning" not in done.stderr, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def whole() -> Any:
    return _compose("compose.yaml")["services"]


def test_the_whole_service_is_in_compose(whole: Any) -> None:
    assert set(whole) == {
        "nginx", "door", "web", "relay", "worker", "sender", "beat", "postgresql", "rabbitmq", "prepare", "processes",
    }  # fmt: skip


def test_no_container_runs_as_root_or_writes_to_its_own_files(whole: Any) -> None:
    dockerfile = (DOCKER / "Dockerfile").read_text(encoding="utf-8")

    assert re.search(r"^USER 10001:10001$", dockerfile, re.MULTILINE)
    for name, container in whole.items():
        assert container["read_only"] is True, name
        assert container["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in container["security_opt"], name
        own_image = container["image"].startswith("phone-onboarding")
        assert own_image or not container["user"].startswith(("0", "root")), name


def test_every_server_has_a_health_check(whole: Any) -> None:
    for name in ("nginx", "door", "web", "postgresql", "rabbitmq"):
        assert whole[name]["healthcheck"]["test"][0] == "CMD", name


def test_nobody_but_nginx_is_reachable_from_outside_and_only_nginx_is_believed(whole: Any) -> None:
    assert [name for name, container in whole.items() if container.get("ports")] == ["nginx"]
    address = whole["nginx"]["networks"]["behind"]["ipv4_address"]
    for name in ("door", "web"):
        assert whole[name]["environment"]["TRUSTED_PROXIES"] == f"{address}/32"
    assert {name for name, container in whole.items() if "behind" in (container.get("networks") or {})} == {
        "nginx", "door", "web",
    }  # fmt: skip


def test_whoever_opens_the_directory_sees_the_same_process_ids(whole: Any) -> None:
    """LMDB tells its readers apart by them."""
    assert {whole[name]["pid"] for name in ("door", "web", "relay")} == {"service:processes"}
    assert len({whole[name]["hostname"] for name in ("door", "web", "relay")}) == 1


def test_no_secret_is_in_an_environment(whole: Any) -> None:
    for name, container in whole.items():
        for variable in container.get("environment") or {}:
            assert not re.search(r"(SECRET_KEY|CODE_KEYS|PASSWORD|DATABASE_URL|BROKER_URL)$", variable), (
                name,
                variable,
            )


def test_compose_tells_nginx_every_name_that_its_configuration_wants(whole: Any) -> None:
    said = whole["nginx"]["environment"]
    kept = re.compile(said["NGINX_ENVSUBST_FILTER"])
    for template in (DOCKER / "nginx" / "templates").glob("*.template"):
        for name in re.findall(r"\$\{([A-Z_]+)\}", template.read_text(encoding="utf-8")):
            assert name in said, (template.name, name)
            assert kept.search(name), name
    # What the image does not replace must be nginx's own.
    assert not [name for name in said if name.islower()]


def test_the_tests_render_nginx_with_what_compose_says(whole: Any) -> None:
    said = whole["nginx"]["environment"]

    assert {name: said[name] for name in nginx.DEFAULTS} == nginx.DEFAULTS


def test_an_edge_without_the_registry_runs_nginx_door_and_relay(whole: Any) -> None:
    edge = _compose("compose.yaml", "compose.edge.yaml")["services"]

    assert set(edge) == {"nginx", "door", "relay", "processes"}
    mounted = {volume["target"] for volume in edge["nginx"]["volumes"]}
    assert "/etc/nginx/templates/phones.conf.template" in mounted
    assert not [target for target in mounted if "partners" in target or target == "/etc/nginx/templates"]
    assert edge["nginx"]["environment"]["WEB_ADDRESS"] == "10.0.0.1:8000"


def test_the_legacy_listener_is_published_on_an_address_of_its_own(whole: Any) -> None:
    legacy = _compose("compose.yaml", "compose.legacy.yaml")["services"]["nginx"]

    ports = {(port.get("host_ip", ""), port["published"], port["target"]) for port in legacy["ports"]}
    assert ports == {("", "443", 8443), ("192.0.2.9", "443", 9443)}
    assert "LEGACY_LISTEN" not in whole["nginx"]["environment"]


def test_compose_refuses_to_start_without_the_names() -> None:
    done = subprocess.run(
        [_COMPOSE, "--env-file", os.devnull, "--file", DOCKER / "compose.yaml", "config"],
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode != 0
    assert "PUBLIC_URL" in done.stderr or "NAMES" in done.stderr or "ALLOWED_HOSTS" in done.stderr


def test_the_dockerfile_passes_its_linter() -> None:
    done = subprocess.run([_PROGRAMS / "hadolint", DOCKER / "Dockerfile"], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


def test_the_image_takes_every_package_the_service_is_made_of() -> None:
    taken = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] == "!"}
    packages = {file.parent.name for file in ROOT.glob("*/__init__.py")} - {"bench", "tests", "soak", "virtualphone"}

    assert packages | {"manage.py", "requirements/runtime.txt", "docker/healthy.py", "LICENSE"} == taken


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed here")
def test_systemd_reads_the_units(tmp_path: Path) -> None:
    for unit in [*UNITS, DOCKER / "systemd" / "onboarding.target"]:
        text = unit.read_text(encoding="utf-8")
        # The programs are not where a machine would have them; whether they can be started is tested elsewhere.
        text = re.sub(r"^(Exec[A-Za-z]+=)/opt/\S+", rf"\1{shutil.which('true')}", text, flags=re.MULTILINE)
        (tmp_path / unit.name).write_text(text, encoding="utf-8")

    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *tmp_path.iterdir()],
        env={"PATH": os.environ["PATH"], "SYSTEMD_UNIT_PATH": f"{tmp_path}:/lib/systemd/system"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert [line for line in done.stderr.splitlines() if "onboarding" in line] == []
    assert done.returncode == 0


def _exec_start(unit: Path) -> str:
    return next(line for line in unit.read_text(encoding="utf-8").splitlines() if line.startswith("ExecStart="))


@pytest.mark.parametrize("name", ["door", "relay", "web", "worker", "sender", "beat", "prepare"])
def test_units_and_containers_run_the_same_program(whole: Any, name: str) -> None:
    started = _exec_start(DOCKER / "systemd" / f"onboarding-{name}.service")
    command = [str(word) for word in whole[name]["command"]]

    # Where it listens and how many there are depends on the place; what it is does not.
    own = {"--host", "0.0.0.0", "--port", "8000", "--workers", "--concurrency"}
    for word in command:
        if word not in own and not word.isdigit():
            assert word.removeprefix("/tmp/") in started, word


@pytest.mark.parametrize("name", ["door", "web"])
def test_a_socket_that_was_left_is_taken_away_before_the_start(name: str) -> None:
    text = (DOCKER / "systemd" / f"onboarding-{name}.service").read_text(encoding="utf-8")
    socket = re.search(r"--uds (\S+) --uds-permissions 0o600 ", text)

    assert socket is not None
    assert f"\nExecStartPre=/bin/rm -f {socket[1]}\n" in text


def test_no_unit_runs_as_root_and_each_is_started_again() -> None:
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8")
        assert "\nUser=onboarding\n" in text, unit.name
        assert "\nProtectSystem=strict\n" in text, unit.name
        assert "\nRestart=always\n" in text or "\nType=oneshot\n" in text, unit.name


@pytest.mark.skipif(
    nginx.PROGRAM is None or shutil.which("envsubst") is None, reason="nginx or gettext-base is not installed"
)
@pytest.mark.parametrize("variant", ["whole", "edge", "legacy"])
def test_nginx_takes_what_the_script_for_machines_without_containers_writes(
    tmp_path: Path, server_certificate: tuple[Path, Path], variant: str
) -> None:
    example = (DOCKER / "systemd" / "example.edge").read_text(encoding="utf-8")
    said = {name: value.strip('"') for name, value in re.findall(r"^#? ?([A-Z_]+)=(.*)$", example, re.MULTILINE)}
    said |= {name: str(server_certificate[0]) for name in said if name.endswith(("_CERTIFICATE", "_KEY"))}
    # Ports that need no rights; the form of the addresses stays.
    said |= {
        "PHONES_LISTEN": "[::]:8443 ipv6only=off",
        "PARTNERS_LISTEN": "[::]:8443",
        "LEGACY_LISTEN": "127.0.0.1:9443",
    }
    if variant == "edge":
        del said["PARTNERS_LISTEN"]
    if variant != "legacy":
        del said["LEGACY_LISTEN"]

    subprocess.run([DOCKER / "nginx" / "render.sh", tmp_path], env={"PATH": os.environ["PATH"], **said}, check=True)
    done = subprocess.run(
        [str(nginx.PROGRAM), "-e", "stderr", "-p", f"{tmp_path}/", "-c", f"{tmp_path}/nginx.conf", "-t"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    servers = {file.stem for file in (tmp_path / "conf.d").iterdir()}
    assert (
        servers
        == {"behind", "phones"} | {"whole": {"partners"}, "edge": set(), "legacy": {"partners", "legacy"}}[variant]
    )


@pytest.mark.skipif(shutil.which("envsubst") is None, reason="gettext-base is not installed")
def test_the_script_names_what_is_missing(tmp_path: Path) -> None:
    done = subprocess.run(
        [DOCKER / "nginx" / "render.sh", tmp_path], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert re.fullmatch(r"[A-Z_]+ is not set; see docker/systemd/example\.edge\.\n", done.stderr)
