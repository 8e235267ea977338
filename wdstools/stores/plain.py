"""Local folders and memory as RemoteStores, so that a copy on a disk is a mirror like any other."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import xxhash

from wdstools.errors import NotFoundError, SourceChangedError, StoreError
from wdstools.stores.base import ABSENT, ANYTHING, Body, Creates, ObjectInfo, Store
from wdstools.stores.local import DurableFile, LocalStore, storage_error
from wdstools.stores.reading import read_blocks
from wdstools.stores.remote import STREAM_BLOCK, RemoteBase, cannot, changed, check_source, short_body

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class PlainRemote(RemoteBase):
    """A local or memory store with ETags (time, size and inode of a file; the content of a memory object)."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def url(self) -> str:
        """The URL of the wrapped store."""
        return self._store.url

    def head(self, key: str) -> ObjectInfo:
        """Size and ETag of one object."""
        info = self._store.head(key)
        return ObjectInfo(key, info.bytes, self._etag(key))

    def _etag(self, key: str) -> str:
        if not isinstance(self._store, LocalStore):
            return f'"{xxhash.xxh3_128_hexdigest(self._store.get(key))}"'
        try:
            status = os.stat(self._store.locate(key))
        except OSError as error:
            raise storage_error(error, self._store.locate(key)) from None
        return f'"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"'

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Bytes of an object from ``start``."""
        return self._store.get(key, start, length)

    def fetch(self, key: str, start: int, length: int, *, etag: str = "") -> bytes:
        """Exactly ``length`` bytes of one version."""
        data = self._store.get(key, start, length)
        where = f"{self.url}/{key}"
        if etag and (got := self._etag(key)) != etag:
            raise changed(where, etag, got)
        if len(data) != length:
            raise short_body(where, length, len(data))
        return data

    def open_body(self, key: str, start: int = 0, length: int | None = None, *, etag: str = "") -> Body:
        """Bytes of one version, block by block."""
        size = self._store.head(key).bytes
        version = self._etag(key) if etag or isinstance(self._store, LocalStore) else ""
        if etag and version != etag:
            raise changed(f"{self.url}/{key}", etag, version)
        end = size if length is None else min(start + length, size)
        starts = range(start, end, STREAM_BLOCK)
        blocks = (self.fetch(key, at, min(STREAM_BLOCK, end - at), etag=version) for at in starts)
        return Body(version, start, max(start, end), map(memoryview, blocks))

    def put_data(self, key: str, data: bytes, *, only_if: str = ANYTHING) -> ObjectInfo:
        """Store bytes atomically. If two writers replace the same ETag at the same moment, neither notices."""
        self._check(key, only_if)
        if only_if == ABSENT and isinstance(self._store, Creates):
            self._store.create(key, data)
        else:
            self._store.put(key, data)
        return self.head(key)

    def put_file(self, key: str, path: str, digests: Mapping[str, str], *, only_if: str = ANYTHING) -> ObjectInfo:
        """Copy a file, hashing it on the way; a file that does not match its digest is not stored."""
        folder, name = os.path.split(path)
        source = LocalStore(folder or ".")
        if not isinstance(self._store, LocalStore) or "xxh3_128" not in digests:
            data = source.get(name)
            check_source(data, path, digests)
            return self.put_data(key, data, only_if=only_if)
        self._check(key, only_if)
        seen = xxhash.xxh3_128()
        with DurableFile(self._store.locate(key), replace=only_if != ABSENT) as file:
            for block in source.blocks(name):
                seen.update(block)
                file.write(block)
            if seen.hexdigest() != digests["xxh3_128"]:
                raise SourceChangedError(
                    "a file does not match its digest", where=path, expected=digests["xxh3_128"], got=seen.hexdigest()
                )
        return self.head(key)

    def _check(self, key: str, only_if: str) -> None:
        if only_if == ANYTHING:
            return
        try:
            there = self._etag(key)
        except NotFoundError:
            there = ""
        where = f"{self.url}/{key}"
        if only_if == ABSENT and there:
            raise StoreError("an object with this key already exists", code="object-exists", where=where)
        if only_if not in (ABSENT, there):
            raise changed(where, only_if, there)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Objects under a prefix, without ETags (``head`` returns those). A missing folder counts as empty."""
        with contextlib.suppress(NotFoundError):
            yield from self._store.list(prefix)

    def delete(self, key: str) -> None:
        """Remove an object."""
        self._store.delete(key)

    def remote_digests(self, key: str) -> Mapping[str, str]:
        """``xxh3_128``, by reading: local objects cost no transfer."""
        self._store.head(key)
        seen = xxhash.xxh3_128()
        for block in read_blocks(self._store, key):
            seen.update(block)
        return {"xxh3_128": seen.hexdigest()}

    def put_wrong(self, key: str) -> bool:
        """Refused: no checksum is sent, so none can be wrong."""
        raise cannot("a local store does not check checksums", f"{self.url}/{key}")
