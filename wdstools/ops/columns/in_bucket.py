"""Columns of a dataset in an object store: files come and go first, and the list of sets last, by which alone they count."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

from wdstools.columns.sets import read_sums
from wdstools.errors import BusyError, NotFoundError, StoreError
from wdstools.formats.columns import dumps
from wdstools.formats.digest import sha256_hex
from wdstools.formats.manifest import COLUMNS_LIST
from wdstools.formats.sums import render_sums
from wdstools.landing.notes import create
from wdstools.stores.base import ABSENT, ANYTHING
from wdstools.stores.local import LocalStore, translated
from wdstools.stores.open import remote

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wdstools.dataset import Dataset
    from wdstools.formats.columns import ColumnSet
    from wdstools.stores.base import RemoteStore


def land_in_bucket(
    dataset: Dataset,
    write: Callable[[str], ColumnSet],
    refuse: Callable[[ColumnSet], None],
    require: Callable[[dict[str, str]], dict[str, str]],
) -> ColumnSet:
    """Store the set that ``write`` makes in a folder here.

    Until the list names it there is none. What a killed run has stored is taken for what it is: the same bytes, or something
    in the way. ``require`` looks at the list as it is, and ``refuse`` raises where its name was taken meanwhile. Raises StoreError (``file-in-the-way``), and BusyError where
    another process changes the list at the same time.
    """
    store = remote(dataset.metadata)
    with translated(tempfile.gettempdir()), tempfile.TemporaryDirectory(prefix="wdstools-") as work:
        columns = write(work)
        made = LocalStore(work)
        made.put(columns.path, dumps(columns))
        version = _version(store)
        listed = require(read_sums(store))
        refuse(columns)
        for path, digest in columns.files().items():
            _create(store, path, digest, made)
        _change(store, version, {**listed, **columns.files()})
    return columns


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
    left = require(read_sums(store))
    for path in sorted(deleted, key=lambda path: (path.endswith(".json"), path)):
        if _version(store) != version:
            raise _busy(store)
        _delete(store, path)
    _change(store, version, left)


def _create(store: RemoteStore, path: str, digest: str, made: LocalStore) -> None:
    file = made.locate(path)
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
        raise StoreError(
            "a file that belongs to no set of columns has the name of a new one",
            code="file-in-the-way",
            where=f"{store.url}/{path}",
            hint="move it away, or choose another name; the dataset is as it was",
        ) from None
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
        raise _busy(store)
    try:
        store.put_data(COLUMNS_LIST, data, only_if=version)
    except StoreError as error:
        if error.code in ("object-exists", "object-changed"):
            raise _busy(store) from None
        if error.code != "store-cannot":
            raise
        store.put_data(COLUMNS_LIST, data, only_if=ANYTHING)
    if sha256_hex(render_sums(read_sums(store))) != sha256_hex(data):
        raise _busy(store)


def _busy(store: RemoteStore) -> BusyError:
    return BusyError(
        "another process is changing the columns of this dataset",
        where=f"{store.url}/{COLUMNS_LIST}",
        hint="run the same command again",
    )


def _delete(store: RemoteStore, path: str) -> None:
    try:
        store.delete(path)
    except NotFoundError:
        return
