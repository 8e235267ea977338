"""Reads the rows of a split in shard order, as a stream does: the one way in which neighbours are read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from wdstools.errors import WdsError
from wdstools.reader.payloads import Payloads
from wdstools.reader.ranges import open_ranges
from wdstools.reader.rows import RowTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wdstools.dataset import Dataset
    from wdstools.reader.rows import Extents
    from wdstools.reader.sample import Sample

#: The number of rows looked up at a time.
ROWS = 1024


class Runs:
    """Reads shards from their beginning to their end."""

    def __init__(self, dataset: Dataset, split: str) -> None:
        self._table = _table_of(dataset, split)
        self._payloads = Payloads(self._table, open_ranges(self._table))

    def samples(self, shards: range, doubtful: Callable[[int, int], Sample]) -> Iterator[Sample]:
        """The samples of neighbouring shards, checked; ``doubtful`` returns one that is not intact at first sight, by shard and row."""
        table = self._table
        for shard in shards if not table.is_open else ():
            try:
                table.open(shard)
            except WdsError:  # first return the samples before this shard
                if shard > shards.start:
                    yield from self.samples(range(shards.start, shard), doubtful)
                raise
        begin, end = table.rows_of(shards.start)[0], table.rows_of(shards.stop - 1)[1]
        for first in range(begin, end, ROWS):
            rows = np.arange(first, min(first + ROWS, end))

            def looked_into(extents: Extents, row: int, base: int = first) -> Sample:
                shard = extents.shard[row]
                return doubtful(shard, base + row - table.rows_of(shard)[0])

            for samples in self._payloads.samples(table.extents(rows), looked_into):
                yield from samples

    def close(self) -> None:
        """Close the files; keep the opened indexes for the next reader."""
        self._payloads.ranges.close()
        self._table.finish()


def _table_of(dataset: Dataset, split: str) -> RowTable:
    """The rows of a split, opened once per dataset; a forked process opens its own."""
    name = f"\0rows of {split}"
    held = dataset.readers.get(name)
    if not isinstance(held, tuple) or held[0] != os.getpid():
        held = dataset.readers[name] = (os.getpid(), RowTable(dataset, split, dataset.manifest.members))
    table: RowTable = held[1]
    return table
