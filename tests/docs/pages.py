"""The pages of the documentation, and what is on them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^ *```.*?^ *```[^\n]*$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\((?!https?://|mailto:)([^)\s#]*)(?:#([^)\s]+))?\)")


def pages() -> list[Path]:
    """Every document of the project that people read."""
    outside = ("README", "FORMAT", "DESIGN", "CONTRIBUTING", "CHANGELOG", "manifests/README", "benchmarks/README")
    return [*(ROOT / f"{name}.md" for name in outside), *sorted((ROOT / "docs").rglob("*.md"))]


def prose(text: str) -> str:
    """A page without its code, in blocks and in lines."""
    return _CODE.sub("", _FENCE.sub("", text))


def links(page: Path) -> list[tuple[Path, str]]:
    """Where a page's own links lead: a file and a heading's anchor, which may be empty."""
    found = _LINK.findall(prose(page.read_text("utf-8")))
    return [((page.parent / path).resolve() if path else page, anchor) for path, anchor in found]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as both the repository and the site make them."""
    headings = re.findall(r"^#+ (.+?)(?: *\{[^}]*\})?$", _FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    plain = (re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading).strip().lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}
