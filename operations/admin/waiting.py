"""What of bulk work stands on the first page: what is under way."""

from django.http import HttpRequest
from django.urls import reverse

from accounts import standing
from onboarding.admin.dashboard import MOST_COUNTED, Tile, capped
from operations.models import Operation


def tiles(request: HttpRequest) -> list[Tile]:
    """The operations that wait or run; nothing where there are none."""
    viewer = standing.of(request).viewer(standing.EVERYBODY, "devices:read")
    running = Operation.objects.visible_to(viewer).filter(finished_at=None).order_by()[: MOST_COUNTED + 1].count()
    if not running:
        return []
    # The list begins with the newest; what is over stands below.
    address = reverse("admin:operations_operation_changelist")
    return [Tile("operations under way", capped(running, MOST_COUNTED), address, "Imports and other bulk work")]
