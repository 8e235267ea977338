"""Write ``docs/differences.md``: python -m tests.corpora."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.corpora.differences import decisions, render
from tests.corpora.explained import EXPLAINED
from tests.corpora.fetch import fetch

PAGE = Path(__file__).resolve().parents[2] / "docs" / "differences.md"

if __name__ == "__main__":
    corpora = fetch()
    found = list(decisions(corpora))
    PAGE.write_text(render(found, corpora), "utf-8")
    unexplained = sorted({(*one.kind, one.path) for _, one in found if one.differs and one.kind not in EXPLAINED})
    for kind in unexplained:
        print(*kind, sep="\t", file=sys.stderr)  # noqa: T201
    sys.exit(bool(unexplained))
