"""Columns of a dataset in an object store: the list of sets names what counts, whatever else lies there.

The files of a new set come first, and the list last. Those of a set's next version wait under their digests (``columns.waiting``)
until the list, replaced in one piece, names them; then they are moved to their places (``moving``).
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
    """Store a set whose new files lie in ``made``, or wait in the store already; ``seen`` are the lines of the one that it replaces.

    Whoever is killed leaves the old set, or none, or the new one. What a killed run of ours has stored, as its notes say, is
    taken if it is whole, and else replaced; anything else is in the way. ``require`` looks at the list as it is, and gives it. Raises StoreError
    (``file-in-the-way``), and BusyError where another process changes the list at the same time.
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
    # what takes no other's place is there before the list names it
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
    """Have the list name a set that it did not name, if all of it is there, and before and after nobody took it away.

    Who removes what was begun takes the notes first, then looks at the list, then takes the files: so either he sees the list
    or we see that the notes are gone, and take the set out of the list again.
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
    """Take a set out of the list again, which others may change at the same time."""
    for _ in range(3):
        version, listed = _version(store), read_sums(store)
        if any(listed.get(path) != digest for path, digest in files.items()):
            return
        with contextlib.suppress(BusyError):
            _change(store, version, {path: digest for path, digest in listed.items() if path not in files})


def _spoiled(ours: Ours, in_place: Sequence[str], new: Mapping[str, str]) -> dict[str, str]:
    """Files of ours that a killed run left in the places of ``new`` ones and that are others, with the digests that they have."""
    named = ours.named() if in_place else {}
    there = {path: sha256_there(ours.store, path) for path in in_place if path in new and path in named}
    return {path: digest for path, digest in there.items() if digest not in ("", new[path])}


def _clear(ours: Ours, waiting: Iterable[str], sums: Mapping[str, str]) -> None:
    """Take away what waits no more, and what an earlier run of ours left; then our notes."""
    clear_waiting(ours, waiting)
    if left := left_in_place(ours.store, ours.name, sums):
        ours.delete(left)
    ours.forget()


def drop_in_bucket(
    dataset: Dataset, deleted: Sequence[str], require: Callable[[dict[str, str]], dict[str, str]]
) -> None:
    """Take the files of a set away, its document last, then the set out of the list, which stays, if empty.

    ``require`` looks at the list as it is and gives what is left of it. While the list names the set nobody can add it anew, so
    no file of another goes; and what is cut short is seen as damage, and removed by the same command. Raises BusyError
    where another process changes the list at the same time.
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
    """Take files away that were stored for a set which never came, and the notes of them. Raises as ``drop_in_bucket``.

    The notes go first, for ones of other names: whoever is storing the set sees that, and a killed removal is gone on with.
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
    """Store a file in its place; what came there since it was ``noted`` is not ours."""
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
    """Replace the list if it still is of that version: by a condition where the store knows one, and by a look."""
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
