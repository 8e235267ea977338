"""Match the rows of a table to samples by a hash of the key: eight bytes a row, however long the keys are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from wdstools.columns.key_rows import KeyRows
from wdstools.errors import UsageError
from wdstools.executors.base import run_all
from wdstools.formats.arrow import one_chunk, to_list
from wdstools.formats.index import hashes_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.executors.base import Executor, Tick
    from wdstools.formats.manifest import ShardEntry
    from wdstools.ops.columns.table import Table

_NAMED = 5


@dataclass(frozen=True, slots=True)
class Join:
    """For each shard, the table row of each of its samples (-1 for none), and how well the two match.

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
    """A shard whose keys to hash."""

    dataset: Dataset
    entry: ShardEntry


def _hashes(task: _KeysTask, tick: Tick) -> NDArray[np.uint64]:
    tick(task.entry.samples)
    return hashes_of(to_list(one_chunk(task.dataset.index(task.entry).column("key"))))


def join(table: Table, dataset: Dataset, executor: Executor, tick: Tick) -> Join:
    """Look the keys of a table up in a dataset. Raises as ``Dataset.index``, and as ``Table.key_batches``."""
    parts = [hashes_of(keys) for keys in table.key_batches()]
    known = KeyRows(np.concatenate([np.zeros(0, np.uint64), *parts]), lambda rows: _keys_at(table, rows))
    entries = [entry for _, entry in dataset.manifest.shards]
    found: list[NDArray[np.int64]] = []
    tasks = [_KeysTask(dataset, entry) for entry in entries]
    for entry, hashes in zip(entries, run_all(executor, _hashes, tasks, tick), strict=True):
        found.append(known.find(hashes, partial(_keys_of, dataset, entry)))
    rows = len(known.first_of)
    hits = _hits(found, rows)
    if (hits > 1).any():
        _compare(table, dataset, found, np.flatnonzero(hits > 1))
        hits = _hits(found, rows)
    if (hits > 1).any():
        raise UsageError(
            "several samples of this dataset have the same key, so a row of the table cannot be assigned to one of them",
            code="columns-key",
            where=dataset.metadata.url,
            got=", ".join(_keys_at(table, np.flatnonzero(hits > 1)[:1])),
        )
    used = hits[known.first_of] > 0
    absent = np.flatnonzero(~used)
    repeated = int(((known.first_of != np.arange(rows)) & used).sum())
    return Join(rows, tuple(found), known.first_of, repeated, len(absent), tuple(_keys_at(table, absent[:_NAMED])))


def _hits(found: Sequence[NDArray[np.int64]], rows: int) -> NDArray[np.int64]:
    """How many samples each row is assigned to."""
    hits = np.zeros(rows, np.int64)
    for of_shard in found:
        np.add.at(hits, of_shard[of_shard >= 0], 1)
    return hits


def _compare(table: Table, dataset: Dataset, found: Sequence[NDArray[np.int64]], rows: NDArray[np.int64]) -> None:
    """Unassign these rows from samples that share only the hash of their key."""
    keys = _keys_at(table, rows)
    for (_, entry), of_shard in zip(dataset.manifest.shards, found, strict=True):
        at = np.flatnonzero(np.isin(of_shard, rows))
        if len(at):
            wanted = np.searchsorted(rows, of_shard[at]).tolist()
            mine = _keys_of(dataset, entry, at)
            same = [keys[row] == key for row, key in zip(wanted, mine, strict=True)]
            of_shard[at[~np.array(same)]] = -1


def _keys_of(dataset: Dataset, entry: ShardEntry, at: NDArray[np.int64]) -> list[str]:
    """The keys of some samples of a shard."""
    keys = to_list(one_chunk(dataset.index(entry).column("key")))
    return [keys[row] for row in at.tolist()]


def _keys_at(table: Table, rows: NDArray[np.int64]) -> list[str]:
    """The keys of some rows, in ascending order."""
    found: list[str] = []
    first = 0
    for keys in table.key_batches() if len(rows) else ():
        mine = rows[np.searchsorted(rows, first) : np.searchsorted(rows, first + len(keys))]
        found += [keys[row - first] for row in mine.tolist()]
        first += len(keys)
        if len(found) == len(rows):
            break
    return found
