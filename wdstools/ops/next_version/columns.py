"""Added columns in a dataset's next version: samples keep their values, removed ones take theirs along, new ones have none."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa

from wdstools.columns.key_rows import KeyRows
from wdstools.columns.sets import store_of
from wdstools.columns.values import shard_values
from wdstools.formats.arrow import numbers_over, to_list
from wdstools.formats.column_files import described, schema_of, write_columns
from wdstools.formats.columns import ColumnSet, column_path, damaged, dumps
from wdstools.formats.index import hashes_of, read_index
from wdstools.formats.manifest import COLUMNS_LIST
from wdstools.formats.sums import render_sums
from wdstools.transfer.columns import fetch_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.formats.columns import ColumnShard
    from wdstools.formats.manifest import Manifest, ShardEntry
    from wdstools.stores.base import Store

#: Takes a file of a set that stays unchanged: its store, its path, and its entry in the set's document.
Copy = Callable[["Store", str, "ColumnShard"], None]
#: How many old files are in memory at once: a redivided shard needs a few neighbours.
_HELD = 4


def column_names(sets: Sequence[ColumnSet], shards: Iterable[str]) -> list[str]:
    """Every file of these sets for these shards, their documents and the list."""
    files = [column_path(one.name, path) for path in shards for one in sets if path.endswith(".tar")]
    return [*files, *(one.path for one in sets), *([COLUMNS_LIST] if sets else [])]


def carry_columns(
    dataset: Dataset, sets: Sequence[ColumnSet], manifest: Manifest, out: Written, copy: Copy | None = None
) -> tuple[str, ...]:
    """Write to ``out`` the files of these sets that change; ``copy`` is called with the others. Returns the paths of all.

    The rewritten shards and their indexes must be in ``out`` already. Raises FormatError (``columns-damaged``), also for a
    missing file, and StoreError.
    """
    if not sets:
        return ()
    store = store_of(dataset)
    old = {entry.path: entry for _, entry in dataset.manifest.shards}
    same = {entry.path for _, entry in manifest.shards if old.get(entry.path) == entry}
    moving = _Moving(dataset, [entry for path, entry in old.items() if path not in same])
    paths: list[str] = []
    sums: dict[str, str] = {}
    for columns in sets:
        made: list[ColumnShard] = []
        for _, entry in manifest.shards:
            path = column_path(columns.name, entry.path)
            if entry.path in same:
                shard = columns.shard(entry.path)
                if copy is not None:
                    copy(store, path, shard)
                    paths.append(path)
                made.append(shard)
                continue
            keys = to_list(read_index(out.get(entry.index_path), columns=["key"]).column("key"))
            table = moving.table(columns, keys)
            data = write_columns(table, columns.fields)
            out.put(path, data)
            paths.append(path)
            made.append(described(entry.path, table, data, columns.fields))
        new = ColumnSet(columns.name, manifest.root, columns.fields, tuple(made))
        out.put(new.path, dumps(new))
        paths.append(new.path)
        sums |= new.files()
    out.put(COLUMNS_LIST, render_sums(sums))
    return (*paths, COLUMNS_LIST)


def bring(out: Written, store: Store, path: str, shard: ColumnShard) -> None:
    """Write a file of a set that stays unchanged to ``out``, proved by its SHA-256. Raises as ``fetch_columns``."""
    out.put(path, fetch_columns(store, path, shard.sha256))


class Written(Protocol):
    """Where a next version is written."""

    def get(self, key: str) -> bytes:
        """A small file that was written."""

    def put(self, key: str, data: bytes) -> None:
        """Write a small file."""


class _Moving:
    """The rows of old shards that change in the new version, found by the hash of their key."""

    def __init__(self, dataset: Dataset, entries: Sequence[ShardEntry]) -> None:
        self._store, self._dataset = store_of(dataset), dataset
        self._entries = entries
        keys = [hashes_of(to_list(dataset.index(entry).column("key"))) for entry in entries]
        self._hashes = np.concatenate([np.zeros(0, np.uint64), *keys])
        self._starts = np.cumsum([0, *map(len, keys)])
        self._known = KeyRows(self._hashes, self._keys_at)
        self._tables: dict[tuple[str, int], pa.Table] = {}

    def _keys_at(self, rows: NDArray[np.int64]) -> list[str]:
        """The keys of some old rows, in ascending order."""
        found: list[str] = []
        shards = np.searchsorted(self._starts[1:], rows, side="right")
        for shard in np.unique(shards).tolist():
            keys = to_list(self._dataset.index(self._entries[shard]).column("key"))
            found += [keys[row] for row in (rows[shards == shard] - self._starts[shard]).tolist()]
        return found

    def table(self, columns: ColumnSet, keys: list[str]) -> pa.Table:
        """The rows of these keys; null for keys without a row."""
        rows = self._known.find(hashes_of(keys), lambda at: [keys[row] for row in at.tolist()])
        there = rows >= 0
        shards = np.searchsorted(self._starts[1:], rows, side="right")
        needed = np.unique(shards[there]).tolist()
        parts = [self._values(columns, shard) for shard in needed]
        first = dict(zip(needed, np.cumsum([0, *(part.num_rows for part in parts)])[:-1].tolist(), strict=True))
        offset = np.array([first.get(shard, 0) for shard in shards.tolist()], np.int64)
        index = numbers_over(np.where(there, rows - self._starts[shards] + offset, 0), there, pa.int64())
        schema = schema_of(columns.fields)
        joined = pa.concat_tables(parts).combine_chunks() if parts else schema.empty_table()
        found = joined.take(index)
        # matched by hash: only the key itself proves the match
        same = np.array([one == other for one, other in zip(to_list(found.column("key")), keys, strict=True)], bool)
        if not same[there].all():
            found = found.take(numbers_over(np.arange(len(keys)), same, pa.int64()))
        return found.set_column(0, schema.field("key"), pa.array(keys, pa.string()))

    def _values(self, columns: ColumnSet, shard: int) -> pa.Table:
        place = (columns.name, shard)
        if place not in self._tables:
            while len(self._tables) >= _HELD:
                self._tables.pop(next(iter(self._tables)))
            names = ["key", *(field.name for field in columns.fields)]
            path = self._entries[shard].path
            table = shard_values(self._store, columns, path, names)
            mine = self._hashes[self._starts[shard] : self._starts[shard + 1]]
            if not np.array_equal(hashes_of(to_list(table.column("key"))), mine):
                raise damaged(column_path(columns.name, path), "its keys do not match the index")
            self._tables[place] = table
        return self._tables[place]
