"""Bytes of shards: local files here, remote ones in ``prefetched``.

Local shards are read with ``pread``, not mapped: a disk error or a truncated file then raises an error instead of a signal
that ends the process, and what has been read does not count as memory of the process.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol

from wdstools.reader.prefetched import BUDGET_BYTES, FetchedRanges
from wdstools.stores.local import LocalStore, plain_fd, storage_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wdstools.reader.rows import RowTable

#: One in so many of the files that a process may open can be a shard; at least, and at most, this many.
_SHARE_OF_FILES, _LEAST_FILES, _MOST_FILES = 4, 128, 4096
#: Neighbours are read together up to this size.
BLOCK_BYTES = 256 << 10
_BUFFER_BYTES = BLOCK_BYTES + (64 << 10)
_MOST_BUFFERS = 8
#: References to an unused buffer: from the list, the loop and the call.
_UNUSED = 3


class Ranges(Protocol):
    """Reads ranges of shards, numbered as in the split. Thread-safe."""

    @property
    def block_bytes(self) -> int:
        """Up to this size, neighbouring ranges are better read together."""

    @property
    def at_once(self) -> int:
        """How many separate ranges are better read before the first is handed out."""

    def read(self, shard: int, start: int, length: int) -> bytes | memoryview:
        """The bytes of a range, fewer if the shard ends before it. Raises StoreError or NotFoundError."""

    def read_each(
        self, shards: Sequence[int], starts: Sequence[int], lengths: Sequence[int]
    ) -> list[bytes | memoryview]:
        """Several ranges; one that cannot be read is empty: read it alone to get the error."""

    def read_block(self, shard: int, start: int, length: int) -> bytes | memoryview:
        """A range of about ``block_bytes``; empty if it cannot be read: read its parts alone to get the error."""

    def close(self) -> None:
        """Release files, threads and bytes."""


def open_ranges(table: RowTable, budget_bytes: int | None = None) -> Ranges:
    """Ranges for the shards of these rows; for remote shards, up to ``budget_bytes`` (None: the default) are fetched ahead."""
    store = table.dataset.shards
    return (
        LocalRanges(store, [entry.path for entry in table.entries])
        if isinstance(store, LocalStore)
        else FetchedRanges(table, budget_bytes=budget_bytes or BUDGET_BYTES)
    )


class OpenFiles:
    """Local files that are read repeatedly; at most a quarter of what a process may open, up to 4,096, are open at a time. Thread-safe."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, _File] = OrderedDict()
        #: A file, if it is open: as ``get``, but does not open it.
        self.known = self._open.get
        allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        some = _MOST_FILES if allowed == resource.RLIM_INFINITY else allowed // _SHARE_OF_FILES
        self._most = min(max(some, _LEAST_FILES), _MOST_FILES)
        self._lock = threading.Lock()

    def read(self, path: str, start: int, length: int) -> bytes:
        """The bytes of a range, fewer if the file ends before it. Raises StoreError."""
        try:
            file = self.known(path) or self.get(path)
            data = os.pread(file.fd, length, start)
            while len(data) < length and (more := os.pread(file.fd, length - len(data), start + len(data))):
                data += more
        except OSError as error:
            raise storage_error(error, path) from None
        return data

    def get(self, path: str) -> _File:
        """An open file."""
        file = self._open.get(path)
        if file is not None:
            return file
        with self._lock:
            file = self._open.get(path)
            if file is None:
                file = self._open[path] = _File(path)
                if len(self._open) > self._most:
                    self._open.popitem(last=False)
            return file

    def close(self) -> None:
        """Close the files, each when its last reader is done."""
        with self._lock:
            self._open.clear()


class Blocks:
    """Memory that blocks of files are read into, reused when nothing refers to it any more.

    Fresh memory for each block would cost as much as copying into it: the system hands it out page by page.
    """

    def __init__(self) -> None:
        self._buffers: list[bytearray] = []
        self._lock = threading.Lock()

    def read(self, fd: int, start: int, length: int) -> memoryview:
        """The bytes of a range, fewer if the file ends before it. Raises OSError."""
        if length > _BUFFER_BYTES:
            return memoryview(os.pread(fd, length, start))
        with self._lock:  # until a view exists, nothing shows that a buffer is in use
            for buffer in self._buffers:
                if sys.getrefcount(buffer) == _UNUSED:
                    break
            else:
                buffer = bytearray(_BUFFER_BYTES)
                if len(self._buffers) < _MOST_BUFFERS:
                    self._buffers.append(buffer)
            view = memoryview(buffer)[:length]
        return view[: os.preadv(fd, [view], start)].toreadonly()


class LocalRanges:
    """Ranges of local files."""

    def __init__(self, store: LocalStore, paths: Sequence[str]) -> None:
        self._paths = [store.locate(path) for path in paths]
        self._files = OpenFiles()

        self._blocks = Blocks()

    block_bytes = BLOCK_BYTES
    at_once = 16

    def read(self, shard: int, start: int, length: int) -> bytes:
        """The bytes of a range."""
        return self._files.read(self._paths[shard], start, length)

    def read_each(
        self, shards: Sequence[int], starts: Sequence[int], lengths: Sequence[int]
    ) -> list[bytes | memoryview]:
        """Several ranges, by one system call each; a range may come back shorter than requested."""
        found: list[bytes | memoryview] = []
        get, known, paths, pread = self._files.get, self._files.known, self._paths, os.pread
        for shard, start, length in zip(shards, starts, lengths, strict=True):
            try:
                file = known(paths[shard]) or get(paths[shard])
                found.append(pread(file.fd, length, start))
            except OSError:
                found.append(b"")
        return found

    def read_block(self, shard: int, start: int, length: int) -> bytes | memoryview:
        """A range of about ``block_bytes``."""
        try:
            path = self._paths[shard]
            file = self._files.known(path) or self._files.get(path)
            return self._blocks.read(file.fd, start, length)
        except OSError:
            return b""

    def close(self) -> None:
        """Close the files, each when its last reader is done."""
        self._files.close()


class _File:
    """An open file, closed when nothing refers to it: a thread that reads keeps it open after it is evicted."""

    __slots__ = ("fd",)

    def __init__(self, path: str) -> None:
        self.fd = -1
        try:
            self.fd = plain_fd(path)
        except OSError as error:
            raise storage_error(error, path) from None

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
