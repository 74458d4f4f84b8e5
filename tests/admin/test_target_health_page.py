"""A profile's page tells how its targets are, follows their tests, and lets staff test them now."""

import io
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import Organization
from onboarding import targethealth
from onboarding.models import RedirectProfile, TargetCheck
from tests.factories import make_device, make_profile

FIRST, SECOND = "https://first.example.net/$MA.xml", "https://second.example.net/$MA.xml"


@pytest.fixture
def profile(provider: Organization) -> RedirectProfile:
    """Its first target fails, its second is healthy; both were tested just now."""
    now = timezone.now()
    profile = make_profile(organization=provider, targets=[FIRST, SECOND], failing_targets=[FIRST])
    targethealth.plan(profile, at=now)
    TargetCheck.objects.update(checked_at=now, next_check_at=now + timedelta(hours=1))
    TargetCheck.objects.filter(target=FIRST).update(
        health="failing", failures=4, findings=["certificate_expired"], certificate_expires_at=now - timedelta(days=2)
    )
    TargetCheck.objects.filter(target=SECOND).update(
        health="healthy", findings=["no_example_file"], http_status=404, certificate_expires_at=now + timedelta(days=9)
    )
    RedirectProfile.objects.filter(pk=profile.pk).update(failing_targets=[FIRST])
    return profile


def page(client: Client, profile: RedirectProfile) -> str:
    return client.get(reverse("admin:onboarding_redirectprofile_change", args=(profile.pk,))).content.decode()


def fragment(client: Client, profile: RedirectProfile, *, post: bool = False) -> tuple[int, str]:
    address = reverse("admin:onboarding_redirectprofile_health", args=(profile.pk,))
    answer = client.post(address) if post else client.get(address)
    return answer.status_code, answer.content.decode()


def test_the_page_says_how_each_target_is_and_which_is_given(staff: Client, profile: RedirectProfile) -> None:
    shown = page(staff, profile)

    first, second = shown.split('<li class="target')[1:3]
    assert "failing" in first
    assert "Its certificate has expired" in first
    assert "certificate expired" in first
    assert "passed over" in first
    assert "given to phones" in second
    assert "has no file for the example phone" in second
    assert "certificate: 8 days left" in second
    # The preview shows what phones get now.
    assert SECOND.replace("$", "$") in shown[shown.index("What a phone with this profile gets") :]
    assert "data-busy" not in shown


def test_the_list_shows_the_target_that_is_given_and_how_many_fail(staff: Client, profile: RedirectProfile) -> None:
    shown = staff.get(reverse("admin:onboarding_redirectprofile_changelist")).content.decode()

    assert f"<code>{SECOND}</code>" in shown
    assert "1 failing" in shown


def test_the_command_names_the_target_that_was_passed_over(profile: RedirectProfile) -> None:
    device = make_device(profile=profile)
    said = io.StringIO()

    call_command("explain", device.mac, stdout=said)

    assert f"Passed over, since it fails: {FIRST} (Its certificate has expired" in said.getvalue()


def test_testing_now_makes_the_page_follow_the_tests(staff: Client, profile: RedirectProfile) -> None:
    TargetCheck.objects.update(checked_at=timezone.now() - timedelta(minutes=5))

    status, shown = fragment(staff, profile, post=True)

    assert status == 200
    assert "data-busy" in shown
    assert shown.count("Being tested now.") == 2
    assert TargetCheck.objects.filter(next_check_at__lte=timezone.now()).count() == 2
    TargetCheck.objects.update(next_check_at=timezone.now() + timedelta(hours=1))
    assert "data-busy" not in fragment(staff, profile)[1]


def test_saving_the_page_has_the_targets_tested(staff: Client, provider: Organization) -> None:
    form = {
        "name": "New", "targets": "https://cfg.example.net/$MA.xml", "parameters": "", "confirm": "callback",
        "unproven_evidence": "record", "identity": "none", "stalled_after_minutes": "30", "enabled": "on",
    }  # fmt: skip

    staff.post(reverse("admin:onboarding_redirectprofile_add"), form)

    check = TargetCheck.objects.get()
    assert (check.profile.name, check.checked_at) == ("New", None)
    assert "Not tested yet." in page(staff, check.profile)
    assert "data-busy" in page(staff, check.profile)


def test_readers_see_the_health_and_cannot_test(reader: Client, profile: RedirectProfile) -> None:
    assert "Its certificate has expired" in page(reader, profile)
    assert "Test now" not in page(reader, profile)
    assert fragment(reader, profile)[0] == 200
    assert fragment(reader, profile, post=True)[0] == 403
    assert not TargetCheck.objects.filter(next_check_at__lte=timezone.now()).exists()


def test_another_organizations_targets_are_not_there(staff: Client, other: Organization) -> None:
    theirs = make_profile(organization=other)

    assert fragment(staff, theirs)[0] == 404
    assert fragment(staff, theirs, post=True)[0] == 404


def test_the_explanation_names_the_target_that_was_passed_over(staff: Client, profile: RedirectProfile) -> None:
    device = make_device(profile=profile)

    shown = staff.get(reverse("admin:onboarding_device_explain", args=(device.pk,))).content.decode()

    assert f"It fetches its profile from <code>{SECOND}</code>" in shown
    assert f"Passed over, since it fails: <code>{FIRST}</code> Its certificate has expired" in shown


def test_staff_are_shown_the_way_to_the_bench(staff: Client, reader: Client, profile: RedirectProfile) -> None:
    address = f'href="{reverse("bench")}?profile={profile.pk}"'

    assert address in page(staff, profile)
    assert address not in page(reader, profile)
