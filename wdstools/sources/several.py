"""Captions of an image beyond the first, where they lie in files or stand beside files: how a listing tells the writer of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: The column of a samples table; where it is, the ``json`` of every sample lists its captions.
MORE_CAPTIONS = "more_captions"


class CaptionFile(NamedTuple):
    """A file that holds a caption: its path below the source's root, and what an archive says about it."""

    path: str
    entry: bytes | None = None


def render_more(captions: Iterable[str | CaptionFile]) -> str:
    """Further captions, given as text or in files, as a value of the column."""
    return json.dumps([
        caption if isinstance(caption, str) else [caption.path, caption.entry.hex() if caption.entry else None]
        for caption in captions
    ])  # fmt: skip


def parse_more(value: str | None) -> list[str | CaptionFile]:
    """The further captions that a value of the column tells of, in order."""
    return [
        item if isinstance(item, str) else CaptionFile(item[0], bytes.fromhex(item[1]) if item[1] else None)
        for item in json.loads(value or "[]")
    ]


def caption_files(values: Iterable[str | None]) -> set[str]:
    """The files of further captions."""
    return {more.path for value in values if value for more in parse_more(value) if isinstance(more, CaptionFile)}


def distinct(captions: Sequence[str]) -> list[str]:
    """The first caption, and those others that are not empty and say something else than those before."""
    told, kept = set(), []
    for number, caption in enumerate(captions):
        words = caption.strip()
        if not number or (words and words not in told):
            kept.append(caption)
        told.add(words)
    return kept
