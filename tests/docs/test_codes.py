"""Every code that a program may meet is on the page of codes, with what to do."""

from __future__ import annotations

from tests.docs.pages import ROOT
from tests.docs.running import maker
from tests.support.came import came

CODES = maker("make_codes")


def test_every_code_of_the_package_is_explained() -> None:
    missing = CODES.in_the_code() - CODES.documented()
    assert missing == set(), "say what they mean in docs/codes.toml, then run: make docs"


def test_no_code_is_explained_that_does_not_exist() -> None:
    derived = {"image-not-jpg", "system-unsupported"}  # made of the type; said before anything is loaded
    assert CODES.documented() - CODES.in_the_code() - derived == set()


def test_the_page_of_codes_is_current() -> None:
    page = CODES.render()
    assert (ROOT / "docs" / "codes.md").read_text("utf-8") == page, "run: make docs"
    for code in came(CODES.documented() - set(CODES.table()["not_codes"])):
        assert f"| `{code}` |" in page
