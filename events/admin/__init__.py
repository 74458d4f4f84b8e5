"""The feed and the webhooks on the admin site."""

from events.admin import feed, webhooks

__all__ = ["feed", "webhooks"]
