"""Reads a tar from start to end: by ranges, or as a stream that is hashed while it is read.

Nothing is memory-mapped: a file that is truncated while it is read must raise an error, and not a signal that ends the process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from wdstools.formats.tar import BLOCK
from wdstools.memory import page_aligned
from wdstools.stores.compressed import plain_blocks
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from wdstools.stores.base import Store

#: Fills a buffer with the next bytes and returns their number: 0 at the end.
ReadInto = Callable[[memoryview], int]
_BLOCK = 1 << 20
_RANGE = 1 << 18
#: For a local file: the size of a view, and how much of it is read for a header.
_FILE_AHEAD, _FILE_BYTES = 1 << 24, 1 << 12
#: Enough samples for arrays to pay off, and few enough bytes to stay in a processor's cache.
_AHEAD = 1 << 22
#: A larger group or payload is not held in memory whole.
LARGEST_VIEW = 1 << 28


class Window(Protocol):
    """The bytes of a tar, requested from start to end."""

    @property
    def fill(self) -> Callable[[int], None] | None:
        """If ``ahead`` returns memory that is not filled: reads the header at a place in it, and one block more."""

    def read(self, at: int, count: int) -> bytes:
        """A copy of some bytes; fewer at the end."""

    def ahead(self, at: int) -> memoryview:
        """A view of the bytes from ``at`` on, of a convenient size; valid until the next call."""


class RangeWindow:
    """A remote plain tar, of which only the needed parts are read, in ranges of 256 KiB.

    They suit shards of small samples, which are read almost entirely anyway, and of large samples, which are mostly skipped.
    """

    fill = None

    def __init__(self, store: Store, key: str) -> None:
        self._store = store
        self._key = key
        self.bytes = store.head(key).bytes
        self._start = 0
        self._held = b""

    def read(self, at: int, count: int) -> bytes:
        """See Window."""
        skip = at - self._start
        if skip < 0 or skip + count > len(self._held):
            if at >= self.bytes:
                return b""
            self._held = self._store.get(self._key, at, max(count, _RANGE))
            self._start, skip = at, 0
        return self._held[skip : skip + count]

    def ahead(self, at: int) -> memoryview:
        """See Window: the bytes read so far."""
        self.read(at, BLOCK)
        return memoryview(self._held)[at - self._start :]


class FileWindow:
    """A plain tar in a file, of which only the headers are read, each to its own place in memory."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.bytes = os.fstat(fd).st_size
        self._views = memoryview(page_aligned(min(_FILE_AHEAD, max(self.bytes, 1))))
        self._start = self._end = 0

    def read(self, at: int, count: int) -> bytes:
        """See Window."""
        return os.pread(self._fd, count, at)

    def ahead(self, at: int) -> memoryview:
        """See Window: it is empty until ``fill`` is called."""
        self._start, self._end = at, 0
        return self._views[: max(self.bytes - at, 0)]

    def fill(self, place: int) -> None:
        """Read a header at a place in the view from ``ahead``, and the block after it; zeros after the end of the file."""
        if self._end - place < 2 * BLOCK:
            view = self._views[place : place + _FILE_BYTES]
            got = os.preadv(self._fd, (view,), self._start + place)
            view[got:] = bytes(len(view) - got)
            self._end = place + len(view)


@contextmanager
def headers_window(store: Store, key: str) -> Iterator[RangeWindow | FileWindow]:
    """A window on a plain tar whose payloads are skipped."""
    if isinstance(store, LocalStore):
        with store.opened(key) as file:
            yield FileWindow(file.fileno())
    else:
        yield RangeWindow(store, key)


class StreamWindow:
    """The bytes of a stream; those from ``keep_from`` on are held."""

    fill = None

    def __init__(self, readinto: ReadInto) -> None:
        self._readinto = readinto
        self._buffer = page_aligned(2 * _BLOCK)
        self._views = memoryview(self._buffer)
        self._start = 0
        self._length = 0
        self._ended = False
        self.keep_from = 0

    def read(self, at: int, count: int) -> bytes:
        """See Window."""
        first = at - self._start
        if first + count > self._length:
            first = self._ensure(at, count)
        return bytes(self._views[first : min(first + count, self._length)])

    def view(self, at: int, count: int) -> memoryview:
        """See Window."""
        first = at - self._start
        if first + count > self._length:
            first = self._ensure(at, count)
        return self._views[first : min(first + count, self._length)]

    def read_on(self, at: int, count: int) -> bytes:
        """The same if nothing before ``at`` is needed again: the held bytes stay bounded, however far away it is."""
        self.keep_from = at
        return self.read(at, count)

    def ahead(self, at: int) -> memoryview:
        """See Window."""
        return self.view(at, _AHEAD)

    def pieces(self, at: int, count: int) -> Iterator[memoryview]:
        """A payload too large to be held, in pieces; nothing before the end of each is kept."""
        while count:
            self.keep_from = at
            piece = self.view(at, min(count, _BLOCK))
            if not piece:
                return
            at += len(piece)
            count -= len(piece)
            yield piece

    def finish(self) -> int:
        """Read to the end; returns the total number of bytes."""
        while not self._ended:
            self.keep_from = self._start + self._length
            self._ensure(self.keep_from, 1)
        return self._start + self._length

    def _ensure(self, at: int, count: int) -> int:
        """Make up to ``count`` bytes at ``at`` available; returns their place in the buffer."""
        while self._start + self._length < at + count and not self._ended:
            keep = min(self.keep_from, at) - self._start
            drop = min(keep, self._length)
            rest = self._length - drop
            needed = max(at + count - self._start - drop, rest) + _BLOCK
            if needed > len(self._buffer):
                grown = page_aligned(needed + needed // 4)
                grown[:rest] = self._views[drop : self._length]
                self._buffer, self._views = grown, memoryview(grown)
            elif drop:
                self._views[:rest] = bytes(self._views[drop : self._length])
            self._start += drop
            self._length = rest
            got = self._readinto(self._views[rest : rest + _BLOCK])
            self._length += got
            self._ended = got == 0
        return min(at - self._start, self._length)


@contextmanager
def raw_bytes(store: Store, key: str) -> Iterator[ReadInto]:
    """An object's bytes, from start to end."""
    if isinstance(store, LocalStore):
        with store.opened(key) as file:
            yield file.readinto
        return
    size, position = store.head(key).bytes, 0

    def readinto(view: memoryview) -> int:
        nonlocal position
        data = store.get(key, position, len(view)) if position < size else b""
        view[: len(data)] = data
        position += len(data)
        return len(data)

    yield readinto


def decompressed(readinto: ReadInto, key: str, trailing: Callable[[int], None] | None = None) -> ReadInto:
    """The decompressed bytes of a stream; raises FormatError if it is damaged. For ``trailing`` see ``plain_blocks``."""
    blocks = plain_blocks(_Raw(readinto), key, trailing)
    left = memoryview(b"")

    def unpack(view: memoryview) -> int:
        nonlocal left
        left = left or memoryview(next(blocks, b""))
        count = min(len(left), len(view))
        view[:count], left = left[:count], left[count:]
        return count

    return unpack


class CompressedReader:
    """Payloads of a compressed tar, requested from start to end; the tar is closed with the object."""

    def __init__(self, store: Store, key: str) -> None:
        self._opened = raw_bytes(store, key)
        self._window = StreamWindow(decompressed(self._opened.__enter__(), key))
        self.position = 0

    def take(self, start: int, size: int) -> bytes:
        """``size`` bytes at ``start``, which must not be before ``position``; fewer at the end."""
        while self._window.keep_from + _BLOCK < start:
            self._window.keep_from += _BLOCK
            if not self._window.view(self._window.keep_from, 1):
                break
        self._window.keep_from = self.position = start
        return self._window.read(start, size)


class _Raw:
    """Bytes from start to end, as the file that ``plain_blocks`` reads."""

    def __init__(self, readinto: ReadInto) -> None:
        self._readinto = readinto

    def read(self, count: int) -> bytes:
        """Up to ``count`` bytes."""
        buffer = bytearray(count)
        return bytes(buffer[: self._readinto(memoryview(buffer))])
