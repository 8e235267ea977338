"""Count numbers by their first three digits: exact below a thousand, within half a percent above, and small at any count.

So one pass over any number of values is enough for a histogram with round edges, and partial counts of many shards add up
to the same whatever their order.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

#: From each of these numbers on, one more digit is beyond the three that are kept.
_POWERS = 10 ** np.arange(3, 19, dtype=np.int64)
#: The approximate number of bars of a histogram.
_BARS = 12
#: If the largest value is this many times the smallest, the bars' widths double instead of being equal.
_WIDE = 30
_ROUND = (1, 2, 5)


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many values are between round numbers: ``counts[i]`` of them are at least ``edges[i]`` and below ``edges[i + 1]``.

    ``least``, ``most`` and ``mean`` are exact; ``median`` is exact below a thousand and keeps three digits above.
    """

    edges: tuple[int, ...]
    counts: tuple[int, ...]
    values: int
    least: int
    most: int
    mean: float
    median: int

    def ranges(self, shown: Callable[[int], str]) -> list[str]:
        """The range of each bar, for display; with numbers in full if ``shown`` makes two edges look the same."""
        names = [shown(edge).replace(".0 ", " ") for edge in self.edges]
        if len(set(names)) < len(names):
            names = [f"{edge:,}" for edge in self.edges]
        return [
            first if end == start + 1 else f"{first} to <{last}"
            for start, end, first, last in zip(self.edges, self.edges[1:], names, names[1:], strict=False)
        ]


@dataclass(slots=True)
class Tally:
    """Counts of integers from 0 up."""

    bins: Counter[int] = field(default_factory=Counter)
    values: int = 0
    total: int = 0
    least: int = 2**62
    most: int = 0

    @classmethod
    def of(cls, numbers: NDArray[np.int64]) -> Tally:
        """The counts of some numbers; those below 0 are ignored."""
        numbers = numbers[numbers >= 0].astype(np.int64, copy=False)
        if not len(numbers):
            return cls()
        places, counts = np.unique(_bin_of(numbers), return_counts=True)
        bins = Counter(dict(zip(places.tolist(), counts.tolist(), strict=True)))
        total = sum(int(part.sum()) for part in np.array_split(numbers, 1 + len(numbers) // (1 << 20)))
        return cls(bins, len(numbers), total, int(numbers.min()), int(numbers.max()))

    def add(self, other: Tally) -> None:
        """Count those of another one too."""
        self.bins.update(other.bins)
        self.values += other.values
        self.total += other.total
        self.least, self.most = min(self.least, other.least), max(self.most, other.most)

    def histogram(self) -> Histogram | None:
        """The counts between round numbers; None if there is nothing to count."""
        if not self.values:
            return None
        edges = _edges(self.least, self.most)
        places = np.array(sorted(self.bins), np.int64)
        counts = np.array([self.bins[place] for place in places.tolist()], np.int64)
        floors = np.maximum(_floor_of(places), self.least)
        bars = np.bincount(np.searchsorted(edges, floors, side="right") - 1, counts, len(edges) - 1)
        half = int(np.searchsorted(np.cumsum(counts), (self.values + 1) // 2))
        return Histogram(
            edges=tuple(edges),
            counts=tuple(bars.astype(np.int64).tolist()),
            values=self.values,
            least=self.least,
            most=self.most,
            mean=self.total / self.values,
            median=int(floors[half]),
        )


def _bin_of(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers below 1,000 are their own bins; each further digit adds 900 bins."""
    further = np.searchsorted(_POWERS, numbers, side="right")
    return (numbers // 10**further + 900 * further).astype(np.int64)


def _floor_of(places: NDArray[np.int64]) -> NDArray[np.int64]:
    """The smallest number of each bin."""
    further = np.maximum(0, (places - 100) // 900)
    floors: NDArray[np.int64] = ((places - 900 * further) * 10**further).astype(np.int64)
    return floors


def _edges(least: int, most: int) -> list[int]:
    """Round numbers from at most ``least`` to above ``most``; a single bar if there is only one value."""
    if least == most:
        return [least, least + 1]
    if most >= _WIDE * max(1, least):
        return _doubling(least, most)
    grain = max(1, 10 ** (len(str(most)) - 3))
    step = grain
    for number in range(len(str(most))):
        step = next((one * 10**number for one in _ROUND if (most - least) <= _BARS * one * 10**number), 0)
        if step:
            break
    step = max(step or 10 ** (len(str(most)) - 1), grain)
    first = least // step * step
    return [*range(first, most + step + 1, step)][: (most - first) // step + 2]


def _doubling(least: int, most: int) -> list[int]:
    rising = [0, *(one * 10**power for power in range(len(str(most)) + 1) for one in _ROUND)]
    first = max(number for number, edge in enumerate(rising) if edge <= least)
    last = next(number for number, edge in enumerate(rising) if edge > most)
    return rising[first : last + 1]


def commonest(counts: Mapping[str, int], most: int) -> tuple[tuple[str, int], ...]:
    """The names with the highest counts; ties in alphabetical order."""
    return tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most])
