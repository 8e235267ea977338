"""The Store protocol: a place that holds objects under ``/``-separated keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object's key and size in bytes; ``etag`` names its version where the store has such names.

    ``md5`` is given after a put whose answer proves that the store holds what was sent: its ETag is the MD5 of that.
    """

    key: str
    bytes: int
    etag: str = field(default="", compare=False)
    md5: str = field(default="", compare=False)


class Store(Protocol):
    """A place of objects. Every method raises StoreError; a key that is not there raises NotFoundError."""

    @property
    def url(self) -> str:
        """Where this is, for people and for ``open_store``."""

    def head(self, key: str) -> ObjectInfo:
        """Size of one object."""

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """The bytes of an object from ``start``; to its end without ``length``, fewer at the end of the object."""

    def put(self, key: str, data: bytes) -> None:
        """Store an object atomically: readers see the old one, the new one, or none."""

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Every object whose key begins with ``prefix``, sorted by key."""

    def delete(self, key: str) -> None:
        """Remove an object."""
