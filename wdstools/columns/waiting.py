"""The next version of a set in an object store, which renames nothing: its files wait under their digests until the list names them.

From then on they are the set's, wherever they lie: a reader that does not find a file in its place takes it from here. So whoever
is killed leaves the old set or the new one, and anybody can move what is left to move.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from wdstools.errors import FormatError, NotFoundError, StoreError
from wdstools.formats.columns import COLUMNS_WAITING, is_waiting, waiting_path
from wdstools.formats.digest import sha256_hex
from wdstools.stores.local import LocalStore
from wdstools.stores.reading import get_whole, sha256_there

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from wdstools.stores.base import Store


def waiting_file(store: Store, path: str, digest: str, limit: int) -> bytes | None:
    """The version of a set's file that the list names, if it waits to be moved to its place; else None."""
    if isinstance(store, LocalStore):
        return None
    try:
        data = get_whole(store, waiting_path(path, digest), limit)
    except (StoreError, FormatError):  # a web server may answer anything for what it does not have
        return None
    return data if sha256_hex(data) == digest else None


def in_place_or_waiting(store: Store, path: str, digest: str, limit: int) -> bytes:
    """A file of a set as the list names it; as it lies in its place, if it is damaged and none waits. Raises as ``get_whole``."""
    try:
        data = get_whole(store, path, limit)
    except NotFoundError:
        waiting = waiting_file(store, path, digest, limit)
        if waiting is None:
            raise
        return waiting
    if isinstance(store, LocalStore) or sha256_hex(data) == digest:
        return data
    return waiting_file(store, path, digest, limit) or data


def to_be_moved(store: Store, sums: Mapping[str, str]) -> dict[str, str]:
    """The files that the list names and that still wait, by the path to which they are moved."""
    there = {info.key for info in store.list(COLUMNS_WAITING)}
    return {path: digest for path, digest in sums.items() if there and waiting_path(path, digest) in there}


def can_be_finished(store: Store, sums: Mapping[str, str]) -> dict[str, str]:
    """The same, if any of them is whole: files that wait and are damaged can never be moved, and bar nobody's way."""
    found = to_be_moved(store, sums)
    keys = (waiting_path(path, digest) for path, digest in found.items())
    return found if any(sha256_there(store, key) == key.rpartition("/")[2] for key in keys) else {}


def begun_sets(store: Store, listed: Collection[str]) -> dict[str, int]:
    """The sets that are not listed and of which files wait, and how many: nobody has finished them."""
    try:
        keys = [info.key.removeprefix(COLUMNS_WAITING) for info in store.list(COLUMNS_WAITING)]
    except StoreError:  # whoever may only read need not be allowed to list
        return {}
    named = Counter(name for name, _, digest in (key.partition("/") for key in keys) if is_waiting(name, digest))
    return {name: count for name, count in named.items() if name not in listed}


def waiting_for(store: Store, name: str) -> list[str]:
    """Every file that waits for a set, for whichever version of it."""
    return [info.key for info in store.list(f"{COLUMNS_WAITING}{name}/")]
