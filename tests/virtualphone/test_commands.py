"""The command line, from the words typed to the exit status."""

import json
import re

import pytest

from tests.virtualphone.conftest import MAC, MODEL
from tests.virtualphone.loopback import EDOS, Answer
from virtualphone import cli
from virtualphone.provider import Fault, Request, SampleProvider


@pytest.fixture
def healthy():
    with SampleProvider() as server:
        yield server


@pytest.fixture
def run(service, tmp_path):
    """Run a command on the phone; retries take no time."""

    def run_command(name: str, *words: str) -> int:
        shared = ["--mac", MAC, "--memory", str(tmp_path)]
        quick = [] if name == "show" else ["--retry-scale", "0.00001", "--timeout", "0.3"]
        named = ["--server", service.url, "--model", MODEL] if name == "boot" else []
        return cli.main([name, *shared, *quick, *named, *words])

    return run_command


def test_a_phones_life_over_several_invocations(run, service, healthy, capsys):
    service.assign(f"{healthy.url}/$MA.xml")

    assert run("boot") == 0
    assert run("reboot") == 0
    assert len(service.asked(EDOS)) == 1
    assert run("factory-reset") == 0
    assert len(service.asked(EDOS)) == 2
    assert service.reports() == ["factory_reset"]
    assert run("factory-reset", "--no-boot") == 0
    assert len(service.asked(EDOS)) == 2
    assert "✓ Acquired" in capsys.readouterr().out


def test_each_step_is_a_plain_line_in_a_pipe(run, service, healthy, capsys):
    service.assign(f"{healthy.url}/$MA.xml")

    run("boot")

    told = [re.split(r"\s{2,}", line, maxsplit=3)[1:3] for line in capsys.readouterr().out.splitlines() if "●" in line]
    assert told == [
        ["● Open", "power on"],
        ["● Open", "DHCP"],
        ["● Open", "DNS SRV"],
        ["● Pending", "EDOS"],
        ["● Custom Pending", "EDOS"],
        ["● Custom Pending", "Profile_Rule"],
        ["● Acquired", "Profile_Rule"],
        ["● Acquired", "beacon"],
        ["● Acquired", "beacon"],
    ]


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ([], 1),
        (["--expect", "unavailable"], 0),
        (["--expect", "acquired"], 1),
        (["--expect", "pending", "--lose-answer", "--max-retries", "0"], 0),
        (["--expect", "aborted", "--dhcp", "{provider}/$MA.xml"], 0),
        (["--expect", "aborted", "--manual", "{provider}/$MA.xml"], 0),
        (["--expect", "unavailable", "--dhcp", "{provider}/nothing"], 0),
    ],
)
def test_the_exit_status_says_whether_it_ended_as_wanted(run, service, healthy, words, status):
    service.give(EDOS, Answer(200))

    assert run("boot", *[word.replace("{provider}", healthy.url) for word in words]) == status


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.TIMEOUT])
def test_a_failing_provider_leaves_it_custom_pending(run, service, fault, capsys):
    with SampleProvider(fault=fault) as failing:
        service.assign(f"{failing.url}/$MA.xml")

        assert run("boot", "--max-retries", "0") == 1

    assert "✗ Custom Pending: the resync to Profile_Rule failed" in capsys.readouterr().out


def test_a_provider_that_recovers(run, service):
    with SampleProvider(fault=Fault.ERROR, fail_first=2) as failing:
        service.assign(f"{failing.url}/$MA.xml")

        assert run("boot") == 0


def test_a_provider_that_hangs(run, service, capsys):
    with SampleProvider(fault=Fault.TIMEOUT) as failing:
        service.assign(f"{failing.url}/$MA.xml")

        assert run("boot", "--max-retries", "0") == 1

    assert "timeout" in capsys.readouterr().out


def test_a_provider_that_wants_credentials(run, service):
    seen: list[Request] = []
    with SampleProvider(login=("u", "p"), on_request=seen.append) as guarded:
        service.assign(f"[--uid u --pwd p] {guarded.url}/$MA.xml")

        assert run("boot") == 0

    assert [request.status for request in seen] == [401, 200]


def test_show_keeps_secrets_to_itself(run, service, healthy, capsys):
    service.assign(f"{healthy.url}/$MA.xml", Line_Password="hunter2")
    run("boot")
    capsys.readouterr()

    assert run("show") == 0

    shown = capsys.readouterr().out
    assert "Acquired" in shown
    assert "hunter2" not in shown
    assert "secret-token" not in shown


@pytest.mark.parametrize("name", ["reboot", "factory-reset", "show"])
def test_a_phone_that_was_never_booted_is_refused(run, name, capsys):
    assert run(name) == 2
    assert "boot it first" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["boot", "--server", "ftp://x", "--mac", MAC, "--model", MODEL],
        ["boot", "--server", "http://127.0.0.1:1", "--mac", MAC, "--model", MODEL, "--retry-scale", "-1"],
        ["provider", "--fail", "418"],
        ["swarm", "--server", "http://127.0.0.1:1"],
        [],
    ],
)
def test_bad_usage_ends_with_2(words, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(words)

    assert ended.value.code == 2


@pytest.mark.parametrize("name", ["boot", "reboot", "factory-reset", "show", "provider", "swarm"])
def test_every_command_has_help(name, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"])

    assert ended.value.code == 0


def test_a_swarm_for_machines(service, healthy, capsys):
    service.assign(f"{healthy.url}/$MA.xml")

    status = cli.main(
        [
            "swarm",
            "--server",
            service.url,
            "--phones",
            "20",
            "--mac-start",
            "005600000000",
            "--concurrency",
            "8",
            "--json",
        ]
    )

    result = json.loads(capsys.readouterr().out)
    assert status == 0
    assert result["phones"] == 20
    assert result["states"] == {"acquired": 20}
    assert result["errors"] == []
    assert sum(row["count"] for row in result["histogram"]) == 20
