"""`/api/v1/operations/`."""

from django.urls import path

from operations.api import operations

urlpatterns = [
    path("operations/", operations.Operations.as_view()),
    path("operations/<int:operation_id>/", operations.OneOperation.as_view()),
    path("operations/<int:operation_id>/results/", operations.Results.as_view()),
    path("operations/<int:operation_id>/cancel/", operations.Cancel.as_view()),
    path("operations/<int:operation_id>/revert/", operations.Revert.as_view()),
]
