"""Bytes of shards for readers that know ahead what they will read: local files at once, other stores by fetch-ahead.

Local shards are read with ``pread``, not mapped: a disk error or a file cut meanwhile is an error instead of a signal
that ends the process, and what has been read does not count as the process's memory.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict, deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from wdstools.errors import StoreError
from wdstools.stores.link import measure_link
from wdstools.stores.local import LocalStore, storage_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from wdstools.stores.base import Store

_OPEN_FILES = 128
_BUDGET_BYTES = 96 << 20
_SPAN_BYTES = 4 << 20
_GAP_BYTES = 128 << 10
_BLOCK_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class Span:
    """A range of one shard that is fetched at once, and how many reads it will serve."""

    shard: int
    start: int
    stop: int
    reads: int


class Ranges(Protocol):
    """Reads ranges of shards, numbered as in the split. Safe to use from many threads."""

    @property
    def gap_bytes(self) -> int:
        """Ranges closer than this are better read as one."""

    @property
    def block_bytes(self) -> int:
        """Neighbouring ranges are better read together up to this size."""

    def ahead(self, spans: Sequence[Span]) -> None:
        """Announce what will be read next, in this order; each announced read happens once."""

    def read(self, shard: int, start: int, length: int) -> bytes | memoryview:
        """The bytes of a range, fewer if the shard ends before it. Raises StoreError or NotFoundError."""

    def read_each(
        self, shards: Sequence[int], starts: Sequence[int], lengths: Sequence[int]
    ) -> list[bytes | memoryview]:
        """Several ranges; one that cannot be read has no bytes: reading it alone tells why."""

    def close(self) -> None:
        """Let go of files, threads and bytes."""


def open_ranges(store: Store, paths: Sequence[str]) -> Ranges:
    """The way to read these shards of a store."""
    return LocalRanges(store, paths) if isinstance(store, LocalStore) else FetchedRanges(store, paths)


class LocalRanges:
    """Ranges of local files; at most 128 are open at a time."""

    def __init__(self, store: LocalStore, paths: Sequence[str]) -> None:
        self._files = [store.locate(path) for path in paths]
        self._open: OrderedDict[int, _File] = OrderedDict()
        self._lock = threading.Lock()

    gap_bytes = _GAP_BYTES
    block_bytes = _BLOCK_BYTES

    def ahead(self, spans: Sequence[Span]) -> None:
        """Nothing: the operating system reads ahead."""

    def read(self, shard: int, start: int, length: int) -> bytes:
        """The bytes of a range."""
        file = self._open.get(shard) or self._file(shard)
        try:
            data = os.pread(file.fd, length, start)
            while len(data) < length and (more := os.pread(file.fd, length - len(data), start + len(data))):
                data += more
        except OSError as error:
            raise storage_error(error, self._files[shard]) from error
        return data

    def read_each(
        self, shards: Sequence[int], starts: Sequence[int], lengths: Sequence[int]
    ) -> list[bytes | memoryview]:
        """Several ranges, by one call of the system each; what that call leaves out is left out."""
        found: list[bytes | memoryview] = []
        for shard, start, length in zip(shards, starts, lengths, strict=True):
            try:
                file = self._open.get(shard) or self._file(shard)
                found.append(os.pread(file.fd, length, start))
            except OSError:
                found.append(b"")
        return found

    def _file(self, shard: int) -> _File:
        with self._lock:
            file = self._open.get(shard)
            if file is None:
                file = self._open[shard] = _File(self._files[shard])
                if len(self._open) > _OPEN_FILES:
                    self._open.popitem(last=False)
            return file

    def close(self) -> None:
        """Close the files, each when its last reader is done."""
        with self._lock:
            self._open.clear()


class _File:
    """An open file, closed when nobody refers to it: a thread that reads keeps it open though it was put aside."""

    __slots__ = ("fd",)

    def __init__(self, path: str) -> None:
        self.fd = -1
        try:
            self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise storage_error(error, path) from error

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


class FetchedRanges:
    """Ranges of objects in any store: announced spans are fetched by several threads at once, and kept until read.

    No more than ``budget_bytes`` are fetched and not yet read, one span apart; a read that was never announced is
    fetched when it comes.
    """

    def __init__(
        self, store: Store, paths: Sequence[str], *, requests: int = 16, budget_bytes: int = _BUDGET_BYTES
    ) -> None:
        self._store = store
        self._paths = paths
        self._budget = budget_bytes
        self._pool = ThreadPoolExecutor(requests, thread_name_prefix="wdstools-fetch")
        self._gap_bytes: int | None = None
        self._waiting: deque[_Fetch] = deque()
        self._fetches: dict[int, list[_Fetch]] = {}
        self._held = 0
        self._lock = threading.Lock()

    #: what is announced is fetched in spans, and each read is a part of one
    block_bytes = 1

    @property
    def gap_bytes(self) -> int:
        """As the link to the store is: measured once, when it is first needed."""
        if self._gap_bytes is None:
            try:
                self._gap_bytes = measure_link(self._store, self._paths[0]).gap_bytes
            except StoreError:  # whoever reads will hear of it
                self._gap_bytes = _GAP_BYTES
        return self._gap_bytes

    def ahead(self, spans: Sequence[Span]) -> None:
        """Queue these spans behind those that were announced before."""
        with self._lock:
            for span in spans:
                fetch = _Fetch(span, span.reads, span.reads)
                self._waiting.append(fetch)
                self._fetches.setdefault(span.shard, []).append(fetch)
            self._start()

    def _start(self) -> None:
        """Begin fetches while the budget lasts (the lock is held)."""
        while self._waiting and (not self._held or self._held + self._waiting[0].bytes <= self._budget):
            self._begin(self._waiting.popleft())

    def _begin(self, fetch: _Fetch) -> None:
        span = fetch.span
        self._held += span.stop - span.start
        fetch.future = self._pool.submit(self._store.get, self._paths[span.shard], span.start, span.stop - span.start)

    def read(self, shard: int, start: int, length: int) -> bytes | memoryview:
        """The bytes of a range, from the span that holds it once that has come."""
        fetch = self._holding(shard, start, start + length)
        if fetch is None:
            return self._store.get(self._paths[shard], start, length)
        assert fetch.future is not None
        try:
            data = memoryview(fetch.future.result())
        finally:
            self._read_once(shard, fetch)
        first = start - fetch.span.start
        return data[first : first + length]

    def read_each(
        self, shards: Sequence[int], starts: Sequence[int], lengths: Sequence[int]
    ) -> list[bytes | memoryview]:
        """Several ranges, one after another."""
        found: list[bytes | memoryview] = []
        for shard, start, length in zip(shards, starts, lengths, strict=True):
            try:
                found.append(self.read(shard, start, length))
            except StoreError:
                found.append(b"")
        return found

    def _holding(self, shard: int, start: int, stop: int) -> _Fetch | None:
        with self._lock:
            for fetch in self._fetches.get(shard, ()):
                if fetch.reads and fetch.span.start <= start and stop <= fetch.span.stop:
                    fetch.reads -= 1
                    if fetch.future is None:  # somebody waits for it: the budget comes second
                        self._waiting.remove(fetch)
                        self._begin(fetch)
                    return fetch
        return None

    def _read_once(self, shard: int, fetch: _Fetch) -> None:
        with self._lock:
            fetch.left -= 1
            if not fetch.left and fetch in self._fetches.get(shard, ()):
                self._fetches[shard].remove(fetch)
                self._held -= fetch.bytes
                self._start()

    def close(self) -> None:
        """Forget what was announced and wait for the requests under way."""
        with self._lock:
            self._waiting.clear()
            self._fetches.clear()
        self._pool.shutdown(cancel_futures=True)


@dataclass(slots=True, eq=False)
class _Fetch:
    """A span under way. ``reads`` are still to be handed out, ``left`` are still to be finished."""

    span: Span
    reads: int
    left: int
    future: Future[bytes] | None = None

    @property
    def bytes(self) -> int:
        """What it takes of the budget."""
        return self.span.stop - self.span.start


def spans_of(
    shard: NDArray[np.int64], start: NDArray[np.int64], stop: NDArray[np.int64], *, gap_bytes: int = _GAP_BYTES
) -> list[Span]:
    """Ranges joined where they lie in one shard close together, in the order in which they are first needed.

    Gaps up to ``gap_bytes`` are fetched with what is around them: cheaper than another request. A span is 4 MiB at most,
    unless a single range is longer.
    """
    by_place = np.lexsort((start, shard))
    joined: list[tuple[int, Span]] = []
    ranges = np.stack((by_place, shard[by_place], start[by_place], stop[by_place]), axis=1)
    for turn, at, first, last in ranges.tolist():
        if joined:
            earliest, span = joined[-1]
            end = max(span.stop, last)
            if at == span.shard and first - span.stop <= gap_bytes and end - span.start <= _SPAN_BYTES:
                joined[-1] = (min(turn, earliest), Span(at, span.start, end, span.reads + 1))
                continue
        joined.append((turn, Span(at, first, last, 1)))
    return [span for _, span in sorted(joined, key=lambda entry: entry[0])]
