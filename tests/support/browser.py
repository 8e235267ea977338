"""A real headless browser: pages are opened, clicked and read as a user would, and their errors counted."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.support.tools import need, need_module

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Page

#: Names of Chromium: Debian's headless package, Debian's full one, and those of other systems.
_NAMES = ("chromium-headless-shell", "chromium", "google-chrome", "google-chrome-stable")
#: Options that keep it from contacting the internet by itself.
_QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic")


@dataclass
class Opened:
    """A page in the browser: ``page`` is playwright's own (click, locator, screenshot, evaluate).

    ``errors`` collects the page's console errors and uncaught exceptions; ``asked`` every address that it requested,
    the file itself first.
    """

    page: Page
    errors: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def texts(self, selector: str) -> list[str]:
        """The text of every element that matches, as it is shown."""
        return self.page.locator(selector).all_inner_texts()


class Browser:
    """A started Chromium."""

    def __init__(self, chromium: Any) -> None:
        self._chromium = chromium

    @contextmanager
    def open(self, path: Path | str, **options: Any) -> Iterator[Opened]:
        """Show a file or an address; ``options`` are playwright's, like ``color_scheme="dark"`` or ``viewport``."""
        context = self._chromium.new_context(**options)
        context.set_default_timeout(20_000)
        try:
            opened = Opened(context.new_page())
            opened.page.on("console", lambda said: opened.errors.append(said.text) if said.type == "error" else None)
            opened.page.on("pageerror", lambda error: opened.errors.append(str(error)))
            opened.page.on("request", lambda request: opened.asked.append(request.url))
            opened.page.goto(path if isinstance(path, str) else path.as_uri())
            yield opened
        finally:
            context.close()


@contextmanager
def started_browser() -> Iterator[Browser]:
    """Chromium, from the system's packages; ended with the block. Without it the test skips, or fails in CI."""
    playwright = need_module("playwright.sync_api")
    path = next(filter(None, map(shutil.which, _NAMES)), None) or need(_NAMES[0])
    with playwright.sync_playwright() as driver:
        # no sandbox: tests may run as root, and show only pages that we wrote
        chromium = driver.chromium.launch(executable_path=path, args=list(_QUIET), chromium_sandbox=False)
        try:
            yield Browser(chromium)
        finally:
            chromium.close()
