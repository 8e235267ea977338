"""Captions of an image beyond the first, from files or alongside files: how a listing passes them to the writer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: The column of a samples table; if it is there, the ``json`` of every sample lists its captions.
MORE_CAPTIONS = "more_captions"


class CaptionFile(NamedTuple):
    """A file with a caption: its path below the source's root, and its entry in an archive."""

    path: str
    entry: bytes | None = None


def render_more(captions: Iterable[str | CaptionFile]) -> str:
    """The value of the column for further captions, given as texts or files."""
    return json.dumps([
        caption if isinstance(caption, str) else [caption.path, caption.entry.hex() if caption.entry else None]
        for caption in captions
    ])  # fmt: skip


def parse_more(value: str | None) -> list[str | CaptionFile]:
    """The further captions in a value of the column, in order."""
    return [
        item if isinstance(item, str) else CaptionFile(item[0], bytes.fromhex(item[1]) if item[1] else None)
        for item in json.loads(value or "[]")
    ]


def caption_files(values: Iterable[str | None]) -> set[str]:
    """The files of further captions."""
    return {more.path for value in values if value for more in parse_more(value) if isinstance(more, CaptionFile)}


def distinct(captions: Sequence[str]) -> list[str]:
    """The first caption, and those of the others that are not empty and differ from the ones before."""
    told, kept = set(), []
    for number, caption in enumerate(captions):
        words = caption.strip()
        if not number or (words and words not in told):
            kept.append(caption)
        told.add(words)
    return kept
