"""What unfinished work has made from a dataset's samples: columns that are being computed, files of killed runs."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from wdstools.columns.sets import listed_files, read_sums
from wdstools.errors import FormatError, StoreError
from wdstools.formats.card import CARD_PATH
from wdstools.formats.digest import sha256_hex
from wdstools.formats.manifest import COLUMNS_LIST, MANIFEST_PATH, PROVENANCE_PATH, SKIPPED_PATH
from wdstools.formats.sums import SUMS_PATH
from wdstools.landing.journal import Journal
from wdstools.landing.scratch import Scratch, is_marked
from wdstools.stores.abilities import TEMP_SUFFIX
from wdstools.stores.folders import walk
from wdstools.user_cache import cache_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wdstools.formats.manifest import Manifest
    from wdstools.stores.base import Store
    from wdstools.stores.local import LocalStore

#: Below a dataset: a scratch place for each set of columns that is being computed, and its journal.
COMPUTING, JOURNAL = ".wdstools/computing", "journal.jsonl"

_SMALL_FILES = (MANIFEST_PATH, PROVENANCE_PATH, SKIPPED_PATH, SUMS_PATH, CARD_PATH, COLUMNS_LIST)
_TEMPORARY_RE = re.compile(rf"(.*)\.[0-9a-f]+{re.escape(TEMP_SUFFIX)}", re.DOTALL)
#: What ``abilities.replace`` puts aside for a moment, where one file cannot replace another.
_ASIDE_RE = re.compile(rf"(.*)\.[0-9]+\.old{re.escape(TEMP_SUFFIX)}", re.DOTALL)


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


def torn_files(store: LocalStore, manifest: Manifest) -> list[str]:
    """Partial files of killed runs, as keys: those whose names are temporary ones of the dataset's own files. Repair removes them.

    Whoever writes such files holds the dataset's lock.
    """
    return sorted(_torn(store, manifest, _temporary(store)))


def _torn(store: LocalStore, manifest: Manifest, temporary: Iterable[str]) -> set[str]:
    found = {path: match[1] for path in temporary if (match := _TEMPORARY_RE.fullmatch(path)) is not None}
    if not found:
        return set()
    shards = (path for _, entry in manifest.shards for path in (entry.path, entry.index_path))
    own = {*shards, *_SMALL_FILES, *_column_files(store)}
    return {path for path, owner in found.items() if owner in own}


def _column_files(store: LocalStore) -> list[str]:
    try:
        return listed_files(read_sums(store))
    except (FormatError, StoreError):
        return []


def _temporary(store: LocalStore) -> Iterator[str]:
    """Every temporary file below a dataset, as a key."""
    for folder, _, names in walk(store.path):
        for name in names:
            if name.endswith(TEMP_SUFFIX):
                yield os.path.relpath(os.path.join(folder, name), store.path)


def left_by_the_killed(store: LocalStore, manifest: Manifest) -> Iterator[str]:
    """Partial files, and an unfinished dataset next to this one: there is no telling which samples they hold."""
    temporary = tuple(_temporary(store))
    torn = _torn(store, manifest, temporary) if manifest.profile == "canonical" else set()  # repair takes no others
    for path in temporary:
        if path.startswith(f"{COMPUTING}/"):
            continue
        aside = _ASIDE_RE.fullmatch(path)
        if path in torn:
            what_to_do = "wdstools repair removes it"
        elif aside is not None and not os.path.lexists(store.locate(aside[1])):
            what_to_do = f"it is {aside[1]} as it was before: give it back its name"
        else:
            what_to_do = "delete it, if no command is running"
        yield f"{path}: left by a run that was killed; {what_to_do}"
    beside = f"{os.path.abspath(store.path)}.partial"
    if is_marked(beside):
        lines = Journal(os.path.join(beside, JOURNAL)).lines()
        yield f"{beside}: an unfinished pack or pull" + ("" if lines else ", with nothing in it yet")
