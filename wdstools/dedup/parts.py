"""Search and comparison in independent parts: any worker with the codes can do some buckets of a band.

A part returns edges, at most one per code; united in one place they give the same components as one pass over
everything, for any number of parts and in any order. A part copies what it needs from all codes, those of its buckets
and of nearby buckets, so it only needs first words and a byte per code in memory. Whole codes are only looked up if
their first words are near; they may be in a mapped file.
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

#: The expected time of a part, in seconds: at least, and at most, if there are enough parts for all workers.
_SHORTEST, _LONGEST = 1.0, 60.0
#: The first ranges of a band take several times as long as the last: so many ranges per worker even that out.
_RANGES_A_WORKER = 20
#: A part copies at most about so many codes, unless it would then have fewer than one in 4,096 buckets.
_MOST_CODES, _MOST_PARTS_BITS = 1 << 24, 12
#: How many bytes a part holds for each copied code: code and rows, the same by band, trees, a forest, edges.
_BYTES_A_CODE = 56


class Codes:
    """The first words of codes and mirrored codes; the whole codes, [N, W]; and which take part, no two of them equal.

    They are read-only, so they travel to a host once and its workers share them: a worker copies no array.
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
        """About how much memory it takes while it runs."""
        taken = len(self.codes.takes) * _share(self.band.radius, (self.parts - 1).bit_length())
        return int(taken * _BYTES_A_CODE * len(self.codes.sets)) + (16 << self.band.width)


def search_part(task: SearchTask, tick: Callable[[int], None]) -> NDArray[Any]:
    """Pairs that link all codes that are alike in some buckets of a band and nearby ones: [n, 2], less than one per code."""
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
    """First words and their rows in the buckets of a part and nearby ones; some from other buckets may be included."""
    from wdstools.dedup.hamming import count_near, take_near

    below = max(0, band.width - _MOST_PARTS_BITS)
    own = np.arange(part.first >> below, ((part.last - 1) >> below) + 1)
    near = np.zeros(1 << (band.width - below), np.bool_)
    if part.last > part.first:
        near[(own[:, None] ^ np.unique(part.steps >> below)).reshape(-1)] = True
        near[: own[0] if itself else 0] = False  # within one set each pair is compared once, from the smaller bucket
    bits = np.uint64(band.shift + below), np.uint64(len(near) - 1)
    count = count_near(first, codes.takes, bits, near)
    made = np.empty(count, np.uint64), np.empty(count, row_type(len(first)))
    take_near(first, codes.takes, bits, near, made)
    return made


def _share(radius: int, bits: int) -> float:
    """The share of all codes that one of 2 ** bits parts copies."""
    return min(1.0, sum(math.comb(bits, flips) for flips in range(radius + 1)) / (1 << bits))


def _fewest_parts(count: int, bands: Sequence[Band]) -> int:
    """The smallest number of parts with which each part copies few enough codes."""
    radius = max((band.radius for band in bands), default=0)
    bits = next((bits for bits in range(_MOST_PARTS_BITS) if count * _share(radius, bits) <= _MOST_CODES), None)
    return 1 << (_MOST_PARTS_BITS if bits is None else bits)


class Workers(Protocol):
    """Searches and compares."""

    def ranges(self, seconds: float) -> int:
        """Into how many ranges to divide the buckets of a band with this expected time; 1: all bands in one go."""

    def search(self, tasks: Iterable[SearchTask], count: int) -> Iterator[NDArray[Any]]:
        """The results of ``search_part`` for ``count`` tasks, in any order."""

    def compare(self, tasks: Iterable[Comparison], count: int) -> Iterator[tuple[int, tuple[Compared, ...]]]:
        """The number of each task and its result of ``compare``, in any order; the tasks have ``count`` members in total."""


class Alone:
    """Does everything in this process, one task after the other; in one go, unless more ``ranges`` are requested."""

    def __init__(self, ranges: int = 1) -> None:
        self._ranges = ranges

    def ranges(self, seconds: float) -> int:
        """The requested number."""
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
    """Into how many ranges to divide a band: each takes at least a second; if possible, at least 20 per worker."""
    most = int(seconds / _SHORTEST)
    return max(1, min(most, max(_RANGES_A_WORKER * jobs, int(seconds / _LONGEST))))


def linked(
    codes: NDArray[np.uint64],
    limits: tuple[int, int],
    mirrored: NDArray[np.uint64] | None,
    workers: Workers,
    takes: NDArray[np.bool_] | None = None,
) -> Rows:
    """As ``link``, by workers: the same components, whatever the number of ranges and the order in which they finish."""
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
    link(codes[:2], limits)  # so that workers find it compiled
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
    """About how long one core takes to search so many codes, in hours, extrapolated from measurements with random codes."""
    bands = plan_bands(max(count, 2), limits[0])
    return sum(band_seconds(count, band, mirrors=mirrors) for band in bands) / 3600
