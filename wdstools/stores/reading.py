"""Read objects from any store: whole, in blocks, or through a local copy."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from typing import TYPE_CHECKING

from wdstools.errors import FormatError, NotFoundError, StoreError
from wdstools.stores.base import OpensBodies, ReadsInBlocks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wdstools.stores.base import Store
    from wdstools.stores.local import LocalStore

#: Only shards and files of added columns may be larger.
MAX_SMALL_BYTES = 1 << 28
_BLOCK_BYTES = 1 << 20
#: How much too long an object may be and still be read, to find out what is wrong with it.
_SURPLUS_BYTES = 64 << 20


def get_whole(store: Store, key: str, limit: int = MAX_SMALL_BYTES) -> bytes:
    """A small object, whole; raises FormatError (``file-too-large``) if it is larger than any such file can be."""
    body = store.open_body(key) if isinstance(store, OpensBodies) else None
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


def read_blocks(store: Store, key: str, expected: int | None = None) -> Iterator[memoryview]:
    """An object's bytes in blocks of at most a megabyte, each valid until the next is requested.

    A remote object whose announced length far exceeds ``expected`` is not read: raises StoreError
    (``answer-too-long``).
    """
    if isinstance(store, ReadsInBlocks):
        yield from store.blocks(key)
        return
    if isinstance(store, OpensBodies):
        body = store.open_body(key)
        if expected is not None and body.end > expected + _SURPLUS_BYTES:
            raise StoreError(
                "the object is much longer than it should be",
                code="answer-too-long",
                where=f"{store.url}/{key}",
                expected=f"{expected:,} bytes",
                got=f"{body.end:,} bytes",
            )
        yield from body.blocks
        return
    size = store.head(key).bytes
    for start in range(0, size, _BLOCK_BYTES):
        yield memoryview(store.get(key, start, _BLOCK_BYTES))


@contextlib.contextmanager
def near_copy(store: Store, key: str, expected: int | None = None) -> Iterator[LocalStore]:
    """A local store with a copy of one object, under the same key, while the block lasts; ``expected`` as above."""
    from wdstools.stores.local import DurableFile, LocalStore

    with tempfile.TemporaryDirectory(prefix="wdstools-") as folder:
        near = LocalStore(folder)
        with DurableFile(near.locate(key)) as file:
            for block in read_blocks(store, key, expected):
                file.write(block)
        yield near


def sha256_there(store: Store, key: str) -> str:
    """The SHA-256 of an object, by reading it; empty if it does not exist."""
    seen = hashlib.sha256()
    try:
        for block in read_blocks(store, key):
            seen.update(block)
    except NotFoundError:
        return ""
    return seen.hexdigest()
