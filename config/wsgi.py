"""The WSGI application: the door in front, Django behind it, and Django kept from taking every thread."""

import os
import sys
import threading
from collections.abc import Iterable

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from whitenoise import WhiteNoise
from whitenoise.middleware import WhiteNoiseMiddleware

from config import door, phones
from redirect.door import Application, Environ, StartResponse

# The largest body that Django is handed: beyond any form or API request. Files of rows are read in parts.
MOST_BODY_OCTETS = 4 * 1024 * 1024
_TAKE_FILES = ("/api/v1/operations/", "/admin/operations/operation/import/file/")
MOST_FILE_OCTETS = 129 * 1024 * 1024

# Threads of one process take turns; a page that only computes gives way to waiting phones ten times sooner than usual.
sys.setswitchinterval(0.0005)


def capped(behind: Application, most: int) -> Application:
    """`behind`, for at most so many requests at once; 503 beyond, so that slow pages never hold up phones."""
    places = threading.BoundedSemaphore(most)

    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        length = environ.get("CONTENT_LENGTH") or "0"
        most_octets = MOST_FILE_OCTETS if environ["PATH_INFO"] in _TAKE_FILES else MOST_BODY_OCTETS
        if not length.isdigit() or int(length[:16]) > most_octets:
            # Refused unread; a body without a length is never read by Django.
            start_response("413 Content Too Large", [("Content-Length", "0"), ("Connection", "close")])
            return [b""]
        if not places.acquire(blocking=False):
            start_response("503 Service Unavailable", [("Retry-After", "1"), ("Content-Length", "0")])
            return [b""]
        try:
            return [_whole(behind(environ, start_response))]
        finally:
            places.release()

    return application


def files_first(behind: Application, files: WhiteNoise) -> Application:
    """`behind`, but for the pages' own files, which no cap holds up: a browser asks for a page's twenty at once."""

    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        file = files.files.get(environ["PATH_INFO"])
        if file is None:
            return behind(environ, start_response)
        return [_whole(WhiteNoise.serve(file, environ, start_response))]

    return application


def _whole(response: Iterable[bytes]) -> bytes:
    try:
        return b"".join(response)
    finally:
        if hasattr(response, "close"):
            response.close()


def any_host(behind: Application, *, path: str, host: str) -> Application:
    """`behind`, where requests for `path` seem to be for `host`: phones ask under whatever name they know."""

    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == path:
            environ = environ | {"HTTP_HOST": host}
        return behind(environ, start_response)

    return application


def own_host() -> str:
    """A name that ALLOWED_HOSTS lets in; `.example.net` lets example.net in, `*` any."""
    return settings.ALLOWED_HOSTS[0].lstrip(".").replace("*", "localhost")


os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
_configuration = phones.read_or_stop()
# Django's type names its own kind of answer; it is an iterable of octets like any other.
_django: Application = get_wsgi_application()  # type: ignore[assignment]
_for_phones = any_host(_django, path=_configuration.activation_path, host=own_host())
application = door.build(
    _configuration, behind=files_first(capped(_for_phones, settings.DJANGO_THREADS), WhiteNoiseMiddleware())
)
