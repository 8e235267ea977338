"""The buffer in which a shard is made: files are read straight to where they will lie in the tar.

Memory is bounded by two blocks, whatever the size of the shard: while one is filled, the other is hashed and written.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Protocol

from wdstools.formats.digest import ShardDigester, ShardDigests, xxh3_64_intdigest
from wdstools.formats.tar import BLOCK, render_header, trailer_bytes
from wdstools.sources.base import NeedSpaceError

if TYPE_CHECKING:
    from wdstools.sources.base import SourceReader

BLOCK_BYTES = 4 << 20
#: A new sample is begun only where this much room is left, so that most samples never meet the end of a block.
_LOW_WATER = 1 << 20
_ALIGNMENT = 4096
_ZEROS = bytes(BLOCK)


class BlockSink(Protocol):
    """Takes the bytes of a file block by block; a block must stay as it is until the next one is written."""

    def write(self, block: memoryview) -> None:
        """Append a block; all but the last are multiples of 4096 bytes long and begin at such an address."""


class TarBuffer:
    """Builds a tar sample by sample; a sample may be taken back until the next one begins.

    Positions are offsets in ``memory``; ``base`` is the tar offset of its first byte.
    """

    def __init__(self, sink: BlockSink, block_bytes: int = BLOCK_BYTES) -> None:
        self._sink = sink
        self._digester = ShardDigester()
        self._spare = _memory(block_bytes)
        self._sample = 0
        self._at = 0
        self.base = 0
        self._use(_memory(block_bytes))

    def _use(self, memory: mmap.mmap) -> None:
        self.memory = memory
        self._view = memoryview(memory)

    @property
    def offset(self) -> int:
        """Offset in the tar of the next member's header."""
        return self.base + self._at

    def begin(self) -> None:
        """Start a sample: from now on ``take_back`` returns to here."""
        self._sample = self._at
        if len(self.memory) - self._at < _LOW_WATER:
            self._flush(len(self.memory))

    def take_back(self) -> None:
        """Undo everything since ``begin``."""
        self._at = self._sample

    def read(self, reader: SourceReader, path: str, entry: bytes | None, limit: int) -> tuple[int, int, int]:
        """Read a file to where the next payload goes; gives start and end in ``memory``, and the modification time.

        Raises NeedSpaceError for one of more than ``limit`` bytes.
        """
        while True:
            start = self._at + BLOCK
            try:
                size, mtime_ns = reader.read_into(path, entry, self._view[start:])
            except NeedSpaceError as need:
                if need.size > limit:
                    raise
                self.reserve(need.size)
                continue
            return start, start + size, mtime_ns

    def put(self, payload: bytes) -> tuple[int, int]:
        """Write a payload to where the next one goes; gives start and end in ``memory``."""
        self.reserve(len(payload))
        start = self._at + BLOCK
        end = start + len(payload)
        self._view[start:end] = payload
        return start, end

    def reserve(self, size: int) -> None:
        """Make room for a payload of this size, its header and its padding."""
        needed = size + 4 * BLOCK
        if len(self.memory) - self._at < needed:
            self._flush(max(len(self.memory), self._at - self._sample + needed + _ALIGNMENT))

    def seal(self, name: bytes, end: int) -> tuple[int, int, int]:
        """Finish the member whose payload ends at ``end``: header and padding. Gives tar offset, size and XXH3-64."""
        view, at = self._view, self._at
        start = at + BLOCK
        size = end - start
        digest = xxh3_64_intdigest(view[start:end])
        view[at:start] = render_header(name, size, digest)
        self._at = following = end + -size % BLOCK
        view[end:following] = _ZEROS[: following - end]
        return self.base + start, size, digest

    def group(self) -> tuple[int, memoryview]:
        """The sample since ``begin``, all its members sealed: tar offset and bytes."""
        return self.base + self._sample, self._view[self._sample : self._at]

    def finish(self) -> ShardDigests:
        """Write the trailer and everything that is left; gives the digests of the whole tar."""
        self._sample = self._at
        trailer = trailer_bytes(self.offset)
        if len(self.memory) - self._at < trailer:
            self._flush(len(self.memory))
        self._view[self._at : self._at + trailer] = bytes(trailer)
        last = self._view[: self._at + trailer]
        self._digester.update(last)
        self._sink.write(last)
        return self._digester.digests()

    def _flush(self, capacity: int) -> None:
        """Send off whole pages before the current sample, and go on in the other block."""
        done = self._sample - self._sample % _ALIGNMENT
        block = self._view[:done]
        self._digester.update(block)
        self._sink.write(block)
        following = self._spare if len(self._spare) >= capacity else _memory(capacity)
        kept = self._view[done : self._at]
        following[: len(kept)] = kept
        self._spare = self.memory
        self._use(following)
        self.base += done
        self._sample -= done
        self._at -= done


def _memory(size: int) -> mmap.mmap:
    """Page-aligned memory, in huge pages where the system has them: first touch is then hundreds of times rarer."""
    if not hasattr(mmap, "MAP_ANONYMOUS"):
        return mmap.mmap(-1, size)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # shared memory has no huge pages
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory
