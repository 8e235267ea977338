"""From fingerprints to groups: who is the same image as whom, without chaining, whatever order they came in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from wdstools.dedup.hamming import find, flatten, link, popcount, rest_alike, row_type, unite
from wdstools.dedup.levels import (
    COLOUR_SIDE,
    LOW_INFORMATION_STD,
    LUMA_SIDE,
    NEAR_ALPHA,
    NEAR_CHROMA,
    NEAR_LOCAL,
    NEAR_PIXELS,
    Level,
)
from wdstools.kernels import jit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from wdstools.dedup.hamming import Rows

_PIXELS = LUMA_SIDE * LUMA_SIDE
_NEAR_DEVIATION, _LOOKS_AT_ONCE = 0.5, 4096
_CELLS = COLOUR_SIDE * COLOUR_SIDE
#: Bytes of what is compared of an image beside its hashes: the luma, then the cells of the colour picture.
LOOK_BYTES = _PIXELS + 4 * _CELLS
#: How two images are the same: as they are, or one mirrored.
DIRECT, FLIPPED = 1, 2


#: Added to the orientation of an image whose hashes noise decides: it is compared by its pixels alone when it is turned.
UNDECIDED = 16


class Turned(NamedTuple):
    """Images that EXIF says are to be turned: rows, orientations, and the hashes of what is seen then, as those stored."""

    rows: NDArray[np.int64]
    turns: NDArray[np.uint8]
    words: NDArray[np.uint64]
    mirrored: NDArray[np.uint64]

    @classmethod
    def none(cls) -> Turned:
        """No such images."""
        nothing = np.zeros((0, 5), np.uint64)
        return cls(np.zeros(0, np.int64), np.zeros(0, np.uint8), nothing, nothing)


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """What is compared, one row an image, in order of preference: of a group the first row represents it.

    ``exact`` [N, 2] uint64 is equal for byte-identical images alone. ``words`` and ``mirrored`` [N, 5] uint64 hold
    the 64-bit phash and the 256-bit one, of the image and of its mirror image; ``deviation`` [N] float32 is the
    standard deviation of its luma, NaN where an image could not be decoded and so has no hash. ``looks`` gives the
    [n, LOOK_BYTES] uint8 small pictures of some rows: 32x32 luma, then 16x16 cells of red, green, blue and alpha.
    ``turned`` are those that may be seen another way round too.
    """

    exact: NDArray[np.uint64]
    words: NDArray[np.uint64]
    mirrored: NDArray[np.uint64]
    deviation: NDArray[np.float32]
    looks: Callable[[NDArray[np.int64]], NDArray[np.uint8]]
    turned: Turned = field(default_factory=Turned.none)

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
    in their order alone. Memory: linear; small pictures are asked for only where hashes are alike.
    """
    count = len(prints.exact)
    first = first_equal(prints.exact)
    own = np.zeros(count, np.uint64)
    if category is not None:
        np.bitwise_or.at(own, first, np.uint64(1) << category.astype(np.uint64))
    exact = Grouping("exact", first, first, own[first], np.zeros(count, bool))
    if not levels:
        return (exact,)
    rows = np.flatnonzero((first == np.arange(count)) & ~np.isnan(prints.deviation))
    widest = levels[-1]
    linked = _link(prints, rows, widest)
    sizes = np.bincount(linked, minlength=len(linked))
    marked = np.flatnonzero(sizes[linked] > 1)
    marked = marked[np.argsort(linked[marked], kind="stable")]
    starts = np.flatnonzero(np.diff(linked[marked], prepend=-1, append=-1)).astype(np.int64)
    members = rows[marked]
    order = np.argsort(members, kind="stable")
    looks = np.empty((len(members), LOOK_BYTES), np.uint8)
    looks[order] = prints.looks(members[order]).reshape(-1, LOOK_BYTES)
    data = with_turned(prints, members, looks)
    found = [exact]
    leader = np.arange(len(members))
    for level in levels:
        grouping, leader = _group_at(level, data, (members, starts, leader), first, own)
        found.append(grouping)
    return tuple(found)


def _link(prints: Fingerprints, rows: NDArray[np.int64], widest: Level) -> Rows:
    """Components of what may be the same at a level; images that are to be turned take part both ways round."""
    limits = (widest.phash, widest.phash16)
    if not widest.flips:
        return link(prints.words[rows], limits)
    turned = prints.turned
    at = np.searchsorted(rows, turned.rows)
    at[at == len(rows)] = 0
    there = np.flatnonzero(rows[at] == turned.rows) if len(rows) else np.zeros(0, np.int64)
    words = np.concatenate((prints.words[rows], turned.words[there]))
    parent = link(words, limits, np.concatenate((prints.mirrored[rows], turned.mirrored[there])))
    for number, base in enumerate(at[there].tolist(), len(rows)):
        unite(parent, number, base)
    for number in there.tolist():
        if turned.turns[number] & UNDECIDED:
            for other in _near_turned(prints, rows, number).tolist():
                unite(parent, int(at[number]), other)
    flatten(parent)
    return parent[: len(rows)]


def _near_turned(prints: Fingerprints, rows: NDArray[np.int64], number: int) -> NDArray[np.int64]:
    """Which of the rows, by their place, have nearly the luma of a turned image whose hashes say nothing."""
    row = int(prints.turned.rows[number])
    places = np.flatnonzero(np.abs(prints.deviation[rows] - prints.deviation[row]) < _NEAR_DEVIATION)
    found = [places[:0]]
    own = turn_look(prints.looks(np.array([row])).reshape(-1), int(prints.turned.turns[number]))[:_PIXELS].astype(
        np.int16
    )
    for start in range(0, len(places), _LOOKS_AT_ONCE):
        some = places[start : start + _LOOKS_AT_ONCE]
        order = np.argsort(rows[some], kind="stable")
        lumas = prints.looks(rows[some][order]).reshape(len(some), -1)[:, :_PIXELS].astype(np.int16)
        found.append(some[order][np.abs(lumas - own).mean(axis=1) <= NEAR_PIXELS])
    return np.concatenate(found)


def with_turned(prints: Fingerprints, members: NDArray[np.int64], looks: NDArray[np.uint8]) -> tuple[Any, ...]:
    """What is compared of the members, with the turned ones once more behind them, and where each one's is (-1: nowhere)."""
    place = {row: at for at, row in enumerate(members.tolist())}
    held = [number for number, row in enumerate(prints.turned.rows.tolist()) if row in place]
    base = np.array([place[int(prints.turned.rows[number])] for number in held], np.int64)
    second = np.full(len(members), -1, np.int64)
    second[base] = np.arange(len(members), len(members) + len(held))
    again = [turn_look(looks[at], int(prints.turned.turns[number])) for at, number in zip(base, held, strict=True)]
    low = prints.low_information[members]
    # an undecided one is judged as one of low information: by its pixels, strictly
    vague = np.array([bool(prints.turned.turns[number] & UNDECIDED) for number in held], bool)
    return (
        np.concatenate((prints.words[members], prints.turned.words[held])),
        np.concatenate((prints.mirrored[members], prints.turned.mirrored[held])),
        np.concatenate((looks, np.array(again, np.uint8).reshape(-1, LOOK_BYTES))),
        np.concatenate((low, low[base] | vague)),
        second,
        np.concatenate((np.zeros(len(members), bool), vague)),
    )


def turn_look(look: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The small pictures of an image as they are once it is turned as EXIF says."""
    orientation &= ~UNDECIDED
    luma = turn(look[:_PIXELS].reshape(LUMA_SIDE, LUMA_SIDE), orientation)
    colour = turn(look[_PIXELS:].reshape(COLOUR_SIDE, COLOUR_SIDE, 4), orientation)
    return np.concatenate((luma.reshape(-1), colour.reshape(-1)))


def turn(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """A picture, [H, W] or [H, W, C], turned as an EXIF orientation (2 to 8) says."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels


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
    parent = np.arange(size, dtype=row_type(size))
    limits = limits_of(level)
    if size:
        _cluster(starts, data, limits, (leader, parent, near, how), own[members])
    roots = np.fromiter((find(parent, row) for row in range(size)), np.int64, size)
    everyone = np.arange(len(first))
    leaders, component, masks, flipped = everyone.copy(), everyone.copy(), own.copy(), np.zeros(len(first), bool)
    leaders[members], component[members], masks[members] = members[leader], members[roots], near
    flipped[members] = how == FLIPPED
    return Grouping(level.name, leaders[first], component[first], masks[first], flipped[first]), leader


def limits_of(level: Level) -> tuple[Any, ...]:
    """A level's limits as the kernels take them."""
    difference = round(level.difference * _PIXELS)
    return (level.phash, level.phash16, difference, level.correlation, level.flips, 4 * level.local, 3 * level.chroma)


def first_equal(exact: NDArray[np.uint64]) -> NDArray[np.int64]:
    """For each row the first row that is equal."""
    order = np.lexsort((np.arange(len(exact)), exact[:, 1], exact[:, 0]))
    new = np.ones(len(exact), bool)
    new[1:] = (exact[order][1:] != exact[order][:-1]).any(axis=1)
    first = np.empty(len(exact), np.int64)
    first[order] = order[np.maximum.accumulate(np.where(new, np.arange(len(exact)), 0))]
    return first


def distances(
    prints: Fingerprints, rows: NDArray[np.int64], leaders: NDArray[np.int64], flipped: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """How far rows are from their leaders: differing bits of the 64-bit and of the 256-bit hash; and whether one is turned."""
    theirs = np.where(flipped[:, None], prints.mirrored[leaders], prints.words[leaders])
    small, large = _bits(prints.words[rows], theirs)
    turned = np.zeros(len(rows), bool)
    number = {row: at for at, row in enumerate(prints.turned.rows.tolist())}
    for at, (row, leader) in enumerate(zip(rows.tolist(), leaders.tolist(), strict=True)):
        if row == leader or not (row in number or leader in number):
            continue
        ways = (_ways(prints, row, number), _ways(prints, leader, number, mirrored=bool(flipped[at])))
        for mine in ways[0]:
            for other in ways[1]:
                near, far = _bits(mine, other)
                if far < large[at]:
                    small[at], large[at], turned[at] = near, far, True
    return small, large, turned


def distances_between(
    mine: tuple[Fingerprints, NDArray[np.int64]],
    theirs: tuple[Fingerprints, NDArray[np.int64]],
    flipped: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The same of rows of two sets; of turned images the way round that is nearest."""
    (ours, rows), (others, other_rows) = mine, theirs
    if not (len(ours.words) and len(others.words)):
        return np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    numbers = [{row: at for at, row in enumerate(prints.turned.rows.tolist())} for prints in (ours, others)]
    best = []
    for row, other, mirrored in zip(rows.tolist(), other_rows.tolist(), flipped.tolist(), strict=True):
        ways = _ways(ours, row, numbers[0]), _ways(others, other, numbers[1], mirrored=mirrored)
        best.append(min((_bits(a, b) for a in ways[0] for b in ways[1]), key=lambda bits: int(bits[1])))
    small, large = np.array(best, np.int64).reshape(-1, 2).T
    return small, large


def _ways(
    prints: Fingerprints, row: int, number: dict[int, int], *, mirrored: bool = False
) -> list[NDArray[np.uint64]]:
    stored, turned = (prints.mirrored, prints.turned.mirrored) if mirrored else (prints.words, prints.turned.words)
    return [stored[row], *([turned[number[row]]] if row in number else [])]


def _bits(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> tuple[Any, Any]:
    bits = np.bitwise_count(a ^ b).astype(np.int64)
    return bits[..., 0], bits[..., 1:].sum(axis=-1)


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
                if same(data, limits, row, other):
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
            how[row] = same(data, limits, row, leaders[at])
            if how[row]:
                leader[row] = leaders[at]
                break
        if leader[row] == row:
            leaders[count] = row
            count += 1


@jit
def same(data, limits, a, b):  # type: ignore[no-untyped-def]
    """Whether two images are the same: directly, or one mirrored, or one turned or both; 0 if not."""
    how = _same_way(data, limits, a, b)
    if how or not limits[4]:
        return how
    second = data[4]
    other, another = second[a], second[b]
    if other >= 0:
        how = _same_way(data, limits, other, b)
    if not how and another >= 0:
        how = _same_way(data, limits, a, another)
    if not how and other >= 0 and another >= 0:
        how = _same_way(data, limits, other, another)
    return how


@jit
def _same_way(data, limits, a, b):  # type: ignore[no-untyped-def]
    """The same for two images, each one way round."""
    words, mirrored, luma, low, _, vague = data
    blind = vague[a] or vague[b]
    if (blind or _hashes_alike(words[a], words[b], limits)) and _pixels_alike(
        luma[a], luma[b], limits, low[a] or low[b], False
    ):
        return DIRECT
    if (
        limits[4]
        # a hash and that of the mirror image have medians of their own: the two ways round may differ by a bit
        and (blind or _hashes_alike(words[a], mirrored[b], limits) or _hashes_alike(words[b], mirrored[a], limits))
        and _pixels_alike(luma[a], luma[b], limits, low[a] or low[b], True)
    ):
        return FLIPPED
    return 0


@jit
def _hashes_alike(a, b, limits):  # type: ignore[no-untyped-def]
    return popcount(a[0] ^ b[0]) <= np.uint64(limits[0]) and rest_alike(a, b, limits[1])


@jit
def _pixels_alike(a, b, limits, low, mirrored):  # type: ignore[no-untyped-def]
    """Mean absolute difference and normalised correlation of two lumas, from exact integer sums, and what is local."""
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
    local, chroma = (4 * NEAR_LOCAL, 3 * NEAR_CHROMA) if low else (limits[5], limits[6])
    if _largest_local(a, b, mirrored) > local or not _colours_alike(a, b, chroma, mirrored):
        return False
    if low or limits[3] <= -1.0:
        return True
    covariance = _PIXELS * sum_ab - sum_a * sum_b
    spread = float(_PIXELS * sum_aa - sum_a * sum_a) * float(_PIXELS * sum_bb - sum_b * sum_b)
    return covariance > limits[3] * np.sqrt(spread)


@jit
def _largest_local(a, b, mirrored):  # type: ignore[no-untyped-def]
    """The largest difference of the sums of 2x2 neighbours of two lumas."""
    largest = 0
    above = np.zeros(LUMA_SIDE, np.int64)
    for row in range(LUMA_SIDE):
        before = np.int64(0)
        for column in range(LUMA_SIDE):
            at = row * LUMA_SIDE + column
            here = np.int64(a[at]) - np.int64(b[at ^ (LUMA_SIDE - 1)] if mirrored else b[at])
            if row and column:
                largest = max(largest, abs(here + before + above[column] + above[column - 1]))
            if column:
                above[column - 1] = before
            before = here
        above[LUMA_SIDE - 1] = before
    return largest


@jit
def _colours_alike(a, b, chroma, mirrored):  # type: ignore[no-untyped-def]
    """Whether in no cell the alpha, or a colour's distance from gray (three times over), differs by more."""
    for cell in range(_CELLS):
        mine = _PIXELS + 4 * cell
        theirs = _PIXELS + 4 * (cell ^ (COLOUR_SIDE - 1) if mirrored else cell)
        if abs(np.int64(a[mine + 3]) - np.int64(b[theirs + 3])) > NEAR_ALPHA:
            return False
        total = np.int64(0)
        for channel in range(3):
            total += np.int64(a[mine + channel]) - np.int64(b[theirs + channel])
        for channel in range(3):
            if abs(3 * (np.int64(a[mine + channel]) - np.int64(b[theirs + channel])) - total) > chroma:
                return False
    return True
