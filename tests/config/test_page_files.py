"""Pages' own files beside slow pages: a browser asks for twenty at once, and fewer pages than that may be at work."""

from whitenoise import WhiteNoise

from config import wsgi


def _get(application, path):
    """The status, headers and body of the answer to a GET."""
    heard = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path}
    body = b"".join(application(environ, lambda status, headers: heard.extend((status[:3], dict(headers)))))
    return heard[0], heard[1], body


def test_a_pages_files_are_given_while_pages_have_every_place(tmp_path):
    (tmp_path / "page.css").write_bytes(b"body { color: red }")
    meanwhile = []

    def slow_page(environ, start_response):
        meanwhile.extend(_get(application, path) for path in ("/static/page.css", "/static/none.css", "/admin/"))
        start_response("200 OK", [])
        return [b"page"]

    files = WhiteNoise(None, root=str(tmp_path), prefix="static/")
    application = wsgi.files_first(wsgi.capped(slow_page, 1), files)

    assert _get(application, "/admin/")[0] == "200"

    assert [(status, body) for status, _, body in meanwhile] == [
        ("200", b"body { color: red }"), ("503", b""), ("503", b"")
    ]  # fmt: skip
