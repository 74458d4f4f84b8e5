"""Redirect profiles: everything is checked before anything is written, and a used one is not deleted."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.tenancy import Viewer
from onboarding import profiles
from onboarding.flatprofile import InvalidParameter
from onboarding.models import Device, RedirectProfile, StateChange
from onboarding.profilerule import InvalidProfileRule
from onboarding.profiles import InvalidProfile, ProfileFields, ProfileInUse, ProfileNameTaken
from onboarding.targets import InvalidTargets, TargetPointsBack
from tests.factories import ACTOR, AT, OWN, make_device, make_organization, make_profile

pytestmark = pytest.mark.django_db


def fields(**over):
    return ProfileFields(**{"name": "Main", "targets": ["https://cfg.example.net/$MA.xml"], "parameters": {}} | over)


def create(organization=None, **over):
    return profiles.create(
        actor=ACTOR, organization=organization or make_organization(), values=fields(**over), own=OWN, at=AT
    )


def test_a_profile_is_stored_in_its_normal_form():
    profile = create(name="  Main ", parameters={"Upgrade_Rule": "x", "ACS_URL": "y"}, confirm="beacon")

    stored = RedirectProfile.objects.get(pk=profile.pk)
    assert (stored.name, stored.targets, stored.confirm) == ("Main", ["https://cfg.example.net/$MA.xml"], "beacon")
    assert stored.parameters == {"ACS_URL": "y", "Upgrade_Rule": "x"}
    assert (stored.identity, stored.unproven_evidence, stored.match_model, stored.enabled) == (
        "none",
        "record",
        False,
        True,
    )


WRONG = [
    ({"name": ""}, InvalidProfile, "name"),
    ({"name": "  "}, InvalidProfile, "name"),
    ({"name": "x" * 81}, InvalidProfile, "name"),
    ({"name": "a\nb"}, InvalidProfile, "name"),
    ({"name": "a\0b"}, InvalidProfile, "name"),
    ({"confirm": "maybe"}, InvalidProfile, "confirm"),
    ({"confirm": ""}, InvalidProfile, "confirm"),
    ({"unproven_evidence": "believe"}, InvalidProfile, "unproven_evidence"),
    ({"identity": "always"}, InvalidProfile, "identity"),
    ({"stalled_after_minutes": 0}, InvalidProfile, "stalled_after_minutes"),
    ({"stalled_after_minutes": -5}, InvalidProfile, "stalled_after_minutes"),
    ({"stalled_after_minutes": 525_601}, InvalidProfile, "stalled_after_minutes"),
    ({"targets": []}, InvalidTargets, "targets"),
    ({"targets": ["https://a.net/", "ftp://a.net/"]}, InvalidProfileRule, "targets"),
    ({"targets": ["https://a.net/", "https://ONBOARDING.example./"]}, TargetPointsBack, "targets"),
    ({"parameters": {"Profile_Rule": "x"}}, InvalidParameter, "parameters"),
    ({"parameters": {"Profile_Rule_B": "$A"}, "confirm": "beacon"}, InvalidProfile, "parameters"),
]


@pytest.mark.parametrize(("over", "error", "field"), WRONG)
def test_a_wrong_field_is_named_and_nothing_is_written(over, error, field):
    with pytest.raises(error) as caught:
        create(**over)

    assert caught.value.field == field
    assert not RedirectProfile.objects.exists()


@pytest.mark.parametrize(("over", "error", "field"), WRONG)
def test_a_wrong_change_changes_nothing(over, error, field):
    profile = create()

    with pytest.raises(error):
        profiles.change(profile, values=fields(**{"targets": ["https://new.net/"]} | over), own=OWN, actor=ACTOR, at=AT)

    assert RedirectProfile.objects.get().targets == profile.targets == ["https://cfg.example.net/$MA.xml"]


def test_a_name_is_taken_within_the_organization_only():
    organization = make_organization()
    create(organization)
    other = create(organization, name="Other")
    create(make_organization())

    with pytest.raises(ProfileNameTaken):
        create(organization)
    with pytest.raises(ProfileNameTaken):
        profiles.change(other, values=fields(), own=OWN, actor=ACTOR, at=AT)
    assert RedirectProfile.objects.get(pk=other.pk).name == "Other"


def test_a_change_sets_every_field():
    profile = create(match_model=True, stalled_after_minutes=5, parameters={"ACS_URL": "y"})

    profiles.change(profile, values=fields(name="New", enabled=False), own=OWN, actor=ACTOR, at=AT)

    stored = RedirectProfile.objects.get()
    assert (stored.name, stored.enabled, stored.match_model, stored.stalled_after_minutes) == ("New", False, False, 30)
    assert stored.parameters == {}


def test_a_used_profile_is_not_deleted_and_finding_that_out_is_cheap():
    profile = make_profile()
    for _ in range(3):
        make_device(profile=profile)

    with CaptureQueriesContext(connection) as queries, pytest.raises(ProfileInUse) as caught:
        profiles.delete(profile, actor=ACTOR, at=AT)

    assert caught.value.code == "profile_in_use"
    assert len(queries) == 1
    assert "LIMIT 1" in queries[0]["sql"]
    Device.objects.update(profile=None)
    profiles.delete(profile, actor=ACTOR, at=AT)
    assert not RedirectProfile.objects.exists()


def test_every_row_is_visible_to_its_owner_and_to_the_operator_alone():
    mine, theirs = make_device(profile=make_profile()), make_device(profile=make_profile())
    viewer = Viewer(frozenset({mine.organization_id}))

    for model, own_row in ((Device, mine), (RedirectProfile, mine.profile), (StateChange, mine.changes.get())):
        assert list(model.objects.visible_to(viewer)) == [own_row]
        assert not model.objects.visible_to(Viewer()).exists()
        assert model.objects.visible_to(Viewer(sees_everything=True)).count() == 2
    assert list(type(mine.organization).objects.visible_to(viewer)) == [mine.organization]
    assert theirs.organization not in type(mine.organization).objects.visible_to(viewer)
