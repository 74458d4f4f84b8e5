"""A code typed on a phone associates that phone, once; whatever refuses it, only the code's owner sees."""

from datetime import timedelta
from typing import Any

import pytest

from accounts.models import Bucket, Organization
from activation import issuing, redemption
from activation.codes import ActivationCode
from activation.limits import ClosedLimits
from activation.models import IssuedCode
from activation.redemption import BoundPhones, Redeemed, TooManyAttempts, WrongCode
from activation.vault import Vault
from onboarding import registrations, registry
from onboarding.answers import Links
from onboarding.models import Device, RedirectProfile, StateChange
from tests.activation.factories import VAULT, make_code
from tests.factories import ACTOR, AT, OWN, make_device, make_fields, make_mac, make_organization, make_profile
from tests.races import at_once

pytestmark = pytest.mark.django_db

MODEL, SERIAL, FIRMWARE, SOURCE = "CP-8841-3PCC", "FCH2133E8B9", "sip88xx.11-2-3", "192.0.2.7"
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
TARGET = b'<Profile_Rule ua="na">https://cfg.example.net/$MA.xml</Profile_Rule>'


def links():
    return Links("https://onboarding.example/beacon", "https://onboarding.example/report")


def redeem(code, mac=None, **over) -> Redeemed:
    values: dict[str, Any] = {
        "mac": mac or make_mac(), "model": MODEL, "serial": SERIAL, "firmware": FIRMWARE,
        "source": SOURCE, "at": AT, "vault": VAULT, "links": links,
    }  # fmt: skip
    return redemption.redeem(code=code, **values | over)


def events(mac):
    return list(StateChange.objects.filter(mac=str(mac)).order_by("id").values_list("event", "after", "source"))


def refused(row):
    row.refresh_from_db()
    return [refusal["reason"] for refusal in row.refusals]


def attempts_taken(name="code-service"):
    """How many attempts of the limit for the whole service have been spent at AT."""
    bucket = Bucket.objects.filter(key=name).first()
    return round((bucket.arrival - AT.timestamp()) / 4) if bucket else 0


def test_an_unknown_phone_becomes_an_unproven_device_of_the_codes_profile():
    row, code = make_code()
    mac = make_mac()

    redeemed = redeem(code, mac)

    device = Device.objects.get(mac=str(mac))
    assert TARGET in redeemed.document
    assert (device.organization, device.profile) == (row.organization, row.profile)
    assert (device.model, device.serial, device.proven, device.state) == (MODEL, SERIAL, False, "custom_pending")
    # Anybody can type any MAC: what this phone asks later, without a code, is not answered from it.
    assert registrations.for_mac(mac) is None
    row.refresh_from_db()
    assert (row.redeemed_at, row.redeemed_mac, row.device_id) == (AT, str(mac), device.pk)
    assert row.device_id == redeemed.device_id


def test_the_timeline_tells_that_the_phone_asked_and_was_answered():
    row, code = make_code()
    mac = make_mac()

    redeem(code, mac)

    assert events(mac) == [
        ("claimed", "open", "activation"),
        ("asked", "pending", "activation"),
        ("answered", "custom_pending", "activation"),
    ]
    asked, answered = StateChange.objects.filter(mac=str(mac)).order_by("id")[1:]
    assert asked.evidence == {"model": MODEL, "serial": SERIAL, "firmware": FIRMWARE, "from": SOURCE}
    assert answered.evidence == {"outcome": "redirected", "target": "https://cfg.example.net/$MA.xml", "code": row.pk}


@pytest.mark.parametrize("bound", ["mac", "serial"])
def test_a_code_that_was_issued_for_this_phone_vouches_for_it(bound):
    mac = make_mac()
    _, code = make_code(**{bound: {"mac": mac, "serial": SERIAL}[bound]})

    redeem(code, mac)

    assert Device.objects.get(mac=str(mac)).proven
    assert registrations.for_mac(mac) is not None


def test_ones_own_device_gets_the_codes_profile_and_stays_proven():
    row, code = make_code()
    other = make_profile(organization=row.organization)
    device = make_device(organization=row.organization, profile=other, model="CP-7841", label="Reception")

    redeem(code, registrations.MacAddress.parse(device.mac))

    device.refresh_from_db()
    assert (device.profile, device.proven, device.label, device.model) == (row.profile, True, "Reception", "CP-7841")


def test_what_the_profile_asks_for_stands_in_the_answer():
    profile = make_profile(confirm="beacon", parameters={"Report_Rule": "{report}"})
    _, code = make_code(profile=profile)

    document = redeem(code).document

    assert b'<Profile_Rule_B ua="na">https://onboarding.example/beacon</Profile_Rule_B>' in document


# Each way in which a code does not work: what is done to it, and the reason that its owner reads.
def expired(row, mac):
    IssuedCode.objects.filter(pk=row.pk).update(issued_at=AT - MINUTE, expires_at=AT)


def revoked(row, mac):
    issuing.revoke(actor=ACTOR, code=row, at=AT)


def redeemed_by_another(row, mac):
    IssuedCode.objects.filter(pk=row.pk).update(redeemed_at=AT - SECOND, redeemed_mac=str(make_mac()), device_id=1)


def of_another_phone(row, mac):
    IssuedCode.objects.filter(pk=row.pk).update(mac=str(make_mac()))


def of_another_serial(row, mac):
    IssuedCode.objects.filter(pk=row.pk).update(serial="FCH00000000")


def of_another_model(row, mac):
    IssuedCode.objects.filter(pk=row.pk).update(model="CP-7841")


def owned_by_another(row, mac):
    make_device(mac=mac)


def suspended(row, mac):
    Organization.objects.filter(pk=row.organization_id).update(suspended_at=AT)


def profile_disabled(row, mac):
    RedirectProfile.objects.filter(pk=row.profile_id).update(enabled=False)


def certificate_required(row, mac):
    RedirectProfile.objects.filter(pk=row.profile_id).update(identity="required")


def model_matched(row, mac):
    RedirectProfile.objects.filter(pk=row.profile_id).update(match_model=True)
    make_device(organization=row.organization, mac=mac, model="CP-7841")


def another_serial_registered(row, mac):
    make_device(organization=row.organization, mac=mac, serial="FCH00000000")


def window_closed(row, mac):
    make_device(organization=row.organization, mac=mac, valid_until=AT)


def unproven_devices_full(row, mac):
    Device.objects.bulk_create(
        [
            Device(
                organization_id=row.organization_id, profile_id=row.profile_id, mac=f"{number:012X}", model="CP-7841",
                proven=False, claimed_at=AT, changed_at=AT, state_since=AT,
            )
            for number in range(0x2000000000, 0x2000000000 + 3)
        ]
    )  # fmt: skip


REFUSALS = {
    expired: "expired",
    revoked: "revoked",
    redeemed_by_another: "redeemed",
    of_another_phone: "another_mac",
    of_another_serial: "another_serial",
    of_another_model: "another_model",
    owned_by_another: "device_taken",
    suspended: "organization_suspended",
    profile_disabled: "profile_disabled",
    certificate_required: "identity_missing",
    model_matched: "model_mismatch",
    another_serial_registered: "serial_mismatch",
    window_closed: "outside_window",
    unproven_devices_full: "profile_full",
}


@pytest.mark.parametrize("spoil", REFUSALS, ids=lambda spoil: spoil.__name__)
def test_a_refusal_changes_nothing_costs_an_attempt_and_tells_the_owner_why(spoil, monkeypatch):
    # As full as a profile can be, in less time.
    monkeypatch.setattr(registry, "MOST_UNPROVEN", 3)
    row, code = make_code()
    mac = make_mac()
    spoil(row, mac)
    row.refresh_from_db()
    before = (row.redeemed_at, row.redeemed_mac, row.device_id)
    devices, changes = list(Device.objects.order_by("pk").values()), StateChange.objects.count()

    with pytest.raises(WrongCode) as wrong:
        redeem(code, mac)

    row.refresh_from_db()
    assert row.refusals == [{"at": AT.isoformat(), "reason": REFUSALS[spoil], "mac": str(mac)}]
    assert (row.redeemed_at, row.redeemed_mac, row.device_id) == before
    assert list(Device.objects.order_by("pk").values()) == devices
    assert StateChange.objects.count() == changes
    assert attempts_taken() == 1
    with pytest.raises(WrongCode) as unknown:
        redeem(ActivationCode.random(), mac)
    assert vars(wrong.value) == vars(unknown.value)


def test_of_many_refusals_the_last_ten_are_kept():
    row, code = make_code(mac=make_mac())
    for minute in range(12):
        with pytest.raises(WrongCode):
            redeem(code, at=AT + minute * MINUTE)

    row.refresh_from_db()
    assert [refusal["at"] for refusal in row.refusals] == [(AT + n * MINUTE).isoformat() for n in range(2, 12)]


@pytest.mark.parametrize(
    ("moment", "works"), [(-SECOND, True), (-timedelta(microseconds=1), True), (0 * SECOND, False)]
)
def test_a_code_works_until_the_moment_it_expires(moment, works):
    row, code = make_code(lifetime=timedelta(hours=1))

    if works:
        assert redeem(code, at=row.expires_at + moment)
    else:
        with pytest.raises(WrongCode):
            redeem(code, at=row.expires_at + moment)


def test_the_phone_whose_answer_was_lost_gets_it_again_without_a_second_event():
    row, code = make_code()
    mac = make_mac()
    first = redeem(code, mac)
    seen, spent = events(mac), attempts_taken()

    assert redeem(code, mac, at=AT + 10 * MINUTE) == first

    assert events(mac) == seen
    assert attempts_taken() == spent == 0
    row.refresh_from_db()
    assert (row.redeemed_at, row.refusals) == (AT, [])


def test_the_answer_is_given_again_even_if_the_code_expired_meanwhile():
    row, code = make_code(lifetime=MINUTE)
    mac = make_mac()
    redeem(code, mac)

    assert redeem(code, mac, at=row.expires_at + MINUTE)


def test_after_ten_minutes_or_from_another_phone_it_is_not_given_again():
    row, code = make_code()
    mac = make_mac()
    redeem(code, mac)

    with pytest.raises(WrongCode):
        redeem(code, mac, at=AT + 10 * MINUTE + SECOND)
    with pytest.raises(WrongCode):
        redeem(code, make_mac(), at=AT + SECOND)

    assert refused(row) == ["redeemed", "redeemed"]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (revoked, "revoked"),
        (suspended, "organization_suspended"),
        (profile_disabled, "profile_disabled"),
        (lambda row, mac: Device.objects.filter(mac=str(mac)).update(valid_until=AT), "outside_window"),
        (lambda row, mac: registry.release(actor=ACTOR, device=Device.objects.get(mac=str(mac)), at=AT), "released"),
        (
            lambda row, mac: registry.put(
                actor=ACTOR, organization=make_organization(), mac=mac, values=make_fields(), own=OWN, at=AT
            ),
            "released",
        ),
    ],
    ids=["revoked", "suspended", "disabled", "window", "released", "taken over"],
)
def test_the_second_answer_is_decided_anew(spoil, reason):
    row, code = make_code()
    mac = make_mac()
    redeem(code, mac)
    spoil(row, mac)

    with pytest.raises(WrongCode):
        redeem(code, mac, at=AT + SECOND)

    assert refused(row) == [reason]


def test_the_second_answer_is_the_present_one():
    row, code = make_code()
    mac = make_mac()
    redeem(code, mac)
    RedirectProfile.objects.filter(pk=row.profile_id).update(targets=["https://new.example.net/$MA.xml"])

    assert b"https://new.example.net/$MA.xml" in redeem(code, mac, at=AT + SECOND).document


def test_a_right_code_costs_no_attempt_and_a_wrong_one_costs_one_of_each_kind():
    mac = make_mac()
    redeem(make_code()[1], mac)
    assert not Bucket.objects.exists()

    with pytest.raises(WrongCode):
        redeem(ActivationCode.random(), mac)

    keys = sorted(Bucket.objects.values_list("key", flat=True))
    assert keys == [f"code-network:{SOURCE}", f"code-phone:{mac}@{SOURCE}", "code-service"]


def test_a_code_sealed_under_an_older_key_works_while_that_key_is_kept():
    old, new = "an old key, long enough to be one 0123456789", "a new key, long enough to be one 0123456789"
    _, code = make_code(vault=Vault([old]))

    with pytest.raises(WrongCode):
        redeem(code, vault=Vault([new]))
    assert redeem(code, vault=Vault([new, old]))


@pytest.mark.parametrize("said", ["", "CP-7841"])
def test_a_code_for_a_model_needs_a_phone_that_says_it_is_one(said):
    row, code = make_code(model=MODEL)

    with pytest.raises(WrongCode):
        redeem(code, model=said)
    assert redeem(code, model=MODEL)
    assert refused(row) == ["another_model"]


# Two at once, each with a connection of its own.


@pytest.mark.django_db(transaction=True)
def test_of_several_phones_at_once_one_wins():
    profile = make_profile()
    for _ in range(10):
        row, code = make_code(profile=profile)
        macs = [make_mac() for _ in range(4)]
        Bucket.objects.all().delete()

        outcomes = at_once(*[lambda mac=mac, code=code: redeem(code, mac) for mac in macs])

        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Redeemed"] + ["WrongCode"] * 3, outcomes
        winner = macs[[type(outcome) for outcome in outcomes].index(Redeemed)]
        row.refresh_from_db()
        assert row.redeemed_mac == str(winner)
        # Nothing is left of those that lost.
        assert [d.mac for d in Device.objects.filter(mac__in=map(str, macs))] == [str(winner)]
        assert {e.mac for e in StateChange.objects.filter(mac__in=map(str, macs))} == {str(winner)}


@pytest.mark.django_db(transaction=True)
def test_one_phone_that_asks_twice_at_once_is_answered_twice_and_redeems_once():
    profile = make_profile()
    for _ in range(10):
        _, code = make_code(profile=profile)
        mac = make_mac()

        outcomes = at_once(*[lambda mac=mac, code=code: redeem(code, mac)] * 3)

        assert [type(outcome) for outcome in outcomes] == [Redeemed] * 3, outcomes
        assert len(set(outcomes)) == 1
        assert [event for event, *_ in events(mac)] == ["claimed", "asked", "answered"]


@pytest.mark.django_db(transaction=True)
def test_a_code_that_is_revoked_at_the_same_moment_is_redeemed_or_revoked():
    profile = make_profile()
    for _ in range(10):
        row, code = make_code(profile=profile)
        mac = make_mac()

        outcome, _ = at_once(
            lambda mac=mac, code=code: redeem(code, mac),
            lambda row=row: issuing.revoke(actor=ACTOR, code=IssuedCode.objects.get(pk=row.pk), at=AT),
        )

        row.refresh_from_db()
        assert row.revoked_at == AT
        assert (
            isinstance(outcome, Redeemed)
            == (row.redeemed_at is not None)
            == Device.objects.filter(mac=str(mac)).exists()
        )


def test_nothing_is_remembered_of_phones_that_are_let_in():
    closed_limits, bound_phones = ClosedLimits(), BoundPhones()

    for _ in range(3):
        assert redeem(make_code()[1], closed_limits=closed_limits, bound_phones=bound_phones)
    with pytest.raises(WrongCode):
        redeem(ActivationCode.random(), closed_limits=closed_limits, bound_phones=bound_phones)


def test_a_phone_that_guesses_on_is_told_when_to_come_back():
    mac = make_mac()
    for _ in range(10):
        with pytest.raises(WrongCode):
            redeem(ActivationCode.random(), mac)

    with pytest.raises(TooManyAttempts) as refusal:
        redeem(make_code()[1], mac)

    assert refusal.value.retry_after_seconds == 901
