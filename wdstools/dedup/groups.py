"""From fingerprints to groups: who is the same image as whom, without chaining, whatever order they came in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.dedup.hamming import find, link, popcount, rest_alike, unite
from wdstools.dedup.levels import LOW_INFORMATION_STD, LUMA_SIDE, NEAR_PIXELS, Level
from wdstools.kernels import jit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

_PIXELS = LUMA_SIDE * LUMA_SIDE
_DIRECT, _FLIPPED = 1, 2


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """What is compared, one row an image, in order of preference: of a group the first row represents it.

    ``exact`` [N, 2] uint64 is equal for byte-identical images alone. ``words`` and ``mirrored`` [N, 5] uint64 hold
    the 64-bit phash and the 256-bit one, of the image and of its mirror image; ``deviation`` [N] float32 is the
    standard deviation of its luma, NaN where an image could not be decoded and so has no hash. ``luma`` gives the
    [n, 32, 32] uint8 luma of some rows.
    """

    exact: NDArray[np.uint64]
    words: NDArray[np.uint64]
    mirrored: NDArray[np.uint64]
    deviation: NDArray[np.float32]
    luma: Callable[[NDArray[np.int64]], NDArray[np.uint8]]

    @property
    def low_information(self) -> NDArray[np.bool_]:
        """Images with too little in them for a hash to tell them apart."""
        return self.deviation < LOW_INFORMATION_STD


@dataclass(frozen=True, slots=True)
class Grouping:
    """Who belongs to whom at one level; all arrays have one value a row.

    ``leader``: the row that represents it: itself, or an earlier one that it, or its leader at the stricter level,
    was compared with and found the same as; so groups of levels are nested, and no two leaders are the same image. ``component``: the smallest row that it is linked with, through any
    number of images that are the same as the next. ``near``: a bit for each category (``category`` of ``group``) that holds
    the same image. ``flipped``: it is the mirror image of its leader.
    """

    level: str
    leader: NDArray[np.int64]
    component: NDArray[np.int64]
    near: NDArray[np.uint64]
    flipped: NDArray[np.bool_]


def group(
    prints: Fingerprints, levels: Sequence[Level], category: NDArray[np.int64] | None = None
) -> tuple[Grouping, ...]:
    """Group the images: first the byte-identical ones (``exact``), then at each of ``levels``, the strictest first.

    ``category`` (0 to 63, for instance the split) is what ``near`` tells about. The result is a function of the rows
    in their order alone. Memory: linear; the luma is asked for only where hashes are alike.
    """
    count = len(prints.exact)
    first = _first_equal(prints.exact)
    own = np.zeros(count, np.uint64)
    if category is not None:
        np.bitwise_or.at(own, first, np.uint64(1) << category.astype(np.uint64))
    exact = Grouping("exact", first, first, own[first], np.zeros(count, bool))
    if not levels:
        return (exact,)
    rows = np.flatnonzero((first == np.arange(count)) & ~np.isnan(prints.deviation))
    widest = levels[-1]
    mirrored = prints.mirrored[rows] if widest.flips else None
    linked = link(prints.words[rows], (widest.phash, widest.phash16), mirrored)
    sizes = np.bincount(linked, minlength=len(linked))
    marked = np.flatnonzero(sizes[linked] > 1)
    marked = marked[np.argsort(linked[marked], kind="stable")]
    starts = np.flatnonzero(np.diff(linked[marked], prepend=-1, append=-1)).astype(np.int64)
    members = rows[marked]
    order = np.argsort(members, kind="stable")
    luma = np.empty((len(members), _PIXELS), np.uint8)
    luma[order] = prints.luma(members[order]).reshape(-1, _PIXELS)
    data = (prints.words[members], prints.mirrored[members], luma, prints.low_information[members])
    found = [exact]
    leader = np.arange(len(members))
    for level in levels:
        grouping, leader = _group_at(level, data, (members, starts, leader), first, own)
        found.append(grouping)
    return tuple(found)


def _group_at(
    level: Level,
    data: tuple[Any, ...],
    components: tuple[Any, Any, Any],
    first: NDArray[np.int64],
    own: NDArray[np.uint64],
) -> tuple[Grouping, NDArray[np.int64]]:
    """The grouping, and each member's leader among the members; the third of ``components`` is that of the level before."""
    members, starts, before = components
    size = len(members)
    leader, near, how = before.copy(), own[members], np.zeros(size, np.uint8)
    parent = np.arange(size, dtype=np.int32)
    limits = (level.phash, level.phash16, round(level.difference * _PIXELS), level.correlation, level.flips)
    if size:
        _cluster(starts, data, limits, (leader, parent, near, how), own[members])
    roots = np.fromiter((find(parent, row) for row in range(size)), np.int64, size)
    everyone = np.arange(len(first))
    leaders, component, masks, flipped = everyone.copy(), everyone.copy(), own.copy(), np.zeros(len(first), bool)
    leaders[members], component[members], masks[members] = members[leader], members[roots], near
    flipped[members] = how == _FLIPPED
    return Grouping(level.name, leaders[first], component[first], masks[first], flipped[first]), leader


def _first_equal(exact: NDArray[np.uint64]) -> NDArray[np.int64]:
    """For each row the first row that is equal."""
    order = np.lexsort((np.arange(len(exact)), exact[:, 1], exact[:, 0]))
    new = np.ones(len(exact), bool)
    new[1:] = (exact[order][1:] != exact[order][:-1]).any(axis=1)
    first = np.empty(len(exact), np.int64)
    first[order] = order[np.maximum.accumulate(np.where(new, np.arange(len(exact)), 0))]
    return first


def distances(prints: Fingerprints, rows: NDArray[np.int64], leaders: NDArray[np.int64], flipped: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:  # fmt: skip
    """How far rows are from their leaders: differing bits of the 64-bit and of the 256-bit hash."""
    theirs = np.where(flipped[:, None], prints.mirrored[leaders], prints.words[leaders])
    bits = np.bitwise_count(prints.words[rows] ^ theirs).astype(np.int64)
    return bits[:, 0], bits[:, 1:].sum(axis=1)


@jit
def _cluster(starts, data, limits, result, own):  # type: ignore[no-untyped-def]
    """In each component: leaders first come, then who is linked with whom, and with which categories."""
    leader, parent, near, how = result
    leaders = np.empty(len(leader), np.int64)
    for component in range(len(starts) - 1):
        start, stop = starts[component], starts[component + 1]
        _lead(start, stop, data, limits, (leader, how, leaders))
        for row in range(start, stop):
            for other in range(start, row):
                known = (own[other] & ~near[row]) | (own[row] & ~near[other]) == np.uint64(0)
                if known and find(parent, row) == find(parent, other):
                    continue
                if _same(data, limits, row, other):
                    near[row] |= own[other]
                    near[other] |= own[row]
                    unite(parent, row, other)


@jit
def _lead(start, stop, data, limits, result):  # type: ignore[no-untyped-def]
    """Each row follows the first leader that it is the same as, or leads; a stricter level's followers stay with theirs."""
    leader, how, leaders = result
    count = 0
    for row in range(start, stop):
        if leader[row] != row:
            how[row] = how[leader[row]]
            leader[row] = leader[leader[row]]
            continue
        for at in range(count):
            how[row] = _same(data, limits, row, leaders[at])
            if how[row]:
                leader[row] = leaders[at]
                break
        if leader[row] == row:
            leaders[count] = row
            count += 1


@jit
def _same(data, limits, a, b):  # type: ignore[no-untyped-def]
    """Whether two images are the same: directly, or one mirrored; 0 if not."""
    words, mirrored, luma, low = data
    if _hashes_alike(words[a], words[b], limits) and _pixels_alike(luma[a], luma[b], limits, low[a] or low[b], False):
        return _DIRECT
    if (
        limits[4]
        # a hash and that of the mirror image have medians of their own: the two ways round may differ by a bit
        and (_hashes_alike(words[a], mirrored[b], limits) or _hashes_alike(words[b], mirrored[a], limits))
        and _pixels_alike(luma[a], luma[b], limits, low[a] or low[b], True)
    ):
        return _FLIPPED
    return 0


@jit
def _hashes_alike(a, b, limits):  # type: ignore[no-untyped-def]
    return popcount(a[0] ^ b[0]) <= np.uint64(limits[0]) and rest_alike(a, b, limits[1])


@jit
def _pixels_alike(a, b, limits, low, mirrored):  # type: ignore[no-untyped-def]
    """Mean absolute difference and normalised correlation of two lumas, from exact integer sums."""
    difference = sum_a = sum_b = sum_aa = sum_bb = sum_ab = np.int64(0)
    for at in range(_PIXELS):
        x = np.int64(a[at])
        y = np.int64(b[at ^ (LUMA_SIDE - 1)]) if mirrored else np.int64(b[at])
        difference += abs(x - y)
        sum_a += x
        sum_b += y
        sum_aa += x * x
        sum_bb += y * y
        sum_ab += x * y
    if difference > (np.int64(NEAR_PIXELS * _PIXELS) if low else limits[2]):
        return False
    if low or limits[3] <= -1.0:
        return True
    covariance = _PIXELS * sum_ab - sum_a * sum_b
    spread = float(_PIXELS * sum_aa - sum_a * sum_a) * float(_PIXELS * sum_bb - sum_b * sum_b)
    return covariance > limits[3] * np.sqrt(spread)
