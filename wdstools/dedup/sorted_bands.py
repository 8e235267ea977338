"""Search for codes that differ in very few bits, by sorting alone: codes within k bits are equal in one of k + 1 bands.

So only codes that are equal in a band are compared. With random codes those are few if bands are wide, which they are if
k is small. Nothing needs compiling.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from wdstools.dedup import few
from wdstools.dedup.forest import are_roots, equal_codes, flatten, unite

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wdstools.dedup.forest import Rows

_BITS = 64
#: With more codes, compiled loops are so much faster that they are worth the wait.
_MOST_CODES = 1 << 18
#: A pair of neighbours takes as long as so many pairs when each code is compared with all others.
_PAIR = 8


def suits(count: int, limit: int) -> bool:
    """Whether so many random codes have few pairs that are equal in a band."""
    bands = limit + 1
    return count <= _MOST_CODES and bands * count**2 / 2 ** (_BITS // bands + 1) <= _most_pairs()


def _most_pairs() -> int:
    return few.FEW_CODES**2 // (2 * _PAIR)


def link(codes: NDArray[np.uint64], limits: tuple[int, int], takes: NDArray[np.bool_] | None = None) -> Rows | None:
    """As ``hamming.link`` without mirrored codes; None if too many codes are equal in a band."""
    parent = equal_codes(codes, None, takes)
    rows = np.flatnonzero(are_roots(parent) if takes is None else are_roots(parent) & takes)
    bands = limits[0] + 1
    edges = [_BITS * number // bands for number in range(bands + 1)]
    left = _most_pairs()
    for low, high in itertools.pairwise(edges):
        left -= _link_band(codes, rows, (low, high), limits, parent, left)
        if left < 0:
            return None
    flatten(parent)
    return parent


def _link_band(
    codes: NDArray[np.uint64],
    rows: NDArray[np.int64],
    bits: tuple[int, int],
    limits: tuple[int, int],
    parent: Rows,
    most: int,
) -> int:
    """Unite rows that are alike and equal in some bits; returns the number of equal pairs, and does nothing if there are too many."""
    words = codes[rows, 0] >> np.uint64(bits[0])
    words &= np.uint64((1 << (bits[1] - bits[0])) - 1)
    order = np.argsort(words, kind="stable")
    words = words[order]
    starts = np.flatnonzero(np.diff(words, prepend=words[:1] + np.uint64(1)))
    sizes = np.diff(starts, append=len(words))
    count = int((sizes * (sizes - 1) // 2).sum())
    if count > most:
        return count
    sorted_rows = rows[order]
    firsts = codes[sorted_rows, 0]
    # rows with at least ``step`` equal ones after them
    at = np.arange(len(words))
    for step in itertools.count(1):
        at = at[: np.searchsorted(at, len(words) - step)]
        at = at[words[at] == words[at + step]]
        if not len(at):
            return count
        near = at[np.bitwise_count(firsts[at] ^ firsts[at + step]) <= limits[0]]
        one, other = sorted_rows[near], sorted_rows[near + step]
        alike = np.bitwise_count(codes[one, 1:] ^ codes[other, 1:]).sum(axis=1) <= limits[1]
        unite(parent, one[alike], other[alike])
    return count
