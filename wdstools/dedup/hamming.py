"""Exact search for hashes that differ in few bits, by bands.

Split 64 bits into k + t bands: two codes that differ in at most k bits agree in at least t bands (the pigeonhole
principle of Norouzi, Punjani, Fleet, "Fast Search in Hamming Space with Multi-Index Hashing", 2012). So for each
choice of t bands the codes are sorted by these bits, and only codes that agree in them are compared. What comes out
is a union-find forest instead of a list of pairs: memory stays linear however many codes are alike.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from numba.core import types
from numba.extending import intrinsic

if TYPE_CHECKING:
    from numpy.typing import NDArray

_KEY_BITS = 22
#: Measured: moving one code into its bucket, and comparing two codes, in nanoseconds.
_SORT_NS, _COMPARE_NS = 12.0, 0.12
_DENSE_BUCKET = 1024


def link(
    codes: NDArray[np.uint64], limits: tuple[int, int], mirrored: NDArray[np.uint64] | None = None
) -> NDArray[np.int32]:
    """Connected components of codes that are alike: for each row the smallest row of its component.

    ``codes`` is [N, W] uint64, N < 2**30. Two rows are alike if their first words differ in at most ``limits[0]`` bits and all
    other words together in at most ``limits[1]``; with ``mirrored``, of the same shape, also if a row's codes and
    another's mirrored codes do. Exact: no pair is missed.
    """
    count = len(codes)
    parent = np.arange(count, dtype=np.int32)
    if count < 2:
        return parent
    both = codes if mirrored is None else np.concatenate((codes, mirrored), axis=1)
    _link_equal(np.ascontiguousarray(both), np.argsort(_mix(np.ascontiguousarray(both)), kind="stable"), parent)
    rows = np.flatnonzero(parent == np.arange(count)).astype(np.int32)
    words = np.ascontiguousarray(codes)
    first, owners = words[rows, 0], rows
    if mirrored is not None:
        words = np.concatenate((words, mirrored))
        first = np.concatenate((first, words[rows + count, 0]))
        owners = np.concatenate((rows, rows + np.int32(count)))
    shifts, masks = plan_bands(len(first), limits[0])
    sink = (np.empty_like(first), np.empty_like(owners), np.empty_like(owners))
    for shift, mask in zip(shifts, masks, strict=True):
        _link_bucketed((first, owners), (shift, mask), sink, words, limits, parent)
    _flatten(parent)
    return parent


def plan_bands(count: int, limit: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Shifts and masks of every choice of t of ``limit`` + t bands; t is the one that is expected to be fastest."""

    def cost(chosen: int) -> float:
        bits = min(_KEY_BITS, 64 * chosen / (limit + chosen))
        return math.comb(limit + chosen, chosen) * (_SORT_NS * count + _COMPARE_NS * count**2 / 2 ** (1 + bits))

    chosen = min(range(1, max(2, min(5, 65 - limit))), key=cost)
    edges = np.linspace(0, 64, limit + chosen + 1).astype(int)
    bands = [(start, (1 << (stop - start)) - 1) for start, stop in itertools.pairwise(edges.tolist())]
    choices = list(itertools.combinations(bands, chosen))
    return (
        np.array([[start for start, _ in choice] for choice in choices], np.uint64),
        np.array([[mask for _, mask in choice] for choice in choices], np.uint64),
    )


def _jit(function: Any) -> Any:
    return numba.njit(function, nogil=True, cache=True, boundscheck=False)


def _count_bits(_context: Any, value: Any) -> Any:

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    del value
    return types.uint64(types.uint64), generate


#: Number of set bits of a uint64, in compiled code: one instruction, and vector code in loops.
popcount: Any = intrinsic(_count_bits)


@_jit
def _mix(words):  # type: ignore[no-untyped-def]
    """A 64-bit hash of each row (the finaliser of MurmurHash3, chained)."""
    rows, width = words.shape
    mixed = np.empty(rows, np.uint64)
    for row in range(rows):
        value = np.uint64(0x9E3779B97F4A7C15)
        for word in range(width):
            value ^= words[row, word]
            value ^= value >> np.uint64(33)
            value *= np.uint64(0xFF51AFD7ED558CCD)
            value ^= value >> np.uint64(33)
            value *= np.uint64(0xC4CEB9FE1A85EC53)
            value ^= value >> np.uint64(33)
        mixed[row] = value
    return mixed


@_jit
def _link_equal(words, order, parent):  # type: ignore[no-untyped-def]
    """Unite rows that are equal in every word; equal rows are neighbours in ``order``, and in ascending order there."""
    for at in range(1, len(order)):
        row, before = order[at], order[at - 1]
        same = True
        for word in range(words.shape[1]):
            same &= words[row, word] == words[before, word]
        if same:
            parent[row] = parent[before]


@_jit
def find(parent, row):  # type: ignore[no-untyped-def]
    """The root of a row's tree, halving the path on the way."""
    while parent[row] != row:
        parent[row] = parent[parent[row]]
        row = parent[row]
    return row


@_jit
def unite(parent, a, b):  # type: ignore[no-untyped-def]
    """Make one tree of two; the smaller root stays."""
    a, b = find(parent, a), find(parent, b)
    if a < b:
        parent[b] = a
    else:
        parent[a] = b


@_jit
def _flatten(parent):  # type: ignore[no-untyped-def]
    for row in range(len(parent)):
        parent[row] = find(parent, row)


@_jit
def _bucket_of(code, shifts, masks, wide):  # type: ignore[no-untyped-def]
    key = np.uint64(0)
    for band in range(len(shifts)):
        bits = (code >> shifts[band]) & masks[band]
        key = key * (masks[band] + np.uint64(1)) + bits if masks[band] != np.uint64(0xFFFFFFFFFFFFFFFF) else bits
    if wide:
        key = (key * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - _KEY_BITS)
    return key


@_jit
def _link_bucketed(entries, bands, sink, words, limits, parent):  # type: ignore[no-untyped-def]
    """Sort by these bands, and unite within each bucket."""
    first, owners = entries
    shifts, masks = bands
    codes, owned, labels = sink
    bits: Any = np.int64(0)
    for band in range(len(masks)):
        bits += np.int64(popcount(masks[band]))
    wide = bits > _KEY_BITS
    ends = np.zeros((1 << min(bits, np.int64(_KEY_BITS))) + 1, np.int32)
    for code in first:
        ends[_bucket_of(code, shifts, masks, wide) + np.uint64(1)] += 1
    for key in range(1, len(ends)):
        ends[key] += ends[key - 1]
    for row in range(len(first)):
        key = _bucket_of(first[row], shifts, masks, wide)
        codes[ends[key]] = first[row]
        owned[ends[key]] = owners[row]
        ends[key] += 1
    start = 0
    for key in range(len(ends) - 1):
        stop = ends[key]
        if stop - start > 1:
            _link_bucket(codes[start:stop], owned[start:stop], labels[start:stop], words, limits, parent)
        start = stop


@_jit
def _link_bucket(codes, owned, labels, words, limits, parent):  # type: ignore[no-untyped-def]
    """Compare every two codes of a bucket; those of one tree are passed over where that is worth its cost."""
    rows = len(parent)
    limit = np.uint64(limits[0])
    dense = len(codes) > _DENSE_BUCKET
    for at in range(len(codes)):
        labels[at] = find(parent, owned[at] % rows) if dense else at
    for at in range(len(codes) - 1):
        owner, label = owned[at], labels[at]
        rest, theirs = codes[at + 1 :], labels[at + 1 :]
        if not _any_near(rest, theirs, codes[at], label, limit):
            continue
        for other in range(len(rest)):
            if theirs[other] == label or popcount(rest[other] ^ codes[at]) > limit:
                continue
            found = owned[at + 1 + other]
            # two mirrored codes say nothing that the codes themselves do not
            if (owner < rows or found < rows) and rest_alike(words[owner], words[found], limits[1]):
                unite(parent, owner % rows, found % rows)
                if dense:
                    theirs[other] = label


@_jit
def _any_near(codes, labels, code, label, limit):  # type: ignore[no-untyped-def]
    """Whether a code of another tree is near: without a branch, so that the compiler makes vector code of it."""
    hits = np.uint64(0)
    for other in range(len(codes)):
        hits += np.uint64((popcount(codes[other] ^ code) <= limit) & (labels[other] != label))
    return hits > np.uint64(0)


@_jit
def rest_alike(a, b, limit):  # type: ignore[no-untyped-def]
    """Whether all words but the first differ in at most ``limit`` bits."""
    bits = np.uint64(0)
    for word in range(1, len(a)):
        bits += popcount(a[word] ^ b[word])
    return bits <= np.uint64(limit)
