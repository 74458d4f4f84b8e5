"""Mandates: what a partner's key may do for a provider, within which scopes and profiles, and until when."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts import chaining, mandates
from accounts.models import AuditEntry, Mandate, Organization
from activation.models import IssuedCode
from onboarding.models import Device, RedirectProfile, ShortCode
from tests.activation.factories import make_code
from tests.factories import ACTOR, AT, make_device, make_organization, make_profile, make_short_code
from tests.races import at_once

MAC, MODEL = "00562B043615", {"model": "CP-8841-3PCC"}
PROVIDERS_SCOPES = list(mandates.SCOPES)


@pytest.fixture
def provider(db, keyed):
    return keyed(make_organization(name="Alpenphone"))


@pytest.fixture
def distributor(db, keyed):
    return keyed(make_organization(name="Box Logistics", kind="partner"))


def give(provider, distributor, *, scopes=PROVIDERS_SCOPES, profiles=()):
    return mandates.give(
        actor=ACTOR, provider=provider.organization, partner=distributor.organization, scopes=scopes,
        profile_ids=[profile.pk for profile in profiles], at=AT,
    )  # fmt: skip


@pytest.fixture
def acting(provider, distributor):
    """The distributor's key, sending the header."""

    def ask(method: str, path: str, body: Any = None, **headers: str) -> Any:
        return distributor(method, path, body, On_Behalf_Of=str(provider.organization.pk), **headers)

    return ask


# Giving and withdrawing


def test_a_mandate_is_given_seen_by_both_and_withdrawn(provider, distributor):
    profile = make_profile(organization=provider.organization)
    body = {"partner": distributor.organization.pk, "scopes": ["devices:read"], "profiles": [profile.pk], "note": "x"}

    made = provider("POST", "mandates/", body)

    assert made.status_code == 201
    given = made.json()
    assert (given["profiles"], given["in_force"], given["note"]) == ([profile.pk], True, "x")
    assert made["Location"].endswith(f"/mandates/{given['id']}/")
    for side in (provider, distributor):
        assert side("GET", "mandates/").json()["results"] == [given]
        assert side("GET", f"mandates/{given['id']}/").json() == given
    assert distributor("DELETE", f"mandates/{given['id']}/").json()["code"] == "not_the_provider"
    assert provider("DELETE", f"mandates/{given['id']}/").status_code == 204
    assert distributor("GET", "mandates/?in_force=false").json()["results"][0]["withdrawn_at"]
    assert distributor("GET", "mandates/?in_force=true").json()["results"] == []


def test_both_organizations_read_of_it_in_their_audit_and_the_partner_not_who_did_it(provider, distributor):
    body = {"partner": distributor.organization.pk, "scopes": ["devices:read"]}
    mandate = provider("POST", "mandates/", body).json()["id"]
    provider("DELETE", f"mandates/{mandate}/")

    for side, name in ((provider, provider.row.prefix), (distributor, "Alpenphone")):
        entries = [row for row in side("GET", "audit/").json()["results"] if row["thing"] == f"mandate:{mandate}"]
        assert [(row["action"], row["name"]) for row in entries] == [
            ("mandate.withdrawn", name), ("mandate.given", name),
        ]  # fmt: skip
    assert provider.row.prefix not in distributor("GET", "audit/").content.decode()


@pytest.mark.parametrize(
    ("over", "status", "code"),
    [
        ({"scopes": ["organization:admin"]}, 400, "invalid_mandate"),
        ({"scopes": []}, 400, "unknown_scope"),
        ({"scopes": ["everything"]}, 400, "unknown_scope"),
        ({"partner": 2**40}, 400, "unknown_partner"),
        ({"profiles": [2**40]}, 400, "invalid_mandate"),
        ({"profiles": ["1"]}, 400, "invalid_input"),
        ({"note": "a\nb"}, 400, "invalid_mandate"),
        ({"what": 1}, 400, "invalid_input"),
    ],
)
def test_what_cannot_be_given_is_refused_and_nothing_is_written(provider, distributor, over, status, code):
    body = {"partner": distributor.organization.pk, "scopes": ["devices:read"]} | over

    refused = provider("POST", "mandates/", body)

    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert not Mandate.objects.exists()


def test_a_mandate_is_for_a_partner_not_for_another_provider_nor_for_oneself(provider, stranger):
    for organization in (stranger.organization, provider.organization):
        refused = provider("POST", "mandates/", {"partner": organization.pk, "scopes": ["devices:read"]})
        assert refused.json()["code"] == "unknown_partner"


def test_foreign_profiles_cannot_be_given(provider, distributor, stranger):
    foreign = make_profile(organization=stranger.organization)
    body = {"partner": distributor.organization.pk, "scopes": ["devices:read"], "profiles": [foreign.pk]}

    assert provider("POST", "mandates/", body).json()["code"] == "invalid_mandate"


def test_a_second_mandate_waits_until_the_first_is_withdrawn(provider, distributor):
    mandate = give(provider, distributor)
    body = {"partner": distributor.organization.pk, "scopes": ["devices:read"]}

    assert provider("POST", "mandates/", body).json()["code"] == "mandate_exists"
    mandates.withdraw(mandate, actor=ACTOR, at=AT)
    assert provider("POST", "mandates/", body).status_code == 201


def test_a_key_gives_no_scope_that_it_has_not(provider, distributor, keyed):
    weak = keyed(provider.organization, ["organization:admin", "devices:read"])
    body = {"partner": distributor.organization.pk, "scopes": ["devices:read", "devices:write"]}

    refused = weak("POST", "mandates/", body)

    assert (refused.status_code, refused.json()["code"]) == (403, "scope_not_held")
    assert weak("POST", "mandates/", body | {"scopes": ["devices:read"]}).status_code == 201


def test_a_foreign_mandate_answers_as_one_that_does_not_exist(provider, distributor, stranger):
    mandate = give(provider, distributor)

    assert stranger("GET", "mandates/").json()["results"] == []
    for method in ("GET", "DELETE"):
        assert stranger(method, f"mandates/{mandate.pk}/").status_code == 404
    assert Mandate.objects.get().withdrawn_at is None


# Acting


def test_a_partner_acts_for_the_provider_with_the_header_and_for_itself_without(provider, distributor, acting):
    give(provider, distributor)

    assert acting("PUT", f"devices/{MAC}/", MODEL).status_code == 201
    assert distributor("PUT", "devices/00562B043616/", MODEL).status_code == 201

    owners = dict(Device.objects.values_list("mac", "organization__name"))
    assert owners == {MAC: "Alpenphone", "00562B043616": "Box Logistics"}
    assert [row["mac"] for row in acting("GET", "devices/").json()["results"]] == [MAC]
    assert acting("GET", "me/").json()["organization"]["name"] == "Alpenphone"


def test_the_providers_audit_tells_through_whom_it_was_done(provider, distributor, acting):
    give(provider, distributor)

    acting("POST", "profiles/", {"name": "New", "targets": ["https://cfg.example.net/"]})

    (entry,) = provider("GET", "audit/?action=profile.created").json()["results"]
    assert (entry["name"], entry["through"]) == (distributor.row.prefix, distributor.organization.pk)
    assert distributor("GET", "audit/?action=profile.created").json()["results"] == []


def test_me_lists_the_mandates_that_a_key_may_use_with_the_scopes_left(provider, distributor, keyed):
    profile = make_profile(organization=provider.organization)
    give(provider, distributor, scopes=["devices:read", "devices:write"], profiles=[profile])
    weak = keyed(distributor.organization, ["devices:read"])
    weaker = keyed(distributor.organization, ["codes:read"])

    assert weak("GET", "me/").json()["mandates"] == [
        {
            "organization": {"id": provider.organization.pk, "name": "Alpenphone", "kind": "provider"},
            "scopes": ["devices:read"],
            "profiles": [profile.pk],
        }
    ]
    assert weaker("GET", "me/").json()["mandates"] == []
    assert provider("GET", "me/").json()["mandates"] == []


def test_the_scopes_are_those_that_both_key_and_mandate_have(provider, distributor, keyed):
    give(provider, distributor, scopes=["devices:read", "codes:read"])
    weak = keyed(distributor.organization, ["devices:read", "devices:write"])
    header = {"On_Behalf_Of": str(provider.organization.pk)}

    assert weak("GET", "devices/", **header).status_code == 200
    assert weak("GET", "activation-codes/", **header).json()["detail"] == "The API key lacks the scope codes:read."
    refused = weak("PUT", f"devices/{MAC}/", MODEL, **header)
    assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
    assert refused.json()["detail"] == "The mandate does not give the scope devices:write."
    assert weak("GET", "me/", **header).json()["key"]["scopes"] == ["devices:read"]


def test_no_mandate_lets_a_partner_manage_the_providers_people_keys_or_mandates(provider, distributor, acting):
    give(provider, distributor)

    for path in ("people/", "keys/", "mandates/"):
        assert acting("GET", path).json()["code"] == "insufficient_scope"


def test_every_reason_for_having_no_mandate_looks_the_same(provider, distributor, stranger):
    withdrawn, suspended, unrelated = (make_organization() for _ in range(3))
    for organization in (withdrawn, suspended):
        mandate = mandates.give(
            actor=ACTOR, provider=organization, partner=distributor.organization, scopes=["devices:read"], at=AT
        )
        if organization == withdrawn:
            mandates.withdraw(mandate, actor=ACTOR, at=AT)
    Organization.objects.filter(pk=suspended.pk).update(suspended_at=AT)

    answers = set()
    for named in (withdrawn.pk, suspended.pk, unrelated.pk, 2**70, 0, "", "x", "-1", "١"):
        answer = distributor("GET", "devices/", On_Behalf_Of=str(named))
        assert answer.status_code == 403, named
        answers.add(str(answer.json() | {"request_id": ""}))
    assert len(answers) == 1
    assert "no_mandate" in answers.pop()


def test_a_suspended_partners_key_is_refused_with_the_header_too(provider, distributor, acting):
    give(provider, distributor)
    assert acting("GET", "devices/").status_code == 200

    Organization.objects.filter(pk=distributor.organization.pk).update(suspended_at=timezone.now())

    assert acting("GET", "devices/").status_code in (401, 403)


def test_a_withdrawal_holds_from_the_next_request_on(provider, distributor, acting):
    mandate = give(provider, distributor)
    assert acting("GET", "devices/").status_code == 200

    provider("DELETE", f"mandates/{mandate.pk}/")

    assert acting("GET", "devices/").json()["code"] == "no_mandate"


def test_naming_ones_own_organization_needs_no_mandate(distributor):
    own = str(distributor.organization.pk)

    assert distributor("GET", "devices/", On_Behalf_Of=own).status_code == 200


# Within profiles


@pytest.fixture
def limited(provider, distributor):
    """A mandate for one profile of two; gives both."""
    inside, outside = (make_profile(organization=provider.organization, name=name) for name in ("Inside", "Outside"))
    give(provider, distributor, profiles=[inside])
    return inside, outside


def rows():
    return [list(model.objects.order_by("pk").values()) for model in (Device, RedirectProfile, IssuedCode, ShortCode)]


def test_a_limited_partner_sees_the_rows_of_its_profiles_and_no_others(provider, limited, acting):
    inside, outside = limited
    shown = make_device(profile=inside)
    hidden = [make_device(profile=outside), make_device(organization=provider.organization)]
    codes = [make_code(profile=profile)[0] for profile in limited]
    for profile, digits in zip(limited, ("111222", "333444"), strict=True):
        make_short_code(profile=profile, code=digits)

    assert [row["mac"] for row in acting("GET", "devices/").json()["results"]] == [shown.mac]
    assert [row["id"] for row in acting("GET", "profiles/").json()["results"]] == [inside.pk]
    assert [row["id"] for row in acting("GET", "activation-codes/").json()["results"]] == [codes[0].pk]
    assert [row["code"] for row in acting("GET", "short-codes/").json()["results"]] == ["111222"]
    assert acting("GET", f"devices/?profile={outside.pk}").json()["results"] == []
    before = rows()
    for method, path, body in (
        *(
            (method, f"devices/{device.mac}/{end}", body)
            for device in hidden
            for method, end, body in (
                ("GET", "", None), ("PATCH", "", {"label": "x"}), ("DELETE", "", None), ("GET", "timeline/", None),
                ("POST", "events/", {"event": "acquired"}),
            )
        ),
        ("GET", f"profiles/{outside.pk}/", None),
        ("PATCH", f"profiles/{outside.pk}/", {"enabled": False}),
        ("DELETE", f"profiles/{outside.pk}/", None),
        ("POST", f"profiles/{outside.pk}/check/", None),
        ("GET", f"activation-codes/{codes[1].pk}/", None),
        ("DELETE", f"activation-codes/{codes[1].pk}/", None),
        ("POST", f"activation-codes/{codes[1].pk}/reveal/", None),
        ("POST", f"activation-codes/{codes[1].pk}/revoke/", None),
        ("GET", "short-codes/333444/", None),
        ("DELETE", "short-codes/333444/", None),
    ):  # fmt: skip
        assert acting(method, path, body).status_code == 404, (method, path)
    assert rows() == before


def test_a_limited_partner_cannot_take_or_make_anything_outside_of_its_profiles(provider, limited, acting):
    inside, outside = limited
    hidden, seen = make_device(profile=outside), make_device(profile=inside)
    make_short_code(profile=outside, code="333444")
    before = rows()

    for status, code, method, path, body in (
        (409, "device_taken", "PUT", f"devices/{hidden.mac}/", MODEL | {"profile": inside.pk}),
        (400, "unknown_profile", "PUT", f"devices/{MAC}/", MODEL | {"profile": outside.pk}),
        (403, "outside_mandate", "PUT", f"devices/{MAC}/", MODEL),
        (403, "outside_mandate", "PATCH", f"devices/{seen.mac}/", {"profile": None}),
        (400, "unknown_profile", "PATCH", f"devices/{seen.mac}/", {"profile": outside.pk}),
        (403, "outside_mandate", "POST", "profiles/", {"name": "New", "targets": ["https://cfg.example.net/"]}),
        (400, "unknown_profile", "POST", "activation-codes/", {"profile": outside.pk}),
        (400, "unknown_profile", "PUT", "short-codes/555666/", {"profile": outside.pk}),
        (409, "short_code_taken", "PUT", "short-codes/333444/", {"profile": inside.pk}),
        (403, "outside_mandate", "GET", "audit/", None),
    ):  # fmt: skip
        refused = acting(method, path, body)
        assert (refused.status_code, refused.json()["code"]) == (status, code), (method, path)
        assert refused.json()["remedy"]
    assert rows() == before


def test_a_limited_partner_works_within_its_profiles(limited, acting):
    inside, _ = limited

    assert acting("PUT", f"devices/{MAC}/", MODEL | {"profile": inside.pk}).status_code == 201
    assert acting("PUT", f"devices/{MAC}/", MODEL | {"profile": inside.pk, "label": "x"}).status_code == 200
    assert acting("PATCH", f"devices/{MAC}/", {"label": "y"}).status_code == 200
    assert acting("POST", "activation-codes/", {"profile": inside.pk}).status_code == 201
    assert acting("PUT", "short-codes/555666/", {"profile": inside.pk}).status_code == 201
    assert acting("PUT", "short-codes/555666/", {"profile": inside.pk, "max_devices": 5}).status_code == 200
    assert acting("PATCH", f"profiles/{inside.pk}/", {"enabled": False}).status_code == 200
    assert acting("DELETE", f"devices/{MAC}/").status_code == 204


def test_validate_and_explain_tell_a_limited_partner_no_more_than_a_stranger(provider, limited, acting):
    inside, outside = limited
    seen, hidden = make_device(profile=inside), make_device(profile=outside)

    rows = [{"mac": mac} for mac in (seen.mac, hidden.mac, MAC)]
    judged = acting("POST", "devices/validate/", {"rows": rows}).json()["results"]

    assert [row["status"] for row in judged] == ["yours", "taken", "available"]
    assert acting("GET", f"explain/?mac={hidden.mac}").json()["outcome"] == "unknown_device"
    assert acting("GET", f"explain/?mac={seen.mac}").json()["outcome"] == "redirected"


def test_a_limited_partner_reads_a_devices_history_since_it_came_to_the_profile(provider, limited, acting):
    inside, outside = limited
    device = make_device(profile=outside, target="https://secret.example.net/")
    provider("PATCH", f"devices/{device.mac}/", {"profile": inside.pk, "target": None})
    provider("PATCH", f"devices/{device.mac}/", {"label": "Reception"})

    timeline = acting("GET", f"devices/{device.mac}/timeline/")

    assert [row["event"] for row in timeline.json()["results"]] == ["changed"]
    assert "secret" not in timeline.content.decode()
    assert len(provider("GET", f"devices/{device.mac}/timeline/").json()["results"]) == 3
    claimed = acting("PUT", f"devices/{MAC}/", MODEL | {"profile": inside.pk})
    assert claimed.status_code == 201
    assert [row["event"] for row in acting("GET", f"devices/{MAC}/timeline/").json()["results"]] == ["claimed"]


def test_a_profile_that_is_deleted_leaves_the_limited_mandate_nothing(limited, provider, acting):
    inside, outside = limited
    make_device(profile=outside)
    provider("DELETE", f"profiles/{inside.pk}/")

    assert acting("GET", "devices/").json()["results"] == []
    assert acting("GET", "profiles/").json()["results"] == []


def test_a_mandate_without_profiles_takes_in_profiles_to_come(provider, distributor, acting):
    give(provider, distributor)
    later = make_profile(organization=provider.organization)

    assert [row["id"] for row in acting("GET", "profiles/").json()["results"]] == [later.pk]


def test_one_partner_never_sees_what_another_provider_gave_it(provider, stranger, distributor, acting):
    give(provider, distributor)
    give(stranger, distributor)
    foreign = make_device(organization=stranger.organization)

    assert acting("GET", f"devices/{foreign.mac}/").status_code == 404
    assert acting("GET", "devices/").json()["results"] == []


def test_the_chain_of_what_was_done_under_a_mandate_is_whole(provider, distributor, acting):
    give(provider, distributor)
    acting("POST", "profiles/", {"name": "New", "targets": ["https://cfg.example.net/"]})

    chaining.extend(at=AT + timedelta(1))

    assert AuditEntry.objects.filter(through=distributor.organization).exists()
    assert not [flaw for chain in chaining.chains() for flaw in chaining.verify(chain)]


@pytest.mark.django_db(transaction=True)
def test_of_requests_during_a_withdrawal_each_is_served_or_refused_and_none_afterwards(provider, distributor, acting):
    mandate = give(provider, distributor)
    profiles = [{"name": f"Profile {number}", "targets": ["https://cfg.example.net/"]} for number in range(6)]

    *answers, withdrawal = at_once(
        *(lambda profile=profile: acting("POST", "profiles/", profile) for profile in profiles),
        lambda: provider("DELETE", f"mandates/{mandate.pk}/"),
    )

    assert withdrawal.status_code == 204
    assert {answer.status_code for answer in answers} <= {201, 403}
    assert RedirectProfile.objects.count() == [answer.status_code for answer in answers].count(201)
    assert acting("GET", "profiles/").json()["code"] == "no_mandate"


@pytest.mark.django_db(transaction=True)
def test_a_mandate_given_twice_at_once_is_given_once(provider, distributor):
    body = {"partner": distributor.organization.pk, "scopes": ["devices:read"]}

    answers = at_once(*(lambda: provider("POST", "mandates/", body) for _ in range(3)))

    assert sorted(answer.status_code for answer in answers) == [201, 409, 409]
    assert Mandate.objects.get().withdrawn_at is None


@pytest.mark.django_db(transaction=True)
def test_a_device_that_the_provider_claims_at_the_same_moment_is_not_taken_over_by_a_limited_partner(
    provider, distributor, acting
):
    inside, outside = (make_profile(organization=provider.organization, name=name) for name in ("Inside", "Outside"))
    give(provider, distributor, profiles=[inside])

    for number in range(8):
        path = f"devices/00562B0400{number:02d}/"
        theirs, ours = at_once(
            lambda path=path: acting("PUT", path, MODEL | {"profile": inside.pk, "label": "partner"}),
            lambda path=path: provider("PUT", path, MODEL | {"profile": outside.pk, "label": "provider"}),
        )
        assert ours.status_code in (200, 201)
        assert theirs.status_code in (201, 409)
        # Whoever comes second, the provider's word stands.
        assert Device.objects.get(mac=path[8:20]).label == "provider"
