"""Where a worker puts the shards that it makes: in a folder, or by one PUT each in an object store.

A home is a small value that travels to the workers. In a folder, a shard is written in place. For an object store, it
is made in an unnamed file on the worker's own disk, so that nothing is left of it if the worker dies.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from wdstools.errors import NotFoundError, StoreError, UsageError, option
from wdstools.formats.digest import sha256_hex, xxh3_128_hexdigest
from wdstools.formats.manifest import index_path
from wdstools.landing.notes import DONE, SEAL, clear_begun, create, is_sealed, note_path, read_note, seal, write_note
from wdstools.stores.local import BlockFile, LocalStore, storage_error
from wdstools.stores.memory import MemoryStore
from wdstools.stores.reading import get_whole, sha256_there
from wdstools.stores.remote import proves, upload_damaged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from wdstools.landing.notes import Line
    from wdstools.stores.base import ObjectInfo, RemoteStore, Store

_MAX_INDEX_BYTES = 1 << 30
#: Digests that a shard's line in the manifest has, and that a store may return.
_OWN_DIGESTS = ("sha256", "crc64nvme", "crc32c", "xxh3_128")


@dataclass(frozen=True, slots=True)
class DiskHome:
    """A folder: each shard appears in it under its name, durable, followed by its index.

    ``own`` says that only this user may write to the journal; where others may, its lines are sealed with ``key``.
    """

    local_paths: ClassVar[tuple[str, ...]] = ("root",)

    root: str
    key: bytes = field(repr=False)
    own: bool

    def noted(self, path: str) -> Line | None:
        """None: the journal, which the caller has read, says what is finished."""
        del path
        return None

    def vouches_for(self, path: str, line: Line) -> bool:
        """Whether this user wrote that line of the journal."""
        return self.own or is_sealed(self.key, path, line)

    @contextlib.contextmanager
    def making(self, path: str) -> Iterator[_DiskShard]:
        """A shard to fill."""
        yield _DiskShard(LocalStore(self.root), path)

    def index_if_held(self, line: Line) -> bytes | None:
        """The index of a finished shard, if shard and index are as noted; raises StoreError."""
        store, path = LocalStore(self.root), line["entry"]["path"]
        if sha256_there(store, path) != line["entry"]["sha256"]:
            return None
        index = store.get(index_path(path))
        return index if sha256_hex(index) == line["index_sha256"] else None


@dataclass(frozen=True, slots=True)
class _DiskShard:
    """A shard that is being made in a folder."""

    store: LocalStore
    path: str

    def filling(self) -> BlockFile:
        """The file to write to, for a ``with`` block: if the block succeeds, the shard gets its name."""
        return BlockFile(self.store.locate(self.path))

    def land(self, line: Line, index: bytes) -> Mapping[str, str]:
        """Write the index."""
        self.store.put(index_path(line["entry"]["path"]), index)
        return {}


@dataclass(frozen=True, slots=True)
class BucketHome:
    """A prefix of an object store, claimed for a plan; ``conditions``: the store honours conditional writes.

    ``key`` seals its notes, because others may be able to write there. For each shard it stores a note with the digests
    of what is about to come, the shard and its index by one PUT each, and the note again, which now says that both are
    there.
    """

    travels_once: ClassVar[bool] = True

    store: RemoteStore
    plan: str
    key: bytes = field(repr=False)
    conditions: bool

    def __reduce__(self) -> tuple[type[BucketHome], tuple[RemoteStore, str, bytes, bool]]:
        """Refuse a store in memory: another process would fill a copy of its own."""
        if self.store.url == MemoryStore.url_of_all:
            raise UsageError(
                "other processes cannot reach a store in memory",
                code="store-not-shared",
                where=self.store.url,
                hint=f"choose {option('executor', 'threads')} or {option('executor', 'serial')}, or a folder or bucket",
            )
        return BucketHome, (self.store, self.plan, self.key, self.conditions)

    def noted(self, path: str) -> Line | None:
        """What is noted of a finished shard, by an earlier or a parallel run."""
        found = read_note(self.store, note_path(self.plan, path)).get(DONE)
        return dict(found) if found is not None else None

    def vouches_for(self, path: str, line: Line) -> bool:
        """Whether a note was sealed by this user, or by somebody with the same secret."""
        return is_sealed(self.key, path, line)

    @contextlib.contextmanager
    def making(self, path: str) -> Iterator[_BucketShard]:
        """A shard to fill; raises StoreError if no temporary file can be made for it."""
        try:
            scratch = tempfile.TemporaryFile(prefix="wdstools-")  # noqa: SIM115  # closed below
        except OSError as error:
            raise storage_error(error, tempfile.gettempdir()) from None
        with scratch:
            yield _BucketShard(self, path, scratch.fileno())

    def index_if_held(self, line: Line) -> bytes | None:
        """The index of a finished shard, if the store holds shard and index as noted; raises StoreError.

        The shard is only read if its ETag does not show that it is the one that was stored.
        """
        entry = line["entry"]
        there = self.store.head(entry["path"])
        same = bool(there.etag) and there.etag == line.get("stored", {}).get("shard")
        if there.bytes != entry["bytes"] or not (same or sha256_there(self.store, entry["path"]) == entry["sha256"]):
            return None
        index = get_whole(self.store, index_path(entry["path"]), _MAX_INDEX_BYTES)
        return index if sha256_hex(index) == line["index_sha256"] else None

    def land(self, line: Line, made: str, index: bytes) -> Mapping[str, str]:
        """Store the shard in the file ``made``, its index, and the note that says so; returns their ETags."""
        store, path = self.store, line["entry"]["path"]
        beside, sha256 = index_path(path), line["entry"]["sha256"]
        digests = {"sha256": sha256_hex(index), "xxh3_128": xxh3_128_hexdigest(index)}
        shard = _Part(
            path, _known(line), lambda only_if: store.put_file(path, made, {"sha256": sha256}, only_if=only_if)
        )
        return self._note(
            line, shard, _Part(beside, digests, lambda only_if: store.put_data(beside, index, only_if=only_if))
        )

    def copy(self, line: Line, source: Store) -> None:
        """Have the server copy a shard and its index from another place on the same service, and note it.

        Raises StoreError (``store-cannot``) for a place on another service.
        """
        path, store = line["entry"]["path"], self.store
        beside = index_path(path)
        shard = _Part(path, _known(line), lambda _: store.copy(source, path), conditions=False)
        digest = {"sha256": line["index_sha256"]}
        self._note(line, shard, _Part(beside, digest, lambda _: store.copy(source, beside), conditions=False))

    def copy_file(self, name: str, path: str, sha256: str, source: Store) -> None:
        """Have the server copy one file of the dataset, recorded as ours by a note of this ``name``."""
        self._note_alone(
            name, _Part(path, {"sha256": sha256}, lambda _: self.store.copy(source, path), conditions=False)
        )

    def put_file(self, name: str, path: str, data: bytes) -> None:
        """Store one file of the dataset, recorded in the same way."""
        known = {"sha256": sha256_hex(data), "xxh3_128": xxh3_128_hexdigest(data)}
        self._note_alone(name, _Part(path, known, lambda only_if: self.store.put_data(path, data, only_if=only_if)))

    def _note_alone(self, name: str, part: _Part) -> None:
        note, sums = note_path(self.plan, name), {part.path: part.known["sha256"]}
        clear_begun(self.store, read_note(self.store, note), sums)
        write_note(self.store, note, sums)
        self._stored(part)

    def _note(self, line: Line, shard: _Part, index: _Part) -> Mapping[str, str]:
        note = note_path(self.plan, shard.path)
        sums = {part.path: part.known["sha256"] for part in (shard, index)}
        clear_begun(self.store, read_note(self.store, note), sums)
        write_note(self.store, note, sums)
        etags = {"shard": self._stored(shard), "index": self._stored(index)}
        stored = {name: etag for name, etag in etags.items() if etag}
        done = {**line, "stored": stored}
        write_note(self.store, note, sums, {**done, SEAL: seal(self.key, shard.path, done)})
        return stored

    def _stored(self, part: _Part) -> str:
        """Store an object; returns its ETag if a digest from the store proves the bytes, which the ETag then stands for.

        An object damaged on the way is replaced once, if it is still the one just stored. Raises StoreError
        (``upload-damaged``).
        """
        conditions = self.conditions and part.conditions
        info = create(self.store, part.path, part.known["sha256"], part.put, conditions=conditions)
        try:
            return self._proved(part, info)
        except StoreError as error:
            if error.code != "upload-damaged" or not (info.etag and conditions):
                raise
            with contextlib.suppress(StoreError):  # what is there is still damaged then, and the next line says so
                info = part.put(info.etag)
        return self._proved(part, info)

    def _proved(self, part: _Part, info: ObjectInfo) -> str:
        where = f"{self.store.url}/{part.path}"
        try:
            return info.etag if info.md5 or proves(where, part.known, self.store.remote_digests(part.path)) else ""
        except NotFoundError:
            raise upload_damaged(where, "an object", "nothing") from None
        except StoreError as error:
            if error.code == "upload-damaged":
                error.hint = (
                    "the connection or the store is faulty: delete this object, then run the same command again"
                )
            raise


def _known(line: Line) -> dict[str, str]:
    """The digests of a shard from its line in the manifest."""
    return {name: line["entry"][name] for name in _OWN_DIGESTS}


@dataclass(frozen=True, slots=True)
class _Part:
    """An object to be stored: its known digests, and the function that stores it, given ``only_if``."""

    path: str
    known: Mapping[str, str]
    put: Callable[[str], ObjectInfo]
    conditions: bool = True


@dataclass(frozen=True, slots=True)
class _BucketShard:
    """A shard that is being made for a bucket, in the open file ``fd``."""

    home: BucketHome
    path: str
    fd: int

    @contextlib.contextmanager
    def filling(self) -> Iterator[_BucketShard]:
        """The file to write to."""
        yield self

    def write(self, block: memoryview) -> None:
        """Append a block."""
        while block:
            try:
                block = block[os.write(self.fd, block) :]
            except OSError as error:
                failure = storage_error(error, tempfile.gettempdir())
                failure.hint = (
                    "shards are made here before they are sent: free some space, or set TMPDIR to another disk"
                )
                raise failure from None

    def land(self, line: Line, index: bytes) -> Mapping[str, str]:
        """Store the shard, its index, and the note that says so; returns their ETags."""
        return self.home.land(line, f"/dev/fd/{self.fd}", index)
