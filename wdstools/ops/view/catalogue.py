"""The samples of a dataset by number, from its indexes alone; an index is read once one of its samples is asked for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from wdstools.errors import NotFoundError
from wdstools.formats.arrow import to_array
from wdstools.formats.index import VALUE_COLUMNS
from wdstools.joined.opening import joined_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.formats.manifest import ShardEntry

#: The columns that filters and galleries need.
_COLUMNS = ("split", "key", *VALUE_COLUMNS, "offset", "length")
#: An additional column: the total size of a sample's payloads in bytes.
BYTES = "bytes"
#: This column is not proved, so it is not in the joined index: it is read from the index file on request.
SOURCE = "source"
_TABLES, _INDEXES = 64, 8


class Place(NamedTuple):
    """Where a sample is: the number of its shard in the manifest, and its row."""

    shard: int
    row: int


class Catalogue:
    """Samples numbered from 0 in stored order: split by split, shard by shard. Thread-safe."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.shards: list[tuple[str, ShardEntry]] = dataset.manifest.shards
        self.joined = joined_of(dataset)
        self.count = len(self.joined)
        #: The number of each shard's first sample.
        self.starts = self.joined.starts[:-1]
        self._number_of = {entry.path: number for number, (_, entry) in enumerate(self.shards)}
        self._tables: OrderedDict[int, pa.Table] = OrderedDict()
        self._indexes: OrderedDict[int, pa.Table] = OrderedDict()
        self._lock = threading.Lock()

    def place(self, number: int) -> Place:
        """Where a sample is; raises NotFoundError (``sample-missing``)."""
        if not 0 <= number < self.count:
            raise NotFoundError(
                "no such sample", code="sample-missing", where=str(number), expected=f"0 to {self.count - 1}"
            )
        shard = int(self.joined.shard_of(np.array([number], np.int64))[0])
        return Place(shard, number - int(self.starts[shard]))

    def shard_called(self, path: str) -> int | None:
        """The number of the shard with this path; None if there is none."""
        return self._number_of.get(path)

    def table(self, shard: int, *, source: bool = False) -> pa.Table:
        """The columns of a shard to filter by, with BYTES and, if wanted, SOURCE; one row per sample.

        Raises what ``Dataset.index`` raises.
        """
        with self._lock:
            table = self._tables.get(shard)
        if table is None:
            table = self.joined.table(shard, _COLUMNS).append_column(BYTES, to_array(self._bytes(shard), pa.int64()))
            self._keep(self._tables, shard, table, _TABLES)
        return table.append_column(SOURCE, self.index(shard).column(SOURCE)) if source else table

    def index(self, shard: int) -> pa.Table:
        """The whole index of a shard, verified; the last few are kept."""
        with self._lock:
            index = self._indexes.get(shard)
        if index is None:
            index = self.dataset.index(self.shards[shard][1])
            self._keep(self._indexes, shard, index, _INDEXES)
        return index

    def keep(self) -> None:
        """Put what was read of all shards into the user's cache, for the next time that this dataset is opened."""
        if self.joined.is_open():
            self.joined.keep()

    def _keep(self, where: OrderedDict[int, pa.Table], shard: int, table: pa.Table, most: int) -> None:
        with self._lock:
            where[shard] = table
            where.move_to_end(shard)
            while len(where) > most:
                where.popitem(last=False)

    def _bytes(self, shard: int) -> NDArray[np.int64]:
        """The size of each sample's payloads in bytes."""
        rows = self.joined.rows_of(shard)
        numbers = np.arange(rows.start, rows.stop)
        total = np.zeros(len(numbers), np.int64)
        for extension in self.joined.extensions:
            total += np.maximum(0, self.joined.members(numbers, extension).size)
        return total
