"""Bring added columns that the same dataset has elsewhere and lacks here, when a pull is repeated."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

from wdstools.columns.sets import column_sets, fits, store_of
from wdstools.errors import UsageError
from wdstools.executors.base import run_all
from wdstools.formats.columns import column_path, dumps, set_path
from wdstools.ops.columns.land import land_set, refuse_clashes
from wdstools.progress import under_way
from wdstools.transfer.columns import PullColumnsTask, pull_columns

if TYPE_CHECKING:
    from wdstools.dataset import Dataset
    from wdstools.executors.base import Executor
    from wdstools.formats.columns import ColumnSet
    from wdstools.progress import Progress


def missing_sets(source: Dataset, here: Dataset) -> tuple[ColumnSet, ...]:
    """The sets of ``source`` that ``here``, the same dataset, lacks; sets made for another version are not included.

    Raises UsageError (``columns-taken``) if a set here has the same name and other values, and as ``refuse_clashes``.
    """
    mine = {one.name: one for one in column_sets(here)}
    missing = []
    for one in column_sets(source):
        if not fits(one, source):
            continue
        if one.name not in mine:
            refuse_clashes(here, one.name, [field.name for field in one.fields])
            missing.append(one)
        elif dumps(mine[one.name]) != dumps(one):
            raise UsageError(
                "the set of columns here has other values than the one of the same name there",
                code="columns-taken",
                where=f"{here.metadata.url}/{set_path(one.name)}",
                got=one.name,
                hint=f"wdstools columns rm {quote(here.metadata.url)} {one.name}    then pull again; nothing was changed",
            )
    return tuple(missing)


def bring_sets(source: Dataset, here: Dataset, executor: Executor, progress: Progress) -> tuple[tuple[str, ...], int]:
    """Bring the sets that are missing here, each whole or not at all; returns their names and their total size in bytes.

    Raises as ``missing_sets`` and ``land_set``, FormatError (``columns-damaged``), and StoreError.
    """
    store = store_of(source)
    missing = missing_sets(source, here)
    for one in missing:
        files = (*(column_path(one.name, shard.path) for shard in one.shards), one.path)

        def write(work: str, one: ColumnSet = one) -> ColumnSet:
            tasks = [PullColumnsTask(store, one, shard.path, work, None) for shard in one.shards]
            with under_way(progress, "pull columns", len(tasks), "files") as tick:
                for _ in run_all(executor, pull_columns, tasks):
                    tick(1)
            return one

        land_set(here, one.name, files, (), write, {})
    return tuple(one.name for one in missing), sum(one.bytes for one in missing)
