"""Tell which objects of a set in an object store are ours: sealed notes name them before they are stored.

Objects in a bucket may be anybody's, and a digest identifies only undamaged ones. Without notes, what a killed run left
and was damaged since would block the set's name for ever. A note is sealed with this user's secret, which others may
share (``WDSTOOLS_PACK_SECRET``), and names only objects that did not exist: what is there later is ours, whatever its bytes.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from wdstools.columns.sets import is_of
from wdstools.columns.waiting import waiting_for
from wdstools.errors import FormatError, NotFoundError, StoreError
from wdstools.formats.columns import COLUMNS_WAITING, set_path
from wdstools.formats.digest import sha256_hex
from wdstools.landing.notes import BEGUN, SEAL, create, is_sealed, seal, seal_key
from wdstools.stores.base import ANYTHING
from wdstools.stores.reading import get_whole, sha256_there

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from wdstools.stores.base import ObjectInfo, RemoteStore

_MAX_NOTE_BYTES = 1 << 24
#: The most objects named in one note.
_IN_A_NOTE = 10_000
#: How many small requests are made at once.
_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Ours:
    """The notes of a set in a store, sealed with ``key``."""

    store: RemoteStore
    name: str
    key: bytes = field(repr=False)

    @classmethod
    def of(cls, store: RemoteStore, name: str) -> Ours:
        """The notes that this user has sealed."""
        return cls(store, name, seal_key(f"columns {store.url} {name}"))

    def note(self, objects: Mapping[str, str], salt: str = "") -> list[str]:
        """Note objects that are about to be stored (key -> SHA-256) and do not exist yet. Returns the notes' keys.

        The names differ from those of other users' notes and, with a ``salt``, from those of other notes for the same objects.
        """
        left, made = iter(sorted(objects.items())), []
        while begun := dict(islice(left, _IN_A_NOTE)):
            path = f"{self._prefix}ours-{sha256_hex(self.key + (json.dumps(begun) + salt).encode())[:32]}.json"
            note: dict[str, Any] = {BEGUN: begun}
            note[SEAL] = seal(self.key, path, note)
            self.store.put_data(path, (json.dumps(note) + "\n").encode())
            made.append(path)
        return made

    def notes(self) -> dict[str, dict[str, str]]:
        """Every note of ours, with the objects that it names."""
        return {path: names for path, names, mine in self._all_notes() if mine}

    def named(self) -> dict[str, str]:
        """Every object that our notes name, key -> SHA-256."""
        found: dict[str, str] = {}
        for names in self.notes().values():
            found |= names
        return found

    def removable(self, keys: Iterable[str]) -> list[str]:
        """Those objects that our notes allow us to delete: none that somebody else's note names as well.

        An object that both name may be deleted if it has a digest that only ours names.
        """
        mine: dict[str, set[str]] = {}
        others: dict[str, set[str]] = {}
        for _, names, is_mine in self._all_notes():
            for key, digest in names.items():
                (mine if is_mine else others).setdefault(key, set()).add(digest)
        found = [key for key in keys if key in mine]
        return [
            key
            for key in found
            if key not in others or sha256_there(self.store, key) in mine[key].difference(others[key])
        ]

    def renote(self) -> list[str]:
        """Replace all our notes by notes with other names, so that a process storing these objects sees that they are gone."""
        old = self.notes()
        objects: dict[str, str] = {}
        for names in old.values():
            objects |= names
        made = self.note(objects, secrets.token_hex(16))
        self.forget(old)
        return made

    def forget(self, notes: Iterable[str] | None = None) -> None:
        """Delete the given notes of ours, or all of them."""
        for _ in _at_once(self._delete, self.notes() if notes is None else notes):
            pass

    def tidy(self, listed: Iterable[str]) -> None:
        """Delete those notes that name no waiting file, and no other files than those that the list names."""
        alive, listed = set(waiting_for(self.store, self.name)), set(listed)
        done = [
            path
            for path, names in self.notes().items()
            if not any(key in alive if key.startswith(self._prefix) else key not in listed for key in names)
        ]
        self.forget(done)

    def create(self, key: str, digest: str, put: Callable[[str], ObjectInfo]) -> None:
        """Store an object where there is none, or over a different one of ours, overwriting only what was checked.

        Raises StoreError (``scratch-not-ours``) if the one there is not ours.
        """
        try:
            create(self.store, key, digest, put, conditions=True)
        except StoreError as error:
            if error.code != "scratch-not-ours" or key not in self.named():
                raise
            self._replace(key, digest, put)

    def create_noted(self, key: str, digest: str, put: Callable[[str], ObjectInfo]) -> None:
        """``create``, after noting the object if there is none yet."""
        made: list[str] = []
        try:
            self.store.head(key)
        except NotFoundError:
            made = self.note({key: digest})
        try:
            if made:
                create(self.store, key, digest, put, conditions=True)
            else:
                self.create(key, digest, put)
        except StoreError as error:
            if error.code == "scratch-not-ours":  # it appeared meanwhile
                self.forget(made)
            raise

    def delete(self, keys: Iterable[str]) -> None:
        """Delete those objects that are ``removable``."""
        for _ in _at_once(self._delete, self.removable(keys)):
            pass

    @property
    def _prefix(self) -> str:
        return f"{COLUMNS_WAITING}{self.name}/"

    def _is_note(self, path: str) -> bool:
        return path.startswith(f"{self._prefix}ours-") and path.endswith(".json")

    def _all_notes(self) -> list[tuple[str, dict[str, str], bool]]:
        """Each note, what it names, and whether it is ours."""
        paths = [path for path in waiting_for(self.store, self.name) if self._is_note(path)]
        return [found for found in _at_once(self._read, paths) if found[1]]

    def _read(self, path: str) -> tuple[str, dict[str, str], bool]:
        """A note, which anybody with access can write. One that cannot be read, or names other things, names nothing."""
        try:
            note = json.loads(get_whole(self.store, path, _MAX_NOTE_BYTES))
            begun = dict(note[BEGUN])
            sound = all(key.startswith(self._prefix) or is_of(key, self.name) for key in begun)
            sound = sound and all(isinstance(digest, str) for digest in begun.values())
            return path, begun if sound else {}, is_sealed(self.key, path, note)
        except (StoreError, FormatError, ValueError, RecursionError, LookupError, TypeError, AttributeError):
            return path, {}, False

    def _replace(self, key: str, digest: str, put: Callable[[str], ObjectInfo]) -> None:
        there = self.store.head(key).etag
        if sha256_there(self.store, key) == digest:
            return
        try:
            put(there)
        except StoreError as error:
            if error.code != "store-cannot":
                raise
            put(ANYTHING)

    def _delete(self, key: str) -> None:
        with contextlib.suppress(NotFoundError):
            self.store.delete(key)


def left_in_place(store: RemoteStore, name: str, listed: Mapping[str, str]) -> list[str]:
    """Files in the places of a set's files that the list does not name, left by a killed run or by somebody else."""
    return [key for key in in_place(store, name) if is_of(key, name) and key not in listed]


def in_place(store: RemoteStore, name: str) -> dict[str, int]:
    """What is in the places of a set's files, key -> size in bytes, whoever put it there."""
    document = set_path(name)
    folder = f"{document.removesuffix('.json')}/"
    return {info.key: info.bytes for prefix in (folder, document) for info in store.list(prefix)}


def _at_once(work: Callable[[str], Any], keys: Iterable[str]) -> Iterator[Any]:
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        yield from threads.map(work, keys)
