"""The Store protocol: a place that holds objects under ``/``-separated keys."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from wdstools.errors import FormatError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wdstools.stores.local import LocalStore


_BLOCK_BYTES = 1 << 20


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


def get_whole(store: Store, key: str, limit: int = 1 << 28) -> bytes:
    """A small object, whole; raises FormatError (``file-too-large``) for one that is larger than any should be."""
    body = store.open_body(key) if hasattr(store, "open_body") else None
    size = body.end if body is not None else store.head(key).bytes
    if size > limit:
        raise FormatError(
            "a file is too large to be what its name says",
            code="file-too-large",
            where=f"{store.url}/{key}",
            expected=f"at most {limit:,} bytes",
            got=f"{size:,} bytes",
        )
    return b"".join(body.blocks) if body is not None else store.get(key)


def read_blocks(store: Store, key: str) -> Iterator[memoryview]:
    """An object's bytes in blocks of 1 MB; each is valid until the next is asked for."""
    from wdstools.stores.local import LocalStore  # local imports this module

    if isinstance(store, LocalStore):
        yield from store.blocks(key)
        return
    if hasattr(store, "stream"):
        yield from store.stream(key)
        return
    size = store.head(key).bytes
    for start in range(0, size, _BLOCK_BYTES):
        yield memoryview(store.get(key, start, _BLOCK_BYTES))


@contextlib.contextmanager
def near_copy(store: Store, key: str) -> Iterator[LocalStore]:
    """A local store that holds a copy of one object, under the same key, while the block lasts."""
    from wdstools.stores.local import DurableFile, LocalStore

    with tempfile.TemporaryDirectory(prefix="wdstools-") as folder:
        near = LocalStore(folder)
        with DurableFile(near.locate(key)) as file:
            for block in read_blocks(store, key):
                file.write(block)
        yield near


def open_store(url: str) -> Store:
    """The store at a URL or a local path.

    Knows ``s3://``, ``gs://``, ``az://``, ``http://``, ``https://``, ``hf://datasets/OWNER/NAME`` and ``file://``; all but
    the last try again what fails for the moment (``layers.Retrying``), and need the ``cloud`` extra. Raises UsageError
    for another scheme (``store-unknown``) and without the extra (``extra-missing``).
    """
    from wdstools.stores.local import LocalStore

    scheme, separator, rest = url.partition("://")
    if not separator:
        return LocalStore(url)
    if scheme == "file":
        return LocalStore(rest)
    from wdstools.stores.schemes import SCHEMES, open_cloud

    if scheme in SCHEMES:
        return open_cloud(url)
    raise UsageError(
        "no store for this kind of URL",
        code="store-unknown",
        where=url,
        expected="a local path, " + ", ".join(f"{known}://" for known in SCHEMES),
    )
