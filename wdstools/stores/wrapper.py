"""A store around a store: it delegates every method, so that a wrapper defines only what it does differently."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wdstools.stores.base import ANYTHING, Body, ListsLevels, RemoteStore, Upload
from wdstools.stores.remote import RemoteBase

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wdstools.stores.base import ObjectInfo, Store


def innermost(store: Store) -> Store:
    """The store inside all wrappers."""
    while isinstance(store, Wrapper):
        store = store.within
    return store


class Wrapper(RemoteBase):
    """Delegates everything to the wrapped store."""

    def __init__(self, store: RemoteStore) -> None:
        self._store = store

    @property
    def within(self) -> RemoteStore:
        """The wrapped store."""
        return self._store

    @property
    def url(self) -> str:
        """The URL of the wrapped store."""
        return self._store.url

    def head(self, key: str) -> ObjectInfo:
        """Size and ETag of one object."""
        return self._store.head(key)

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Bytes of an object from ``start``."""
        return self._store.get(key, start, length)

    def fetch(self, key: str, start: int, length: int, *, etag: str = "") -> bytes:
        """Exactly ``length`` bytes of one version."""
        return self._store.fetch(key, start, length, etag=etag)

    def open_body(self, key: str, start: int = 0, length: int | None = None, *, etag: str = "") -> Body:
        """Bytes of one version as they come."""
        return self._store.open_body(key, start, length, etag=etag)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Objects under a prefix."""
        return self._store.list(prefix)

    def level(self, prefix: str = "") -> tuple[tuple[ObjectInfo, ...], tuple[str, ...]]:
        """One level of the keys."""
        return self._store.level(prefix) if isinstance(self._store, ListsLevels) else super().level(prefix)

    def put_data(self, key: str, data: bytes, *, only_if: str = ANYTHING) -> ObjectInfo:
        """Store bytes by one PUT."""
        return self._store.put_data(key, data, only_if=only_if)

    def put_file(self, key: str, path: str, digests: Mapping[str, str], *, only_if: str = ANYTHING) -> ObjectInfo:
        """Store a local file by one PUT."""
        return self._store.put_file(key, path, digests, only_if=only_if)

    def delete(self, key: str) -> None:
        """Remove an object."""
        self._store.delete(key)

    def remote_digests(self, key: str) -> Mapping[str, str]:
        """The digests that the wrapped store returns."""
        return self._store.remote_digests(key)

    def copy(self, source: Store, key: str) -> ObjectInfo:
        """Have the server copy an object from another place, whose wrappers are removed first."""
        return self._store.copy(innermost(source), key)

    def unfinished(self, prefix: str = "") -> tuple[Upload, ...]:
        """Unfinished multipart uploads."""
        return self._store.unfinished(prefix)

    def abort(self, upload: Upload) -> None:
        """Abort an unfinished upload."""
        self._store.abort(upload)

    def put_wrong(self, key: str) -> bool:
        """Try to store bytes under a wrong checksum; returns whether the store refused."""
        return self._store.put_wrong(key)
