"""People issue codes, follow them, and read them again on the record; nobody reads another organization's."""

import csv
import io
import re
from datetime import timedelta

import pytest
from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from accounts import pacing
from accounts.models import Bucket
from accounts.pacing import Attempt
from activation import limits
from activation.codes import ActivationCode
from activation.models import AuditedReading, IssuedCode
from activation.status import CodeStatus, status
from activation.vault import Vault
from onboarding.models import Device
from tests.activation.factories import make_code
from tests.factories import make_device, make_profile

DIGITS = re.compile(r"\b[0-9]{4} [0-9]{4} [0-9]{4} [0-9]{4}\b")
LIST = "admin:activation_issuedcode_changelist"


@pytest.fixture
def profile(provider):
    return make_profile(organization=provider, name="Head office")


def issued(profile, **over):
    return make_code(profile=profile, at=over.pop("at", timezone.now()), vault=Vault(settings.CODE_KEYS), **over)


def page(name, *args):
    return reverse(f"admin:activation_issuedcode_{name}", args=args)


def digits(response):
    return [ActivationCode.parse(found).digits for found in DIGITS.findall(response.content.decode())]


def test_an_order_shows_its_digits_once_and_says_what_they_are_good_for(staff, profile):
    answer = staff.post(
        page("add"),
        {"profile": profile.pk, "count": 1, "lifetime": "24", "label": "Reception", "mac": "00:56:2b:04:36:15"},
    )

    (row,) = IssuedCode.objects.all()
    (shown,) = digits(answer)
    assert Vault(settings.CODE_KEYS).open(bytes(row.seal)).digits == shown
    assert "00:56:2B:04:36:15" in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    assert (row.label, row.issued_by, row.expires_at - row.issued_at) == ("Reception", "admin:stan", timedelta(days=1))
    for later in (page("changelist"), page("change", row.pk)):
        assert digits(staff.get(later)) == []


def test_a_large_order_is_drawn_in_part_and_handed_over_whole(staff, profile):
    answer = staff.post(page("add"), {"profile": profile.pk, "count": 60, "lifetime": "168"})
    batch = IssuedCode.objects.values_list("batch", flat=True).distinct().get()

    sheet = staff.post(page("print"), {"batch": batch})
    table = list(csv.DictReader(io.StringIO(staff.post(page("export"), {"batch": batch}).content.decode())))

    assert 0 < len(digits(answer)) < 60
    assert len(set(digits(sheet))) == 60
    assert {ActivationCode.parse(row["code"]).digits for row in table} == set(digits(sheet))
    assert sorted(AuditedReading.objects.values_list("purpose", flat=True)) == ["export"] * 60 + ["print"] * 60


@pytest.mark.parametrize(
    ("over", "sentence"),
    [
        ({"count": 2, "mac": "00562B043615"}, "each for one code"),
        ({"count": 10_001}, "less than or equal to 10000"),
        ({"email": "nobody"}, "valid email address"),
        ({"mac": "nonsense"}, "MAC"),
        ({"profile": 999_999}, "not one of the available choices"),
    ],
)
def test_a_wrong_order_is_refused_at_its_field(staff, profile, over, sentence):
    answer = staff.post(page("add"), {"profile": profile.pk, "count": 1, "lifetime": "168"} | over)

    assert sentence in answer.content.decode()
    assert not IssuedCode.objects.exists()


def test_the_digits_are_shown_again_on_the_record(staff, profile):
    row, code = issued(profile)

    answer = staff.post(page("reveal", row.pk))

    assert digits(answer) == [code.digits]
    assert "no-store" in answer["Cache-Control"]
    reading = AuditedReading.objects.get()
    assert (reading.issued_code_id, reading.source, reading.reader) == (row.pk, "admin", "stan")
    assert reading.purpose == "reveal"
    assert "stan" in staff.get(page("change", row.pk)).content.decode()


def test_looking_at_an_address_reads_nothing(staff, profile):
    row, _ = issued(profile)

    for address in (page("reveal", row.pk), page("reissue", row.pk), page("print"), page("export")):
        assert staff.get(address, {"code": row.pk}).status_code == 404
    assert not AuditedReading.objects.exists()
    assert IssuedCode.objects.count() == 1


def test_a_code_of_no_use_is_not_shown_again(staff, profile):
    row, _ = issued(profile, columns={"revoked_at": timezone.now()})

    answer = staff.post(page("reveal", row.pk), follow=True)

    assert digits(answer) == []
    assert "not shown any more" in answer.content.decode()


def test_readers_see_codes_and_never_digits(reader, profile):
    row, _ = issued(profile, label="Reception")

    assert "Reception" in reader.get(page("changelist")).content.decode()
    assert "Show the digits" not in reader.get(page("change", row.pk)).content.decode()
    assert reader.get(page("add")).status_code == 403
    for address, body in (
        (page("reveal", row.pk), {}), (page("reissue", row.pk), {}), (page("print"), {"code": row.pk}),
        (page("export"), {"batch": row.batch}), (page("delete", row.pk), {"post": "yes"}), (page("locked_out"), {}),
    ):  # fmt: skip
        assert reader.post(address, body).status_code in (302, 403, 404)
    for action in ("print_selected", "export_selected", "revoke_selected"):
        reader.post(page("changelist"), {"action": action, "_selected_action": [row.pk], "post": "yes"})
    row.refresh_from_db()
    assert row.revoked_at is None
    assert IssuedCode.objects.count() == 1
    assert not AuditedReading.objects.exists()


def test_nothing_foreign_is_read_printed_exported_replaced_or_listed(other, administrator):
    row, code = issued(make_profile(organization=other), label="Zanzibar", mac="00562B043615")

    answers = [
        administrator.post(page("reveal", row.pk)),
        administrator.post(page("reissue", row.pk)),
        administrator.post(page("print"), {"code": row.pk}, follow=True),
        administrator.post(page("export"), {"batch": row.batch}, follow=True),
        administrator.get(page("changelist"), {"batch": row.batch}),
        administrator.get(page("changelist"), {"profile": row.profile_id}),
    ]
    for action in ("print_selected", "export_selected", "revoke_selected"):
        body = {"action": action, "_selected_action": [row.pk], "post": "yes"}
        answers.append(administrator.post(page("changelist"), body, follow=True))

    for answer in answers:
        text = answer.content.decode()
        assert "Zanzibar" not in text
        assert code.digits not in text
        assert code.grouped not in text
    for term in ("Zanzibar", "00562B043615", str(row.pk)):
        assert not list(administrator.get(page("changelist"), {"q": term}).context["cl"].result_list)
    assert not AuditedReading.objects.exists()
    assert list(IssuedCode.objects.values_list("pk", "revoked_at")) == [(row.pk, None)]


def test_codes_are_revoked_from_their_page_and_from_the_list(staff, profile):
    rows = [issued(profile)[0] for _ in range(3)]

    staff.post(page("delete", rows[0].pk), {"post": "yes"})
    body = {"action": "revoke_selected", "_selected_action": [row.pk for row in rows[1:]], "post": "yes"}
    staff.post(page("changelist"), body)

    for row in rows:
        row.refresh_from_db()
        assert status(row, at=timezone.now()) == CodeStatus.REVOKED
        assert row.revoked_by == "admin:stan"


def test_a_code_is_replaced_by_another(staff, profile):
    row, code = issued(profile, label="Anna")

    answer = staff.post(page("reissue", row.pk))

    old, new = IssuedCode.objects.order_by("pk")
    assert [status(old, at=timezone.now()), status(new, at=timezone.now())] == ["revoked", "issued"]
    assert new.label == "Anna"
    assert digits(answer) != [code.digits]
    assert len(digits(answer)) == 1


def test_the_list_is_cut_by_status_and_searched_by_phone_number_and_person(staff, profile):
    now = timezone.now()
    used = {"redeemed_at": now, "redeemed_mac": "00562B043615"}
    rows = {
        "issued": issued(profile, mac="00562B043616", label="Anna Huber")[0],
        "expired": issued(profile, at=now - timedelta(days=8), serial="FCH2133E8B9")[0],
        "redeemed": issued(profile, columns=used)[0],
        "revoked": issued(profile, columns={"revoked_at": now})[0],
    }

    def found(**query):
        return list(staff.get(page("changelist"), query).context["cl"].result_list)

    for kind, row in rows.items():
        assert found(status=kind) == [row]
    assert found(q="00:56:2b:04:36:16") == [rows["issued"]]
    assert found(q="00-56-2B-04-36-15") == [rows["redeemed"]]
    assert found(q="fch2133e8b9") == [rows["expired"]]
    assert found(q="Anna Huber") == [rows["issued"]]
    assert found(q=str(rows["revoked"].pk)) == [rows["revoked"]]
    assert found(q="nobody") == found(q="x" * 500) == found(status="lost") == []


def test_the_funnel_counts_from_issued_to_acquired(staff, profile, other):
    for state in ("acquired", "unavailable"):
        device = make_device(profile=profile, state=state)
        issued(profile, columns={"redeemed_at": timezone.now(), "redeemed_mac": device.mac, "device_id": device.pk})
    waiting, _ = issued(profile)
    issued(make_profile(organization=other))

    def funnel(**query):
        steps = staff.get(page("changelist"), query).context["funnel"]
        return [(step["label"], step["shown"]) for step in steps]

    assert funnel() == [("Issued", "3"), ("Redeemed", "2"), ("Profile acquired", "1")]
    assert funnel(batch=waiting.batch) == [("Issued", "1"), ("Redeemed", "0"), ("Profile acquired", "0")]


def test_a_page_tells_what_became_of_the_code_and_whom_it_refused(staff, profile):
    device = make_device(profile=profile, state="custom_pending")
    refusals = [{"at": timezone.now().isoformat(), "reason": "device_taken", "mac": "00562B04AAAA"}]
    columns = {"redeemed_at": timezone.now(), "redeemed_mac": device.mac, "device_id": device.pk, "refusals": refusals}
    row, _ = issued(profile, columns=columns)

    shown = staff.get(page("change", row.pk)).content.decode()

    assert reverse("admin:onboarding_device_change", args=(device.pk,)) in shown
    assert "Custom Pending" in shown
    assert "00:56:2B:04:AA:AA" in shown
    assert "belongs to another organization" in shown


def test_the_list_costs_the_same_few_queries_however_long_it_is(staff, profile, django_assert_max_num_queries):
    for _ in range(30):
        issued(profile)

    with django_assert_max_num_queries(20):
        assert staff.get(page("changelist")).status_code == 200


def lock_out(mac):
    """Type wrong codes until the phone must wait."""
    attempt = Attempt(limits.PHONE, limits.phone(mac, "203.0.113.9"))
    while pacing.take([attempt], at=timezone.now().timestamp()) is None:
        pass
    return attempt


def test_a_locked_out_phone_is_shown_to_its_owner_and_let_go_by_one_click(staff, provider):
    device = make_device(organization=provider)
    attempt = lock_out(device.mac)

    shown = staff.get(page("locked_out")).context["phones"]
    staff.post(page("locked_out"), {"mac": shown[0]["mac"]})

    assert [phone["network"] for phone in shown] == ["203.0.113.9"]
    assert pacing.take([attempt], at=timezone.now().timestamp()) is None
    assert not staff.get(page("locked_out")).context["phones"] or Bucket.objects.get().key == attempt.key


def test_a_phone_that_a_code_waits_for_is_shown_too(staff, profile):
    issued(profile, mac="00562B043615")
    lock_out("00562B043615")

    assert [phone["mac"] for phone in staff.get(page("locked_out")).context["phones"]] == ["00:56:2B:04:36:15"]


def test_a_phone_of_nobody_is_found_by_its_mac_and_one_of_others_is_not(staff, other):
    theirs = make_device(organization=other)
    for mac in ("00562B0FFFFF", theirs.mac):
        lock_out(mac)

    assert staff.get(page("locked_out")).context["phones"] == []
    assert len(staff.get(page("locked_out"), {"mac": "00562B0FFFFF"}).context["phones"]) == 1
    assert staff.get(page("locked_out"), {"mac": theirs.mac}).context["phones"] == []
    staff.post(page("locked_out"), {"mac": theirs.mac})
    assert Bucket.objects.filter(key__contains=theirs.mac).exists()


def test_lifting_leaves_the_limits_of_network_and_service(staff, provider):
    device = make_device(organization=provider)
    lock_out(device.mac)
    kept = [Attempt(limits.NETWORK, "203.0.113.9"), Attempt(limits.SERVICE, "")]
    for attempt in kept:
        pacing.take([attempt], at=timezone.now().timestamp())

    staff.post(page("locked_out"), {"mac": device.mac})

    assert set(Bucket.objects.values_list("key", flat=True)) == {attempt.key for attempt in kept}
    assert Device.objects.filter(pk=device.pk).exists()
