from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView

from config import problems
from onboarding.api import pages
from onboarding.api.views import UnknownPath

handler400 = problems.bad_request
handler500 = problems.server_error

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("api/v1/", include("onboarding.api.urls")),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", pages.swagger, name="docs"),
    path("api/redoc/", pages.redoc, name="redoc"),
    path("api/problems/", problems.page, name="problems"),
    re_path(r"^api/", UnknownPath.as_view()),
]
