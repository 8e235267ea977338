"""The search for codes that differ in very few bits, by sorting alone: of codes within k bits some of k + 1 bands is equal.

So each band's equal codes are compared, and no others. Of random codes those are few where bands are wide, which they are where
k is small. Nothing is compiled for it.
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
#: Of more codes compiled loops are so much faster that they are worth their wait.
_MOST_CODES = 1 << 18
#: A pair of neighbours takes as long as so many where each code is compared with all others.
_PAIR = 8


def suits(count: int, limit: int) -> bool:
    """Whether so many codes, if they are random, have few pairs that are equal in a band."""
    bands = limit + 1
    return count <= _MOST_CODES and bands * count**2 / 2 ** (_BITS // bands + 1) <= _most_pairs()


def _most_pairs() -> int:
    return few.FEW_CODES**2 // (2 * _PAIR)


def link(codes: NDArray[np.uint64], limits: tuple[int, int], takes: NDArray[np.bool_] | None = None) -> Rows | None:
    """What ``hamming.link`` gives without mirrored codes; None where too many codes are equal in a band."""
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
    """Unite rows that are alike and equal in some bits; gives the number of pairs that are equal, and does nothing if they are too many."""
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
    # those that have so many equal ones behind them
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
