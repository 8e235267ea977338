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

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from wdstools.kernels import jit

if TYPE_CHECKING:
    from numpy.typing import NDArray

_KEY_BITS, _DIGIT_BITS = 22, 12
#: Measured: moving one code a step towards its bucket, and comparing two codes, in nanoseconds.
_MOVE_NS, _COMPARE_NS = 10.0, 0.09
#: So many codes alike in a bucket, and it pays to know the tree of each.
_DENSE_BUCKET = 64


def link(
    codes: NDArray[np.uint64], limits: tuple[int, int], mirrored: NDArray[np.uint64] | None = None
) -> NDArray[np.int32]:
    """Connected components of codes that are alike: for each row the smallest row of its component.

    ``codes`` is [N, W] uint64, N < 2**30. Two rows are alike if their first words differ in at most ``limits[0]`` bits and all
    other words together in at most ``limits[1]``; with ``mirrored``, of the same shape, also if a row's codes and
    another's mirrored codes do. Exact: no pair is missed.
    """
    count = len(codes)
    if count < 2:
        return np.arange(count, dtype=np.int32)
    parent = _equal(codes if mirrored is None else np.concatenate((codes, mirrored), axis=1))
    rows = np.flatnonzero(parent == np.arange(count)).astype(np.int32)
    words = np.ascontiguousarray(codes)
    first, owners = words[rows, 0], rows
    if mirrored is not None:
        words = np.concatenate((words, mirrored))
        first = np.concatenate((first, words[rows + count, 0]))
        owners = np.concatenate((rows, rows + np.int32(count)))
    shifts, masks = plan_bands(len(first), limits[0])
    sink = (*(np.empty_like(column) for column in (first, owners, first, owners, owners)), np.empty_like(first))
    for shift, mask in zip(shifts, masks, strict=True):
        _link_bucketed((first, owners), (shift, mask), sink, words, limits, parent)
    _flatten(parent)
    return parent


def _equal(codes: NDArray[np.uint64]) -> NDArray[np.int32]:
    """For each row the first one that is equal."""
    codes = np.ascontiguousarray(codes)
    first = np.arange(len(codes), dtype=np.int32)
    _link_equal(codes, np.argsort(_mix(codes), kind="stable"), first)
    return first


def plan_bands(count: int, limit: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Shifts and masks of every choice of t of ``limit`` + t bands; t is the one that is expected to be fastest."""

    def cost(chosen: int) -> float:
        bits = min(_KEY_BITS, 64 * chosen / (limit + chosen))
        moves = _MOVE_NS * count * (1 + (bits > _DIGIT_BITS))
        return math.comb(limit + chosen, chosen) * (moves + _COMPARE_NS * count**2 / 2 ** (1 + bits))

    chosen = min(range(1, max(2, min(5, 65 - limit))), key=cost)
    edges = np.linspace(0, 64, limit + chosen + 1).astype(int)
    bands = [(start, (1 << (stop - start)) - 1) for start, stop in itertools.pairwise(edges.tolist())]
    choices = list(itertools.combinations(bands, chosen))
    return (
        np.array([[start for start, _ in choice] for choice in choices], np.uint64),
        np.array([[mask for _, mask in choice] for choice in choices], np.uint64),
    )


def _count_bits(_context: Any, value: Any) -> Any:

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    del value
    return types.uint64(types.uint64), generate


#: Number of set bits of a uint64, in compiled code: one instruction, and vector code in loops.
popcount: Any = intrinsic(_count_bits)


@jit
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


@jit
def _link_equal(words, order, parent):  # type: ignore[no-untyped-def]
    """Unite rows that are equal in every word; equal rows are neighbours in ``order``, and in ascending order there."""
    for at in range(1, len(order)):
        row, before = order[at], order[at - 1]
        same = True
        for word in range(words.shape[1]):
            same &= words[row, word] == words[before, word]
        if same:
            parent[row] = parent[before]


@jit
def find(parent, row):  # type: ignore[no-untyped-def]
    """The root of a row's tree, halving the path on the way."""
    while parent[row] != row:
        parent[row] = parent[parent[row]]
        row = parent[row]
    return row


@jit
def unite(parent, a, b):  # type: ignore[no-untyped-def]
    """Make one tree of two; the smaller root stays."""
    a, b = find(parent, a), find(parent, b)
    if a < b:
        parent[b] = a
    else:
        parent[a] = b


@jit
def _flatten(parent):  # type: ignore[no-untyped-def]
    for row in range(len(parent)):
        parent[row] = find(parent, row)


@jit
def _put_keys(codes, bands, keys):  # type: ignore[no-untyped-def]
    """The bits that these bands choose, side by side; of more than _KEY_BITS bits a hash. Loops that become vector code."""
    shifts, masks, wide = bands
    wanted = keys[: len(codes)]
    wanted[:] = np.uint64(0)
    for band in range(len(shifts)):
        shift, mask = shifts[band], masks[band]
        for row in range(len(codes)):
            wanted[row] = wanted[row] * (mask + np.uint64(1)) + ((codes[row] >> shift) & mask)
    if wide:
        for row in range(len(codes)):
            wanted[row] = (wanted[row] * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - _KEY_BITS)
    return wanted


@jit
def _spread(source, target, keys, shift, size):  # type: ignore[no-untyped-def]
    """Copy codes and owners in order of a digit of the key, bits ``shift`` and up below ``size``; gives where each digit ends."""
    codes, owned = source
    to_codes, to_owned = target
    mask = np.uint64(size - 1)
    ends = np.zeros(size + 1, np.int32)
    for key in keys:
        ends[((key >> shift) & mask) + np.uint64(1)] += 1
    for digit in range(1, size + 1):
        ends[digit] += ends[digit - 1]
    for row in range(len(codes)):
        digit = (keys[row] >> shift) & mask
        at = ends[digit]
        to_codes[at] = codes[row]
        to_owned[at] = owned[row]
        ends[digit] = at + 1
    return ends


@jit
def _link_bucketed(entries, bands, sink, words, limits, parent):  # type: ignore[no-untyped-def]
    """Sort by these bands, and unite within each bucket.

    In two steps, each with few enough places to write to for the caches: the second takes a part of the first at a time.
    """
    shifts, masks = bands
    codes, owned, part_codes, part_owned, labels, keys = sink
    bits: Any = np.int64(0)
    for band in range(len(masks)):
        bits += np.int64(popcount(masks[band]))
    chosen = (shifts, masks, bits > _KEY_BITS)
    bits = min(bits, np.int64(_KEY_BITS))
    low = min(bits, np.int64(_DIGIT_BITS))
    parts = np.array([len(codes)], np.int32)
    if bits > low:
        found = _put_keys(entries[0], chosen, keys)
        parts = _spread(entries, (codes, owned), found, np.uint64(low), 1 << (bits - low))
    else:
        codes, owned = entries
    first = 0
    for last in parts:
        source = (codes[first:last], owned[first:last])
        found = _put_keys(source[0], chosen, keys)
        ends = _spread(source, (part_codes, part_owned), found, np.uint64(0), 1 << low)
        start = 0
        for key in range(len(ends) - 1):
            if ends[key] - start > 1:
                _link_bucket((part_codes, part_owned, labels), (start, ends[key]), words, limits, parent)
            start = ends[key]
        first = last


@jit
def _link_bucket(entries, span, words, limits, parent):  # type: ignore[no-untyped-def]
    """Compare every two codes of a bucket; once many were found alike, those of one tree are passed over."""
    codes, owned, labels = entries
    start, stop = span
    rows = len(parent)
    limit = np.uint64(limits[0])
    alike = 0
    for at in range(start, stop - 1):
        owner, code, rest = owned[at], codes[at], codes[at + 1 : stop]
        if owner >= rows:
            break  # two mirrored codes say nothing that the codes themselves do not, and they come last
        dense = alike > _DENSE_BUCKET
        label = labels[at] if dense else -1
        if not (
            _any_other_near(rest, labels[at + 1 : stop], code, label, limit) if dense else _any_near(rest, code, limit)
        ):
            continue
        for other in range(at + 1, stop):
            if (dense and labels[other] == label) or popcount(codes[other] ^ code) > limit:
                continue
            alike += 1
            if rest_alike(words[owner], words[owned[other]], limits[1]):
                unite(parent, owner, owned[other] % rows)
                if dense:
                    labels[other] = label
        if alike > _DENSE_BUCKET and not dense:
            for other in range(at + 1, stop):
                labels[other] = find(parent, owned[other] % rows)


@jit
def _any_near(codes, code, limit):  # type: ignore[no-untyped-def]
    """Whether a code is near: without a branch or a comparison, so that the compiler makes fast vector code of it."""
    below = np.uint64(0)
    for other in range(len(codes)):
        below |= popcount(codes[other] ^ code) - (limit + np.uint64(1))  # the highest bit, if this is below zero
    return below >> np.uint64(63) > np.uint64(0)


@jit
def _any_other_near(codes, labels, code, label, limit):  # type: ignore[no-untyped-def]
    """The same, of another tree."""
    hits = np.uint64(0)
    for other in range(len(codes)):
        hits += np.uint64((popcount(codes[other] ^ code) <= limit) & (labels[other] != label))
    return hits > np.uint64(0)


@jit
def rest_alike(a, b, limit):  # type: ignore[no-untyped-def]
    """Whether all words but the first differ in at most ``limit`` bits."""
    bits = np.uint64(0)
    for word in range(1, len(a)):
        bits += popcount(a[word] ^ b[word])
    return bits <= np.uint64(limit)
