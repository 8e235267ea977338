"""Extend a dataset's list of skips after an append."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from wdstools.errors import NotFoundError
from wdstools.formats.manifest import SKIPPED_PATH
from wdstools.landing.inside import read_inside
from wdstools.landing.small_files import render_skips

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wdstools.results import Skip
    from wdstools.stores.base import Store


def joined_skips(store: Store, new: Iterable[Skip]) -> tuple[bytes, list[Skip]]:
    """The existing and the new lines, each once, in order; and the skips that are new.

    Existing lines are kept unchanged; a list in another form than wdstools writes keeps its order, and new lines follow it.
    """
    try:
        old = read_inside(store, SKIPPED_PATH)
    except NotFoundError:
        old = b""
    lines = old.splitlines(keepends=True)
    there = set(lines)
    fresh = [skip for skip in dict.fromkeys(new) if render_skips([skip]) not in there]
    added = [render_skips([skip]) for skip in fresh]
    if lines and not lines[-1].endswith(b"\n"):
        lines[-1] += b"\n"
    try:
        ordered: list[bytes] = sorted({*lines, *added}, key=_rank)
        return b"".join(ordered), fresh
    except (ValueError, TypeError, AttributeError, RecursionError):
        return b"".join([*lines, *sorted(added, key=_rank)]), fresh


def _rank(line: bytes) -> tuple[str, ...]:
    """The order of ``skipped.jsonl``: by path, reason, split, key and detail."""
    said: dict[str, Any] = json.loads(line)
    return tuple(str(said.get(name) or "") for name in ("path", "reason", "split", "key", "detail"))
