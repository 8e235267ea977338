"""Put the rows of a table into the order of their samples, in bounded memory: rows are first divided by shards, on disk."""

from __future__ import annotations

import os
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from wdstools.errors import UsageError
from wdstools.formats.arrow import numbers_over, one_chunk, to_list, to_numpy
from wdstools.formats.column_files import described, write_columns
from wdstools.formats.columns import ColumnSet, ColumnShard, column_path
from wdstools.ops.columns.existing import Earlier
from wdstools.stores.abilities import TEMP_SUFFIX
from wdstools.stores.local import LocalStore, translated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.executors.base import Tick
    from wdstools.formats.manifest import ShardEntry
    from wdstools.ops.columns.join import Join
    from wdstools.ops.columns.table import Table

#: About how many bytes of rows are in memory at once.
_HELD_BYTES = 192 << 20
_MOST_PARTS = 256
_ROW = "\0row"


class Places:
    """The rows of ``table`` as the set ``name``, in the order of ``joined``; values of ``earlier`` stay as its rule says."""

    def __init__(
        self,
        dataset: Dataset,
        table: Table,
        joined: Join,
        name: str,
        *,
        earlier: Earlier | None = None,
        held: int = _HELD_BYTES,
    ) -> None:
        self._dataset, self._table, self._joined, self._name = dataset, table, joined, name
        self._earlier = earlier or Earlier()
        self._fields = self._earlier.fields(table.fields)
        entries = [entry for _, entry in dataset.manifest.shards]
        wanted = min(_MOST_PARTS, max(1, len(entries)), 1 + table.size // held)
        edges = [round(number * len(entries) / wanted) for number in range(wanted + 1)]
        self._parts = [(first, entries[first:last]) for first, last in pairwise(edges)]

    @property
    def parts(self) -> int:
        """How many parts the rows are divided into; a single part needs no disk."""
        return len(self._parts)

    def write(self, work: str, tick: Tick) -> ColumnSet:
        """Write the set's files below ``work``, durably; raises UsageError (``columns-differ``)."""
        part_of = self._part_of_rows()
        files: list[ColumnShard] = []
        if self.parts == 1:
            rows = [self._numbered(batch, first, part_of, 0) for first, batch in self._counted()]
            files += self._place(0, pa.concat_tables(rows) if rows else None, work, tick)
        else:
            self._spill(work, part_of)
            for number in range(self.parts):
                path = _spill_path(work, number)
                with translated(path), pa.OSFile(path) as file, pa.ipc.open_stream(file) as stream:
                    table = stream.read_all()
                os.unlink(path)
                files += self._place(number, table, work, tick)
        return ColumnSet(self._name, self._dataset.root, self._fields, tuple(files))

    def _part_of_rows(self) -> NDArray[np.int16]:
        """The part that each row of the table belongs to, -1 for none; a repeated key goes to the part of its first row."""
        part_of = np.full(self._joined.rows, -1, np.int16)
        for number, (first, entries) in enumerate(self._parts):
            for rows in self._joined.of_shards[first : first + len(entries)]:
                part_of[rows[rows >= 0]] = number
        found: NDArray[np.int16] = part_of[self._joined.first_of]
        return found

    def _counted(self) -> Any:
        first = 0
        for batch in self._table.batches():
            yield first, batch
            first += batch.num_rows

    def _numbered(self, batch: pa.Table, first: int, part_of: NDArray[np.int16], part: int) -> pa.Table:
        """The rows of a batch that belong to a part, with their numbers."""
        mine = np.flatnonzero(part_of[first : first + batch.num_rows] == part)
        rows = batch.take(_indices(mine)) if len(mine) < batch.num_rows else batch
        return rows.append_column(_ROW, _indices(mine + first))

    def _spill(self, work: str, part_of: NDArray[np.int16]) -> None:
        """Divide the rows into parts, each in a file of its own."""
        paths = [_spill_path(work, number) for number in range(self.parts)]
        with translated(work):
            files = [open(path, "xb") for path in paths]  # noqa: SIM115  closed below
            streams: list[Any] = []
            try:
                for first, batch in self._counted():
                    for number, file in enumerate(files):
                        rows = self._numbered(batch, first, part_of, number)
                        if len(streams) == number:
                            streams.append(pa.ipc.new_stream(file, rows.schema))
                        if rows.num_rows:
                            streams[number].write_table(rows)
                for stream in streams:
                    stream.close()
            finally:
                for file in files:
                    file.close()

    def _place(self, number: int, rows: pa.Table | None, work: str, tick: Tick) -> list[ColumnShard]:
        first, entries = self._parts[number]
        assert rows is not None
        rows = rows.combine_chunks()
        numbers = to_numpy(rows.column(_ROW))
        self._refuse_different(rows, numbers)
        made = []
        for entry, wanted in zip(entries, self._joined.of_shards[first : first + len(entries)], strict=True):
            made.append(self._shard(entry, *self._aligned(entry, rows, numbers, wanted), work))
            tick(entry.samples)
        return made

    def _shard(self, entry: ShardEntry, table: pa.Table, there: NDArray[np.bool_], work: str) -> ColumnShard:
        """Write the file of one shard, unless it does not change."""
        earlier = self._earlier
        before = earlier.table(entry.path)
        there = there & earlier.wanted(before, self._table.fields, entry.samples)
        if earlier.columns is not None and not earlier.grows(self._fields) and not there.any():
            return earlier.columns.shard(entry.path)
        table = earlier.merged(before, table, there)
        data = write_columns(table, self._fields)
        LocalStore(work).put(column_path(self._name, entry.path), data)
        return described(entry.path, table, data, self._fields)

    def _aligned(
        self, entry: ShardEntry, rows: pa.Table, numbers: NDArray[np.int64], wanted: NDArray[np.int64]
    ) -> tuple[pa.Table, NDArray[np.bool_]]:
        """The rows of one shard, in its order, and which of them exist."""
        keys = one_chunk(self._dataset.index(entry).column("key"))
        there = wanted >= 0
        at = np.where(there, np.searchsorted(numbers, wanted), 0)
        if there.any():
            # matched by hash: only the key itself proves the match
            given = to_list(one_chunk(rows.column("key")).take(_indices(at[there])))
            mine = to_list(keys.filter(pa.array(there)))
            same = np.fromiter((one == other for one, other in zip(given, mine, strict=True)), bool, len(mine))
            there[np.flatnonzero(there)[~same]] = False
        index = numbers_over(at, there, pa.int64())
        values = rows.select([field.name for field in self._table.fields]).take(index)
        return values.add_column(0, pa.field("key", pa.string(), nullable=False), keys.cast(pa.string())), there

    def _refuse_different(self, rows: pa.Table, numbers: NDArray[np.int64]) -> None:
        """Refuse a key that has other values in another row; a repeated identical row is harmless."""
        before = self._joined.first_of[numbers]
        again = np.flatnonzero(before != numbers)
        if not len(again):
            return
        fields = [field.name for field in self._table.fields]
        one = rows.take(_indices(again))
        other = rows.take(_indices(np.searchsorted(numbers, before[again])))
        for name in fields:
            row = _first_difference(one.column(name), other.column(name))
            if row is None:
                continue
            raise UsageError(
                "one key has different values",
                code="columns-differ",
                where=f"{self._table.path}, rows {int(before[again[row]]) + 1} and {int(numbers[again[row]]) + 1}",
                expected=f"{name} {_shown(other.column(name)[row])} for {one.column('key')[row].as_py()}",
                got=_shown(one.column(name)[row]),
                hint="keep only one row of each key in the table; nothing was changed",
            )


def spill_names(places: Places) -> list[str]:
    """Names of the temporary files that rows are divided into, by which leftovers of a killed run are recognised."""
    return [f"rows-{number:03d}" for number in range(places.parts)] if places.parts > 1 else []


def _spill_path(work: str, number: int) -> str:
    return os.path.join(work, f"rows-{number:03d}.part{TEMP_SUFFIX}")


def _indices(rows: NDArray[np.int64]) -> pa.Array:
    return numbers_over(rows, np.ones(len(rows), np.bool_), pa.int64())


def _first_difference(one: pa.ChunkedArray, other: pa.ChunkedArray) -> int | None:
    """The first row in which two columns differ; NaN equals NaN."""
    if one.equals(other):
        return None
    pairs: Sequence[tuple[Any, Any]] = list(zip(one.to_pylist(), other.to_pylist(), strict=True))
    return next((row for row, (a, b) in enumerate(pairs) if repr(a) != repr(b)), None)


def _shown(value: pa.Scalar) -> str:
    return repr(value.as_py())[:60]
