"""`/api/v1/`."""

from django.urls import include, path
from drf_spectacular.utils import extend_schema_view

from accounts import api as accounts
from onboarding.api import devices, events, explain, profiles, shortcodes, timeline, validate
from onboarding.api.pagination import MAX_LIMIT
from onboarding.api.parsers import MAX_BODY_BYTES
from onboarding.api.schema import operation
from onboarding.api.shapes import MAX_VALIDATED_ROWS

_LIMITS = {"list_rows": MAX_LIMIT, "validate_rows": MAX_VALIDATED_ROWS, "body_bytes": MAX_BODY_BYTES}

_describe_me = extend_schema_view(
    get=operation("me", "What is this key, and what may it do?", answers={200: accounts.MeShown}, scope="")
)

urlpatterns = [
    path("profiles/", profiles.Profiles.as_view()),
    path("profiles/<int:profile_id>/", profiles.OneProfile.as_view()),
    path("profiles/<int:profile_id>/check/", profiles.CheckProfile.as_view()),
    path("devices/", devices.Devices.as_view()),
    path("devices/validate/", validate.Validate.as_view()),
    path("devices/<str:mac>/", devices.OneDevice.as_view()),
    path("devices/<str:mac>/timeline/", timeline.Timeline.as_view()),
    path("devices/<str:mac>/events/", events.Events.as_view()),
    path("short-codes/", shortcodes.ShortCodes.as_view()),
    path("short-codes/<str:digits>/", shortcodes.OneShortCode.as_view()),
    path("", include("onboarding.api.organization.urls")),
    path("explain/", explain.Explain.as_view()),
    path("me/", _describe_me(accounts.Me).as_view(limits=_LIMITS)),
]
