"""The next version of a set in an object store, which cannot rename: its files wait under their digests until the list names them.

From then on they belong to the set, wherever they are: a reader that does not find a file in its place takes it from here. So a process
that is killed leaves the old set or the new one, and any later process can move the remaining files.
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
    """The version of a set's file that the list names, if it is waiting to be moved to its place; else None."""
    if isinstance(store, LocalStore):
        return None
    try:
        data = get_whole(store, waiting_path(path, digest), limit)
    except (StoreError, FormatError):  # a web server may answer anything for a missing file
        return None
    return data if sha256_hex(data) == digest else None


def in_place_or_waiting(store: Store, path: str, digest: str, limit: int) -> bytes:
    """The version of a set's file that the list names; the damaged one in its place, if none is waiting. Raises as ``get_whole``."""
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
    """The files in the list that are still waiting, by the path to which they are moved."""
    there = {info.key for info in store.list(COLUMNS_WAITING)}
    return {path: digest for path, digest in sums.items() if there and waiting_path(path, digest) in there}


def can_be_finished(store: Store, sums: Mapping[str, str]) -> dict[str, str]:
    """The same if any of them is intact: damaged waiting files can never be moved, and must not block anything."""
    found = to_be_moved(store, sums)
    keys = (waiting_path(path, digest) for path, digest in found.items())
    return found if any(sha256_there(store, key) == key.rpartition("/")[2] for key in keys) else {}


def begun_sets(store: Store, listed: Collection[str]) -> dict[str, int]:
    """Unlisted sets with waiting files, and the number of files: sets that were begun and not finished."""
    try:
        keys = [info.key.removeprefix(COLUMNS_WAITING) for info in store.list(COLUMNS_WAITING)]
    except StoreError:  # permission to read does not imply permission to list
        return {}
    named = Counter(name for name, _, digest in (key.partition("/") for key in keys) if is_waiting(name, digest))
    return {name: count for name, count in named.items() if name not in listed}


def waiting_for(store: Store, name: str) -> list[str]:
    """Every waiting file of a set, of any version."""
    return [info.key for info in store.list(f"{COLUMNS_WAITING}{name}/")]
