"""The audit's pages: read by an organization's administrators and the operator, changed by nobody."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import auditing, chaining
from accounts.actors import Actor
from accounts.models import AuditEntry, Organization, User
from tests.admin.conftest import browser
from tests.factories import ACTOR, AT, make_key, make_organization, make_profile, make_user

LIST = reverse("admin:accounts_auditentry_changelist")


def record(organization: Organization | None, **over: object) -> AuditEntry:
    told = {"action": "thing.changed", "subject": "a thing", "at": AT} | over
    auditing.record(ACTOR, organization_id=organization and organization.pk, **told)  # type: ignore[arg-type]
    return AuditEntry.objects.latest("pk")


def page(entry: AuditEntry) -> str:
    return reverse("admin:accounts_auditentry_change", args=(entry.pk,))


def shown(client: Client, query: dict[str, str] | None = None) -> list[str]:
    return [row.subject for row in client.get(LIST, query or {}).context["cl"].result_list]


def test_administrators_read_their_own_and_the_operator_all(
    provider: Organization, other: Organization, administrator: Client, operator: Client, staff: Client, reader: Client
) -> None:
    for owner, subject in ((provider, "own"), (other, "foreign"), (None, "the operator's")):
        record(owner, subject=subject)

    assert shown(administrator) == ["own"]
    assert shown(operator) == ["the operator's", "foreign", "own"]
    for person in (staff, reader):
        assert person.get(LIST).status_code == 403
        assert person.get(page(AuditEntry.objects.earliest("pk"))).status_code == 403


def test_an_entry_is_drawn_with_before_and_after(provider: Organization, administrator: Client) -> None:
    partner = make_organization(name="Box Logistics", kind="partner")
    actor = Actor("api", "k7m2p9qx", organization_id=partner.pk, address="192.0.2.7", request_id="order-4711")
    auditing.record(
        actor, organization_id=provider.pk, action="profile.changed", subject="profile <b>Main</b>", at=AT,
        before={"enabled": True, "targets": ["https://old/"]}, after={"enabled": False, "targets": ["https://new/"]},
        thing="profile:4",
    )  # fmt: skip
    entry = AuditEntry.objects.latest("pk")

    text = administrator.get(page(entry)).content.decode()

    for said in (
        "Profile changed", "profile &lt;b&gt;Main&lt;/b&gt;", "k7m2p9qx of Box Logistics, by API", "192.0.2.7",
        "order-4711", "<del>yes</del>", "<ins>no</ins>", "https://old/", "https://new/", "to be chained",
        "?thing=profile:4",
    ):  # fmt: skip
        assert said in text, said
    chaining.extend(at=AT)
    assert "chained</span>" in administrator.get(page(entry)).content.decode()


def test_an_altered_entry_says_so(provider: Organization, administrator: Client) -> None:
    entry = record(provider)
    with connection.cursor() as cursor:
        place = "" if connection.vendor == "sqlite" else " ON accounts_auditentry"
        cursor.execute(f"DROP TRIGGER append_only_update{place}")
    AuditEntry.objects.filter(pk=entry.pk).update(subject="something else")

    assert "altered since it was written" in administrator.get(page(entry)).content.decode()


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"action": "key.revoked"}, ["b"]),
        ({"action": "Key revoked"}, ["b"]),
        ({"action": "no.such"}, []),
        ({"action": "'; --"}, []),
        ({"thing": "profile:4"}, ["c"]),
        ({"since": "2026-11-23"}, ["c"]),
        ({"since": "yesterday"}, []),
        ({"since": "", "action": ""}, ["c", "b", "a"]),
    ],
)
def test_the_list_is_filtered(
    query: dict[str, str], found: list[str], provider: Organization, administrator: Client
) -> None:
    record(provider, subject="a")
    record(provider, subject="b", action="key.revoked")
    record(provider, subject="c", thing="profile:4", at=AT + timedelta(days=1))

    assert shown(administrator, query) == found


@pytest.mark.parametrize("method", ["get", "post"])
def test_nobody_changes_it(method: str, provider: Organization, operator: Client) -> None:
    entry = record(provider)

    answers = [
        getattr(operator, method)(reverse("admin:accounts_auditentry_delete", args=(entry.pk,))),
        getattr(operator, method)(reverse("admin:accounts_auditentry_add")),
        operator.post(page(entry), {"subject": "x"}),
    ]

    assert {answer.status_code for answer in answers} == {403}


def test_a_partner_with_the_scope_reads_the_providers_audit_unless_it_is_limited_to_profiles(
    provider: Organization,
) -> None:
    from accounts import mandates

    partner = make_organization(kind="partner")
    person = browser(make_user(organization=partner, role="admin"))
    record(provider, subject="the provider's")
    mandate = mandates.give(actor=ACTOR, provider=provider, partner=partner, scopes=["audit:read"], at=AT)
    assert "the provider's" in shown(person)

    mandates.withdraw(mandate, actor=ACTOR, at=AT)
    profile = make_profile(organization=provider)
    mandates.give(
        actor=ACTOR, provider=provider, partner=partner, scopes=["audit:read"], profile_ids=[profile.pk], at=AT
    )

    assert "the provider's" not in shown(person)


def test_what_people_do_on_the_admin_site_is_told_with_name_and_address(
    provider: Organization, administrator: Client
) -> None:
    key, _ = make_key(organization=provider)

    administrator.post(reverse("admin:accounts_apikey_delete", args=(key.pk,)), {"post": "yes"})

    entry = AuditEntry.objects.get(action="key.revoked")
    assert (entry.source, entry.name, entry.address, entry.through) == ("admin", "ann", "127.0.0.1", None)
    assert entry.request_id


# The operator's own verbs


def test_the_operator_creates_changes_suspends_and_resumes_an_organization(operator: Client) -> None:
    operator.post(reverse("admin:accounts_organization_add"), {"name": "Corvus", "kind": "provider"})
    row = Organization.objects.get(name="Corvus")
    address = reverse("admin:accounts_organization_change", args=(row.pk,))

    operator.post(address, {"name": "Corvus Voice", "kind": "provider", "requires_second_factor": "on"})
    operator.post(reverse("admin:accounts_organization_suspend", args=(row.pk,)))
    suspended = Organization.objects.get(pk=row.pk).suspended_at
    operator.post(reverse("admin:accounts_organization_resume", args=(row.pk,)))

    row.refresh_from_db()
    assert (row.name, row.requires_second_factor, row.suspended_at) == ("Corvus Voice", True, None)
    assert suspended is not None
    told = AuditEntry.objects.filter(organization=row).order_by("pk").values_list("action", flat=True)
    assert list(told) == [
        "organization.created", "organization.changed", "organization.suspended", "organization.resumed",
    ]  # fmt: skip


def test_an_organizations_name_is_taken_once(provider: Organization, operator: Client) -> None:
    answer = operator.post(reverse("admin:accounts_organization_add"), {"name": provider.name, "kind": "provider"})

    assert "There is an organization" in answer.content.decode()
    assert Organization.objects.filter(name=provider.name).count() == 1


def test_administrators_say_how_their_people_sign_in_and_nothing_else(
    provider: Organization, other: Organization, administrator: Client, staff: Client
) -> None:
    address = reverse("admin:accounts_organization_change", args=(provider.pk,))
    values = {"name": "Stolen", "kind": "partner", "requires_second_factor": "on"}

    assert staff.post(address, values).status_code == 403
    administrator.post(address, values)

    provider.refresh_from_db()
    assert (provider.name, provider.kind, provider.requires_second_factor) == ("Alpenphone", "provider", True)
    for client, row in ((administrator, provider), (staff, provider), (administrator, other)):
        for verb in ("suspend", "resume"):
            answer = client.post(reverse(f"admin:accounts_organization_{verb}", args=(row.pk,)))
            assert answer.status_code in (302, 403)
    assert not Organization.objects.exclude(suspended_at=None).exists()


def test_the_operator_suspends_a_person_and_the_organization_reads_of_it(
    provider: Organization, staff: Client, operator: Client, administrator: Client
) -> None:
    user = User.objects.get(username="stan")
    address = reverse("admin:accounts_user_change", args=(user.pk,))
    form = operator.get(address).context["adminform"].form
    joined, inline = user.date_joined, "memberships"
    values = {
        "username": "stan", "first_name": "", "last_name": "", "email": "", "is_staff": "on",
        f"{inline}-TOTAL_FORMS": "1", f"{inline}-INITIAL_FORMS": "1", f"{inline}-0-id": user.memberships.get().pk,
        f"{inline}-0-user": user.pk, f"{inline}-0-organization": provider.pk, f"{inline}-0-role": "reader",
    }  # fmt: skip
    assert form
    assert joined

    answer = operator.post(address, values)

    assert answer.status_code == 302, answer.context["errors"]
    user.refresh_from_db()
    assert not user.is_active
    assert user.memberships.get().role == "reader"
    assert set(AuditEntry.objects.filter(organization=provider).values_list("action", flat=True)) == {
        "person.suspended", "person.role_changed",
    }  # fmt: skip
    entry = AuditEntry.objects.get(action="account.changed")
    assert (entry.organization, entry.before, entry.after) == (None, {"is_active": True}, {"is_active": False})
    assert staff.get(reverse("admin:onboarding_device_changelist")).status_code == 302


def test_the_operator_suspends_a_key_and_its_organization_cannot_resume_it(
    provider: Organization, administrator: Client, operator: Client, client: Client
) -> None:
    key, text = make_key(organization=provider)

    assert administrator.post(reverse("admin:accounts_apikey_suspend", args=(key.pk,))).status_code == 403
    operator.post(reverse("admin:accounts_apikey_suspend", args=(key.pk,)))

    assert client.get("/api/v1/me/", headers={"Authorization": f"Bearer {text}"}).status_code == 401
    assert administrator.post(reverse("admin:accounts_apikey_resume", args=(key.pk,))).status_code == 403
    assert "has stopped this key" in administrator.get(
        reverse("admin:accounts_apikey_change", args=(key.pk,))
    ).content.decode().replace("\n", " ")
    operator.post(reverse("admin:accounts_apikey_resume", args=(key.pk,)))
    key.refresh_from_db()
    assert key.suspended_at is None


def test_a_key_is_rotated_on_its_page_and_the_new_one_shown_once(
    provider: Organization, other: Organization, administrator: Client, staff: Client, client: Client
) -> None:
    key, text = make_key(organization=provider)
    foreign, _ = make_key(organization=other)
    address = reverse("admin:accounts_apikey_rotate", args=(key.pk,))

    assert administrator.get(address).status_code == 404
    assert staff.post(address).status_code in (403, 404)
    assert administrator.post(reverse("admin:accounts_apikey_rotate", args=(foreign.pk,))).status_code == 404
    made = administrator.post(address, {"overlap": "1"})

    assert "no-store" in made["Cache-Control"]
    for good in (text, made.context["key"]):
        assert client.get("/api/v1/me/", headers={"Authorization": f"Bearer {good}"}).status_code == 200
    key.refresh_from_db()
    assert key.expires_at is not None
    assert key.expires_at <= timezone.now() + timedelta(hours=1)
    assert administrator.post(address).status_code == 302


def test_the_last_administrator_is_not_removed_by_the_operator_either(provider: Organization, operator: Client) -> None:
    last = make_user(organization=provider, role="admin").memberships.get()

    answer = operator.post(reverse("admin:accounts_membership_delete", args=(last.pk,)), {"post": "yes"}, follow=True)

    assert "last administrator" in answer.content.decode()
    assert provider.memberships.count() == 1
