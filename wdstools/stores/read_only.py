"""A store that refuses to be changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wdstools.errors import StoreError
from wdstools.stores.remote import ANYTHING, Body, RemoteBase, RemoteStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wdstools.stores.base import ObjectInfo


class ReadOnly(RemoteBase):
    """A store that refuses to be changed."""

    def __init__(self, store: RemoteStore) -> None:
        self._store = store

    @property
    def url(self) -> str:
        """That of the store within."""
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

    def remote_digests(self, key: str) -> Mapping[str, str]:
        """As the store within gives them."""
        return self._store.remote_digests(key)

    def delete(self, key: str) -> None:
        """Refused."""
        raise self._refusal(key)

    def put_data(self, key: str, data: bytes, *, only_if: str = ANYTHING) -> ObjectInfo:
        """Refused."""
        del data, only_if
        raise self._refusal(key)

    def put_file(self, key: str, path: str, digests: Mapping[str, str], *, only_if: str = ANYTHING) -> ObjectInfo:
        """Refused."""
        del path, digests, only_if
        raise self._refusal(key)

    def put_wrong(self, key: str) -> bool:
        """Refused."""
        raise self._refusal(key)

    def _refusal(self, key: str) -> StoreError:
        return StoreError("this store is only read", code="read-only", where=f"{self.url}/{key}")
