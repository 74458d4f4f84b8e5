"""The WSGI application: the door in front, Django behind it, and Django kept from taking every thread."""

import os
import threading
from collections.abc import Iterable

from django.conf import settings
from django.core.wsgi import get_wsgi_application

from config import door, phones
from redirect.door import Application, Environ, StartResponse


def capped(behind: Application, most: int) -> Application:
    """`behind`, for at most so many requests at once; 503 beyond, so that slow pages never hold up phones."""
    places = threading.BoundedSemaphore(most)

    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if not places.acquire(blocking=False):
            start_response("503 Service Unavailable", [("Retry-After", "1"), ("Content-Length", "0")])
            return [b""]
        try:
            response = behind(environ, start_response)
            try:
                return [b"".join(response)]
            finally:
                if hasattr(response, "close"):
                    response.close()
        finally:
            places.release()

    return application


os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
_configuration = phones.read_or_stop()
# Django's type names its own kind of answer; it is an iterable of octets like any other.
_django: Application = get_wsgi_application()  # type: ignore[assignment]
application = door.build(_configuration, behind=capped(_django, settings.DJANGO_THREADS))
