"""Compares two sets of images: which images of one are the same as any of the other. Exact and symmetric."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from wdstools.dedup import few
from wdstools.dedup.compare import LOOK_BYTES, limits_of, pixels_apart
from wdstools.dedup.forest import equal_codes, flatten, row_type, unite
from wdstools.dedup.groups import UNDECIDED, first_equal, near_turned, with_turned
from wdstools.dedup.levels import FLIPPED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from wdstools.dedup.forest import Rows
    from wdstools.dedup.groups import Fingerprints
    from wdstools.dedup.levels import Level


class Matches(NamedTuple):
    """For each row of one set: the first row of the other that is the same image (-1: none), at which level, and how.

    ``level`` counts from 0, byte-identical. ``flipped``: one of the two is mirrored.
    """

    other: NDArray[np.int64]
    level: NDArray[np.uint8]
    flipped: NDArray[np.bool_]


def match(
    mine: Fingerprints, theirs: Fingerprints, levels: Sequence[Level], before_many: Callable[[], None] | None = None
) -> tuple[Matches, Matches]:
    """Which images each set shares with the other, at the strictest level that shows it; no pair within the limits is missed.

    ``before_many`` is called before ``match_many``, if there are many pairs to compare.
    """
    count, other_count = len(mine.exact), len(theirs.exact)
    ours = _empty(count), _empty(other_count)
    _match_bytes(mine.exact, theirs.exact, ours)
    if levels:
        _match_pixels(mine, theirs, levels, ours, before_many or _nothing)
    return ours


def _match_bytes(mine: NDArray[np.uint64], theirs: NDArray[np.uint64], found: tuple[Matches, Matches]) -> None:
    """Find byte-identical images: only candidates from the smaller set are compared in full. A zero digest means no bytes."""
    known = np.sort(theirs[:, 0])
    if not len(known):
        return
    there = known[np.minimum(np.searchsorted(known, mine[:, 0]), len(known) - 1)] == mine[:, 0]
    rows = np.flatnonzero(there & (mine[:, 0] != 0))
    count = len(rows)
    first = first_equal(np.concatenate((mine[rows], theirs)))
    smallest = np.full(count + len(theirs), -1, np.int64)
    smallest[first[count:][::-1]] = np.arange(len(theirs))[::-1]
    found[0].other[rows] = smallest[first[:count]]
    found[1].other[:] = np.where(first[count:] < count, np.append(rows, -1)[np.minimum(first[count:], count)], -1)


def _nothing() -> None:
    pass


def _empty(count: int) -> Matches:
    return Matches(np.full(count, -1, np.int64), np.zeros(count, np.uint8), np.zeros(count, bool))


def _match_pixels(
    mine: Fingerprints,
    theirs: Fingerprints,
    levels: Sequence[Level],
    found: tuple[Matches, Matches],
    before_many: Callable[[], None],
) -> None:
    rows = [np.flatnonzero(~np.isnan(prints.deviation)) for prints in (mine, theirs)]
    if not (len(rows[0]) and len(rows[1])):
        return
    codes = [_codes(prints, some, levels[-1]) for prints, some in zip((mine, theirs), rows, strict=True)]
    widest = (levels[-1].phash, levels[-1].phash16)
    linked = link_across(codes[0], codes[1], widest, flips=levels[-1].flips)
    if levels[-1].flips:
        linked = _with_undecided((mine, theirs), rows, linked)
    inside = [np.isin(linked[0], linked[1]), np.isin(linked[1], linked[0])]
    chosen = [some[there] for some, there in zip(rows, inside, strict=True)]
    trees = [tree[there] for tree, there in zip(linked, inside, strict=True)]
    if not len(chosen[0]):
        return
    data = _joined(mine, theirs, chosen)
    order = [np.argsort(tree, kind="stable") for tree in trees]
    names = np.unique(trees[0])
    bounds = [
        np.searchsorted(tree[some], np.append(names, names[-1] + 1)) for tree, some in zip(trees, order, strict=True)
    ]
    places = (order[0], order[1] + len(chosen[0]))
    first_matches = few.first_matches
    if few.pairs_across(bounds[0], bounds[1]) > few.FEW_PAIRS:
        before_many()
        first_matches = match_many
    for number, level in enumerate(levels, 1):
        limits = limits_of(level)
        for side in (0, 1):
            unknown = found[side].other[chosen[side]] < 0
            sides = (places[side], places[1 - side], bounds[side], bounds[1 - side], (0, len(chosen[0]))[side])
            other, how = first_matches(data, limits, sides, unknown)
            hits = np.flatnonzero(other >= 0)
            at = chosen[side][hits]
            found[side].other[at] = chosen[1 - side][other[hits] - (len(chosen[0]) if side == 0 else 0)]
            found[side].level[at] = number
            found[side].flipped[at] = how[hits] == FLIPPED


def link_across(
    mine: tuple[Any, Any, Any], theirs: tuple[Any, Any, Any], limits: tuple[int, int], *, flips: bool
) -> tuple[Rows, Rows]:
    """Components of codes of two sets, linked where a code of each is alike; codes within one set are not compared.

    For each set: codes and mirrored codes [N, W], and the image to which each belongs (several may belong to one). Returns
    the number of each image's component. Exact: no pair is missed.
    """
    counts = [int(owner.max(initial=-1)) + 1 for _, _, owner in (mine, theirs)]
    first, second = len(mine[0]), len(theirs[0])
    words = np.concatenate((mine[0], theirs[0]))
    mirrored = np.concatenate((mine[1], theirs[1])) if flips else None
    if first * second <= few.FEW_CODES**2:
        parent = _link_few(words, mirrored, limits, first)
    else:
        parent = _link_many(words, mirrored, limits, first)
    for owner, start in ((mine[2], 0), (theirs[2], first)):
        codes = np.flatnonzero(owner != np.arange(len(owner)))
        unite(parent, start + codes, start + owner[codes])
    flatten(parent)
    return parent[: counts[0]], parent[first : first + counts[1]]


def _with_undecided(
    sets: tuple[Fingerprints, Fingerprints], rows: Sequence[NDArray[np.int64]], linked: tuple[Rows, Rows]
) -> tuple[Rows, Rows]:
    """The components, with undecided rotated images also linked with images of nearly the same pixels, as within one set."""
    parent = np.arange(max(int(trees.max()) for trees in linked) + 1)
    for side, (prints, other) in enumerate((sets, sets[::-1])):
        takes = ~np.isnan(other.deviation)
        readable = ~np.isnan(prints.deviation[prints.turned.rows])
        for number in np.flatnonzero(readable & (prints.turned.turns & UNDECIDED > 0)).tolist():
            near = np.searchsorted(rows[1 - side], near_turned(prints, number, other, takes))
            own = linked[side][np.searchsorted(rows[side], prints.turned.rows[number])]
            unite(parent, np.full(len(near), own), linked[1 - side][near])
    flatten(parent)
    return parent[linked[0]], parent[linked[1]]


def _link_few(
    words: NDArray[np.uint64], mirrored: NDArray[np.uint64] | None, limits: tuple[int, int], first: int
) -> Rows:
    # of equal codes within a set only one takes part: a very frequent picture is searched once
    sets = ((0, slice(first)), (first, slice(first, None)))
    firsts = [start + equal_codes(words[some], None if mirrored is None else mirrored[some]) for start, some in sets]
    equal = np.concatenate(firsts)
    parent: Rows = np.arange(len(words), dtype=row_type(len(words)))
    rows = np.flatnonzero(equal == parent)
    found = few.link_across(
        words[rows], None if mirrored is None else mirrored[rows], limits, int(np.searchsorted(rows, first))
    )
    parent[rows] = rows[found]
    united: Rows = parent[equal]
    return united


def _link_many(
    words: NDArray[np.uint64], mirrored: NDArray[np.uint64] | None, limits: tuple[int, int], first: int
) -> Rows:
    from wdstools.dedup.hamming import link_sets

    # of equal codes in the other set only one takes part, else a full bucket would be compared repeatedly
    sets = (words,) if mirrored is None else (words, mirrored)
    equal = [equal_codes(codes[first:]) for codes in sets]
    rows = np.arange(len(words) - first)
    kind = row_type(len(words))
    firsts = [(np.flatnonzero(some == rows) + first).astype(kind) for some in equal]
    parent = link_sets(words, words if mirrored is None else mirrored, first, firsts, limits)
    for some in equal:
        unite(parent, first + rows, first + some)
    return parent


def match_many(
    data: tuple[Any, ...], limits: tuple[Any, ...], sides: tuple[Any, ...], unknown: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """As ``few.first_matches``, compiled."""
    from wdstools.dedup.pictures import first_matches

    other, how = np.full(len(unknown), -1, np.int64), np.zeros(len(unknown), np.uint8)
    first_matches(data, limits, sides, unknown, (other, how), pixels_apart())
    return other, how


def _codes(prints: Fingerprints, rows: NDArray[np.int64], widest: Level) -> tuple[Any, Any, Any]:
    """The hashes of rows, the mirrored hashes, and the row (by its place) to which each belongs: rotated images come twice."""
    place = np.arange(len(rows))
    if not widest.flips:
        words = prints.words[rows] if len(rows) < len(prints.words) else prints.words
        return words, words[:0], place
    turned = prints.turned
    at = np.searchsorted(rows, turned.rows)
    at[at == len(rows)] = 0
    there = np.flatnonzero(rows[at] == turned.rows)
    return (
        np.concatenate((prints.words[rows], turned.words[there])),
        np.concatenate((prints.mirrored[rows], turned.mirrored[there])),
        np.concatenate((place, at[there])),
    )


def _joined(mine: Fingerprints, theirs: Fingerprints, chosen: list[NDArray[np.int64]]) -> tuple[Any, ...]:
    """The data to compare of both sets: one set, then the other, then the rotated images."""
    parts = [
        with_turned(prints, rows, prints.looks(rows).reshape(-1, LOOK_BYTES))
        for prints, rows in zip((mine, theirs), chosen, strict=True)
    ]
    counts = [len(rows) for rows in chosen]
    total = sum(counts)
    columns = [
        np.concatenate((a[: counts[0]], b[: counts[1]], a[counts[0] :], b[counts[1] :]))
        for a, b in zip(parts[0][:4] + parts[0][5:], parts[1][:4] + parts[1][5:], strict=True)
    ]
    extra = len(parts[0][0]) - counts[0]
    second = [
        np.where(part[4] < 0, -1, part[4] - count + total + skip)
        for part, count, skip in zip(parts, counts, (0, extra), strict=True)
    ]
    return (*columns[:4], np.concatenate(second), columns[4])


def expected_pairs(level: Level, count: int, other_count: int) -> float:
    """An upper bound (95 %) on how many pairs of different photographs of two sets would pass as the same."""
    bound = level.false_pairs + 2 * math.sqrt(level.false_pairs) + 3
    return count * other_count * bound / level.tested_pairs
