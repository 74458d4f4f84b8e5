"""The first page of the admin site, put together: what the phones' page draws, and the figures that other apps add.

Apps do not know each other; each that has something to tell there has a function `tiles(request)`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from django.http import HttpRequest

from onboarding.admin import dashboard
from onboarding.admin.dashboard import Tile


def context(request: HttpRequest, base: dict[str, Any]) -> dict[str, Any]:
    """The index page's context, with everything that the first page draws."""
    drawn = dashboard.context(request, base)
    return drawn | {"tiles": [*drawn["tiles"], *(tile for tiles in _parts() for tile in tiles(request))]}


def _parts() -> Sequence[Callable[[HttpRequest], list[Tile]]]:
    # Admin modules can be imported only once all apps are there.
    from activation.admin import waiting as codes
    from events.admin import waiting as webhooks
    from operations.admin import waiting as bulk_work

    return (codes.tiles, webhooks.tiles, bulk_work.tiles)
