"""Where a dataset is built in an object store: under its own prefix, with the manifest written last.

There is no lock, so a process that dies leaves none behind, and two that do the same work write the same bytes and help
each other. A claim says which plan the objects belong to, so that two datasets never mix.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self, TypeVar

from wdstools.dataset import PACK_CLAIM_PATH
from wdstools.errors import BusyError, NotFoundError, StoreError, option
from wdstools.formats.digest import sha256_hex
from wdstools.formats.manifest import MANIFEST_PATH, index_path
from wdstools.landing.homes import BucketHome
from wdstools.landing.inside import taken
from wdstools.landing.notes import (
    BEGUN,
    PACKING,
    SMALL_NOTE,
    clear_begun,
    create,
    is_note,
    not_ours,
    note_path,
    read_note,
    seal_key,
    write_note,
)
from wdstools.landing.small_files import SMALL_FILES
from wdstools.stores.base import ABSENT
from wdstools.stores.reading import get_whole, sha256_there
from wdstools.units import some_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from wdstools.landing.notes import Line
    from wdstools.stores.base import ObjectInfo, RemoteStore

_MAX_CLAIM_BYTES = 1 << 20
#: Small requests in flight at once.
_AT_ONCE = 16
Found = TypeVar("Found")


class BucketSite:
    """A prefix to pack into. Entering checks that it is empty or holds an unfinished pack."""

    def __init__(self, store: RemoteStore) -> None:
        self._store = store
        self.dest = store.url
        self._plan = ""
        self._key = b""
        self._names: set[str] = set()
        self._conditions = True
        #: What this store cannot promise; reported in the result.
        self.notes: tuple[str, ...] = ()

    @property
    def home(self) -> BucketHome:
        """Where workers put shards, after ``begin``."""
        return BucketHome(self._store, self._plan, self._key, self._conditions)

    def __enter__(self) -> Self:
        found = self._list()
        if MANIFEST_PATH in found and PACK_CLAIM_PATH not in found:
            self._forget(found)  # a pack was stopped while it removed its notes
        self._refuse_taken(found)
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to release."""

    def refuse_taken(self) -> None:
        """Refuse a prefix that is not empty, and change nothing; raises StoreError (``destination-not-empty``)."""
        self._refuse_taken(self._list())

    def _refuse_taken(self, found: Mapping[str, ObjectInfo]) -> None:
        if PACK_CLAIM_PATH in found:
            self._read_claim()
            return
        others = [key for key in found if not is_note(key)]
        if others or found:
            self._refuse(others or list(found))

    def _list(self) -> dict[str, ObjectInfo]:
        return {info.key: info for info in self._store.list()}

    def _refuse(self, held: Iterable[str]) -> None:
        held = list(held)
        raise taken(self.dest, held, is_dataset=MANIFEST_PATH in held, choose="choose a new prefix")

    def begin(self, plan: str, names: Iterable[str], *, restart: bool) -> list[dict[str, Any]]:
        """Begin, or continue what an interrupted run of the same plan left, whose notes the workers read.

        ``names`` are the paths that will be written, in addition to the small files. Raises BusyError
        (``partial-of-other-plan``), and StoreError (``scratch-not-ours``) if there is anything else.
        """
        self._plan, self._key, self._names = plan, seal_key(plan), set(names)
        found = self._list()
        earlier = self._read_claim() if PACK_CLAIM_PATH in found else None
        if MANIFEST_PATH in found:
            self._refuse_landed(found, earlier)
        elif restart and earlier is not None:
            self._clear(found)
            found, earlier = self._list(), None
        claimed = self._claim() if earlier in (None, plan) else earlier
        if claimed != plan:
            raise BusyError(
                "there is unfinished work here, on another source or with other options",
                code="partial-of-other-plan",
                where=self.dest,
                hint=f"add {option('restart', True)} to start again, or finish the other work first",
            )
        self._refuse_strangers(found)
        return []

    def _refuse_landed(self, found: Mapping[str, ObjectInfo], earlier: str | None) -> None:
        """Refuse a dataset that is there, unless it is this one and its run was stopped before it removed its notes."""
        landed = earlier is not None and (
            read_note(self._store, note_path(earlier, SMALL_NOTE)).get(BEGUN, {}).get(MANIFEST_PATH)
            == sha256_there(self._store, MANIFEST_PATH)
        )
        if landed and earlier == self._plan:
            return
        if landed:
            self._forget(found)
        self._refuse([MANIFEST_PATH])

    def _claim(self) -> str:
        """Claim the prefix for this plan if nobody has; returns the plan that it is claimed for.

        If the claim can be created twice, the store ignores conditions. Then the claim that is read back counts. Of two
        who claim at the same moment, each may still read its own; the one replaced finds out before its manifest is
        written.
        """
        data = (json.dumps({"owner": "wdstools", "plan": self._plan}) + "\n").encode()
        self._conditions = True
        for _ in range(2):
            try:
                self._store.put_data(PACK_CLAIM_PATH, data, only_if=ABSENT)
            except StoreError as error:
                if error.code == "object-exists":
                    return self._read_claim()
                if error.code != "store-cannot":
                    raise
                self._store.put_data(PACK_CLAIM_PATH, data)
                break
        self._conditions = False
        self.notes = (
            "this store ignores conditional writes (If-None-Match): let only one pack at a time write to a prefix",
        )
        return self._read_claim()

    def _read_claim(self) -> str:
        try:
            claim = json.loads(get_whole(self._store, PACK_CLAIM_PATH, _MAX_CLAIM_BYTES))
            plan = claim["plan"] if claim["owner"] == "wdstools" else None
        except NotFoundError:
            raise self._taken_over() from None
        except (ValueError, RecursionError, LookupError, TypeError):
            plan = None
        if not isinstance(plan, str):
            raise not_ours(f"{self.dest}/{PACK_CLAIM_PATH}", "a claim that wdstools did not write")
        return plan

    def _refuse_strangers(self, found: Iterable[str]) -> None:
        ours = {*self._names, *SMALL_FILES, PACK_CLAIM_PATH}
        others = [key for key in found if key not in ours and not is_note(key)]
        if others:
            raise not_ours(self.dest, some_of(others))
        self._read_notes(key for key in found if is_note(key) and not key.startswith(f"{PACKING}{self._plan}/"))

    def _read_notes(self, keys: Iterable[str]) -> list[Line]:
        """Notes, several at once; raises StoreError for an object that is not a note."""
        return list(_at_once(lambda key: read_note(self._store, key), keys))

    def add(self, name: str, path: str, data: bytes) -> None:
        """Store another small file of the dataset, recorded as ours by a note of this name."""
        note, sums = note_path(self._plan, name), {path: sha256_hex(data)}
        clear_begun(self._store, read_note(self._store, note), sums)
        write_note(self._store, note, sums)
        self._create(path, data)

    def record(self, line: Mapping[str, Any]) -> None:
        """Nothing to do: the worker has noted it."""

    def discard(self) -> None:
        """Remove what was made: it is not worth keeping."""
        self._clear(self._list())

    def publish(self, files: Mapping[str, bytes], shards: Mapping[str, int]) -> None:
        """Check what is there, store the remaining files with the manifest last of all, then remove the notes."""
        found = self._list()
        self._refuse_strangers(found)
        for path, size in shards.items():
            there = found[path].bytes if path in found and index_path(path) in found else None
            self._require(path, there, size)
        note, sums = note_path(self._plan, SMALL_NOTE), {path: sha256_hex(data) for path, data in files.items()}
        if MANIFEST_PATH not in found:  # otherwise a parallel or an earlier run of this plan wrote it
            clear_begun(self._store, read_note(self._store, note), sums)
            write_note(self._store, note, sums)
            self._refuse_taken_over(sums[MANIFEST_PATH])
        for path in sorted(files, key=lambda path: (path == MANIFEST_PATH, path)):
            self._create(path, files[path])
            self._require(path, self._store.head(path).bytes, len(files[path]))
        if sha256_there(self._store, MANIFEST_PATH) != sums[MANIFEST_PATH]:
            raise self._taken_over()
        self._forget(self._list())

    def _refuse_taken_over(self, manifest: str) -> None:
        """Raise BusyError if the prefix is no longer claimed for this plan, unless this very dataset is there by now."""
        try:
            if self._read_claim() == self._plan:
                return
        except BusyError:
            if sha256_there(self._store, MANIFEST_PATH) == manifest:
                return
        raise self._taken_over()

    def _require(self, path: str, there: int | None, size: int) -> None:
        """Require that what was stored is there: a gateway may have answered without storing anything."""
        if there != size:
            raise StoreError(
                "an object that was stored is missing or has another size",
                where=f"{self.dest}/{path}",
                expected=f"{size} bytes",
                got="nothing" if there is None else f"{there} bytes",
                hint="another program writes here, or the store loses data: run the same command again",
            )

    def _create(self, path: str, data: bytes) -> None:
        try:
            create(
                self._store,
                path,
                sha256_hex(data),
                lambda only_if: self._store.put_data(path, data, only_if=only_if),
                conditions=self._conditions,
            )
        except StoreError as error:
            if error.code == "scratch-not-ours" and path == MANIFEST_PATH:
                raise self._taken_over() from None
            raise

    def _taken_over(self) -> BusyError:
        return BusyError(
            "another process has taken over this place",
            where=self.dest,
            hint="wait for it to finish, then run the same command again, or choose another prefix",
        )

    def _clear(self, found: Mapping[str, ObjectInfo]) -> None:
        """Delete what the notes say is ours, then the notes and the claim; nothing at all if anything differs from its note.

        Every object is read: anybody with write access can write a note, and any listing shows ETags.
        """
        notes = [key for key in found if is_note(key)]
        ours: list[str] = []
        for note in self._read_notes(notes):
            for path, digest in note.get(BEGUN, {}).items():
                if path not in found:
                    continue
                if sha256_there(self._store, path) != digest:
                    raise not_ours(f"{self.dest}/{path}", "other bytes than noted")
                ours.append(path)
        self._delete(ours)
        self._delete(notes)
        self._delete([key for key in found if key == PACK_CLAIM_PATH])

    def _forget(self, found: Iterable[str]) -> None:
        """Remove the claim, then the notes: the dataset is there, which is what notes without a claim mean."""
        found = list(found)
        self._delete([key for key in found if key == PACK_CLAIM_PATH])
        self._read_notes(key for key in found if is_note(key) and not key.startswith(f"{PACKING}{self._plan}/"))
        self._delete([key for key in found if is_note(key)])

    def _delete(self, keys: Iterable[str]) -> None:
        for _ in _at_once(self._delete_one, keys):
            pass

    def _delete_one(self, key: str) -> None:
        try:
            self._store.delete(key)
        except NotFoundError:
            return


def _at_once(work: Callable[[str], Found], keys: Iterable[str]) -> Iterator[Found]:
    """Small requests, several at once; answers in the order of the keys."""
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        yield from threads.map(work, keys)
