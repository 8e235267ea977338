"""Reading local files from the disk itself, around the page cache: how fast storage is when nothing was read before."""

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
    """Read a file from the disk, giving the size of each block.

    With O_DIRECT where the file system has it; elsewhere the kernel is asked to forget the file's pages first
    (posix_fadvise), and where it cannot be asked either, the page cache answers. What the disk's own host caches
    stays cached: on a virtual machine this is an upper bound. Raises StoreError.
    """
    path = store.locate(key)
    buffer = page_aligned(_BLOCK_BYTES)  # as O_DIRECT wants it
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
