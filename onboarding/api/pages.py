"""The API's description for people: `/api/docs/` and `/api/redoc/`. Everything comes from this service."""

import functools

import orjson
from csp.constants import NONE, SELF, UNSAFE_INLINE
from csp.decorators import csp
from django.http import HttpRequest, HttpResponse
from django.templatetags.static import static
from django.urls import reverse
from django.utils.html import format_html
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.views import SpectacularSwaggerSplitView

# Both pages set styles from their scripts, draw images from data, and Redoc searches in a worker of its own making.
_POLICY = {
    "default-src": [NONE],
    "script-src": [SELF],
    "style-src": [SELF, UNSAFE_INLINE],
    "img-src": [SELF, "data:"],
    "font-src": [SELF, "data:"],
    "connect-src": [SELF],
    "worker-src": [SELF, "blob:"],
    "base-uri": [NONE],
    "form-action": [SELF],
    "frame-ancestors": [NONE],
}

_REDOC = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light"><title>Partner API</title>
<link rel="icon" href="data:,">
<style>body {{ margin: 0 }}</style></head>
<body><redoc spec-url="{}"></redoc><script src="{}"></script></body>
</html>
"""


@functools.cache
def _document() -> bytes:
    """The OpenAPI document, made once a process: making it takes long enough to hold up phones."""
    generator = SchemaGenerator(api_version="v1")  # type: ignore[no-untyped-call]
    schema = generator.get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return orjson.dumps(schema, option=orjson.OPT_INDENT_2)


def schema(request: HttpRequest) -> HttpResponse:
    """The OpenAPI 3.1 document, as JSON."""
    return HttpResponse(_document(), content_type="application/vnd.oai.openapi+json")


swagger = csp(_POLICY)(SpectacularSwaggerSplitView.as_view(url_name="schema", template_name="onboarding/api_docs.html"))


@csp(_POLICY)
def redoc(request: HttpRequest) -> HttpResponse:
    """Redoc, in a page of our own: drf-spectacular's asks a foreign host for fonts."""
    script = static("drf_spectacular_sidecar/redoc/bundles/redoc.standalone.js")
    return HttpResponse(format_html(_REDOC, reverse("schema"), script))
