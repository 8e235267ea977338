"""The Store protocol: a place that holds objects under ``/``-separated keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from wdstools.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object's key and size in bytes."""

    key: str
    bytes: int


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


def open_store(url: str) -> Store:
    """The store at a URL or a local path. Raises UsageError for a scheme that is not known."""
    from wdstools.stores.local import LocalStore

    scheme, separator, rest = url.partition("://")
    if not separator:
        return LocalStore(url)
    if scheme == "file":
        return LocalStore(rest)
    raise UsageError(
        "no store for this kind of URL",
        code="store-unknown",
        where=url,
        expected="a local path",
        hint="copy the dataset to a local folder first",
    )
