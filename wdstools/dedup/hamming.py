"""Exact search for hashes that differ in few bits, by bands.

Divide 64 bits into bands and give each a radius: two codes that differ in at most k bits differ in at most r of some
band's bits, if the sum of all r + 1 is k + 1 (the pigeonhole principle of Norouzi, Punjani, Fleet, "Fast Search in
Hamming Space with Multi-Index Hashing", 2012). So for each band the codes are sorted into buckets by its bits, and
compared with those in buckets that are at most r bits away. The result is a union-find forest instead of a list
of pairs: memory stays linear however many codes are alike.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from wdstools.dedup import forest
from wdstools.dedup.bands import Band, plan_bands
from wdstools.dedup.forest import are_roots, equal_codes, fixed, flatten, row_type
from wdstools.kernels import inlined, jit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wdstools.dedup.forest import Rows

#: So many threads search the bands, unless there are few pairs.
_THREADS, _FEW_PAIRS = 4, 1 << 26


class Buckets(NamedTuple):
    """Codes in order of one band: ``ends[b]`` is where bucket b ends; ``trees`` is the root of each code's row, possibly outdated.

    ``rows`` are rows of the forest, ``names`` rows of the whole codes: the same if all codes take part.
    """

    codes: NDArray[np.uint64]
    rows: Rows
    names: Rows
    trees: Rows
    ends: Rows


def link(
    codes: NDArray[np.uint64],
    limits: tuple[int, int],
    mirrored: NDArray[np.uint64] | None = None,
    takes: NDArray[np.bool_] | None = None,
) -> Rows:
    """Connected components of codes that are alike: for each row the smallest row of its component.

    ``codes`` is [N, W] uint64. Two rows are alike if their first words differ in at most ``limits[0]`` bits and all
    other words together in at most ``limits[1]``; with ``mirrored``, of the same shape, also if a row's codes and
    another's mirrored codes do. Rows that do not take part (``takes``) are alone. Exact: no pair is missed.
    """
    parent = equal_codes(codes, mirrored, takes)
    some = are_roots(parent) if takes is None else are_roots(parent) & takes
    rows = np.flatnonzero(some).astype(parent.dtype)
    if not len(rows):
        return parent
    words = fixed(codes)
    other_words = words if mirrored is None else fixed(mirrored)
    for band in plan_bands(len(rows), limits[0]):
        mine = sort_by(band, words[rows, 0], rows, parent)
        join((mine, mine), band.whole, True, (words, words), limits, parent)
        if mirrored is not None:
            others = sort_by(band, other_words[rows, 0], rows, parent)
            join((mine, others), band.whole, False, (words, other_words), limits, parent)
    flatten(parent)
    return parent


def link_sets(
    words: NDArray[np.uint64], mirrored: NDArray[np.uint64], first: int, firsts: list[Rows], limits: tuple[int, int]
) -> Rows:
    """The forest of two sets of codes, the ``first`` ones and those after them; ``firsts`` are the participating rows of the latter.

    Mirrored codes take part if ``firsts`` has two entries.
    """
    second = len(words) - first
    bands = plan_bands(max(2, math.isqrt(first * second)), limits[0])
    threads = min(_THREADS, os.cpu_count() or 1, len(bands)) if first * second > _FEW_PAIRS else 1
    work = partial(_link_bands, (fixed(words), fixed(mirrored)), first, firsts, limits)
    with ThreadPoolExecutor(threads) as pool:  # each with its own forest: compiled code releases the GIL
        parent, *others = pool.map(work, [bands[number::threads] for number in range(threads)])
    for other in others:
        forest.merge(parent, other)
    return parent


def _link_bands(
    codes: tuple[NDArray[np.uint64], NDArray[np.uint64]],
    first: int,
    firsts: list[Rows],
    limits: tuple[int, int],
    bands: list[Band],
) -> Rows:
    """The forest from some bands: of the words of two sets, concatenated, and of mirrored ones if ``firsts`` has two entries."""
    words, mirrored = codes
    parent, ours = (np.arange(rows, dtype=row_type(len(words))) for rows in (len(words), first))
    for band in bands:
        # codes of the smaller set are compared with whole buckets of the larger one
        asking = sort_by(band, words[firsts[0], 0], firsts[0], parent)
        # copies, as codes of one set are: a strided column would be compiled for once more
        asked = sort_by(band, np.ascontiguousarray(words[:first, 0]), ours, parent)
        join((asking, asked), band.whole, False, (words, words), limits, parent)
        if len(firsts) > 1:
            turned = sort_by(band, mirrored[firsts[1], 0], firsts[1], parent)
            join((turned, asked), band.whole, False, (mirrored, words), limits, parent)
            asked = sort_by(band, np.ascontiguousarray(mirrored[:first, 0]), ours, parent)
            join((asking, asked), band.whole, False, (words, mirrored), limits, parent)
    return parent


def sort_by(band: Band, codes: NDArray[np.uint64], rows: Rows, parent: Rows, names: Rows | None = None) -> Buckets:
    """Codes and their rows, in order of a band's bits; ``names`` are their rows among the whole codes."""
    placed = np.empty_like(rows)
    made = Buckets(
        np.empty_like(codes),
        placed,
        placed if names is None else np.empty_like(names),
        np.empty_like(rows),
        np.zeros((1 << band.width) + 1, rows.dtype),
    )
    bits = np.uint64(band.shift), np.uint64((1 << band.width) - 1)
    _spread(codes, (rows, rows if names is None else names), bits, parent, made)
    return made


def _count_bits(_context: Any, value: Any) -> Any:

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    del value
    return types.uint64(types.uint64), generate


#: The number of set bits of a uint64, in compiled code: one instruction, and vector code in loops.
popcount: Any = intrinsic(_count_bits)


@inlined
def find(parent, row):  # type: ignore[no-untyped-def]
    """The root of a row's tree, halving the path on the way."""
    while parent[row] != row:
        parent[row] = parent[parent[row]]
        row = parent[row]
    return row


@jit
def _spread(codes, numbers, bits, parent, sorted_):  # type: ignore[no-untyped-def]
    """Put codes in order of a band's bits, with the roots of their rows."""
    rows, names = numbers
    shift, mask = bits
    to_codes, to_rows, to_names, trees, ends = sorted_
    for code in codes:
        ends[((code >> shift) & mask) + np.uint64(1)] += 1
    for key in range(1, len(ends)):
        ends[key] += ends[key - 1]
    # as codes are added, each start moves to the end of its bucket
    for at in range(len(codes)):
        key = (codes[at] >> shift) & mask
        to = ends[key]
        to_codes[to] = codes[at]
        to_rows[to] = rows[at]
        to_names[to] = names[at]
        trees[to] = find(parent, rows[at])
        ends[key] = to + 1


@jit
def join(sets, part, itself, words, limits, parent):  # type: ignore[no-untyped-def]
    """Unite codes of two sets that are alike, in a part's buckets and nearby ones; with ``itself``, each pair of one set once."""
    mine, theirs = sets
    steps, low, high = part
    codes, _, _, _, ends = mine
    their_codes, _, _, _, their_ends = theirs
    start = np.int64(ends[low - 1]) if low else np.int64(0)
    for bucket in range(low, high):
        stop = ends[bucket]
        if start == stop:
            continue
        for step in steps:
            other = bucket ^ step
            if itself and other < bucket:
                continue
            first = np.int64(their_ends[other - 1]) if other else np.int64(0)
            last = their_ends[other]
            if first == last:
                continue
            for at in range(start, stop):
                begin = at + 1 if itself and other == bucket else first
                if _any_near(their_codes[begin:last], codes[at], np.uint64(limits[0])):
                    _unite_near(sets, (at, begin, last), words, limits, parent)
        start = stop


@inlined
def _unite_near(sets, span, words, limits, parent):  # type: ignore[no-untyped-def]
    """Unite a code's row with those of a bucket's codes that are alike and not yet in its tree."""
    codes, rows, names, trees, _ = sets[0]
    their_codes, their_rows, their_names, their_trees, _ = sets[1]
    at, begin, stop = span
    limit = np.uint64(limits[0])
    if not _any_other_near(their_codes[begin:stop], their_trees[begin:stop], codes[at], trees[at], limit):
        return
    for other in range(begin, stop):
        if their_trees[other] == trees[at] or popcount(their_codes[other] ^ codes[at]) > limit:
            continue
        trees[at] = find(parent, rows[at])
        their_trees[other] = find(parent, their_rows[other])
        mine, theirs = trees[at], their_trees[other]
        if mine != theirs and rest_alike(words[0][names[at]], words[1][their_names[other]], limits[1]):
            smaller = min(theirs, mine)
            parent[max(theirs, mine)] = smaller
            trees[at] = their_trees[other] = smaller


@inlined
def _any_near(codes, code, limit):  # type: ignore[no-untyped-def]
    """Whether any code is near, without branches or comparisons, so that it compiles to fast vector code."""
    below = np.uint64(0)
    for other in range(len(codes)):
        below |= popcount(codes[other] ^ code) - (limit + np.uint64(1))  # sets the highest bit if negative
    return below >> np.uint64(63) > np.uint64(0)


@inlined
def _any_other_near(codes, labels, code, label, limit):  # type: ignore[no-untyped-def]
    """The same for codes in other trees."""
    hits = np.uint64(0)
    for other in range(len(codes)):
        hits += np.uint64((popcount(codes[other] ^ code) <= limit) & (labels[other] != label))
    return hits > np.uint64(0)


@inlined
def rest_alike(a, b, limit):  # type: ignore[no-untyped-def]
    """Whether all words except the first differ in at most ``limit`` bits."""
    bits = np.uint64(0)
    for word in range(1, len(a)):
        bits += popcount(a[word] ^ b[word])
    return bits <= np.uint64(limit)


@jit
def count_near(first, takes, bits, near):  # type: ignore[no-untyped-def]
    """How many participating codes are in nearby buckets of some bits of a band."""
    count = 0
    for row in range(len(first)):
        count += near[(first[row] >> bits[0]) & bits[1]] & takes[row]
    return count


@jit
def take_near(first, takes, bits, near, made):  # type: ignore[no-untyped-def]
    """Write those codes and their rows to arrays."""
    codes, rows = made
    count = 0
    for row in range(len(first)):
        if near[(first[row] >> bits[0]) & bits[1]] & takes[row]:
            codes[count], rows[count] = first[row], row
            count += 1


KERNELS = (_spread, join)
