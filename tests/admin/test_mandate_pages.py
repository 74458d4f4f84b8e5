"""Mandates on the admin site: given and withdrawn by the provider, seen by both; what a partner's people then reach."""

import pytest
from django.test import Client
from django.urls import reverse

from accounts import mandates
from accounts.models import AuditEntry, Mandate, Membership, Organization
from onboarding.models import Device, RedirectProfile
from tests.activation.factories import make_code
from tests.admin.conftest import browser
from tests.factories import ACTOR, AT, make_device, make_organization, make_profile, make_user

LIST = reverse("admin:accounts_mandate_changelist")
ADD = reverse("admin:accounts_mandate_add")
SCOPES = ["devices:read", "devices:write", "profiles:read"]


@pytest.fixture
def partner(db: None) -> Organization:
    return make_organization(name="Box Logistics", kind="partner")


@pytest.fixture
def helper(partner: Organization) -> Client:
    """A member of the partner's staff."""
    return browser(make_user(organization=partner, role="staff", username="hal"))


def give(
    provider: Organization, partner: Organization, *scopes: str, profiles: tuple[RedirectProfile, ...] = ()
) -> Mandate:
    ids = [profile.pk for profile in profiles]
    return mandates.give(
        actor=ACTOR, provider=provider, partner=partner, scopes=scopes or SCOPES, profile_ids=ids, at=AT
    )


def page(row: object, name: str = "change") -> str:
    meta = row._meta  # type: ignore[attr-defined]
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_{name}", args=(row.pk,))  # type: ignore[attr-defined]


def devices(client: Client) -> list[str]:
    answer = client.get(reverse("admin:onboarding_device_changelist"))
    return [row.mac for row in answer.context["cl"].result_list] if answer.status_code == 200 else []


@pytest.mark.parametrize("named", ["id", "name"])
def test_an_administrator_gives_a_mandate_and_withdraws_it(
    named: str, provider: Organization, partner: Organization, administrator: Client
) -> None:
    profile = make_profile(organization=provider, name="Head office")
    typed = str(partner.pk) if named == "id" else partner.name
    assert "Head office" in administrator.get(ADD).content.decode()

    answer = administrator.post(ADD, {"partner": typed, "scopes": SCOPES, "profiles": [profile.pk], "note": "Ships"})

    assert answer.status_code == 302
    mandate = Mandate.objects.get()
    assert (mandate.provider, mandate.partner, mandate.profile_ids) == (provider, partner, [profile.pk])
    assert "in force" in administrator.get(LIST).content.decode()
    administrator.post(page(mandate, "delete"), {"post": "yes"})
    mandate.refresh_from_db()
    assert mandate.withdrawn_at is not None
    assert "withdrawn" in administrator.get(LIST).content.decode()
    assert AuditEntry.objects.filter(organization=provider, action__startswith="mandate.").count() == 2


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({"partner": "Nobody"}, "There is no such partner"),
        ({"partner": "Baltic Voice"}, "There is no such partner"),
        ({"scopes": ["organization:admin"]}, "not one of the available choices"),
        ({"scopes": []}, "required"),
        ({"profiles": [987654]}, "not one of the available choices"),
    ],
)
def test_what_cannot_be_given_is_refused_at_its_field(
    over: dict[str, object], said: str, other: Organization, partner: Organization, administrator: Client
) -> None:
    values = {"partner": partner.name, "scopes": SCOPES, "note": ""} | over

    answer = administrator.post(ADD, values)

    assert said in answer.content.decode()
    assert not Mandate.objects.exists()


def test_the_partner_sees_it_without_who_gave_it_and_cannot_withdraw_it(
    provider: Organization, partner: Organization, administrator: Client
) -> None:
    administrator.post(ADD, {"partner": partner.name, "scopes": SCOPES, "note": "Ships"})
    mandate = Mandate.objects.get()
    boss = browser(make_user(organization=partner, role="admin", username="bea"))

    shown = boss.get(page(mandate)).content.decode()

    assert "Alpenphone" in shown
    assert "Ships" in shown
    assert "admin ann" not in shown
    assert "admin ann" in administrator.get(page(mandate)).content.decode()
    assert boss.post(page(mandate, "delete"), {"post": "yes"}).status_code == 403
    boss.post(LIST, {"action": "withdraw_selected", "_selected_action": [mandate.pk], "post": "yes"})
    mandate.refresh_from_db()
    assert mandate.withdrawn_at is None


def test_a_partners_people_see_and_change_what_the_scopes_say(
    provider: Organization, partner: Organization, helper: Client
) -> None:
    device = make_device(profile=make_profile(organization=provider))
    assert devices(helper) == []
    mandate = give(provider, partner, "devices:read")

    assert devices(helper) == [device.mac]
    assert helper.get(page(device)).status_code == 200
    assert helper.post(page(device), {"model": "CP-1"}).status_code == 403
    assert helper.post(page(device, "delete"), {"post": "yes"}).status_code == 403
    assert helper.get(reverse("admin:onboarding_redirectprofile_changelist")).context["cl"].result_list.count() == 0

    mandates.withdraw(mandate, actor=ACTOR, at=AT)
    assert devices(helper) == []
    give(provider, partner, *SCOPES)
    helper.post(page(device), {"model": "CP-8865-3PCC", "profile": device.profile_id, "label": "by Hal"})
    device.refresh_from_db()
    assert device.label == "by Hal"
    entry = AuditEntry.objects.filter(organization=provider).latest("pk")
    assert (entry.name, entry.through) == ("hal", partner)


def test_the_audit_names_the_partner_through_whom_somebody_acted_and_none_for_ones_own(
    provider: Organization, partner: Organization, other: Organization
) -> None:
    second = make_organization(name="Cable Works", kind="partner")
    give(provider, second)
    give(make_organization(name="Delta Voice"), partner)
    person = make_user(organization=partner, role="staff", username="hal")
    for organization in (second, other):
        Membership.objects.create(user=person, organization=organization, role="staff")
    hal = browser(person)

    for owner, through in ((provider, second), (other, None)):
        device = make_device(profile=make_profile(organization=owner))
        hal.post(page(device), {"model": "CP-8865-3PCC", "profile": device.profile_id, "label": "by Hal"})

        entry = AuditEntry.objects.filter(organization=owner).latest("pk")
        assert (entry.name, entry.through) == ("hal", through)


def test_a_reader_of_the_partner_only_reads(provider: Organization, partner: Organization) -> None:
    device = make_device(profile=make_profile(organization=provider))
    give(provider, partner, *mandates.SCOPES)
    reader = browser(make_user(organization=partner, role="reader"))

    assert devices(reader) == [device.mac]
    assert reader.post(page(device), {"model": "CP-1"}).status_code == 403
    assert reader.post(page(device, "delete"), {"post": "yes"}).status_code == 403


def test_no_mandate_opens_the_providers_people_keys_and_mandates(
    provider: Organization, partner: Organization, administrator: Client
) -> None:
    give(provider, partner, *mandates.SCOPES)
    boss = browser(make_user(organization=partner, role="admin", username="bea"))
    own = make_user(organization=provider, username="Zanzibar").memberships.get()

    for name in ("membership", "apikey", "organization"):
        assert "Alpenphone" not in boss.get(reverse(f"admin:accounts_{name}_changelist")).content.decode()
    assert boss.get(page(own)).status_code == 302
    answer = boss.post(
        reverse("admin:accounts_apikey_add"),
        {"name": "x", "scopes": ["devices:read"], "lifetime": "", "organization": provider.pk},
    )
    assert answer.status_code == 200
    assert not provider.api_keys.exists()


def test_a_limited_partners_people_stay_within_its_profiles(
    provider: Organization, partner: Organization, helper: Client
) -> None:
    inside, outside = (make_profile(organization=provider, name=name) for name in ("Inside", "Zanzibar"))
    shown, hidden = make_device(profile=inside), make_device(profile=outside, label="Zanzibar")
    code, foreign_code = make_code(profile=inside)[0], make_code(profile=outside, label="Zanzibar")[0]
    give(provider, partner, *mandates.SCOPES, profiles=(inside,))

    assert devices(helper) == [shown.mac]
    for name in ("device", "redirectprofile", "statechange", "shortcode"):
        assert "Zanzibar" not in helper.get(reverse(f"admin:onboarding_{name}_changelist")).content.decode()
    assert [row.pk for row in helper.get(
        reverse("admin:activation_issuedcode_changelist")).context["cl"].result_list] == [code.pk]  # fmt: skip
    for row in (hidden, outside, foreign_code):
        assert helper.get(page(row)).status_code == 302
        assert helper.post(page(row, "delete"), {"post": "yes"}).status_code in (302, 403)
    for verb in ("reveal", "reissue"):
        address = reverse(f"admin:activation_issuedcode_{verb}", args=(foreign_code.pk,))
        assert helper.post(address).status_code == 404
    assert Device.objects.filter(pk=hidden.pk).exists()
    foreign_code.refresh_from_db()
    assert foreign_code.revoked_at is None


@pytest.mark.parametrize("moved_to", ["", "outside"])
def test_a_limited_partners_people_take_no_device_out_of_its_profiles(
    moved_to: str, provider: Organization, partner: Organization, helper: Client
) -> None:
    inside, outside = (make_profile(organization=provider) for _ in range(2))
    device = make_device(profile=inside)
    give(provider, partner, *mandates.SCOPES, profiles=(inside,))

    answer = helper.post(page(device), {"model": device.model, "profile": outside.pk if moved_to else ""})

    assert answer.status_code == 200
    device.refresh_from_db()
    assert device.profile == inside
    helper.post(page(device), {"model": device.model, "profile": inside.pk, "label": "ok"})
    device.refresh_from_db()
    assert device.label == "ok"


def test_a_limited_partners_people_read_a_devices_history_since_it_came_to_the_profile(
    provider: Organization, partner: Organization, helper: Client, administrator: Client
) -> None:
    inside, outside = (make_profile(organization=provider) for _ in range(2))
    device = make_device(profile=outside, target="https://zanzibar.example.net/")
    administrator.post(page(device), {"model": device.model, "profile": inside.pk})
    give(provider, partner, *mandates.SCOPES, profiles=(inside,))

    assert "zanzibar" not in helper.get(page(device)).content.decode()
    assert "zanzibar" in administrator.get(page(device)).content.decode()


def test_people_of_a_provider_get_nothing_by_mandates(provider: Organization, partner: Organization) -> None:
    device = make_device(profile=make_profile(organization=provider))
    give(provider, partner, *SCOPES)
    Organization.objects.filter(pk=partner.pk).update(suspended_at=AT)
    user = make_user(organization=partner)
    another = browser(make_user(organization=make_organization()))

    assert device.mac not in devices(another)
    assert browser(user).get(reverse("admin:onboarding_device_changelist")).status_code == 302
