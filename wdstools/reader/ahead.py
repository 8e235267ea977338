"""Reading on and on from afar: samples that lie together are one request, and a few requests are always under way."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_BLOCK_BYTES = 4 << 20
_GAP_BYTES = 128 << 10
_AHEAD = 6


@dataclass(frozen=True, slots=True)
class RowSpan:
    """The bytes of the rows ``first`` to ``last`` (exclusive) of a shard."""

    first: int
    last: int
    start: int
    stop: int


def joined(
    extents: Sequence[tuple[int, int]], *, block_bytes: int = _BLOCK_BYTES, gap_bytes: int = _GAP_BYTES
) -> Iterator[RowSpan]:
    """Neighbouring rows joined, in row order, while they lie in order, at most a gap apart, within a block."""
    first = 0
    for row in range(1, len(extents) + 1):
        start, stop = extents[first][0], extents[row - 1][1]
        if row < len(extents):
            after, end = extents[row]
            if stop <= after <= stop + gap_bytes and end - start <= block_bytes:
                continue
        yield RowSpan(first, row, start, stop)
        first = row


def fetched_ahead(
    spans: Sequence[RowSpan], fetch: Callable[[RowSpan], memoryview], *, ahead: int = _AHEAD
) -> Iterator[tuple[RowSpan, memoryview]]:
    """Each span with its bytes, in order; up to ``ahead`` are fetched at once, and no more are held."""
    waiting = iter(spans)
    pool = ThreadPoolExecutor(ahead, thread_name_prefix="wdstools-ahead")
    try:
        futures = deque((span, pool.submit(fetch, span)) for span in islice(waiting, ahead))
        while futures:
            span, future = futures.popleft()
            data = future.result()
            futures.extend((following, pool.submit(fetch, following)) for following in islice(waiting, 1))
            yield span, data
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
