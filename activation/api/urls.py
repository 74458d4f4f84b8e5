"""`/api/v1/activation-codes/`."""

from django.urls import path

from activation.api import codes

urlpatterns = [
    path("activation-codes/", codes.Codes.as_view()),
    path("activation-codes/<int:code_id>/", codes.OneCode.as_view()),
    path("activation-codes/<int:code_id>/reveal/", codes.Reveal.as_view()),
    path("activation-codes/<int:code_id>/revoke/", codes.Revoke.as_view()),
]
