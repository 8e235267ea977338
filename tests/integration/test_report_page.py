"""The page that every report extends, in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from jinja2 import UndefinedError

from wdstools.report.page import render_page
from wdstools.units import count, size

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.browser import Browser


def test_a_page_opens_without_errors_asks_for_nothing_and_follows_dark_mode(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(render_page("page.html"), encoding="utf-8")
    colours = []
    for scheme in ("light", "dark"):
        with browser.open(path, color_scheme=scheme) as opened:
            assert opened.errors == []
            assert opened.asked == [path.as_uri()]
            colours.append(opened.page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert colours[0] != colours[1]


def test_the_browser_fixture_notices_an_error_and_a_request(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "bad.html"
    page = render_page("page.html")
    bad = "<script>console.error('one'); fetch('http://127.0.0.1:9/'); throw new Error('two')</script>"
    path.write_text(page.replace("</body>", bad + "</body>"), encoding="utf-8")
    with browser.open(path) as opened:
        opened.page.wait_for_function("document.readyState === 'complete'")
        text = "\n".join(opened.errors)
    assert "one" in text
    assert "two" in text
    assert "Content Security Policy" in text, "the page allows itself to ask elsewhere"


def test_a_value_that_is_missing_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        render_page("bench.html")


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (0.0412, "0.041"), (6.08, "6.1"), (99.97, "100"), (215.4, "215"), (12345.6, "12,346")],
)
def test_numbers_are_short(number: float, text: str) -> None:
    assert count(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (999.6, "1.0 kB"),
        (17_800, "17.8 kB"),
        (999_960, "1.0 MB"),
        (17.5e9, "17.5 GB"),
        (3e15, "3,000.0 TB"),
    ],
)
def test_sizes_are_short(number: float, text: str) -> None:
    assert size(number) == text
