"""The search and the comparison in parts that do not talk: whoever has the codes does some buckets of a band.

What a part gives back are edges, at most one a code; united in one place they are the components that one pass over
everything finds, for any number of parts and in any order. A part takes what it needs out of all codes, those of its buckets
and of the buckets near them, so first words and a byte a code are all that it must have in memory. Of whole codes only those
are looked up whose first words are near; they may lie in a file that is mapped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from wdstools.dedup import few, sorted_bands
from wdstools.dedup.bands import Band, band_seconds, plan_bands
from wdstools.dedup.compare import compare
from wdstools.dedup.forest import are_roots, equal_codes, fixed, flatten, row_type, unite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from wdstools.dedup.bands import Part
    from wdstools.dedup.compare import Compared, Comparison
    from wdstools.dedup.forest import Rows

#: A part of a band is expected to take between so many seconds, as far as there are parts enough for all workers.
_SHORTEST, _LONGEST = 1.0, 60.0
#: The first ranges of a band take several times as long as the last: so many for each worker even that out.
_RANGES_A_WORKER = 20
#: A part takes at most about so many codes out of all, unless it then had fewer buckets than one in 4,096.
_MOST_CODES, _MOST_PARTS_BITS = 1 << 24, 12
#: What a part holds of its own of each code that it takes: code and rows, once more by band, trees, a forest, edges.
_BYTES_A_CODE = 56


class Codes:
    """First words of codes, and of mirrored ones; the whole codes, [N, W]; and which take part, of which no two are equal.

    They are only read, so that they travel to a host once, and its workers share them: a worker makes no array of its own.
    """

    travels_once: ClassVar[bool] = True
    lies_once: ClassVar[bool] = True

    def __init__(
        self, words: NDArray[np.uint64], mirrored: NDArray[np.uint64] | None, takes: NDArray[np.bool_]
    ) -> None:
        self.sets = [fixed(some) for some in (words, mirrored) if some is not None]
        self.firsts = [fixed(some[:, 0]) for some in self.sets]
        self.takes = fixed(takes)

    @property
    def words(self) -> NDArray[np.uint64]:
        """The whole codes."""
        return self.sets[0]


@dataclass(frozen=True, slots=True)
class SearchTask:
    """One of ``parts`` ranges of a band's buckets."""

    codes: Codes
    band: Band
    number: int
    parts: int
    limits: tuple[int, int]

    @property
    def bytes(self) -> int:
        """About what it holds of its own while it is worked on."""
        taken = len(self.codes.takes) * _share(self.band.radius, (self.parts - 1).bit_length())
        return int(taken * _BYTES_A_CODE * len(self.codes.sets)) + (16 << self.band.width)


def search_part(task: SearchTask, tick: Callable[[int], None]) -> NDArray[Any]:
    """Pairs of codes that link all that are alike in some buckets of a band and those near: [n, 2], less than one a code."""
    from wdstools.dedup.hamming import join, sort_by

    codes, band = task.codes, task.band
    part = band.part(task.number, task.parts)
    taken = [_take(first, codes, band, part, itself=not at) for at, first in enumerate(codes.firsts)]
    names = taken[0][1] if len(taken) == 1 else np.union1d(taken[0][1], taken[1][1])
    parent = np.arange(len(names), dtype=names.dtype)
    mine, *others = (
        sort_by(band, some, parent if rows is names else np.searchsorted(names, rows).astype(rows.dtype), parent, rows)
        for some, rows in taken
    )
    join((mine, mine), part, True, (codes.words, codes.words), task.limits, parent)
    for other in others:
        join((mine, other), part, False, (codes.words, codes.sets[1]), task.limits, parent)
    found = np.flatnonzero(~are_roots(parent))
    tick(1)
    return np.stack((names[found], names[parent[found]]), axis=1)


def _take(
    first: NDArray[np.uint64], codes: Codes, band: Band, part: Part, *, itself: bool
) -> tuple[NDArray[np.uint64], Rows]:
    """First words, and the rows that they are of, in the buckets of a part or near; some of buckets beside those may come along."""
    from wdstools.dedup.hamming import count_near, take_near

    below = max(0, band.width - _MOST_PARTS_BITS)
    own = np.arange(part.first >> below, ((part.last - 1) >> below) + 1)
    near = np.zeros(1 << (band.width - below), np.bool_)
    if part.last > part.first:
        near[(own[:, None] ^ np.unique(part.steps >> below)).reshape(-1)] = True
        near[: own[0] if itself else 0] = False  # of one set each pair is compared once, from the smaller bucket
    bits = np.uint64(band.shift + below), np.uint64(len(near) - 1)
    count = count_near(first, codes.takes, bits, near)
    made = np.empty(count, np.uint64), np.empty(count, row_type(len(first)))
    take_near(first, codes.takes, bits, near, made)
    return made


def _share(radius: int, bits: int) -> float:
    """What share of all codes one of 2 ** bits parts takes."""
    return min(1.0, sum(math.comb(bits, flips) for flips in range(radius + 1)) / (1 << bits))


def _fewest_parts(count: int, bands: Sequence[Band]) -> int:
    """In how many parts so many codes are searched at least, so that each takes few enough."""
    radius = max((band.radius for band in bands), default=0)
    bits = next((bits for bits in range(_MOST_PARTS_BITS) if count * _share(radius, bits) <= _MOST_CODES), None)
    return 1 << (_MOST_PARTS_BITS if bits is None else bits)


class Workers(Protocol):
    """Who searches and compares."""

    def ranges(self, seconds: float) -> int:
        """In how many ranges the buckets of a band are searched that are expected to take so long; 1: all bands in one go."""

    def search(self, tasks: Iterable[SearchTask], count: int) -> Iterator[NDArray[Any]]:
        """What ``search_part`` gives of each of ``count`` tasks, in any order."""

    def compare(self, tasks: Iterable[Comparison], count: int) -> Iterator[tuple[int, tuple[Compared, ...]]]:
        """The number of each task, and what ``compare`` gives of it, in any order; they hold ``count`` members."""


class Alone:
    """Everything here, one after the other; in one go, unless so many ``ranges`` are asked for."""

    def __init__(self, ranges: int = 1) -> None:
        self._ranges = ranges

    def ranges(self, seconds: float) -> int:
        """As many as were asked for."""
        del seconds
        return self._ranges

    def search(self, tasks: Iterable[SearchTask], count: int) -> Iterator[NDArray[Any]]:
        """One after the other."""
        del count
        return (search_part(task, _ignore) for task in tasks)

    def compare(self, tasks: Iterable[Comparison], count: int) -> Iterator[tuple[int, tuple[Compared, ...]]]:
        """One after the other."""
        del count
        return ((number, compare(task, _ignore)) for number, task in enumerate(tasks))


def _ignore(count: int) -> None:
    del count


def ranges_for(seconds: float, jobs: int) -> int:
    """How many ranges a band is cut into: none below a second, at least 20 a worker where that leaves a second for each."""
    most = int(seconds / _SHORTEST)
    return max(1, min(most, max(_RANGES_A_WORKER * jobs, int(seconds / _LONGEST))))


def linked(
    codes: NDArray[np.uint64],
    limits: tuple[int, int],
    mirrored: NDArray[np.uint64] | None,
    workers: Workers,
    takes: NDArray[np.bool_] | None = None,
) -> Rows:
    """``link`` by some workers: the same components, whatever the number of ranges and the order in which they end."""
    count = len(codes) if takes is None else int(np.count_nonzero(takes))
    if mirrored is None and sorted_bands.suits(count, limits[0]):
        found = sorted_bands.link(codes, limits, takes)
        if found is not None:
            return found
    if count <= few.FEW_CODES:
        return _few_linked(codes, limits, mirrored, takes)
    from wdstools.dedup.hamming import link

    bands = plan_bands(count, limits[0])
    seconds = sum(band_seconds(count, band, mirrors=mirrored is not None) for band in bands)
    parts = max(workers.ranges(seconds / max(1, len(bands))), _fewest_parts(count, bands))
    if parts <= 1:
        return link(codes, limits, mirrored, takes)
    link(codes[:2], limits)  # workers find it compiled
    parent = equal_codes(codes, mirrored, takes)
    some = are_roots(parent) if takes is None else are_roots(parent) & takes
    held = Codes(codes, mirrored, some)
    bands = plan_bands(int(np.count_nonzero(some)), limits[0])
    tasks = (SearchTask(held, band, number, parts, limits) for band in bands for number in range(parts))
    for edges in workers.search(tasks, parts * len(bands)):
        unite(parent, edges[:, 0], edges[:, 1])
    flatten(parent)
    return parent


def _few_linked(
    codes: NDArray[np.uint64],
    limits: tuple[int, int],
    mirrored: NDArray[np.uint64] | None,
    takes: NDArray[np.bool_] | None,
) -> Rows:
    if takes is None:
        return few.link(codes, limits, mirrored)
    parent: Rows = np.arange(len(codes), dtype=row_type(len(codes)))
    rows = np.flatnonzero(takes)
    found = few.link(codes[rows], limits, None if mirrored is None else mirrored[rows])
    parent[rows] = rows[found]
    return parent


def core_hours(count: int, limits: tuple[int, int], *, mirrors: bool) -> float:
    """About how long one core takes to search so many codes: what was measured of random ones, by straight lines."""
    bands = plan_bands(max(count, 2), limits[0])
    return sum(band_seconds(count, band, mirrors=mirrors) for band in bands) / 3600
