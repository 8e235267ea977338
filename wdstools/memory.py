"""Memory from the operating system, aligned to pages, and files without a name."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import sys
import tempfile
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

_PAGE_BYTES = 4096
_MOST_IN_MEMORY = 1 << 30


def page_aligned(size: int) -> mmap.mmap:
    """Fresh zeroed memory of at least ``size`` bytes, freed when nothing refers to it.

    Files are read into such memory: if the target of a copy lies a few bytes further into its page than the source, the copy
    instruction of AMD's Zen processors takes three times as long, and Python's large objects begin 16 bytes into a page. It
    uses huge pages if the system has them, which makes page faults hundreds of times rarer.
    """
    size += -size % _PAGE_BYTES
    if size > sys.maxsize:
        raise MemoryError
    if not hasattr(mmap, "MAP_ANONYMOUS"):
        return mmap.mmap(-1, size)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # shared memory has no huge pages
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without huge pages
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def many_rows(count: int, width: int) -> NDArray[np.uint8]:
    """Space for rows of bytes: in memory, or beyond 1 GiB in a nameless file, which is freed when nothing refers to it."""
    import numpy as np

    if count * width <= _MOST_IN_MEMORY:
        return np.empty((count, width), np.uint8)
    with tempfile.TemporaryFile() as file:
        take_room(file.fileno(), count * width)
        return np.frombuffer(mmap.mmap(file.fileno(), count * width), np.uint8).reshape(count, width)


def free_bytes() -> int:
    """About how much memory is free: of the machine, or of the container if that has less."""
    found = [1 << 62]
    with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/meminfo", encoding="ascii") as file:
        found += [int(line.split()[1]) << 10 for line in file if line.startswith("MemAvailable:")]
    with (
        contextlib.suppress(OSError, ValueError),  # ValueError: "max", no limit
        open(f"{_CGROUP}/memory.max", encoding="ascii") as most,
        open(f"{_CGROUP}/memory.current", encoding="ascii") as now,
        open(f"{_CGROUP}/memory.stat", encoding="ascii") as stat,
    ):
        # cached file pages not used recently are freed when memory is needed
        cached = next((int(line.split()[1]) for line in stat if line.startswith("inactive_file ")), 0)
        found.append(max(0, int(most.read()) - int(now.read()) + cached))
    return min(found)


_CGROUP = "/sys/fs/cgroup"


def take_room(fd: int, size: int) -> None:
    """Extend a file to this size and allocate all of it; raises OSError if the disk is full.

    A sparse file is allocated only when its pages are written: if the disk is full then, SIGBUS ends the process.
    """
    os.ftruncate(fd, size)
    if not size:
        return
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError as error:
            if error.errno not in _NO_FALLOCATE:
                raise
        else:
            return
    zeros, at = memoryview(bytes(min(size, _ZEROS))), 0
    while at < size:
        at += os.pwrite(fd, zeros[: size - at], at)


#: The errors of a file system without fallocate.
_NO_FALLOCATE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
_ZEROS = 1 << 24


@contextlib.contextmanager
def nameless_file(size: int) -> Iterator[int]:
    """A nameless file of ``size`` zeros, in memory if the system supports it: its descriptor, open within the block.

    Another process that receives the descriptor can map the file; it is freed when nobody maps it.
    """
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("wdstools")
        try:
            os.ftruncate(fd, size)
            yield fd
        finally:
            os.close(fd)
    else:
        with tempfile.TemporaryFile() as file:
            file.truncate(size)
            yield file.fileno()


def unnamed_file(size: int) -> IO[bytes]:
    """A nameless file with ``size`` bytes allocated, which exists until it is closed and nobody maps it.

    It is in memory if it is small compared with the free memory, otherwise in the folder for temporary files. Raises OSError
    if there is no space.
    """
    if hasattr(os, "memfd_create") and size <= min(_MOST_IN_MEMORY, free_bytes() // 2):
        file: IO[bytes] = os.fdopen(os.memfd_create("wdstools"), "wb+")
    else:
        file = tempfile.TemporaryFile(prefix="wdstools-")  # noqa: SIM115  the caller closes it
    try:
        take_room(file.fileno(), size)
    except BaseException:
        file.close()
        raise
    return file


def mapped(fd: int) -> mmap.mmap:
    """Map a whole file into memory, shared: other processes that map it see what is written."""
    return mmap.mmap(fd, 0)
