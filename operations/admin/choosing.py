"""Devices that were chosen in their list, as the rows of an operation: those ticked, or all that match its filters."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.sites import AdminSite
from django.http import HttpRequest, QueryDict

from accounts.tenancy import Viewer
from onboarding import savedfilters
from onboarding.errors import OnboardingError
from onboarding.models import Device

# More at once is work for a file.
MOST_CHOSEN = 10_000


class NothingChosen(OnboardingError):
    """No device was chosen, or not of one organization alone."""

    code = "nothing_chosen"
    remedy = "Go back to the list and choose some."


class Chosen(NamedTuple):
    """The MACs of the chosen devices in order, their organization, and whether more matched than may be chosen."""

    organization_id: int
    macs: Sequence[str]
    is_cut: bool


def chosen(request: HttpRequest, site: AdminSite, asked: QueryDict) -> Chosen:
    """The devices that `asked` names by `device`, or all that match the list's query in `list`.

    Only those of organizations that this person may change. Raises NothingChosen.
    """
    devices: Any = site._registry[Device]
    viewer = devices.changing(request)
    # An operation is an organization's: whoever is limited to some of its profiles changes devices one by one.
    rows = Device.objects.visible_to(Viewer(viewer.organization_ids, viewer.sees_everything))
    ids = [int(text) for text in asked.getlist("device") if text.isascii() and text.isdecimal() and len(text) < 18]
    if ids:
        rows = rows.filter(pk__in=ids[:MOST_CHOSEN])
    elif "list" in asked:
        rows = rows.filter(pk__in=_matching(request, devices, str(asked["list"])).values("pk"))
    else:
        raise NothingChosen("No device is chosen.")
    found = list(rows.order_by("mac").values_list("mac", "organization_id")[: MOST_CHOSEN + 1])
    owners = {owner for _, owner in found}
    if not owners:
        raise NothingChosen("None of these devices can be changed by you.")
    if len(owners) > 1:
        raise NothingChosen(
            "The chosen devices belong to several organizations.", remedy="Filter the list by one organization first."
        )
    return Chosen(owners.pop(), [mac for mac, _ in found[:MOST_CHOSEN]], len(found) > MOST_CHOSEN)


def _matching(request: HttpRequest, devices: Any, query: str) -> Any:
    """The rows of the devices' list with this query string, by the list's own filters and search."""
    asked, request.GET = request.GET, QueryDict(savedfilters.query(query))
    try:
        return devices.get_changelist_instance(request).queryset.order_by()
    except IncorrectLookupParameters:
        return Device.objects.none()
    finally:
        request.GET = asked
