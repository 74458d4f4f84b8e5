"""Short codes on the admin site."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from onboarding import registry, shortcodes
from onboarding.identifiers import MacAddress
from onboarding.models import CodeGuessing, Device, ShortCode
from tests.factories import ACTOR, AT, OWN, make_fields, make_profile, make_short_code

LIST = reverse("admin:onboarding_shortcode_changelist")
ADD = reverse("admin:onboarding_shortcode_add")


@pytest.fixture
def profile(provider):
    return make_profile(organization=provider, name="Main")


def form(chosen, **over):
    return {
        "code": "20480016",
        "profile": chosen.pk,
        "valid_until_0": "",
        "valid_until_1": "",
        "max_devices": "",
    } | over


def page(row, name="change"):
    return reverse(f"admin:onboarding_shortcode_{name}", args=(row.pk,))


def test_staff_enable_a_code_typed_with_or_without_its_sign(staff, provider, profile):
    assert staff.post(ADD, form(profile, code="#20480016")).status_code == 302
    assert staff.post(ADD, form(profile, code="123", max_devices="5")).status_code == 302

    assert list(ShortCode.objects.order_by("id").values_list("code", "organization", "max_devices")) == [
        ("20480016", provider.pk, None), ("123", provider.pk, 5),
    ]  # fmt: skip


def test_the_list_shows_how_each_code_stands(staff, profile):
    now = timezone.now()
    make_short_code(profile=profile, code="111")
    make_short_code(profile=profile, code="222", valid_until=now - timedelta(days=1))
    shortcodes.disable(actor=ACTOR, row=make_short_code(profile=profile, code="333"), at=now)

    page = staff.get(LIST).content.decode()

    for text in ("#111", "#222", "#333", "enabled", "ended", "disabled", "1,000"):
        assert text in page


def test_a_taken_code_is_refused_at_its_field_without_its_owner(staff, profile, other):
    make_short_code(profile=make_profile(organization=other), code="20480016")

    answer = staff.post(ADD, form(profile))

    assert answer.status_code == 200
    assert answer.context["adminform"].form.errors["code"]
    assert other.name not in answer.content.decode()


@pytest.mark.parametrize("over", [{"code": "12"}, {"code": "abc"}, {"profile": ""}, {"max_devices": "0"}])
def test_what_cannot_be_is_refused_at_its_field(staff, profile, over):
    answer = staff.post(ADD, form(profile, **over))

    assert answer.context["adminform"].form.errors[next(iter(over))]
    assert not ShortCode.objects.exists()


def test_a_codes_page_shows_its_use_and_takes_new_terms(staff, profile, provider):
    row = make_short_code(profile=profile, code="123")
    shortcodes.welcome(
        [shortcodes.Arrival("00562B043615", "CP-8841-3PCC", "", "123", provider.pk, profile.pk, AT)], at=AT
    )

    shown = staff.get(page(row)).content.decode()
    answer = staff.post(page(row), form(profile, max_devices="7"))

    assert f"{AT.date()}       1 answered       1 new phones" in shown
    assert "8 digits or more are suggested" in shown
    assert answer.status_code == 302
    row.refresh_from_db()
    assert (row.code, row.max_devices, row.disabled_at) == ("123", 7, None)


def test_disabling_asks_first_and_leaves_a_record(staff, profile):
    row = make_short_code(profile=profile)

    assert "30 days" in staff.get(page(row, "delete")).content.decode()
    assert staff.post(page(row, "delete"), {"post": "yes"}).status_code == 302

    row.refresh_from_db()
    assert row.disabled_at is not None
    assert staff.get(page(row)).status_code == 200
    assert staff.post(page(row), form(profile)).status_code == 403


def test_readers_see_codes_and_change_none(reader, profile):
    row = make_short_code(profile=profile)

    assert "#123456" in reader.get(LIST).content.decode()
    assert reader.get(ADD).status_code == 403
    assert reader.post(page(row), form(profile)).status_code == 403
    assert reader.post(page(row, "delete"), {"post": "yes"}).status_code == 403
    row.refresh_from_db()
    assert row.disabled_at is None


def test_guessing_is_shown_to_those_concerned(staff, operator, provider, other):
    for organization, network in ((None, "192.0.2.1"), (provider, "192.0.2.2"), (other, "192.0.2.3")):
        CodeGuessing.objects.create(organization=organization, network=network, first_at=AT, last_at=AT)
    address = reverse("admin:onboarding_codeguessing_changelist")

    seen = staff.get(address).content.decode()
    assert [f"192.0.2.{n}" in seen for n in (1, 2, 3)] == [False, True, False]
    seen = operator.get(address).content.decode()
    assert [f"192.0.2.{n}" in seen for n in (1, 2, 3)] == [True, True, True]


def test_the_list_of_devices_marks_unproven_ones_and_registering_proves_them(staff, provider, profile):
    mac = MacAddress.parse("00562B043615")
    registry.adopt(
        actor=ACTOR, organization=provider, mac=mac, model="CP-8841-3PCC", serial="", profile=profile, proven=False,
        at=AT,
    )  # fmt: skip
    devices = reverse("admin:onboarding_device_changelist")
    assert "unproven" in staff.get(devices).content.decode()

    registry.claim(
        actor=ACTOR, organization=provider, mac=mac, values=make_fields(profile=profile), own=OWN, at=AT
    )  # fmt: skip

    assert Device.objects.get().proven
    assert "unproven" not in staff.get(devices).content.decode()
