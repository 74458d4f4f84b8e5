"""What stands between registry and door is tested here for what trust publishes."""

from tests.redirect.conftest import registry, writer

__all__ = ["registry", "writer"]
