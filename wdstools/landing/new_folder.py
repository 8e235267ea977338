"""A new folder that appears whole or not at all; the next run throws away what a killed one left of it."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from wdstools.errors import StoreError
from wdstools.stores.folders import make_folders, remove_tree
from wdstools.stores.local import TEMP_SUFFIX, storage_error, sync_folder
from wdstools.stores.locks import locked_folder

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def new_folder(dest: str) -> Iterator[str]:
    """Give an empty folder to build in, which becomes ``dest`` when the block ends well, and goes away when it raises.

    It lies beside ``dest``, under a name that ends in TEMP_SUFFIX, and is locked: what lies there unlocked is what a
    killed run left, and is thrown away. Everything in it must be durable at the end of the block. Raises StoreError
    (``destination-not-empty``) where ``dest`` exists, and BusyError where another process is making it.
    """
    dest = dest.rstrip("/") or "/"
    work = dest + TEMP_SUFFIX
    _refuse_taken(dest)
    if os.path.islink(work):
        _refuse_taken(work)
    try:
        make_folders(work)
        with locked_folder(work, dest):
            _refuse_taken(dest)  # another one may have finished it meanwhile
            try:
                _empty(work)
                yield work
                os.rename(work, dest)
            except BaseException:
                remove_tree(work, ignore_errors=True)
                raise
        sync_folder(os.path.dirname(os.path.abspath(dest)))
    except OSError as error:
        raise storage_error(error, dest) from error


def _refuse_taken(path: str) -> None:
    if os.path.lexists(path):
        raise StoreError(
            "the place for the new folder is taken",
            code="destination-not-empty",
            where=path,
            hint="choose another place, or move this one away; nothing was changed",
        )


def _empty(folder: str) -> None:
    for entry in list(os.scandir(folder)):
        if entry.is_dir(follow_symlinks=False):
            remove_tree(entry.path)
        else:
            os.unlink(entry.path)
