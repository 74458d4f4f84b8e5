"""Operations that want the same phones at the same moment: each phone has one owner, and both are told the truth."""

import pytest

from onboarding.models import Device, StateChange
from operations import running
from tests.factories import AT, OWN, make_device, make_mac, make_organization
from tests.operations.work import all_results, start
from tests.races import at_once

pytestmark = pytest.mark.django_db(transaction=True)

_PHONES = 300


def _do(operation, lease):
    assert running.lease_it(operation, lease, at=AT)
    running.do_part(operation.pk, lease, at=AT, own=OWN)
    operation.refresh_from_db()


def test_of_two_imports_of_the_same_phones_each_phone_goes_to_one() -> None:
    organizations = [make_organization(), make_organization()]
    macs = [str(make_mac()) for _ in range(_PHONES)]
    # One of the lists is the other way round, and some phones are a third organization's, unproven.
    for mac in macs[::10]:
        make_device(mac=mac, columns={"proven": False})
    operations = [
        start(organization, "mac,model\n" + "".join(f"{mac},CP-8841\n" for mac in order))
        for organization, order in zip(organizations, (macs, macs[::-1]), strict=True)
    ]

    assert at_once(*(lambda o=operation, n=str(n): _do(o, n) for n, operation in enumerate(operations))) == [None, None]
    for number, operation in enumerate(operations):
        while not operation.is_over:
            # A deadlock makes a part be tried again.
            _do(operation, f"again {number}")

    owners = dict(Device.objects.values_list("mac", "organization_id"))
    assert set(owners) == set(macs)
    for organization, operation in zip(organizations, operations, strict=True):
        told = {result.mac: result.code or result.status for result in all_results(operation)}
        assert told == {mac: "created" if owners[mac] == organization.pk else "device_taken" for mac in macs}
    claims = StateChange.objects.filter(event="claimed", organization__in=organizations)
    assert sorted(claims.values_list("mac", flat=True)) == sorted(macs)
    ends = StateChange.objects.filter(event="released").exclude(organization__in=organizations)
    assert ends.count() == len(macs[::10])


def test_of_two_workers_with_one_operation_one_does_its_part() -> None:
    operation = start(make_organization(), f"mac,model\n{make_mac()},CP-8841\n")

    def work(lease):
        if running.lease_it(operation, lease, at=AT):
            running.do_part(operation.pk, lease, at=AT, own=OWN)
            return True
        return False

    outcomes = at_once(*(lambda n=n: work(str(n)) for n in range(4)))

    operation.refresh_from_db()
    assert outcomes.count(True) == 1
    assert (operation.status, operation.processed, StateChange.objects.count()) == ("done", 1, 1)
