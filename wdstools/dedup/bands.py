"""How to divide 64 bits into bands, each searched with a radius, so that all pairs within a limit are found fastest."""

from __future__ import annotations

import heapq
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_BITS, _WIDEST = 64, 22
#: Measured, in nanoseconds: sorting a code, visiting a nearby bucket, starting a code on it, comparing two codes.
_SORT_NS, _VISIT_NS, _START_NS, _COMPARE_NS = 20.0, 3.0, 10.0, 0.25


class Part(NamedTuple):
    """Buckets ``first`` to ``last`` of a band, each compared with those whose number is its own XOR a step."""

    steps: NDArray[np.int64]
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Band:
    """``width`` bits from ``shift`` up; codes are searched in buckets that differ in at most ``radius`` of these bits."""

    shift: int
    width: int
    radius: int

    @property
    def steps(self) -> NDArray[np.int64]:
        """The numbers to XOR with a bucket's number to get each bucket within the radius, itself first."""
        flips = [1 << bit for bit in range(self.width)]
        chosen = (itertools.combinations(flips, count) for count in range(self.radius + 1))
        return np.array([sum(some) for some in itertools.chain.from_iterable(chosen)], np.int64)

    @property
    def whole(self) -> Part:
        """All buckets."""
        return self.part(0, 1)

    def part(self, number: int, parts: int) -> Part:
        """One of ``parts`` equal ranges of the buckets."""
        buckets = 1 << self.width
        return Part(self.steps, number * buckets // parts, (number + 1) * buckets // parts)


def plan_bands(count: int, limit: int) -> list[Band]:
    """The bands expected to find all pairs of ``count`` codes within ``limit`` bits fastest."""
    if limit >= _BITS:
        return [Band(0, 1, 1)]  # everything is near everything
    plans = [_widen(count, [_narrowest(radius) for radius in radii]) for radii in _radii(limit + 1)]
    chosen = min((bands for bands in plans if bands), key=lambda bands: sum(_cost(count, *band) for band in bands))
    shifts = itertools.accumulate((width for width, _ in chosen), initial=0)
    return [Band(shift, *band) for shift, band in zip(shifts, chosen, strict=False)]


def _radii(total: int) -> Iterator[list[int]]:
    """Every combination of radii whose r + 1 add up to ``total``."""
    for larger in range(total // 3 + 1):
        rest = total - larger * 3
        for middle in range(rest // 2 + 1):
            yield [2] * larger + [1] * middle + [0] * (rest - 2 * middle)


def _narrowest(radius: int) -> tuple[int, int]:
    """The width and radius of a band of which at most half of all buckets are within the radius."""
    return 2 * radius + 1, radius


def _widen(count: int, bands: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Give each spare bit to the band that gains most from it; nothing if there are not enough bits."""
    spare = _BITS - sum(width for width, _ in bands)
    if spare < 0:
        return []
    gains = [(_gain(count, *band), number) for number, band in enumerate(bands)]
    heapq.heapify(gains)
    for _ in range(spare):
        gain, number = gains[0]
        if gain >= 0:
            break
        bands[number] = (bands[number][0] + 1, bands[number][1])
        heapq.heapreplace(gains, (_gain(count, *bands[number]), number))
    return bands


def _gain(count: int, width: int, radius: int) -> float:
    """The change in a band's cost from one more bit: smaller is better."""
    return math.inf if width == _WIDEST else _cost(count, width + 1, radius) - _cost(count, width, radius)


def band_seconds(count: int, band: Band, *, mirrors: bool) -> float:
    """About how long one core takes for a band with random codes. Mirrored codes are looked up in every nearby bucket."""
    return _cost(count, band.width, band.radius) * (3 if mirrors else 1) / 1e9


def _cost(count: int, width: int, radius: int) -> float:
    """The expected time of a band with random codes, in nanoseconds."""
    near = sum(math.comb(width, flips) for flips in range(radius + 1))
    pairs = _START_NS * count + _VISIT_NS * 2.0**width + _COMPARE_NS * count**2 / 2.0**width
    return _SORT_NS * count + near * pairs / 2
