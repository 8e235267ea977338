"""Change a dataset's columns: the list of sets and the files of one set, together or not at all."""

from __future__ import annotations

import os
import tempfile
from shlex import quote
from typing import TYPE_CHECKING

from wdstools.columns.kept import files_of
from wdstools.columns.sets import column_sets, forget_fields, is_of, read_sums
from wdstools.dataset import Dataset, open_dataset
from wdstools.errors import StoreError, UsageError, option
from wdstools.executors.open import executor_or_here
from wdstools.formats.columns import RESERVED, dumps
from wdstools.formats.manifest import COLUMNS_LIST, MANIFEST_PATH
from wdstools.formats.sums import render_sums
from wdstools.landing.inside import refuse_in_the_way, require_here, require_inside
from wdstools.landing.staging import commit, plan_finish, refuse_replaced, staged
from wdstools.ops.columns.in_bucket import drop_in_bucket, drop_waiting, land_in_bucket
from wdstools.ops.columns.moving import plan_moving
from wdstools.stores.kept_files import forget
from wdstools.stores.local import LocalStore, translated
from wdstools.stores.locks import locked_folder
from wdstools.stores.open import is_bucket
from wdstools.stores.reading import sha256_there

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from wdstools.executors.base import Executor
    from wdstools.formats.columns import ColumnSet
    from wdstools.landing.staging import FinishPlan
    from wdstools.options.declare import StrPath
    from wdstools.stores.base import Store


#: The message for a dataset that is neither in a local folder nor in a bucket, and its hint.
ELSEWHERE = (
    "columns can only be added or removed where the dataset is in a folder or bucket",
    "change it there, then mirror it again: columns are mirrored, too",
)


def require_folder(dataset: Dataset) -> LocalStore:
    """The folder of a dataset; raises UsageError if it is not in a local folder."""
    store = dataset.metadata
    message, hint = ELSEWHERE
    if not isinstance(store, LocalStore) or dataset.manifest_key != MANIFEST_PATH:
        raise UsageError(message, where=store.url, expected=f"a folder here with {MANIFEST_PATH}", hint=hint)
    return store


def require_changeable(dataset: Dataset) -> Store:
    """Where to change a dataset's columns; raises UsageError for one on a web server, and for a manifest alone."""
    if not is_bucket(dataset.metadata.url) or dataset.manifest_key != MANIFEST_PATH:
        return require_folder(dataset)
    return dataset.metadata


def opened_to_change(dataset: Dataset | StrPath) -> Dataset | FinishPlan:
    """The dataset whose columns to change or, if an earlier change was interrupted, the plan to finish that first.

    Raises UsageError for a dataset whose columns cannot be changed where it is.
    """
    path = dataset.metadata.url if isinstance(dataset, Dataset) else os.fspath(dataset)
    if is_bucket(path):
        opened = dataset if isinstance(dataset, Dataset) else open_dataset(path)
        require_changeable(opened)
        return plan_moving(opened) or opened
    require_here(path, *ELSEWHERE)
    unfinished = plan_finish(path)
    if unfinished is not None:
        return unfinished
    opened = dataset if isinstance(dataset, Dataset) else open_dataset(path)
    require_folder(opened)
    return opened


def land_set(
    dataset: Dataset,
    name: str,
    files: Sequence[str],
    spills: Sequence[str],
    write: Callable[[str], ColumnSet],
    seen: Mapping[str, str],
    *,
    executor: Executor | None = None,
) -> ColumnSet:
    """Add the set ``name``: ``write`` makes its ``files`` (and temporary ``spills``) in a folder; all or nothing lands.

    ``seen`` are the lines of the set that it replaces, as they were read; files that ``write`` does not make stay as they
    are. In an object store, ``executor`` moves what ``write`` made or what already waits there. Raises StoreError
    (``file-in-the-way``, and ``dataset-replaced`` if the lines have changed), UsageError if its name or that of a field
    has been taken meanwhile, and BusyError if another process is changing the dataset.
    """
    if not isinstance(require_changeable(dataset), LocalStore):
        return _land_there(dataset, name, write, seen, executor_or_here(executor))
    store = require_folder(dataset)
    target = store.path
    require_inside(target, [*files, *seen, COLUMNS_LIST])
    with locked_folder(os.path.join(target, ".wdstools"), target):
        refuse_replaced(dataset.metadata, dataset.root)
        listed = _refuse_changed(target, read_sums(store), name, seen)
        there = [path for path in {**dict.fromkeys(files), **seen} if os.path.lexists(os.path.join(target, path))]
        others = {
            path for path in there if path not in seen or (_is_values(path) and sha256_there(store, path) != seen[path])
        }
        message = "files that do not belong to any set of columns have the names of new files"
        in_the_way = sorted(others.intersection(files))
        refuse_in_the_way(target, in_the_way, message, "move them away, or choose another name")
        with staged(target, (*files, *spills, COLUMNS_LIST)) as work:
            columns = write(work)
            refuse_clashes(dataset, name, [field.name for field in columns.fields])
            stage, made = LocalStore(work), columns.files()
            stage.put(columns.path, dumps(columns))
            stage.put(COLUMNS_LIST, render_sums({path: listed[path] for path in listed.keys() - seen.keys()} | made))
            moved = [path for path in (*made, COLUMNS_LIST) if os.path.lexists(os.path.join(work, path))]
        gone = [path for path in there if path not in made and path not in others]
        commit(target, moved, gone)
    _tidy(dataset, gone, [digest for digest in seen.values() if digest not in made.values()])
    return columns


def _land_there(
    dataset: Dataset, name: str, write: Callable[[str], ColumnSet], seen: Mapping[str, str], executor: Executor
) -> ColumnSet:
    """``land_set`` in an object store."""
    with translated(tempfile.gettempdir()), tempfile.TemporaryDirectory(prefix="wdstools-") as work:
        columns = write(work)

        def as_it_is(listed: dict[str, str]) -> dict[str, str]:
            refuse_replaced(dataset.metadata, dataset.root)
            refuse_clashes(dataset, name, [field.name for field in columns.fields])
            return _refuse_changed(dataset.metadata.url, listed, name, seen)

        made = LocalStore(work)
        made.put(columns.path, dumps(columns))
        land_in_bucket(dataset, columns, made, seen, executor, as_it_is)
    _forget(dataset, [digest for digest in seen.values() if digest not in columns.files().values()])
    return columns


def _is_values(path: str) -> bool:
    """Whether a file of a set holds values. A damaged document still belongs to the set."""
    return path.endswith(".parquet")


def _refuse_changed(where: str, listed: dict[str, str], name: str, seen: Mapping[str, str]) -> dict[str, str]:
    """The current list of sets; raises StoreError (``dataset-replaced``) if its lines about this set have changed."""
    if lines_of(listed, name) == dict(seen):
        return listed
    if not seen:
        raise taken(where, name)
    raise StoreError(
        "the set of columns has changed since the plan was made",
        code="dataset-replaced",
        where=where,
        got=name,
        hint="run the same command again; nothing was changed",
    )


def _tidy(dataset: Dataset, gone: Sequence[str], digests: Sequence[str]) -> None:
    """Remove empty folders, and cached copies of files with these digests."""
    for path in gone:
        require_folder(dataset).remove_empty_folders(path)
    _forget(dataset, digests)


def _forget(dataset: Dataset, digests: Sequence[str]) -> None:
    """Drop cached copies of files with these digests, and what the dataset object knows about its sets."""
    for path in files_of(dataset.root, digests):
        forget(path)
    forget_fields(dataset)


def lines_of(sums: Mapping[str, str], name: str) -> dict[str, str]:
    """The lines of one set: its files, and the digest of each."""
    return {path: digest for path, digest in sums.items() if is_of(path, name)}


def drop_set(dataset: Dataset, name: str, deleted: Sequence[str], seen: Mapping[str, str]) -> None:
    """Remove a set: its lines from the list, then the files ``deleted``; if interrupted, the next command goes on.

    ``seen`` are its lines as they were read: none for an unfinished set, which has waiting files only. Raises StoreError
    (``dataset-replaced``) if they have changed.
    """
    if not isinstance(require_changeable(dataset), LocalStore):

        def left_of(listed: dict[str, str]) -> dict[str, str]:
            listed = _refuse_changed(dataset.metadata.url, listed, name, seen)
            return {path: digest for path, digest in listed.items() if path not in seen}

        if not seen:
            drop_waiting(dataset, name, deleted, left_of)
            return
        drop_in_bucket(dataset, deleted, left_of)
        _forget(dataset, [*seen.values()])
        return
    store = require_folder(dataset)
    target = store.path
    require_inside(target, [*deleted, COLUMNS_LIST])
    with locked_folder(os.path.join(target, ".wdstools"), target):
        listed = _refuse_changed(target, read_sums(store), name, seen)
        left = {path: digest for path, digest in listed.items() if path not in seen}
        gone = [*deleted, *(() if left else (COLUMNS_LIST,))]
        with staged(target, (COLUMNS_LIST,)) as work:
            if left:
                LocalStore(work).put(COLUMNS_LIST, render_sums(left))
        commit(target, [COLUMNS_LIST] if left else [], gone)
    _tidy(dataset, gone, [*seen.values()])


def refuse_clashes(dataset: Dataset, name: str, fields: Iterable[str]) -> None:
    """Refuse fields whose name is taken by anything but the set of this name; raises UsageError (``columns-name``)."""
    sets = column_sets(dataset, but=name)
    owners = {field.name: f"the set {one.name}" for one in sets for field in one.fields}
    owners |= dict.fromkeys(dataset.manifest.members, "a member of the samples")
    owners |= dict.fromkeys(RESERVED, "a column of the index, or a field of batches")
    for field in fields:
        if field in owners:
            raise UsageError(
                "the name of a column is taken",
                code="columns-name",
                where=field,
                got=owners[field],
                hint=f"rename it in the table, or choose others with {option('fields')}; nothing was changed",
            )


def taken(where: str, name: str) -> UsageError:
    """The error for a name that another set has."""
    return UsageError(
        "there is already a set of columns with this name",
        code="columns-taken",
        where=where,
        got=name,
        hint="choose another name, or say what to do with that set: "
        f"{option('existing', 'replace')}, update or fill; wdstools columns rm {quote(where)} {name} removes it",
    )
