"""Dots in keys: distinguishes ``1.5.jpg`` (a dot in the key) from ``x.left.jpg`` (a dot in the extension)."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from wdstools.formats.image_types import TYPE_OF_EXTENSION

if TYPE_CHECKING:
    from collections.abc import Mapping


def dotted_heads(extensions: Mapping[str, int], samples: int) -> frozenset[str]:
    """The first parts of extensions that belong to keys. ``extensions`` counts samples, as readers see them.

    A part that belongs to extensions occurs many times; a part of a key is in few samples, or is a number that
    an image and another member have in common.
    """
    tails: dict[str, set[str]] = defaultdict(set)
    counts: dict[str, int] = {}
    for extension, count in extensions.items():
        head, dot, tail = extension.rpartition(".")
        if dot:
            tails[head].add(tail.lower())
            counts[head] = max(counts.get(head, 0), count)
    found = set()
    for head, under in tails.items():
        pair = len(under) > 1 and any(tail in TYPE_OF_EXTENSION for tail in under)
        if 4 * counts[head] <= samples or (pair and any(c.isdigit() for c in head)):
            found.add(head)
    return frozenset(found)


def with_head(key: str, extension: str, heads: frozenset[str]) -> tuple[str, str]:
    """The key and extension of a member, with the part of the extension that belongs to the key moved back to it."""
    head, dot, tail = extension.rpartition(".")
    return (f"{key}.{head}", tail) if dot and head in heads else (key, extension)
