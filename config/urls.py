import re

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView

from config import activating, problems
from onboarding.admin import bench
from onboarding.api import pages
from onboarding.api.views import UnknownPath

handler400 = problems.bad_request
handler500 = problems.server_error

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/import/", RedirectView.as_view(pattern_name="admin:operations_operation_import")),
    path("admin/bench/", include(bench.urls)),
    path("admin/", admin.site.urls),
    re_path(rf"^{re.escape(activating.PATH[1:])}$", activating.activate, name="activate"),
    path("api/v1/", include("activation.api.urls")),
    path("api/v1/", include("events.api.urls")),
    path("api/v1/", include("onboarding.api.urls")),
    path("api/v1/", include("operations.api.urls")),
    path("api/schema/", pages.schema, name="schema"),
    path("api/docs/", pages.swagger, name="docs"),
    path("api/redoc/", pages.redoc, name="redoc"),
    path("api/problems/", problems.page, name="problems"),
    re_path(r"^api/", UnknownPath.as_view()),
]
