"""Which row of a table is of which sample: by a hash of the key, eight bytes a row, however long keys are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wdstools.errors import UsageError
from wdstools.executors.base import run_all
from wdstools.formats.arrow import one_chunk, to_list
from wdstools.formats.index import hashes_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.executors.base import Executor, Tick
    from wdstools.formats.manifest import ShardEntry
    from wdstools.ops.columns.table import Table

_NAMED = 5


@dataclass(frozen=True, slots=True)
class Join:
    """For each shard, the row of the table of each of its samples, -1 for none; and how the two agree.

    ``repeated`` counts rows whose key an earlier row has; ``absent`` counts rows whose key no sample has.
    """

    rows: int
    of_shards: tuple[NDArray[np.int64], ...]
    first_of: NDArray[np.int64]
    repeated: int
    absent: int
    absent_keys: tuple[str, ...]

    @property
    def covered(self) -> int:
        """How many samples have a row."""
        return sum(int((rows >= 0).sum()) for rows in self.of_shards)


@dataclass(frozen=True, slots=True)
class _KeysTask:
    """A shard whose keys are hashed."""

    dataset: Dataset
    entry: ShardEntry


def _hashes(task: _KeysTask, tick: Tick) -> NDArray[np.uint64]:
    tick(task.entry.samples)
    return hashes_of(to_list(one_chunk(task.dataset.index(task.entry).column("key"))))


def join(table: Table, dataset: Dataset, executor: Executor, tick: Tick) -> Join:
    """Look the keys of a table up in a dataset. Raises as ``Dataset.index``, and as ``Table.key_batches``."""
    parts = [hashes_of(keys) for keys in table.key_batches()]
    mine = np.concatenate(parts) if parts else np.zeros(0, np.uint64)
    order = np.argsort(mine, kind="stable")
    ordered = mine[order]
    tasks = [_KeysTask(dataset, entry) for _, entry in dataset.manifest.shards]
    found, used = [], np.zeros(len(mine) + 1, np.int32)
    for keys in run_all(executor, _hashes, tasks, tick):
        first, last = (np.searchsorted(ordered, keys, side=side) for side in ("left", "right"))
        there = last > first
        rows = np.full(len(keys), -1, np.int64)
        rows[there] = order[first[there]]
        found.append(rows)
        np.add.at(used, first[there], 1)
        np.add.at(used, last[there], -1)
    times = np.cumsum(used[:-1], dtype=np.int64)
    if (times > 1).any():
        row = int(order[int(np.argmax(times > 1))])
        raise UsageError(
            "several samples of this dataset have the same key, so no row of the table can be given to one of them",
            code="columns-key",
            where=dataset.metadata.url,
            got=", ".join(_keys_at(table, [row])),
        )
    absent = np.sort(order[times == 0])
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1]))) if len(ordered) else order
    counts = np.diff(np.append(starts, len(ordered)))
    first_of = np.arange(len(mine), dtype=np.int64)
    first_of[order] = np.repeat(order[starts], counts)
    repeated = int(((first_of != np.arange(len(mine))) & (_by_row(times, order) > 0)).sum())
    return Join(
        len(mine), tuple(found), first_of, repeated, len(absent), tuple(_keys_at(table, absent[:_NAMED].tolist()))
    )


def _by_row(times: NDArray[np.int64], order: NDArray[np.int64]) -> NDArray[np.int64]:
    found = np.empty(len(times), np.int64)
    found[order] = times
    return found


def _keys_at(table: Table, rows: list[int]) -> list[str]:
    """The keys of some rows, in order."""
    found: list[str] = []
    first = 0
    for keys in table.key_batches() if rows else ():
        found += [keys[row - first] for row in rows if first <= row < first + len(keys)]
        first += len(keys)
        if len(found) == len(rows):
            break
    return found
