"""What unfinished work has made from a dataset's samples: columns that are being computed, files of killed runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wdstools.formats.digest import sha256_hex
from wdstools.landing.journal import Journal
from wdstools.landing.scratch import Scratch, is_marked
from wdstools.stores.abilities import TEMP_SUFFIX
from wdstools.stores.folders import walk
from wdstools.user_cache import cache_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wdstools.stores.base import Store
    from wdstools.stores.local import LocalStore

#: Below a dataset: a scratch place for each set of columns that is being computed, and its journal.
COMPUTING, JOURNAL = ".wdstools/computing", "journal.jsonl"


def computing_place(root: str, name: str) -> str:
    """Where a set of columns of a dataset is computed."""
    return os.path.join(root, COMPUTING, name)


def computing_elsewhere(store: Store, name: str) -> str:
    """Where, in this user's cache, the computing of a set of a dataset in an object store is recorded."""
    return os.path.join(cache_folder(), "computing", sha256_hex(store.url.encode())[:32], name)


def computing(store: LocalStore) -> tuple[str, ...]:
    """The sets of columns that somebody has begun to compute."""
    folder = store.locate(COMPUTING)
    if os.path.islink(folder) or not os.path.isdir(folder):
        return ()
    places = {name: os.path.join(folder, name) for name in sorted(os.listdir(folder))}
    return tuple(name for name, place in places.items() if not os.path.islink(place) and is_marked(place))


def forget_computing(root: str, name: str) -> None:
    """Remove what has been computed of a set so far: it is for the old version.

    Raises BusyError if somebody is computing it, and StoreError (``scratch-not-ours``) if other files are in its place.
    """
    with Scratch(computing_place(root, name), f"{root}, columns {name}", (JOURNAL,)) as scratch:
        scratch.remove()
    remove_if_empty(os.path.join(root, COMPUTING))


def remove_if_empty(folder: str) -> None:
    """Remove a folder if it is empty."""
    if os.path.isdir(folder) and not os.listdir(folder):
        os.rmdir(folder)


def left_by_the_killed(store: LocalStore) -> Iterator[str]:
    """Partial files, and an unfinished dataset next to this one: there is no telling which samples they hold."""
    for folder, _, names in walk(store.path):
        below = os.path.relpath(folder, store.path)
        for name in names:
            if name.endswith(TEMP_SUFFIX) and not below.startswith(COMPUTING):
                yield f"{os.path.normpath(os.path.join(below, name))}: left by a run that was killed; wdstools repair removes it"
    beside = f"{os.path.abspath(store.path)}.partial"
    if is_marked(beside):
        lines = Journal(os.path.join(beside, JOURNAL)).lines()
        yield f"{beside}: an unfinished pack or pull" + ("" if lines else ", with nothing in it yet")
