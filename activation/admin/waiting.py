"""What of the codes stands on the first page: those that nobody has typed yet."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from accounts import standing
from activation.models import IssuedCode
from activation.status import CodeStatus
from onboarding.admin.dashboard import MOST_COUNTED, Tile, capped


def tiles(request: HttpRequest) -> list[Tile]:
    """The codes that wait to be typed, counted to a limit from their index."""
    codes: Any = IssuedCode.objects.visible_to(standing.of(request).viewer(standing.EVERYBODY, "codes:read"))
    waiting = codes.with_status(CodeStatus.ISSUED, at=timezone.now()).order_by()[: MOST_COUNTED + 1].count()
    address = f"{reverse('admin:activation_issuedcode_changelist')}?status={CodeStatus.ISSUED.value}"
    return [Tile("activation codes waiting", capped(waiting, MOST_COUNTED), address, "Issued, and not typed yet")]
