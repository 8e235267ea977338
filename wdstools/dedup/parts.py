"""The search and the comparison in parts that do not talk: whoever has the codes does some buckets of a band.

What a part gives back are edges, at most one a code; united in one place they are the components that one pass over
everything finds, for any number of parts and in any order. Each part looks up neighbours among all codes, so all of them
travel to each worker, once: the first words are what is searched, the others decide on the spot, or a thousand blank
pictures would send back a million pairs.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from wdstools.dedup import few
from wdstools.dedup.bands import Band, band_seconds, plan_bands
from wdstools.dedup.compare import compare
from wdstools.dedup.forest import equal_codes, flatten, row_type, unite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from wdstools.dedup.compare import Compared, Comparison
    from wdstools.dedup.forest import Rows
    from wdstools.dedup.hamming import Buckets

#: A part of a band is expected to take between so many seconds, as far as there are parts enough for all workers.
_SHORTEST, _LONGEST = 1.0, 60.0
#: The first ranges of a band take several times as long as the last: so many for each worker even that out.
_RANGES_A_WORKER = 20
#: Sorted codes of so many bands are kept: one that ends, and one that begins.
_BANDS_KEPT = 2


class Codes:
    """Codes, no two equal, and mirrored ones; what parts of one band sort by its bits is sorted once in a process."""

    travels_once: ClassVar[bool] = True

    def __init__(self, words: NDArray[np.uint64], mirrored: NDArray[np.uint64] | None) -> None:
        self.words = np.ascontiguousarray(words)
        self.mirrored = None if mirrored is None else np.ascontiguousarray(mirrored)
        self._sorted: dict[Band, tuple[Buckets, ...]] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return Codes, (self.words, self.mirrored)

    def by(self, band: Band) -> tuple[Buckets, ...]:
        """Codes by a band's bits, and mirrored ones; they are nobody's own: ``trees`` must not be written."""
        from wdstools.dedup.hamming import sort_by

        with self._lock:
            if band not in self._sorted:
                while len(self._sorted) >= _BANDS_KEPT:
                    del self._sorted[next(iter(self._sorted))]
                rows = np.arange(len(self.words), dtype=row_type(len(self.words)))
                sets = (self.words,) if self.mirrored is None else (self.words, self.mirrored)
                self._sorted[band] = tuple(sort_by(band, codes[:, 0], rows, rows) for codes in sets)
            return self._sorted[band]


@dataclass(frozen=True, slots=True)
class SearchTask:
    """One of ``parts`` ranges of a band's buckets."""

    codes: Codes
    band: Band
    number: int
    parts: int
    limits: tuple[int, int]


def search_part(task: SearchTask, tick: Callable[[int], None]) -> NDArray[Any]:
    """Pairs of codes that link all that are alike in some buckets of a band and those near: [n, 2], less than one a code."""
    from wdstools.dedup.hamming import join

    codes, part = task.codes, task.band.part(task.number, task.parts)
    mine, *others = [buckets._replace(trees=buckets.rows.copy()) for buckets in codes.by(task.band)]
    parent = np.arange(len(codes.words), dtype=mine.rows.dtype)
    join((mine, mine), part, True, (codes.words, codes.words), task.limits, parent)
    for other in others:
        assert codes.mirrored is not None
        join((mine, other), part, False, (codes.words, codes.mirrored), task.limits, parent)
    found = np.flatnonzero(parent != np.arange(len(parent)))
    tick(1)
    return np.stack((found.astype(parent.dtype), parent[found]), axis=1)


def search_bytes(count: int, *, mirrors: bool) -> int:
    """What a part holds of its own while it is searched for: trees of each set, a forest, and the edges of all codes at most."""
    kind = row_type(count)(0).itemsize
    return count * (kind * (5 if mirrors else 4) + 17)


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
    codes: NDArray[np.uint64], limits: tuple[int, int], mirrored: NDArray[np.uint64] | None, workers: Workers
) -> Rows:
    """``link`` by some workers: the same components, whatever the number of ranges and the order in which they end."""
    if len(codes) <= few.FEW_CODES:
        return few.link(codes, limits, mirrored)
    bands = plan_bands(len(codes), limits[0])
    seconds = sum(band_seconds(len(codes), band, mirrors=mirrored is not None) for band in bands)
    parts = workers.ranges(seconds / max(1, len(bands)))
    if parts <= 1:
        from wdstools.dedup.hamming import link

        return link(codes, limits, mirrored)
    parent = equal_codes(codes if mirrored is None else np.concatenate((codes, mirrored), axis=1))
    rows = np.flatnonzero(parent == np.arange(len(parent)))
    held = Codes(codes[rows], None if mirrored is None else mirrored[rows])
    bands = plan_bands(len(rows), limits[0])
    tasks = (SearchTask(held, band, number, parts, limits) for band in bands for number in range(parts))
    for edges in workers.search(tasks, parts * len(bands)):
        unite(parent, rows[edges[:, 0]], rows[edges[:, 1]])
    flatten(parent)
    return parent


def core_hours(count: int, limits: tuple[int, int], *, mirrors: bool) -> float:
    """About how long one core takes to search so many codes: what was measured of random ones, by straight lines."""
    bands = plan_bands(max(count, 2), limits[0])
    return sum(band_seconds(count, band, mirrors=mirrors) for band in bands) / 3600
