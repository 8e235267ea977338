"""Bytes of remote shards: announced ranges are fetched ahead, many at once, and checked as they arrive."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wdstools.errors import StoreError
from wdstools.formats.digest import xxh3_64_intdigest
from wdstools.reader.replicas import Places
from wdstools.stores.cache import Caching
from wdstools.stores.latency import measure_link

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from wdstools.reader.rows import RowTable
    from wdstools.stores.latency import Link

_REQUESTS = 64
#: Bytes requested and not yet received. Concurrent requests share the link, so the more there are, the later the bytes
#: needed first arrive; this much fills 300 MB/s at 50 ms.
_FLYING_BYTES = 16 << 20
#: Bytes requested and not yet read.
BUDGET_BYTES = 96 << 20
_SPAN_BYTES = 2 << 20
_GAP_BYTES = 128 << 10
_ATTEMPTS = 2


@dataclass(frozen=True, slots=True)
class Span:
    """A range of one shard that is fetched in one request, the rows in it, and where each of them begins in the shard."""

    shard: int
    start: int
    stop: int
    rows: list[int]
    starts: list[int]

    @property
    def bytes(self) -> int:
        """Its length."""
        return self.stop - self.start


class FetchedRanges:
    """Ranges of objects in any store: several threads fetch announced spans, which are kept until they are read.

    A span with a row that differs from what was packed is fetched once more, then from each of the dataset's mirrors; if none
    has it intact, it is handed out as it is, for the reader to find the damage. A place that does not answer is asked last
    from then on. At most 16 MiB are under way at a time, in 64 requests, and at most ``budget_bytes`` are held
    until they are read, give or take one span; a read that was not announced is fetched on demand.
    """

    def __init__(self, table: RowTable, *, budget_bytes: int = BUDGET_BYTES) -> None:
        self._table = table
        self._paths = [entry.path for entry in table.entries]
        self._places = Places(table.dataset)
        self._budget = budget_bytes
        self._pool = ThreadPoolExecutor(_REQUESTS, thread_name_prefix="wdstools-fetch")
        self._waiting: deque[_Fetch] = deque()
        self._fetches: dict[tuple[int, int], _Fetch] = {}
        self._held = self._flying = 0
        self._closed = False
        self._lock = threading.Lock()
        self._link: Future[Link] | None = None

    #: announced ranges are fetched in spans, and each read is a part of one
    block_bytes = 1
    #: the first one arrives before the others
    at_once = 1

    def ahead(self, rows: NDArray[np.int64]) -> None:
        """Announce which rows will be read next, in this order, after those already announced."""
        shard, start, stop = self._table.locate(rows)
        some = stop > start  # a sample may lack the requested members
        rows, shard, start, stop = rows[some], shard[some], start[some], stop[some]
        in_a_row = bool(((start[1:] == stop[:-1]) | (shard[1:] != shard[:-1])).all())
        spans = spans_of(rows, (shard, start, stop), gap_bytes=0 if in_a_row else self._gap())
        with self._lock:
            for span in spans:
                fetch = _Fetch(span, len(span.rows))
                self._waiting.append(fetch)
                for first in span.starts:
                    self._fetches[span.shard, first] = fetch
            self._start()

    def _gap(self) -> int:
        """Ranges closer than this are better read as one; depends on the link to the store, which is measured meanwhile."""
        if self._link is None:
            self._link = self._pool.submit(measure_link, next(iter(self._places)), self._paths[0], requests=_REQUESTS)
        if self._link.done() and self._link.exception() is None:
            return self._link.result().gap_bytes
        return _GAP_BYTES  # not known yet, or failed: then reading will fail too

    def _start(self) -> None:
        """Start fetches while the budgets last (the caller holds the lock)."""
        while self._waiting:
            size = self._waiting[0].span.bytes
            if self._held and (
                self._held + size > self._budget or (self._flying and self._flying + size > _FLYING_BYTES)
            ):
                return
            self._begin(self._waiting.popleft())

    def _begin(self, fetch: _Fetch) -> None:
        self._held += fetch.span.bytes
        self._flying += fetch.span.bytes
        fetch.future = self._pool.submit(self._fly, fetch.span)

    def _fly(self, span: Span) -> bytes:
        try:
            return self._fetched(span)
        finally:
            with self._lock:
                self._flying -= span.bytes
                self._start()

    def _fetched(self, span: Span) -> bytes:
        """A span's bytes from the first place that has them intact; otherwise those received last. Raises the first error."""
        failure, data = None, None
        for place in self._places:
            for _ in range(_ATTEMPTS):
                if self._closed:
                    raise StoreError("the reader was closed", where=place.url)
                try:
                    data = place.get(self._paths[span.shard], span.start, span.bytes)
                except StoreError as error:
                    failure = failure or error
                    self._places.failed(place, error)
                    break
                if is_whole(self._table, span, data):
                    return data
                if isinstance(place, Caching):
                    place.forget(self._paths[span.shard], span.start, span.bytes)
        if data is None:
            assert failure is not None
            raise failure
        return data

    def read(self, shard: int, start: int, length: int) -> bytes | memoryview:
        """The bytes of a range, from the span that contains it, once that has arrived."""
        if not length:
            return b""
        fetch = self._holding(shard, start, start + length)
        if fetch is None or fetch.future is None:
            return next(iter(self._places)).get(self._paths[shard], start, length)
        try:
            data = memoryview(fetch.future.result())
        finally:
            self._read_once(fetch)
        first = start - fetch.span.start
        return data[first : first + length]

    def read_each(
        self, shards: Sequence[int], starts: Sequence[int], lengths: Sequence[int]
    ) -> list[bytes | memoryview]:
        """Several ranges, one after another."""
        found: list[bytes | memoryview] = []
        for where in zip(shards, starts, lengths, strict=True):
            try:
                found.append(self.read(*where))
            except StoreError:
                found.append(b"")
        return found

    def read_block(self, shard: int, start: int, length: int) -> bytes | memoryview:
        """A whole range."""
        return self.read_each([shard], [start], [length])[0]

    def _holding(self, shard: int, start: int, stop: int) -> _Fetch | None:
        with self._lock:
            fetch = self._fetches.get((shard, start))
            if fetch is None or stop > fetch.span.stop:
                return None
            if fetch.future is None:  # a reader waits for it: the budget comes second
                self._waiting.remove(fetch)
                self._begin(fetch)
            return fetch

    def _read_once(self, fetch: _Fetch) -> None:
        with self._lock:
            fetch.left -= 1
            if fetch.left:
                return
            for start in fetch.span.starts:
                if self._fetches.get((fetch.span.shard, start)) is fetch:
                    del self._fetches[fetch.span.shard, start]
            self._held -= fetch.span.bytes
            self._start()

    def close(self) -> None:
        """Forget what was announced, and wait for the requests under way."""
        with self._lock:
            self._closed = True
            self._waiting.clear()
            self._fetches.clear()
        self._pool.shutdown(cancel_futures=True)


@dataclass(slots=True, eq=False)
class _Fetch:
    """A span that was announced, and how many of its rows have not been read."""

    span: Span
    left: int
    future: Future[bytes] | None = None


def is_whole(table: RowTable, span: Span, data: bytes) -> bool:
    """Whether every row of a span is as packed, by the digest of its group or else those of its members."""
    if not table.entries[span.shard].xxh3_128:
        return True  # adopted without digests
    if len(data) != span.bytes:
        return False
    rows = np.array(span.rows)
    taken = table.take(rows)
    start, stop = taken.start, taken.stop
    view = memoryview(data)
    edges = zip((start - span.start).tolist(), (stop - span.start).tolist(), strict=True)
    parts = [view[first:end] for first, end in edges]
    if b"".join(map(table.digest_of, parts)) == table.groups_of(taken):
        return True
    if table.strict:
        return False
    return all(
        size < 0 or xxh3_64_intdigest(part[offset : offset + size]) == digest
        for offsets, sizes, digests in table.member_places(taken).values()
        for part, offset, size, digest in zip(parts, offsets, sizes, digests, strict=True)
    )


def spans_of(
    rows: NDArray[np.int64], places: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]], *, gap_bytes: int
) -> list[Span]:
    """Joins rows that lie close together in one shard; spans come in the order in which they are first needed.

    Gaps up to ``gap_bytes`` are fetched too, which is cheaper than another request. A span is at most 2 MiB,
    unless a single row is longer. ``places`` are shard, first byte and end of each row.
    """
    shard, start, stop = places
    by_place = np.lexsort((start, shard))
    joined: list[tuple[int, Span]] = []
    ranges = np.stack((by_place, rows[by_place], shard[by_place], start[by_place], stop[by_place]), axis=1)
    for turn, row, at, first, last in ranges.tolist():
        if joined:
            earliest, span = joined[-1]
            end = max(span.stop, last)
            if at == span.shard and first - span.stop <= gap_bytes and end - span.start <= _SPAN_BYTES:
                span.rows.append(row)
                span.starts.append(first)
                joined[-1] = (min(turn, earliest), Span(at, span.start, end, span.rows, span.starts))
                continue
        joined.append((turn, Span(at, first, last, [row], [first])))
    return [span for _, span in sorted(joined, key=lambda entry: entry[0])]
