"""Batches of one kind each: an epoch's order is sorted into lanes, and each global batch comes from one lane.

A lane is the samples of one kind (one shape, one source), in the epoch's order. So every
sample is in exactly one lane, once. Each lane is dealt out in global batches by itself, as a whole epoch is (see
``order.Sharing``): ranks get equally many batches of equal sizes, and what is left of a lane is padded, dropped or
kept by the same rule.

Which lane comes next depends only on how much of each has been handed out: batch j of the K batches of a lane
is due at (j + u) / K, with u a number from 0 to 1 for each lane, seed and epoch; the one due first comes first. So a
state is the number of samples of each lane that were handed out. With the same global batch, a run continues exactly as it would
have, on any number of ranks; with another one, each lane continues where it was.

Law: of two lanes, in every window of N batches each has within 1 of N times its share of the batches. (A window lasts
for some time T, in which a lane with K batches has within 1 of T * K of them; where these are off by a and b, lane one is
off its share w of N by a * (1 - w) - b * w, so by less than 1.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from wdstools.reader.order import Sharing


@dataclass(frozen=True, slots=True)
class Step:
    """A batch to come: which places of which lane, the last ``padding`` of them repeated, and the place of all ranks after it."""

    lane: int
    at: NDArray[np.int64]
    padding: int
    after: Any


class Lanes:
    """An epoch's order sorted by kind. ``rows`` and ``positions`` are those of the samples, lane by lane."""

    def __init__(self, kinds: NDArray[np.int64], rows: NDArray[np.int64], count: int) -> None:
        self.counts: tuple[int, ...] = tuple(np.bincount(kinds, minlength=count).tolist())
        # sorting 16-bit numbers takes linear time, a tenth of the time otherwise
        small = kinds.astype(np.uint16) if count < 1 << 16 else kinds
        self.positions = np.argsort(small, kind="stable")
        self.rows = rows[self.positions]
        self._starts = np.concatenate((np.zeros(1, np.int64), np.cumsum(self.counts)))

    def of(self, lane: int, at: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rows, and the positions in the epoch, of some places of a lane."""
        places = self._starts[lane] + at
        return self.rows[places], self.positions[places]

    def taken(self, place: Any) -> list[int]:
        """How many samples of each lane have been handed out at a place."""
        if isinstance(place, int):
            return [0] * len(self.counts) if not place else list(self.counts)
        return list(place)

    def first(self, place: Any) -> NDArray[np.int64]:
        """The rows of all samples that have been handed out at a place."""
        parts = [
            self.rows[start : start + taken] for start, taken in zip(self._starts, self.taken(place), strict=False)
        ]
        return np.concatenate(parts)


class LaneDeal:
    """Deals lanes out in batches, for one reader. A place is how many samples of each lane have been handed out."""

    def __init__(self, sharing: Sharing, lanes: Lanes, phases: Sequence[float]) -> None:
        if sharing.workers > 1:
            raise UsageError(
                "worker processes of a DataLoader cannot make batches of one kind each",
                where="num_workers",
                hint="the loader decodes in threads: use it without a DataLoader",
            )
        self.workers = 1
        self._lanes = lanes
        self._sharings = [replace(sharing, count=count) for count in lanes.counts]
        self._phases = phases

    def batches(self, place: Any = 0, /) -> int:
        """How many batches this reader gets from a place on."""
        taken = self._lanes.taken(place)
        return sum(sharing.batches(first) for sharing, first in zip(self._sharings, taken, strict=True))

    def steps(self, place: Any) -> Iterator[Step]:
        """The batches that this reader gets from a place on."""
        taken = self._lanes.taken(place)
        for lane in self._next(taken).tolist():
            part = self._sharings[lane].part(taken[lane])
            taken[lane] = part.after
            at = np.array([*range(part.start, part.stop), *part.again], np.int64)
            if len(at):
                yield Step(lane, at, part.padding, tuple(taken))

    def _next(self, taken: Sequence[int]) -> NDArray[np.int64]:
        """The lanes of all remaining global batches."""
        lanes, due = [np.zeros(0, np.int64)], [np.zeros(0)]
        for lane, (sharing, first) in enumerate(zip(self._sharings, taken, strict=True)):
            rank_0 = replace(sharing, rank=0)  # it gets a part of every global batch
            whole, left = rank_0.batches(), rank_0.batches(first)
            lanes.append(np.full(left, lane))
            due.append((np.arange(whole - left, whole) + self._phases[lane]) / max(whole, 1))
        joined, when = np.concatenate(lanes), np.concatenate(due)
        found: NDArray[np.int64] = joined[np.lexsort((joined, when))]
        return found


class FlatDeal:
    """Deals one order out in batches, for one reader. A place is a position."""

    def __init__(self, sharing: Sharing) -> None:
        self._sharing = sharing
        self.workers = sharing.workers

    def batches(self, place: Any = 0, /) -> int:
        """How many batches this reader gets from a place on."""
        return self._sharing.batches(place)

    def steps(self, place: Any) -> Iterator[Step]:
        """The batches that this reader gets from a place on."""
        for _ in range(self._sharing.batches(place)):
            part = self._sharing.part(place)
            yield Step(0, np.array([*range(part.start, part.stop), *part.again], np.int64), part.padding, part.after)
            place = part.after
