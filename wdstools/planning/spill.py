"""Tables by ranges in an unnamed file: what does not fit in memory is sorted range by range."""

from __future__ import annotations

import os
import tempfile
import weakref
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
import pyarrow as pa

from wdstools.formats.arrow import to_ipc
from wdstools.planning.place import shards_of
from wdstools.stores.local import translated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wdstools.planning.table import Samples

#: The number of ranges of a hash: of 100 million samples, each has 390,000.
RANGES = 256
Key = TypeVar("Key", int, tuple[str, int])
#: How many rows are held before they are written: about 300 MB with captions.
_MOST_HELD = 1 << 20


class Spill(Generic[Key]):
    """Rows by key, appended in any order. The file is unnamed, so nothing is left of it, however this ends."""

    def __init__(self, folder: str | None = None) -> None:
        self._where = folder or tempfile.gettempdir()
        with translated(self._where):
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  closed when nobody holds the spill
        weakref.finalize(self, self._file.close)
        self._places: dict[Key, list[tuple[int, int]]] = {}
        self._rows: dict[Key, int] = {}
        self._held: dict[Key, list[pa.Table]] = {}
        self._count = 0
        self._end = 0

    def add(self, key: Key, table: pa.Table) -> None:
        """Append rows to a key."""
        if not table.num_rows:
            return
        self._held.setdefault(key, []).append(table)
        self._rows[key] = self.rows(key) + table.num_rows
        self._count += table.num_rows
        if self._count >= _MOST_HELD:
            self._flush()

    def rows(self, key: Key) -> int:
        """The number of rows of a key."""
        return self._rows.get(key, 0)

    def held(self) -> list[Key]:
        """The keys that have rows."""
        return list(self._rows)

    def whole(self, key: Key) -> pa.Table:
        """All rows of a key, which must have some."""
        table = self.take(key)
        assert table is not None
        return table

    def take(self, key: Key) -> pa.Table | None:
        """All rows of a key, in the order in which they were added; None if there are none."""
        parts = []
        for start, size in self._places.get(key, ()):
            with translated(self._where):
                data = os.pread(self._file.fileno(), size, start)
            parts.append(pa.ipc.open_stream(pa.py_buffer(data)).read_all())
        parts += self._held.get(key, [])
        return joined(parts) if parts else None

    def close(self) -> None:
        """Release everything."""
        self._file.close()
        self._places.clear()
        self._held.clear()

    def _flush(self) -> None:
        with translated(self._where):
            for key, tables in self._held.items():
                data = to_ipc(joined(tables))
                self._write(data)
                self._places.setdefault(key, []).append((self._end, len(data)))
                self._end += len(data)
        self._held.clear()
        self._count = 0

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[os.pwrite(self._file.fileno(), left, self._end + len(data) - len(left)) :]


def joined(tables: list[pa.Table]) -> pa.Table:
    """Tables concatenated, each column in one chunk with one dictionary."""
    return pa.concat_tables(tables).unify_dictionaries().combine_chunks()


def ranges() -> range:
    """The numbers of the ranges of a hash."""
    return range(RANGES)


def spread(spill: Spill[int], samples: Samples, column: str = "order_hash") -> None:
    """Append samples to the ranges of their hash."""
    numbers = shards_of(samples.numbers(column), RANGES)
    order = np.argsort(numbers, kind="stable")
    table = samples.take(order).table
    starts = np.searchsorted(numbers[order], np.arange(RANGES + 1)).tolist()
    for number in np.unique(numbers).tolist():
        spill.add(number, table.slice(starts[number], starts[number + 1] - starts[number]))


def shelve(placed: Spill[tuple[str, int]], number: int, samples: Samples) -> None:
    """Append the samples of a range to their splits."""
    codes, names = samples.named("split")
    for code, split in enumerate(names):
        placed.add((split, number), samples.take(np.flatnonzero(codes == code)).table)


def tables_of(spill: Spill[int]) -> Iterator[pa.Table]:
    """The table of each range, in order."""
    for number in ranges():
        table = spill.take(number)
        if table is not None:
            yield table
