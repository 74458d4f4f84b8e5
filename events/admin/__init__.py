"""The feed and the webhooks on the admin site."""
