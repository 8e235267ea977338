"""Looks ahead in remote storage: opens indexes and announces bytes a group of rows before they are needed."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from wdstools.reader.prefetched import FetchedRanges
    from wdstools.reader.rows import RowTable

Item = TypeVar("Item")

_INDEXES = 8
#: How many groups' indexes are requested while one group is being handed out.
_COMING = 2
#: The size of a group, within which it has as many rows as the caller mixes: less leaves a slow link idle, more does not fit.
_LEAST_BYTES, _MOST_BYTES = 16 << 20, 48 << 20


class Horizon:
    """Goes through items in groups: the indexes of two groups and the bytes of two are always being fetched.

    What lies close together in a group is one request. A group is announced as soon as its indexes are open, at the
    latest when the one before it has been handed out.
    """

    def __init__(self, table: RowTable, ranges: FetchedRanges, rows: int) -> None:
        self._table = table
        self._ranges = ranges
        whole = sum(entry.bytes for entry in table.entries) / max(table.count, 1)
        self._rows = max(1, int(min(max(rows, _LEAST_BYTES / whole), _MOST_BYTES / whole))) if whole else rows
        self._pool = ThreadPoolExecutor(_INDEXES, thread_name_prefix="wdstools-index")
        self._indexes: dict[int, Future[None]] = {}

    def through(
        self,
        items: Iterator[Item],
        rows_of: Callable[[Item], NDArray[np.int64]],
        size_of: Callable[[Item], int] | None = None,
    ) -> Iterator[Item]:
        """The items, each once its indexes are open and its bytes are requested. Raises as ``RowTable.open``."""
        groups = _grouped(items, size_of or (lambda item: len(rows_of(item))), self._rows)
        coming: deque[_Group[Item]] = deque()
        try:
            while True:
                while len(coming) <= _COMING and (group := next(groups, None)) is not None:
                    coming.append(self._opening(group, rows_of))
                if not coming:
                    return
                current = coming.popleft()
                self._announce(current)
                for item in current.items:
                    if coming and coming[0].is_open:
                        self._announce(coming[0])
                    yield item
        finally:
            self._pool.shutdown(cancel_futures=True)

    def _opening(self, items: list[Item], rows_of: Callable[[Item], NDArray[np.int64]]) -> _Group[Item]:
        """A group, with its indexes requested, each once."""
        rows = np.concatenate([rows_of(item) for item in items])
        shards = self._table.missing(rows)
        for shard in shards:
            if shard not in self._indexes:
                self._indexes[shard] = self._pool.submit(self._table.open, shard)
        return _Group(items, rows, [self._indexes[shard] for shard in shards])

    def _announce(self, group: _Group[Item]) -> None:
        """Announce the bytes of a group, once, when its indexes are open."""
        if group.announced:
            return
        for index in group.indexes:
            index.result()
        group.announced = True
        self._ranges.ahead(group.rows)


@dataclass(slots=True)
class _Group(Generic[Item]):
    """Items that are announced together, their rows, and the indexes that were still missing."""

    items: list[Item]
    rows: NDArray[np.int64]
    indexes: list[Future[None]]
    announced: bool = False

    @property
    def is_open(self) -> bool:
        """Whether its indexes are open; one that failed raises when the group's turn comes."""
        return all(index.done() and index.exception() is None for index in self.indexes)


def _grouped(items: Iterator[Item], size_of: Callable[[Item], int], size: int) -> Iterator[list[Item]]:
    group: list[Item] = []
    rows = 0
    for item in items:
        group.append(item)
        rows += size_of(item)
        if rows >= size:
            yield group
            group, rows = [], 0
    if group:
        yield group
