"""The list of changes keeps the form that it says it has: known headings, and one line an entry."""

from __future__ import annotations

import re

from tests.docs.pages import ROOT
from tests.support.came import came

TEXT = (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_headings_are_those_of_keep_a_changelog() -> None:
    versions = re.findall(r"^## (.+)$", TEXT, re.MULTILINE)
    assert [
        name for name in came(versions) if not re.fullmatch(r"\[Unreleased\]|\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", name)
    ] == []
    kinds = re.findall(r"^### (.+)$", TEXT, re.MULTILINE)
    assert set(came(kinds)) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_an_entry_is_one_line() -> None:
    lines = TEXT.partition("\n## ")[2].splitlines()[1:]
    assert [line for line in came(lines) if line and not line.startswith(("- ", "#"))] == []
