"""Which requests fetch which pieces: coalescing, without I/O.

Laws (each is a property test): every piece is in exactly one request; no request spans a hole wider than the gap;
requests are in order and do not overlap; with a gap of 0 nothing is fetched that was not wanted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: The most bytes that one request fetches.
REQUEST_BYTES = 64 << 20
#: Holes up to this size are fetched and discarded where that is cheaper than another request.
GAP_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Request:
    """Bytes ``start`` to ``end`` of an object, which contain the pieces ``first`` to ``last`` (exclusive)."""

    start: int
    end: int
    first: int
    last: int

    @property
    def bytes(self) -> int:
        """The number of bytes it fetches."""
        return self.end - self.start


def coalesce(
    starts: Sequence[int], lengths: Sequence[int], *, gap: int = GAP_BYTES, limit: int = REQUEST_BYTES
) -> Iterator[Request]:
    """Cover sorted, non-overlapping pieces by requests of at most ``limit`` bytes (or a single piece).

    Two pieces share a request when the hole between them is at most ``gap`` bytes.
    """
    first = 0
    for number in range(1, len(starts) + 1):
        end = starts[number - 1] + lengths[number - 1]
        if number < len(starts):
            begins, ends = starts[number], starts[number] + lengths[number]
            if begins - end <= gap and ends - starts[first] <= limit:
                continue
        yield Request(starts[first], end, first, number)
        first = number


def runs(starts: Sequence[int], lengths: Sequence[int], first: int, last: int) -> Iterator[tuple[int, int]]:
    """The pieces ``first`` to ``last`` as contiguous runs: (first, last) of each."""
    for request in coalesce(starts[first:last], lengths[first:last], gap=0, limit=1 << 62):
        yield first + request.first, first + request.last
