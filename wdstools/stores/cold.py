"""Read local files from the disk itself, bypassing the page cache, to measure how fast storage is on a first read."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from wdstools.memory import page_aligned
from wdstools.stores.local import plain_fd, storage_error

if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterator

    from wdstools.stores.local import LocalStore

_BLOCK_BYTES = 1 << 22


def cold_blocks(store: LocalStore, key: str) -> Iterator[int]:
    """Read a file from the disk, yielding the size of each block.

    With O_DIRECT where the file system supports it. Elsewhere the kernel is asked to drop the file's pages first
    (posix_fadvise); where that is impossible too, reads come from the page cache. What the disk's own host caches
    stays cached, so on a virtual machine the measured speed is an upper bound. Raises StoreError.
    """
    path = store.locate(key)
    buffer = page_aligned(_BLOCK_BYTES)  # as O_DIRECT requires
    try:
        yield from _read(path, getattr(os, "O_DIRECT", 0), buffer)
    except OSError as refused:
        if refused.errno != errno.EINVAL:
            raise storage_error(refused, path) from None
        yield from _read(path, 0, buffer)
    finally:
        buffer.close()


def _read(path: str, flag: int, buffer: mmap.mmap) -> Iterator[int]:
    fd = plain_fd(path, flag)
    try:
        if not flag and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        while count := os.readv(fd, [buffer]):
            yield count
    finally:
        os.close(fd)
