"""Options and fixtures for every test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.browser import Browser, started_browser

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--fuzz-seconds``: how long the slow tests fuzz each parser."""
    parser.addoption("--fuzz-seconds", type=int, default=30, help="seconds of fuzzing for each target (slow tests)")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium. Not for the whole run: while it lives, an event loop runs in this thread."""
    with started_browser() as started:
        yield started
