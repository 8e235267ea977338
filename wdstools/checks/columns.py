"""Check columns that were added to a dataset: their list, each document, and each file against the index of its shard.

At level size, only the size of each file is checked. At all other levels it is read, as an index is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wdstools.columns.sets import each_set, fits, read_sums, store_of
from wdstools.columns.waiting import waiting_file
from wdstools.errors import FormatError, NotFoundError, StoreError
from wdstools.formats.arrow import one_chunk
from wdstools.formats.column_files import MAX_COLUMNS_BYTES, read_columns
from wdstools.formats.columns import column_path, is_column_file, set_of, set_path
from wdstools.formats.digest import sha256_hex
from wdstools.formats.manifest import COLUMNS_LIST
from wdstools.results import Finding
from wdstools.stores.local import LocalStore
from wdstools.stores.reading import get_whole
from wdstools.units import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wdstools.dataset import Dataset
    from wdstools.executors.base import Tick
    from wdstools.formats.columns import ColumnSet, ColumnShard
    from wdstools.formats.manifest import ShardEntry
    from wdstools.stores.base import Store

#: What to do about any of it.
_AGAIN = "repair it from a copy, or remove the set and add it again"


@dataclass(frozen=True, slots=True)
class ColumnsCheckTask:
    """The file of a set for one shard."""

    dataset: Dataset
    store: Store
    columns: ColumnSet
    entry: ShardEntry
    level: str

    @property
    def name(self) -> str:
        """The file, with the SHA-256 that it should have."""
        shard = self.columns.shard(self.entry.path)
        return f"{column_path(self.columns.name, self.entry.path)}#{shard.sha256}"


@dataclass(frozen=True, slots=True)
class KnownSets:
    """The sets that can be checked, and their store; the findings about their list and documents.

    ``unproved``: if a remote list cannot be read, it is unknown which sets exist. Only "not found" means that there are
    none.
    """

    store: Store
    sets: tuple[ColumnSet, ...] = ()
    findings: tuple[Finding, ...] = ()
    unproved: tuple[str, ...] = ()


def known_sets(dataset: Dataset) -> KnownSets:
    """Find the sets of a dataset."""
    store = dataset.metadata
    findings: list[Finding] = []
    try:
        store = store_of(dataset)
        sums = read_sums(store)
    except FormatError as error:
        found = Finding("columns", COLUMNS_LIST, error.message, got=error.got or None, cause=error.code)
        return KnownSets(store, findings=(found,))
    except StoreError as error:
        if all(isinstance(one, LocalStore) for one in (dataset.metadata, dataset.shards)):
            found = Finding("unreadable", COLUMNS_LIST, error.message, got=error.code, cause=error.code)
            return KnownSets(store, findings=(found,))
        return KnownSets(store, unproved=(unread(store, COLUMNS_LIST, error),))
    sets = []
    for name, columns in each_set(store, sums):
        path = set_path(name)
        if isinstance(columns, NotFoundError):
            message = f"the document of added columns is missing; {_AGAIN}"
            findings.append(Finding("missing", path, message, expected=sums[path], cause="file-missing"))
            continue
        if isinstance(columns, FormatError | StoreError):
            found = Finding("columns", path, f"{columns.message}; {_AGAIN}", cause=columns.code)
            findings.append(found)
            continue
        if not fits(columns, dataset):
            message = "these columns were made for another version of the dataset; remove the set, and add it again"
            findings.append(
                Finding("columns", path, message, expected=dataset.root, got=columns.root, cause="columns-of-another")
            )
            continue
        findings += _lines(columns, sums)
        sets.append(columns)
    return KnownSets(store, tuple(sets), (*findings, *_stray(sets, sums)))


def _stray(sets: Sequence[ColumnSet], sums: dict[str, str]) -> list[Finding]:
    """Lines of the list that belong to no set: the files they name are not checked."""
    own = {path for columns in sets for path in columns.files()}
    whole = {columns.name for columns in sets}
    stray = [
        path
        for path in sums.keys() - own
        if not is_column_file(path) or set_of(path) in whole or set_path(set_of(path)) not in sums
    ]
    if not stray:
        return []
    message = (
        f"the list of columns has {counted(len(stray), 'line')} of no set; delete what none of its documents names"
    )
    return [Finding("columns", COLUMNS_LIST, message, cause="list-form", field=min(stray))]


def unread(store: Store, path: str, error: StoreError) -> str:
    """The note about a remote list that cannot be read: nothing that it names was checked."""
    return f"{error.where or f'{store.url}/{path}'}: {error.message} ({error.code})"


def _lines(columns: ColumnSet, sums: dict[str, str]) -> list[Finding]:
    """Where the list and a document disagree about a file."""
    found = []
    for path, digest in columns.files().items():
        if sums.get(path) != digest:
            got = sums.get(path)
            if got is None:
                cause, message = "line-missing", f"the list of columns has no line for {path}"
            else:
                cause = "line-differs"
                message = f"the list of columns has another digest for {path} than the document"
            found.append(Finding("columns", COLUMNS_LIST, message, expected=digest, got=got, cause=cause, field=path))
    return found


def columns_tasks(
    dataset: Dataset, known: KnownSets, level: str, shards: Sequence[tuple[str, ShardEntry]]
) -> list[ColumnsCheckTask]:
    """A task for each file of some shards."""
    return [
        ColumnsCheckTask(dataset, known.store, columns, entry, level) for columns in known.sets for _, entry in shards
    ]


def check_columns(task: ColumnsCheckTask, tick: Tick) -> tuple[Finding, ...]:
    """Check one file: its bytes, its form, its rows against the index, and what the document says about them.

    If the new version of a file is listed but still waits to be moved into place, the finding says so: nothing is lost.
    """
    found = _check(task, tick)
    if not found or found[0].cause not in ("file-missing", "bytes-differ"):
        return found
    path, shard = found[0].path, task.columns.shard(task.entry.path)
    if waiting_file(task.store, path, shard.sha256, MAX_COLUMNS_BYTES) is None:
        return found
    message = (
        "a change of these columns was interrupted before this file was moved into place; run the same command again"
    )
    return (Finding("columns", path, message, expected=shard.sha256, cause="change-unfinished"),)


def _check(task: ColumnsCheckTask, tick: Tick) -> tuple[Finding, ...]:
    columns, entry = task.columns, task.entry
    path = column_path(columns.name, entry.path)
    shard = columns.shard(entry.path)
    try:
        if task.level == "size":
            return _size(shard, path, task.store.head(path).bytes)
        data = get_whole(task.store, path, MAX_COLUMNS_BYTES)
    except NotFoundError:
        message = f"a file of added columns is missing; {_AGAIN}"
        return (Finding("missing", path, message, expected=shard.sha256, cause="file-missing"),)
    except (StoreError, FormatError) as error:
        return (Finding("unreadable", path, error.message, got=error.code, cause=error.code),)
    finally:
        tick(shard.bytes)
    got = sha256_hex(data)
    if got != shard.sha256:
        message = f"the bytes are not those that were written; {_AGAIN}"
        return (Finding("columns", path, message, expected=shard.sha256, got=got, cause="bytes-differ"),)
    return _rows(task, shard, path, data)


def _size(shard: ColumnShard, path: str, size: int) -> tuple[Finding, ...]:
    """Whether a file has the size it was written with."""
    if size == shard.bytes:
        return ()
    message = f"a file of added columns does not have the size it was written with; {_AGAIN}"
    expected, got = (f"{count} bytes" for count in (shard.bytes, size))
    return (Finding("columns", path, message, expected=expected, got=got, cause="bytes-differ"),)


def _rows(task: ColumnsCheckTask, shard: ColumnShard, path: str, data: bytes) -> tuple[Finding, ...]:
    """Whether rows match the index and the document."""
    columns = task.columns
    names = [field.name for field in columns.fields]
    try:
        table = read_columns(data, columns, shard, ["key", *names], where=path)
    except FormatError as error:
        return (Finding("columns", path, f"{error.message}; {_AGAIN}", cause=error.code),)
    try:
        keys = one_chunk(task.dataset.index(task.entry).column("key"))
    except (FormatError, StoreError):
        keys = None  # the index has its own finding
    if keys is not None and not one_chunk(table.column("key")).equals(keys):
        message = f"the keys do not match the index; {_AGAIN}"
        return (Finding("columns", path, message, cause="keys-differ"),)
    nulls = tuple(table.column(name).null_count for name in names)
    if nulls != shard.nulls or len(data) != shard.bytes:
        message = f"its document states another length or number of missing values; {_AGAIN}"
        expected, got = (
            f"{size} bytes, {count} nulls" for size, count in ((shard.bytes, shard.nulls), (len(data), nulls))
        )
        return (Finding("columns", columns.path, message, expected=expected, got=got, cause="field-wrong"),)
    return ()
