"""Added columns in transfers: the files that a mirror holds, and those that a pull fetches, with the pulled rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa

from wdstools.columns.sets import column_sets, fits, listed_files, read_sums, store_of
from wdstools.columns.values import shard_values
from wdstools.columns.waiting import can_be_finished, waiting_file
from wdstools.errors import BusyError, IntegrityError, NotFoundError
from wdstools.executors.base import run_all
from wdstools.formats.arrow import to_array
from wdstools.formats.column_files import MAX_COLUMNS_BYTES, described, write_columns
from wdstools.formats.columns import ColumnSet, ColumnShard, column_path, dumps
from wdstools.formats.digest import sha256_hex
from wdstools.formats.manifest import COLUMNS_LIST
from wdstools.formats.sums import render_sums
from wdstools.landing.inside import read_inside, refuse_outside
from wdstools.stores.local import LocalStore
from wdstools.stores.open import is_bucket
from wdstools.transfer.compare import Wanted
from wdstools.transfer.download import fetch_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.executors.base import Executor, Tick
    from wdstools.formats.manifest import Manifest
    from wdstools.stores.base import Store
    from wdstools.transfer.choose import Chosen
    from wdstools.transfer.download import PulledShard


def column_files(dataset: Dataset) -> list[Wanted]:
    """Every file of the column sets next to a dataset's manifest, in the order of storing: their list comes last."""
    store = dataset.metadata
    sums = read_sums(store)
    if not sums:
        return []
    if is_bucket(store.url) and can_be_finished(store, sums):
        raise BusyError(
            "a change of the columns of this dataset is not finished",
            code="change-unfinished",
            where=f"{store.url}/{COLUMNS_LIST}",
            hint="run the command that changes them again: it continues where it stopped",
        )
    paths = sorted(listed_files(sums), key=lambda path: (path.endswith(".json"), path))
    refuse_outside(store, (*paths, COLUMNS_LIST))
    data = read_inside(store, COLUMNS_LIST)
    found = [Wanted(path, store.head(path).bytes, {"sha256": sums[path]}) for path in paths]
    return [*found, Wanted(COLUMNS_LIST, len(data), {"sha256": sha256_hex(data)})]


def fetch_columns(store: Store, path: str, listed: str) -> bytes:
    """A file of a set, proved by its SHA-256, from its place or from where it waits. Raises as ``fetch_file`` does."""
    try:
        return fetch_file(store, path, listed, MAX_COLUMNS_BYTES)
    except (IntegrityError, NotFoundError):
        waiting = waiting_file(store, path, listed, MAX_COLUMNS_BYTES)
        if waiting is None:
            raise
        return waiting


@dataclass(frozen=True, slots=True)
class PullColumnsTask:
    """The file of a set for one shard, to be written below ``folder``; ``rows`` are the pulled rows, None for all."""

    local_paths: ClassVar[tuple[str, ...]] = ("folder",)

    store: Store
    columns: ColumnSet
    path: str
    folder: str
    rows: NDArray[np.bool_] | None


def pull_columns(task: PullColumnsTask, tick: Tick) -> ColumnShard:
    """Fetch one file; raises FormatError (``columns-damaged``) and StoreError."""
    del tick
    columns, path = task.columns, column_path(task.columns.name, task.path)
    here = LocalStore(task.folder)
    if task.rows is None:
        shard = columns.shard(task.path)
        try:
            whole = sha256_hex(here.get(path)) == shard.sha256  # an interrupted pull has left it
        except NotFoundError:
            whole = False
        if not whole:
            refuse_outside(task.store, (path,))
            here.put(path, fetch_columns(task.store, path, shard.sha256))
        return shard
    names = ["key", *(field.name for field in columns.fields)]
    table = shard_values(task.store, columns, task.path, names)
    table = table.filter(to_array(task.rows, pa.bool_()))
    data = write_columns(table, columns.fields)
    here.put(path, data)
    return described(task.path, table, data, columns.fields)


class PulledColumns:
    """The column sets pulled along with what is ``chosen`` of a dataset; sets made for another version are left out."""

    def __init__(self, dataset: Dataset, chosen: tuple[Chosen, ...]) -> None:
        self.sets = tuple(one for one in column_sets(dataset) if fits(one, dataset))
        self._store = store_of(dataset)
        self._rows = {one.entry.path: one.rows for one in chosen}

    @property
    def paths(self) -> list[str]:
        """Every file that will be written."""
        files = [column_path(one.name, path) for one in self.sets for path in self._rows]
        return [*files, *(one.path for one in self.sets), *([COLUMNS_LIST] if self.sets else [])]

    def bring(self, manifest: Manifest, pulled: list[PulledShard], folder: str, executor: Executor) -> dict[str, bytes]:
        """Write the files below ``folder``; returns the documents and their list, for the dataset of this manifest."""
        if not self.sets:
            return {}
        paths = [shard.entry.path for shard in pulled]
        tasks = [
            PullColumnsTask(self._store, columns, path, folder, self._rows[path])
            for columns in self.sets
            for path in paths
        ]
        made = run_all(executor, pull_columns, tasks)
        order = {entry.path: number for number, (_, entry) in enumerate(manifest.shards)}
        files: dict[str, bytes] = {}
        sums: dict[str, str] = {}
        for number, columns in enumerate(self.sets):
            shards = sorted(made[number * len(paths) : (number + 1) * len(paths)], key=lambda one: order[one.path])
            new = ColumnSet(columns.name, manifest.root, columns.fields, tuple(shards))
            files[new.path] = dumps(new)
            sums |= new.files()
        return {**files, COLUMNS_LIST: render_sums(sums)}
