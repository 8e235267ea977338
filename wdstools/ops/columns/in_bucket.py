"""Columns of a dataset in an object store: only what the list of sets names counts, whatever else is there.

The files of a new set are stored first, and the list last. The files of a set's next version wait under their digests
(``columns.waiting``) until the list, replaced in one request, names them; then they are moved into place (``moving``).
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from wdstools.columns.sets import read_sums
from wdstools.errors import BusyError, NotFoundError, StoreError
from wdstools.executors.base import run_all
from wdstools.formats.columns import COLUMNS_WAITING, set_of, waiting_path
from wdstools.formats.digest import sha256_hex
from wdstools.formats.manifest import COLUMNS_LIST
from wdstools.formats.sums import render_sums
from wdstools.landing.notes import create
from wdstools.ops.columns.landing import Landing
from wdstools.ops.columns.moving import (
    MoveTask,
    busy,
    clear_gone,
    clear_waiting,
    in_the_way,
    left_waiting,
    let_wait,
    look_at_place,
    move_all,
    note_gone,
)
from wdstools.ops.columns.ours import Ours, left_in_place
from wdstools.stores.base import ABSENT, ANYTHING
from wdstools.stores.open import remote
from wdstools.stores.reading import sha256_there

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from wdstools.dataset import Dataset
    from wdstools.executors.base import Executor
    from wdstools.formats.columns import ColumnSet
    from wdstools.stores.base import RemoteStore
    from wdstools.stores.local import LocalStore


def land_in_bucket(
    dataset: Dataset,
    columns: ColumnSet,
    made: LocalStore,
    seen: Mapping[str, str],
    executor: Executor,
    require: Callable[[dict[str, str]], dict[str, str]],
) -> None:
    """Store a set whose new files are in ``made``, or already wait in the store; ``seen`` are the lines of the set it replaces.

    A run that is killed leaves the old set, none, or the new one. What a killed run of ours has stored, according to its
    notes, is used if it is whole, and replaced if not; anything else is in the way. ``require`` checks the current list
    and returns it. Raises StoreError (``file-in-the-way``), and BusyError if another process changes the list meanwhile.
    """
    store, name = remote(dataset.metadata), columns.name
    version = _version(store)
    listed = require(read_sums(store))
    files = columns.files()
    sums = {path: digest for path, digest in listed.items() if path not in seen} | files
    new = {path: digest for path, digest in files.items() if seen.get(path) != digest}
    here = [path for path in new if os.path.lexists(made.locate(path))]
    waiting, ours = left_waiting(store, {name}), Ours.of(store, name)
    in_place = left_in_place(store, name, listed)
    spoiled = _spoiled(ours, in_place, new)
    landing = Landing(store, columns, frozenset(new), frozenset(here), made)
    fresh = {path: digest for path, digest in new.items() if path not in listed and path not in in_place}
    if not seen and len(here) == len(files) and not spoiled:
        noted = ours.note(fresh)
        for path, digest in files.items():
            _create(ours, path, digest, made, noted)
        _list_new(landing, ours, version, sums)
        _clear(ours, waiting, sums)
        return
    tasks = [MoveTask(store, (path,), digest, spoiled.get(path, seen.get(path, ""))) for path, digest in new.items()]
    run_all(executor, look_at_place, tasks)
    coming = {waiting_path(path, new[path]): new[path] for path in here}
    ours.note(fresh | {key: digest for key, digest in coming.items() if key not in waiting})
    for path, digest in new.items():
        if path in here:
            let_wait(ours, path, digest, made.locate(path))
        elif waiting_path(path, digest) not in waiting:
            raise busy(store)
    note_gone(store, name, {path: digest for path, digest in seen.items() if path not in files})
    # files that replace nothing are in place before the list names them
    first = {} if seen else {path: digest for path, digest in new.items() if path not in spoiled}
    move_all(store, first, executor, first=True)
    if seen:
        landing.require_there(waits=new)
        _change(store, version, sums)
    else:
        _list_new(landing, ours, version, sums, waits=[path for path in new if path not in first])
    move_all(store, {path: digest for path, digest in new.items() if path not in first}, executor, first=False)
    clear_gone(store, name, sums)
    _clear(ours, {*waiting, *(waiting_path(path, digest) for path, digest in first.items())}, {**sums, **seen})


def _list_new(landing: Landing, ours: Ours, version: str, sums: Mapping[str, str], waits: Collection[str] = ()) -> None:
    """Add a new set to the list, if all of it is there and nobody takes it away before or just after that.

    A process that removes unfinished work deletes the notes first, then reads the list, then deletes the files. So either
    it sees our list, or we see that the notes are gone, and take the set out of the list again.
    """
    notes = [*ours.notes()]
    landing.require_there(waits)
    _change(landing.store, version, sums)
    try:
        landing.require_there(waits, notes)
    except BusyError:
        _take_back(landing.store, landing.columns.files())
        raise


def _take_back(store: RemoteStore, files: Mapping[str, str]) -> None:
    """Take a set out of the list again, even while others change the list."""
    for _ in range(3):
        version, listed = _version(store), read_sums(store)
        if any(listed.get(path) != digest for path, digest in files.items()):
            return
        with contextlib.suppress(BusyError):
            _change(store, version, {path: digest for path, digest in listed.items() if path not in files})


def _spoiled(ours: Ours, in_place: Sequence[str], new: Mapping[str, str]) -> dict[str, str]:
    """Files of ours with other bytes, left by a killed run in the places of ``new`` ones, with the digests that they have."""
    named = ours.named() if in_place else {}
    there = {path: sha256_there(ours.store, path) for path in in_place if path in new and path in named}
    return {path: digest for path, digest in there.items() if digest not in ("", new[path])}


def _clear(ours: Ours, waiting: Iterable[str], sums: Mapping[str, str]) -> None:
    """Delete what need not wait any more, and what an earlier run of ours left; then our notes."""
    clear_waiting(ours, waiting)
    if left := left_in_place(ours.store, ours.name, sums):
        ours.delete(left)
    ours.forget()


def drop_in_bucket(
    dataset: Dataset, deleted: Sequence[str], require: Callable[[dict[str, str]], dict[str, str]]
) -> None:
    """Delete the files of a set, its document last, then take the set out of the list, which stays even if it is empty.

    ``require`` checks the current list and returns what is left of it. As long as the list names the set, nobody can add
    it again, so no other set's file is deleted; an interrupted removal shows as damage, and the same command finishes it.
    Raises BusyError if another process changes the list meanwhile.
    """
    store = remote(dataset.metadata)
    version = _version(store)
    before = read_sums(store)
    sums = require(before)
    names = {set_of(path) for path in deleted}
    left = left_waiting(store, names)
    for path in sorted(deleted, key=lambda path: (path.endswith(".json"), path)):
        if _version(store) != version:
            raise busy(store)
        with contextlib.suppress(NotFoundError):
            store.delete(path)
    _change(store, version, sums)
    for name in names:
        clear_gone(store, name, sums)
        _clear(Ours.of(store, name), [key for key in left if key.startswith(f"{COLUMNS_WAITING}{name}/")], before)


def drop_waiting(
    dataset: Dataset, name: str, deleted: Sequence[str], require: Callable[[dict[str, str]], dict[str, str]]
) -> None:
    """Delete files that were stored for a set that was never finished, and their notes. Raises as ``drop_in_bucket``.

    The notes are renamed first: a process that is storing the set sees that, and a killed removal can be resumed.
    """
    store = remote(dataset.metadata)
    version = _version(store)
    sums = require(read_sums(store))
    ours = Ours.of(store, name)
    notes = ours.notes()
    mine = set(ours.removable(deleted))
    kept = ours.renote()
    for key in deleted:
        if key in notes:
            continue
        if _version(store) != version:
            raise busy(store)
        clear_waiting(ours, [key])
        if key in mine:
            with contextlib.suppress(NotFoundError):
                store.delete(key)
    there = [*left_waiting(store, {name}), *left_in_place(store, name, sums)]
    if not ours.removable(there):
        ours.forget(kept)


def _create(ours: Ours, path: str, digest: str, made: LocalStore, noted: Sequence[str]) -> None:
    """Store a file in its place; anything that appeared there after it was ``noted`` is not ours."""
    file, store = made.locate(path), ours.store
    try:
        create(
            store,
            path,
            digest,
            lambda only_if: store.put_file(path, file, {"sha256": digest}, only_if=only_if),
            conditions=True,
        )
    except StoreError as error:
        if error.code != "scratch-not-ours":
            raise
        ours.forget(noted)
        raise in_the_way(store, path) from None
    os.unlink(file)


def _version(store: RemoteStore) -> str:
    """The ETag of the list."""
    try:
        return store.head(COLUMNS_LIST).etag
    except NotFoundError:
        return ABSENT


def _change(store: RemoteStore, version: str, sums: Mapping[str, str]) -> None:
    """Replace the list if it is still of that version: by a conditional request if the store has them, and by a check."""
    data = render_sums(dict(sums))
    if _version(store) != version:
        raise busy(store)
    try:
        store.put_data(COLUMNS_LIST, data, only_if=version)
    except StoreError as error:
        if error.code in ("object-exists", "object-changed"):
            raise busy(store) from None
        if error.code != "store-cannot":
            raise
        store.put_data(COLUMNS_LIST, data, only_if=ANYTHING)
    if sha256_hex(render_sums(read_sums(store))) != sha256_hex(data):
        raise busy(store)
