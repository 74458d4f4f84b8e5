"""A real browser before the served site: Chromium without a window, and the service's own web processes.

`browser_page` is a page of it, `site` the service behind it (`site.url`, `site.start("worker")` …, see tests/service).
Rows that a test makes are seen by the service, as both are on the test database.
"""

import http.client
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, sync_playwright

from tests.service import Service, wait_until

# As root and in containers there is no sandbox; nothing but our own pages is opened. The others keep it off the net.
_ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
]  # fmt: skip
_NAMES = ("chromium", "chromium-browser", "google-chrome")
# The home page's address; that of the sign-in page may end alike.
HOME = re.compile(r"^[^?]*/admin/$")
# A page that is not there by then will not come; the machine may be busy with other tests.
_PATIENCE_MILLISECONDS = 15_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium: the system's, or the one that `playwright install chromium` brought."""
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    # Playwright keeps an event loop in this thread, though nothing here is asynchronous.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    try:
        with sync_playwright() as playwright:
            started = playwright.chromium.launch(executable_path=program, args=_ARGUMENTS)
            yield started
            started.close()
    finally:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture(scope="session")
def static_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make run` collects."""
    home = tmp_path_factory.mktemp("collected")
    subprocess.run(
        [sys.executable, "manage.py", "collectstatic", "--noinput", "-v", "0"],
        env=os.environ | {"DATA_DIR": str(home), "DATABASE_URL": ""},
        check=True,
    )
    return home / "static"


@pytest.fixture
def site(transactional_db: None, tmp_path: Path, static_files: Path) -> Iterator[Service]:
    """The service with its web processes started; its pages are under `site.url`.

    For phones: `site.start("relay")`, then `site.await_door()`; for jobs: `site.start("worker")`.
    """
    home = tmp_path / "service"
    home.mkdir()
    (home / "static").symlink_to(static_files)
    with Service(home) as service:
        service.start("web")
        wait_until(lambda: _answers(service), what="the site")
        yield service


def _answers(service: Service) -> bool:
    try:
        return service.request("GET", "/admin/login/")[0] == 200
    except (OSError, http.client.HTTPException):
        return False


@pytest.fixture
def browser_page(browser: Browser, site: Service) -> Iterator[Page]:
    """A page of a fresh browser; addresses may be paths (`browser_page.goto("/admin/")`).

    Under the name localhost: browsers offer passkeys to names alone. A script that fails, or one that the content
    security policy stops, fails the test.
    """
    context = browser.new_context(base_url=f"http://localhost:{site.port}", locale="en-US", timezone_id="UTC")
    context.set_default_timeout(_PATIENCE_MILLISECONDS)
    page = context.new_page()
    failures: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error" and "Content Security Policy" in message.text:
            failures.append(message.text)

    def note_error(error: Error) -> None:
        # Django's own scripts fail in a page that is left before its jQuery has come.
        if "/static/admin/js/" not in (error.stack or ""):
            failures.append(f"{error}\n{error.stack}")

    page.on("console", note)
    page.on("pageerror", note_error)
    yield page
    context.close()
    assert not failures


def sign_in(page: Page, username: str, password: str = "test-password") -> None:
    """Sign in a person who has no second factor; ends on the page that was asked for."""
    page.goto("/admin/login/?next=/admin/")
    page.fill("input[name=username]", username)
    page.fill("input[name=password]", password)
    page.click("button[type=submit]")
    page.wait_for_url(HOME)
