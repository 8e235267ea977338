"""Turns fingerprints into groups: which images are the same, without chaining, whatever their order."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from wdstools.dedup import few
from wdstools.dedup.compare import LOOK_BYTES, MEMBERS_AT_ONCE, Compared, Comparison
from wdstools.dedup.forest import are_roots, flatten, in_company, unite
from wdstools.dedup.levels import COLOUR_SIDE, FLIPPED, LOW_INFORMATION_STD, LUMA_SIDE, NEAR_PIXELS, Level
from wdstools.dedup.parts import Alone, linked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from wdstools.dedup.forest import Rows
    from wdstools.dedup.parts import Workers

_PIXELS = LUMA_SIDE * LUMA_SIDE
_NEAR_DEVIATION, _LOOKS_AT_ONCE = 0.5, 4096
#: Added to the orientation of an image whose hashes are decided by noise: rotated, it is compared by its pixels alone.
UNDECIDED = 16


class Turned(NamedTuple):
    """Images with an EXIF rotation: rows, orientations, and the hashes of the rotated images, in the form of the others."""

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
    """The data to compare, one row per image, in order of preference: the first row of a group represents it.

    ``exact`` [N, 2] uint64 is equal for byte-identical images alone. ``words`` and ``mirrored`` [N, 5] uint64 hold
    the 64-bit phash and the 256-bit one, of the image and of its mirror image; ``deviation`` [N] float32 is the
    standard deviation of its luma, NaN if the image could not be decoded and so has no hash. ``looks`` returns the
    [n, LOOK_BYTES] uint8 small pictures of some rows: 32x32 luma, then 16x16 cells of red, green, blue and alpha.
    ``turned`` are the images with an EXIF rotation; ``behind`` is ``words`` and ``mirrored`` followed by those of the
    rotated ones, if already in this form.
    """

    exact: NDArray[np.uint64]
    words: NDArray[np.uint64]
    mirrored: NDArray[np.uint64]
    deviation: NDArray[np.float32]
    looks: Callable[[NDArray[np.int64]], NDArray[np.uint8]]
    turned: Turned = field(default_factory=Turned.none)
    behind: tuple[NDArray[np.uint64], NDArray[np.uint64]] | None = None

    @property
    def both_ways(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """``words`` and ``mirrored``, followed by those of the rotated images."""
        turned = self.turned
        if self.behind is not None or not len(turned.rows):
            return self.behind or (self.words, self.mirrored)
        return np.concatenate((self.words, turned.words)), np.concatenate((self.mirrored, turned.mirrored))

    @property
    def low_information(self) -> NDArray[np.bool_]:
        """Images with too little detail for a hash to tell them apart."""
        return self.deviation < LOW_INFORMATION_STD


@dataclass(frozen=True, slots=True)
class Grouping:
    """The groups at one level; all arrays have one value per row.

    ``leader``: the row that represents it: itself, or an earlier one that was compared with it, or with its leader at the stricter level,
    and found the same; so the groups of levels are nested, and no two leaders are the same image. ``component``: the smallest row linked with it, through any
    chain of images each the same as the next. ``near``: a bit for each category (``category`` of ``group``) that has
    the same image. ``flipped``: it is the mirror image of its leader.
    """

    level: str
    leader: NDArray[np.int64]
    component: NDArray[np.int64]
    near: NDArray[np.uint64]
    flipped: NDArray[np.bool_]


def group(
    prints: Fingerprints,
    levels: Sequence[Level],
    category: NDArray[np.int64] | None = None,
    workers: Workers | None = None,
) -> tuple[Grouping, ...]:
    """Group the images: first the byte-identical ones (``exact``), then at each of ``levels``, the strictest first.

    ``category`` (0 to 63, for instance the split) defines the bits of ``near``; ``workers`` search and compare, by default
    in this process. The result depends only on the rows and their order. Memory is linear; small pictures are requested
    only if hashes are alike.
    """
    count = len(prints.exact)
    first = first_equal(prints.exact)
    own = np.zeros(count, np.uint64)
    if category is not None:
        np.bitwise_or.at(own, first, np.uint64(1) << category.astype(np.uint64))
    exact = Grouping("exact", first, first, own[first], np.zeros(count, bool))
    if not levels:
        return (exact,)
    trees = link_prints(prints, are_roots(first) & ~np.isnan(prints.deviation), levels[-1], workers or Alone())
    members = np.flatnonzero(in_company(trees))
    members = members[np.argsort(trees[members], kind="stable")]
    starts = np.flatnonzero(np.diff(trees[members], prepend=-1, append=-1)).astype(np.int64)
    found = _compare(prints, members, starts, own, levels, workers or Alone())
    return (exact, *(_all_rows(level, members, found[level.name], first, own) for level in levels))


def _compare(
    prints: Fingerprints,
    members: NDArray[np.int64],
    starts: NDArray[np.int64],
    own: NDArray[np.uint64],
    levels: Sequence[Level],
    workers: Workers,
) -> dict[str, Compared]:
    """The results at each level for linked members, component by component, a few thousand at a time."""
    count = len(members)
    pictures = prints.looks(np.sort(members)).reshape(-1, LOOK_BYTES)
    place = np.empty(count, np.int64)
    place[np.argsort(members, kind="stable")] = np.arange(count)
    cuts = _cuts(starts)
    are_few = few.effort_of(starts) <= few.FEW_PAIRS

    def tasks() -> Iterator[Comparison]:
        for low, high in itertools.pairwise(cuts):
            some = slice(starts[low], starts[high])
            data = with_turned(prints, members[some], pictures[place[some]])
            yield Comparison(data, starts[low : high + 1] - starts[low], own[members[some]], tuple(levels), are_few)

    found = {level.name: Compared.nothing(count) for level in levels}
    for number, parts in workers.compare(tasks(), count):
        start, stop = (int(starts[cuts[at]]) for at in (number, number + 1))
        for level, part in zip(levels, parts, strict=True):
            into = found[level.name]
            into.leader[start:stop], into.root[start:stop] = part.leader + start, part.root + start
            into.near[start:stop], into.how[start:stop] = part.near, part.how
    return found


def _cuts(starts: NDArray[np.int64]) -> list[int]:
    """Where to divide a sequence of components, which begin at ``starts``, so that no part has many members."""
    cuts = [0]
    while cuts[-1] < len(starts) - 1:
        reach = int(np.searchsorted(starts, starts[cuts[-1]] + MEMBERS_AT_ONCE, "right")) - 1
        cuts.append(max(cuts[-1] + 1, min(reach, len(starts) - 1)))
    return cuts


def _all_rows(
    level: Level, members: NDArray[np.int64], found: Compared, first: NDArray[np.int64], own: NDArray[np.uint64]
) -> Grouping:
    """The results for the members as arrays over all rows; a row equal to a member belongs to the same group."""
    everyone = np.arange(len(first))
    leaders, component, masks, flipped = everyone.copy(), everyone.copy(), own.copy(), np.zeros(len(first), bool)
    leaders[members], component[members], masks[members] = members[found.leader], members[found.root], found.near
    flipped[members] = found.how == FLIPPED
    return Grouping(level.name, leaders[first], component[first], masks[first], flipped[first])


def link_prints(prints: Fingerprints, takes: NDArray[np.bool_], widest: Level, workers: Workers) -> Rows:
    """Components of participating rows that may be the same at a level; rows with a rotation take part in both orientations."""
    limits, count = (widest.phash, widest.phash16), len(takes)
    if not widest.flips:
        return linked(prints.words, limits, None, workers, takes)
    turned = prints.turned
    there = takes[turned.rows]
    words, mirrored = prints.both_ways
    parent = linked(words, limits, mirrored, workers, np.concatenate((takes, there)))
    numbers = np.flatnonzero(there)
    unite(parent, numbers + count, turned.rows[numbers])
    for number in numbers[turned.turns[numbers] & UNDECIDED > 0].tolist():
        near = near_turned(prints, number, prints, takes)
        unite(parent, np.full(len(near), turned.rows[number]), near)
    flatten(parent)
    return parent[:count]


def near_turned(prints: Fingerprints, number: int, others: Fingerprints, takes: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Which participating rows of ``others`` have nearly the same luma as an undecided rotated image."""
    row = int(prints.turned.rows[number])
    places = np.flatnonzero(takes & (np.abs(others.deviation - prints.deviation[row]) < _NEAR_DEVIATION))
    found = [places[:0]]
    own = turn_look(prints.looks(np.array([row])).reshape(-1), int(prints.turned.turns[number]))[:_PIXELS].astype(
        np.int16
    )
    for start in range(0, len(places), _LOOKS_AT_ONCE):
        some = places[start : start + _LOOKS_AT_ONCE]
        lumas = others.looks(some).reshape(len(some), -1)[:, :_PIXELS].astype(np.int16)
        found.append(some[np.abs(lumas - own).mean(axis=1) <= NEAR_PIXELS])
    return np.concatenate(found)


def with_turned(prints: Fingerprints, members: NDArray[np.int64], looks: NDArray[np.uint8]) -> tuple[Any, ...]:
    """The data to compare of the members, followed by rotated versions, with the place of each member's (-1: none)."""
    turned = prints.turned
    at = np.minimum(np.searchsorted(turned.rows, members), max(0, len(turned.rows) - 1))
    base = np.flatnonzero(turned.rows[at] == members) if len(turned.rows) else np.zeros(0, np.int64)
    held = at[base]
    second = np.full(len(members), -1, np.int64)
    second[base] = np.arange(len(members), len(members) + len(held))
    ways = turned.turns[held].tolist()
    again = [turn_look(looks[row], way) for row, way in zip(base.tolist(), ways, strict=True)]
    low = prints.low_information[members]
    # an undecided image is treated like one of low information: compared strictly by its pixels
    vague = np.array([bool(way & UNDECIDED) for way in ways], bool)
    return (
        np.concatenate((prints.words[members], turned.words[held])),
        np.concatenate((prints.mirrored[members], turned.mirrored[held])),
        np.concatenate((looks, np.array(again, np.uint8).reshape(-1, LOOK_BYTES))),
        np.concatenate((low, low[base] | vague)),
        second,
        np.concatenate((np.zeros(len(members), bool), vague)),
    )


def nothing_seen() -> tuple[Any, ...]:
    """The result of ``with_turned`` for no members."""
    words, no = np.zeros((0, 5), np.uint64), np.zeros(0, bool)
    return words, words, np.zeros((0, LOOK_BYTES), np.uint8), no, np.zeros(0, np.int64), no


def turn_look(look: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The small pictures of an image, rotated as EXIF says."""
    orientation &= ~UNDECIDED
    luma = turn(look[:_PIXELS].reshape(LUMA_SIDE, LUMA_SIDE), orientation)
    colour = turn(look[_PIXELS:].reshape(COLOUR_SIDE, COLOUR_SIDE, 4), orientation)
    return np.concatenate((luma.reshape(-1), colour.reshape(-1)))


def turn(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """A picture, [H, W] or [H, W, C], rotated or mirrored by an EXIF orientation (2 to 8)."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels


def first_equal(exact: NDArray[np.uint64]) -> NDArray[np.int64]:
    """For each row, the first equal row."""
    order = np.lexsort((np.arange(len(exact)), exact[:, 1], exact[:, 0]))
    new = np.ones(len(exact), bool)
    new[1:] = (exact[order][1:] != exact[order][:-1]).any(axis=1)
    first = np.empty(len(exact), np.int64)
    first[order] = order[np.maximum.accumulate(np.where(new, np.arange(len(exact)), 0))]
    return first


def distances(
    prints: Fingerprints, rows: NDArray[np.int64], leaders: NDArray[np.int64], flipped: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """The distances of rows from their leaders: differing bits of the 64-bit and 256-bit hashes; and whether one is rotated."""
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
    """The same for rows of two sets; for rotated images, in the nearest orientation."""
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
