"""How a dataset's columns change: the list of sets, and the files of one set, together or not at all."""

from __future__ import annotations

import os
from shlex import quote
from typing import TYPE_CHECKING

from wdstools.columns.kept import files_of
from wdstools.columns.sets import column_sets, forget_fields, is_of, read_sums
from wdstools.dataset import Dataset, open_dataset
from wdstools.errors import StoreError, UsageError, option
from wdstools.formats.columns import RESERVED, dumps
from wdstools.formats.manifest import COLUMNS_LIST, MANIFEST_PATH
from wdstools.formats.sums import render_sums
from wdstools.landing.inside import refuse_in_the_way, require_here, require_inside
from wdstools.landing.staging import commit, plan_finish, refuse_replaced, staged
from wdstools.stores.kept_files import forget
from wdstools.stores.local import LocalStore
from wdstools.stores.locks import locked_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from wdstools.formats.columns import ColumnSet
    from wdstools.landing.staging import FinishPlan
    from wdstools.options.declare import StrPath


#: What is said of a dataset that lies in no folder here, and what to do.
ELSEWHERE = (
    "columns are added to a dataset in its folder, and removed there",
    "change it there, and mirror it again: columns go along",
)


def require_folder(dataset: Dataset) -> LocalStore:
    """Where a dataset's columns are changed; raises UsageError for one that lies in no folder here."""
    store = dataset.metadata
    message, hint = ELSEWHERE
    if not isinstance(store, LocalStore) or dataset.manifest_key != MANIFEST_PATH:
        raise UsageError(message, where=store.url, expected=f"a folder here with {MANIFEST_PATH}", hint=hint)
    return store


def opened_to_change(dataset: Dataset | StrPath) -> Dataset | FinishPlan:
    """A dataset whose columns are to be changed, or, where another change was cut short, the plan to finish that first.

    Raises UsageError for a dataset that lies in no folder here.
    """
    path = dataset.metadata.url if isinstance(dataset, Dataset) else os.fspath(dataset)
    require_here(path, *ELSEWHERE)
    unfinished = plan_finish(path)
    if unfinished is not None:
        return unfinished
    opened = dataset if isinstance(dataset, Dataset) else open_dataset(path)
    require_folder(opened)
    return opened


def land_set(
    dataset: Dataset, files: Sequence[str], spills: Sequence[str], write: Callable[[str], ColumnSet]
) -> ColumnSet:
    """Add the set whose ``files`` (and passing ``spills``) ``write`` makes in a folder: it is there whole, or not.

    Raises StoreError (``file-in-the-way``), UsageError where its name or a field's was taken meanwhile, and BusyError where
    another process changes the dataset.
    """
    target = require_folder(dataset).path
    require_inside(target, [*files, COLUMNS_LIST])
    message = "files that belong to no set of columns have the names of new files"
    refuse_in_the_way(target, files, message, "move them away, or choose another name")
    with locked_folder(os.path.join(target, ".wdstools"), target):
        refuse_replaced(dataset.metadata, dataset.root)
        with staged(target, (*files, *spills, COLUMNS_LIST)) as work:
            columns = write(work)
            refuse_clashes(dataset, columns.name, [field.name for field in columns.fields])
            stage, listed = LocalStore(work), read_sums(dataset.metadata)
            stage.put(columns.path, dumps(columns))
            stage.put(COLUMNS_LIST, render_sums({**listed, **columns.files()}))
        commit(target, [*columns.files(), COLUMNS_LIST], ())
    forget_fields(dataset)
    return columns


def lines_of(sums: Mapping[str, str], name: str) -> dict[str, str]:
    """What a list says of one set: its files, and the digest of each."""
    return {path: digest for path, digest in sums.items() if is_of(path, name)}


def drop_set(dataset: Dataset, name: str, deleted: Sequence[str], seen: Mapping[str, str]) -> None:
    """Remove a set: its lines from the list, then the files ``deleted``; cut short, the next command goes on.

    ``seen`` are its lines as they were read. Raises StoreError (``dataset-replaced``) where they are others now.
    """
    target = require_folder(dataset).path
    require_inside(target, [*deleted, COLUMNS_LIST])
    with locked_folder(os.path.join(target, ".wdstools"), target):
        listed = read_sums(dataset.metadata)
        mine = lines_of(listed, name)
        if mine != dict(seen):
            raise StoreError(
                "the set of columns has changed since the plan was made",
                code="dataset-replaced",
                where=target,
                got=name,
                hint="run the same command again; nothing was changed",
            )
        left = {path: digest for path, digest in listed.items() if path not in mine}
        gone = [*deleted, *(() if left else (COLUMNS_LIST,))]
        with staged(target, (COLUMNS_LIST,)) as work:
            if left:
                LocalStore(work).put(COLUMNS_LIST, render_sums(left))
        commit(target, [COLUMNS_LIST] if left else [], gone)
    store = LocalStore(target)
    for path in gone:
        store.remove_empty_folders(path)
    for path in files_of(dataset.root, [*mine.values()]):
        forget(path)
    forget_fields(dataset)


def refuse_clashes(dataset: Dataset, name: str, fields: Iterable[str]) -> None:
    """Refuse a set or fields whose name something else has; raises UsageError (``columns-taken``, ``columns-name``)."""
    sets = column_sets(dataset)
    if any(one.name == name for one in sets):
        raise taken(dataset.metadata.url, name)
    owners = {field.name: f"the set {one.name}" for one in sets for field in one.fields}
    owners |= dict.fromkeys(dataset.manifest.members, "a member of the samples")
    owners |= dict.fromkeys(RESERVED, "a column of the index, or a field of batches")
    for field in fields:
        if field in owners:
            raise UsageError(
                "a column has a name that is taken",
                code="columns-name",
                where=field,
                got=owners[field],
                hint=f"rename it in the table, or choose others with {option('fields')}; nothing was changed",
            )


def taken(where: str, name: str) -> UsageError:
    """The error for a name that another set has."""
    return UsageError(
        "a set of columns has this name already",
        code="columns-taken",
        where=where,
        got=name,
        hint=f"choose another name, or remove that one first: wdstools columns rm {quote(where)} {name}",
    )
