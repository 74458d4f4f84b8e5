from django.apps import AppConfig


class ConfigConfig(AppConfig):
    """An app for the commands that start the parts together, and for Celery's configuration."""

    name = "config"

    def ready(self) -> None:
        # Every Django process that rings a bell must know the broker; a door that runs alone has none.
        from config import celery  # noqa: F401
