"""Settings of the peer: our tables, no middleware, one view, and no look at a connection before it is used."""

from config.settings import *  # noqa: F403
from config.settings import DATABASES, INSTALLED_APPS

ROOT_URLCONF = "bench.peer_django"
MIDDLEWARE = []
ALLOWED_HOSTS = ["127.0.0.1"]
DATABASES["default"] |= {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": False}
# Sign-in insists on its middleware; the peer signs nobody in, and so has no admin site either.
_LEFT_OUT = ("allauth", "config.adminapp", "signin", "unfold")
INSTALLED_APPS = [app for app in INSTALLED_APPS if not app.startswith(_LEFT_OUT)]
