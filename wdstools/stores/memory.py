"""A store in memory, for tests and for small datasets that need no disk."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, ClassVar

from wdstools.errors import NotFoundError, StoreError
from wdstools.stores.base import ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Iterator

_creating = threading.Lock()


class MemoryStore:
    """Objects in a dictionary."""

    url_of_all: ClassVar[str] = "memory:"

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}

    @property
    def url(self) -> str:
        """Always ``memory:``; such a store cannot be opened by its URL."""
        return self.url_of_all

    def head(self, key: str) -> ObjectInfo:
        """Size of one object."""
        return ObjectInfo(key, len(self._object(key)))

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Bytes of an object from ``start``."""
        data = self._object(key)
        return data[start : len(data) if length is None else start + length]

    def put(self, key: str, data: bytes) -> None:
        """Store an object."""
        self._objects[key] = bytes(data)

    def create(self, key: str, data: bytes) -> None:
        """Store an object under a new key."""
        with _creating:
            if key not in self._objects:
                self._objects[key] = bytes(data)
                return
        raise StoreError("an object with this key already exists", code="object-exists", where=f"memory:{key}")

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Objects under a prefix, sorted by key."""
        for key in sorted(self._objects):
            if key.startswith(prefix) and (data := self._objects.get(key)) is not None:
                yield ObjectInfo(key, len(data))

    def delete(self, key: str) -> None:
        """Remove an object."""
        self._object(key)
        del self._objects[key]

    def _object(self, key: str) -> bytes:
        try:
            return self._objects[key]
        except KeyError:
            raise NotFoundError("nothing is stored here", where=f"memory:{key}") from None
