"""`/api/v1/`, the organization's own affairs."""

from django.urls import path

from onboarding.api.organization import audit, keys, mandates, people

urlpatterns = [
    path("audit/", audit.Audit.as_view()),
    path("keys/", keys.Keys.as_view()),
    path("keys/<int:key_id>/", keys.OneKey.as_view()),
    path("keys/<int:key_id>/rotate/", keys.Rotate.as_view()),
    path("mandates/", mandates.Mandates.as_view()),
    path("mandates/<int:mandate_id>/", mandates.OneMandate.as_view()),
    path("people/", people.People.as_view()),
    path("people/<int:person_id>/", people.OnePerson.as_view()),
]
