"""Reading objects whole, in blocks, or through a copy near by, from any store."""

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

#: No file but those of shards and of added columns is larger.
MAX_SMALL_BYTES = 1 << 28
_BLOCK_BYTES = 1 << 20
#: What an object may have more than it should and still be read, to say what is wrong with it.
_SURPLUS_BYTES = 64 << 20


def get_whole(store: Store, key: str, limit: int = MAX_SMALL_BYTES) -> bytes:
    """A small object, whole; raises FormatError (``file-too-large``) for one that is larger than any should be."""
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
    """An object's bytes in blocks of a megabyte or less; each is valid until the next is asked for.

    What comes over a network and says that it is much longer than ``expected`` is not read: raises StoreError
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
    """A local store that holds a copy of one object, under the same key, while the block lasts; ``expected`` as above."""
    from wdstools.stores.local import DurableFile, LocalStore

    with tempfile.TemporaryDirectory(prefix="wdstools-") as folder:
        near = LocalStore(folder)
        with DurableFile(near.locate(key)) as file:
            for block in read_blocks(store, key, expected):
                file.write(block)
        yield near


def sha256_there(store: Store, key: str) -> str:
    """The SHA-256 of an object, by reading it; empty where there is none."""
    seen = hashlib.sha256()
    try:
        for block in read_blocks(store, key):
            seen.update(block)
    except NotFoundError:
        return ""
    return seen.hexdigest()
