"""`/api/v1/events/` and `/api/v1/webhooks/`."""

from django.urls import path

from events.api import feed, webhooks

urlpatterns = [
    path("events/", feed.Events.as_view()),
    path("webhooks/", webhooks.Webhooks.as_view()),
    path("webhooks/<int:webhook_id>/", webhooks.OneWebhook.as_view()),
    path("webhooks/<int:webhook_id>/rotate/", webhooks.Rotate.as_view()),
    path("webhooks/<int:webhook_id>/pause/", webhooks.Pause.as_view()),
    path("webhooks/<int:webhook_id>/resume/", webhooks.Resume.as_view()),
    path("webhooks/<int:webhook_id>/test/", webhooks.Test.as_view()),
    path("webhooks/<int:webhook_id>/redeliver/", webhooks.RedeliverSince.as_view()),
    path("webhooks/<int:webhook_id>/deliveries/", webhooks.Deliveries.as_view()),
    path("webhooks/<int:webhook_id>/deliveries/<int:delivery_id>/redeliver/", webhooks.Redeliver.as_view()),
]
