"""`manage.py import_devices`: what it prints, what it writes, and how it ends."""

import io
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from onboarding.models import Device
from operations.models import Operation
from tests.factories import make_device, make_mac, make_organization, make_profile

pytestmark = pytest.mark.django_db


def _run(tmp_path: Path, text: str, *options: Any) -> tuple[str, str]:
    """What it printed, and the sentence with which it failed."""
    file = tmp_path / "list.csv"
    file.write_text(text)
    out = io.StringIO()
    try:
        call_command("import_devices", str(file), *options, stdout=out, stderr=io.StringIO())
    except CommandError as error:
        return out.getvalue(), str(error)
    return out.getvalue(), ""


def test_it_imports_with_a_profile_for_all_and_tells_the_counts(tmp_path: Path) -> None:
    profile = make_profile(name="Head office")
    mac = make_mac()

    said, failure = _run(
        tmp_path, f"Carton;MAC;Product\n1;{mac};CP-8841\n", "--organization", profile.organization.name,
        "--profile", "Head office",
    )  # fmt: skip

    assert failure == ""
    assert "1 rows with mac (MAC), model (Product)." in said
    assert "Ignored: Carton." in said
    assert "1 created, 0 changed" in said
    device = Device.objects.get()
    assert (device.mac, device.profile_id) == (str(mac), profile.pk)
    assert Operation.objects.get().by == "import_devices"


def test_failing_rows_are_printed_and_the_command_fails(tmp_path: Path) -> None:
    organization = make_organization()
    results = tmp_path / "results.csv"

    said, failure = _run(
        tmp_path, f"mac,model\n{make_mac()},CP-8841\nnonsense,CP-8841\n", "--organization", organization.name,
        "--results", str(results),
    )  # fmt: skip

    assert failure == "1 of 2 rows failed."
    assert "row 3: nonsense: invalid_mac:" in said
    assert len(results.read_bytes().splitlines()) == 3
    assert Device.objects.count() == 1


def test_a_dry_run_changes_nothing_and_says_so(tmp_path: Path) -> None:
    organization = make_organization()

    said, failure = _run(
        tmp_path, f"mac,model\n{make_mac()},CP-8841\n", "--organization", organization.name, "--dry-run"
    )

    assert (failure, "Dry run: 1 created" in said) == ("", True)
    assert not Device.objects.exists()


def test_it_assigns_and_releases_too(tmp_path: Path) -> None:
    profile = make_profile()
    device = make_device(organization=profile.organization)
    name = profile.organization.name

    _run(tmp_path, f"mac\n{device.mac}\n", "--organization", name, "--assign", "--profile", str(profile.pk))
    device.refresh_from_db()
    assert device.profile_id == profile.pk
    _run(tmp_path, f"mac\n{device.mac}\n", "--organization", name, "--release")
    assert not Device.objects.exists()


@pytest.mark.parametrize(
    ("text", "options", "sentence"),
    [
        ("serial\nX\n", [], "No heading in the first rows names a MAC column"),
        ("mac\n00562B043615\n", ["--assign"], "rows need the column profile"),
        ("mac\n00562B043615\n", ["--profile", "None such"], "has no profile 'None such'"),
        ("mac\n00562B043615\n", ["--organization", "Nobody"], "There is no organization 'Nobody'"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(
    tmp_path: Path, text: str, options: list[str], sentence: str
) -> None:
    organization = make_organization()

    _, failure = _run(tmp_path, text, "--organization", organization.name, *options)

    assert sentence in failure
    assert not Device.objects.exists()
