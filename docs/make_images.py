"""Takes the pictures of docs/images: ``make docs-images``. They show the demo and the site; needs Chromium."""

from __future__ import annotations

import functools
import http.server
import os
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import wdstools as wt
from tests.support.browser import started_browser
from tests.support.viewing import viewing
from wdstools.ops.demo.source import make_source
from wdstools.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

IMAGES = Path(__file__).parent / "images"
_DESK, _PHONE = {"width": 1280, "height": 800}, {"width": 400, "height": 800}
_QUALITY = 72
#: Characters that plain machines have no font for: beyond Hebrew.
_UNUSUAL_RE = re.compile(rb"#?(?:[\xd8-\xff][\x80-\xbf]+)+ ?")


def _gallery(page: Page) -> None:
    page.fill("#q", "#travel")
    page.locator("#status").get_by_text(" of ").wait_for()


def _sample(page: Page) -> None:
    page.click("#more")
    page.select_option("#same", "exact")
    page.locator(".flag.same").first.wait_for()
    page.locator(".tile a").first.click()
    page.locator("#picture.loaded").wait_for()
    page.locator(".small-tiles img").first.wait_for()


def _statistics(page: Page) -> None:
    page.click("#open-stats")
    page.locator(".chart").nth(5).wait_for()


#: Name of the file, window, colours, and what a person does before the picture is taken.
PICTURES: tuple[tuple[str, dict[str, int], str, Callable[[Page], None]], ...] = (
    ("view-gallery.jpg", _DESK, "light", _gallery),
    ("view-sample.jpg", _DESK, "dark", _sample),
    ("view-statistics.jpg", _DESK, "light", _statistics),
    ("view-phone.jpg", _PHONE, "dark", _gallery),
    ("view-statistics-phone.jpg", _PHONE, "light", _statistics),
)
#: Pages of the site: name of the file, window, colours, page.
PAGES: tuple[tuple[str, dict[str, int], str, str], ...] = (
    ("docs-home.jpg", _DESK, "light", "index.html"),
    ("docs-tutorial.jpg", _DESK, "dark", "tutorial.html"),
    ("docs-phone.jpg", _PHONE, "light", "howto/verify.html"),
)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def site_pictures() -> None:
    """Build the site, serve it to this machine, and take a picture of some pages."""
    with tempfile.TemporaryDirectory() as folder, started_browser() as browser:
        build = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", folder]
        subprocess.run(build, cwd=IMAGES.parents[1], check=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})
        handler = functools.partial(_Quiet, directory=folder)
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            for name, window, scheme, path in PAGES:
                options: dict[str, Any] = {"viewport": window, "color_scheme": scheme}
                with browser.open(f"http://127.0.0.1:{server.server_port}/{path}", **options) as opened:
                    opened.page.wait_for_load_state("networkidle")
                    opened.page.screenshot(path=IMAGES / name, type="jpeg", quality=_QUALITY)
            server.shutdown()


def main() -> None:
    """Take those of the viewer."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        make_source(f"{folder}/cities", 600, executor=wt.open_executor("serial"), progress=Silent())
        for path in Path(folder).rglob("*.txt"):
            path.write_bytes(_UNUSUAL_RE.sub(b"", path.read_bytes()))
        wt.pack(f"{folder}/cities", f"{folder}/shards", name="Cities")
        with viewing("shards", cwd=Path(folder)) as served, started_browser() as browser:
            for name, window, scheme, act in PICTURES:
                options: dict[str, Any] = {"viewport": window, "color_scheme": scheme}
                with browser.open(served.url, **options) as opened:
                    opened.page.locator(".frame.loaded").first.wait_for()
                    act(opened.page)
                    opened.page.wait_for_load_state("networkidle")
                    opened.page.wait_for_timeout(500)
                    opened.page.screenshot(path=IMAGES / name, type="jpeg", quality=_QUALITY)


if __name__ == "__main__":
    main()
    site_pictures()
