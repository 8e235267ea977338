"""The buffer that a shard is made in: files are read straight to their place in the tar.

Memory is bounded by two blocks, however large the shard: while one is filled, the other is hashed and written.
"""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from wdstools.formats.digest import ShardDigester, ShardDigests, sha256_digest, xxh3_64_intdigest, xxh3_128_digest
from wdstools.formats.headers import render_headers
from wdstools.formats.tar import BLOCK, trailer_bytes
from wdstools.memory import page_aligned
from wdstools.sources.base import NeedSpaceError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from mmap import mmap

    from numpy.typing import NDArray

    from wdstools.sources.base import SourceReader

#: Large enough that the cost per block is small, small enough to be still in a cache when it is hashed.
BLOCK_BYTES = 4 << 20
#: A sample is only begun with this much room left, so that most samples never reach the end of a block.
_LOW_WATER = 1 << 18
_ALIGNMENT = 4096
_PADDINGS = tuple(bytes(size) for size in range(BLOCK))


class BlockSink(Protocol):
    """Takes the bytes of a file block by block; a block must not change until the next one is written."""

    def write(self, block: memoryview) -> None:
        """Append a block; all but the last are multiples of 4096 bytes long and begin at such an address."""


class Nowhere:
    """Discards the blocks of a file of which only the digests are wanted."""

    def write(self, block: memoryview) -> None:
        """Discard a block."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Where the samples of a shard are, and their digests.

    ``members`` is uint64 [members, 3]: offset in the tar and size of each payload in bytes, and its XXH3-64.
    ``offsets`` and ``lengths`` (int64 [samples]) bound each sample's headers, payloads and paddings; ``xxh3_128`` is
    the digest of those bytes, ``sha256`` a second one if requested.
    """

    members: NDArray[np.uint64]
    offsets: NDArray[np.int64]
    lengths: NDArray[np.int64]
    xxh3_128: list[bytes]
    sha256: list[bytes]


class TarBuffer:
    """Builds a tar sample by sample; a sample may be taken back until the next one begins.

    Headers and digests are made for all samples of a block at once. Positions are offsets in ``memory``; ``base``
    is the tar offset of its first byte.
    """

    def __init__(self, sink: BlockSink, block_bytes: int = BLOCK_BYTES, *, authenticated: bool = False) -> None:
        self._sink = sink
        self._digest_group: Callable[[memoryview], bytes] | None = sha256_digest if authenticated else None
        self._digester = ShardDigester()
        self._spare = _IDLE.take(block_bytes)
        self._sample = 0
        self._at = 0
        self.base = 0
        self._use(_IDLE.take(block_bytes))
        # of members that have no header yet: name, offset of the payload in the tar, size
        self._names: list[bytes] = []
        self._starts: list[int] = []
        self._sizes: list[int] = []
        self._mark = 0  # how many of them belong to samples that are complete
        self._ends: list[int] = []  # in the tar, of complete samples without digests yet
        self._done: list[Placed] = []

    def _use(self, memory: mmap) -> None:
        self.memory = memory
        self._view = memoryview(memory)

    @property
    def offset(self) -> int:
        """Offset in the tar of the next member's header."""
        return self.base + self._at

    def begin(self) -> None:
        """Start a sample: ``take_back`` returns to this point."""
        if self._at != self._sample:
            self._ends.append(self.base + self._at)
        self._sample = self._at
        self._mark = len(self._names)
        if len(self.memory) - self._at < _LOW_WATER:
            self._flush(len(self.memory))

    def take_back(self) -> None:
        """Undo everything since ``begin``."""
        self._at = self._sample
        del self._names[self._mark :], self._starts[self._mark :], self._sizes[self._mark :]

    def read(self, reader: SourceReader, path: str, entry: bytes | None, limit: int) -> tuple[int, int, int]:
        """Read a file to where the next payload goes; returns its start in ``memory``, size and modification time.

        Raises NeedSpaceError if it is larger than ``limit`` bytes.
        """
        start = self._at + BLOCK
        try:
            return start, *reader.read_into(path, entry, self._view[start:])
        except NeedSpaceError as need:
            if need.size > limit:
                raise
            self.reserve(need.size)
        return self.read(reader, path, entry, limit)

    def put(self, payload: bytes) -> int:
        """Write a payload to where the next one goes; returns its end in ``memory``."""
        self.reserve(len(payload))
        start = self._at + BLOCK
        end = start + len(payload)
        self._view[start:end] = payload
        return end

    def reserve(self, size: int) -> None:
        """Make room for a payload of this size, its header and its padding."""
        needed = size + 4 * BLOCK
        if len(self.memory) - self._at < needed:
            self._flush(max(len(self.memory), self._at - self._sample + needed + _ALIGNMENT))

    def add(self, name: bytes, end: int) -> None:
        """Make the payload that ends at ``end`` a member of the sample, called ``name``."""
        start = self._at + BLOCK
        size = end - start
        self._names.append(name)
        self._starts.append(self.base + start)
        self._sizes.append(size)
        self._at = end + -size % BLOCK
        self._view[end : self._at] = _PADDINGS[-size % BLOCK]

    def finish(self) -> ShardDigests:
        """Write the trailer and everything that is left; returns the digests of the whole tar."""
        self.begin()
        trailer = trailer_bytes(self.offset)
        if len(self.memory) - self._at < trailer:
            self._flush(len(self.memory))
        self._seal()
        self._view[self._at : self._at + trailer] = bytes(trailer)
        last = self._view[: self._at + trailer]
        self._digester.update(last)
        self._sink.write(last)
        self._done = [_joined(self._done)]
        return self._digester.digests()

    def release(self) -> None:
        """Give the memory to the next buffer of this thread; the sink must be closed: it may still write from it."""
        _IDLE.keep(self.memory, self._spare)

    @property
    def placed(self) -> Placed:
        """Where every sample is, once the tar is finished."""
        (placed,) = self._done
        return placed

    def _seal(self) -> None:
        """Write the headers of the complete samples of this block, and compute their digests."""
        view, mark = self._view, self._mark
        starts = np.array(self._starts[:mark], np.int64) - self.base
        sizes = np.array(self._sizes[:mark], np.int64)
        ends = starts + sizes
        digests = np.array(
            [xxh3_64_intdigest(view[start:end]) for start, end in zip(starts.tolist(), ends.tolist(), strict=True)],
            np.uint64,
        )
        blocks = np.frombuffer(self.memory, np.uint8).reshape(-1, BLOCK)
        blocks[starts // BLOCK - 1] = render_headers(self._names[:mark], sizes, digests)
        first = int(starts[0]) - BLOCK if mark else 0
        bounds = np.array([first + self.base, *self._ends], np.int64) - self.base
        groups = [view[start:end] for start, end in itertools.pairwise(bounds.tolist())]
        self._done.append(
            Placed(
                np.column_stack(((starts + self.base).astype(np.uint64), sizes.astype(np.uint64), digests)),
                bounds[:-1] + self.base,
                np.diff(bounds),
                list(map(xxh3_128_digest, groups)),
                list(map(self._digest_group, groups)) if self._digest_group else [],
            )
        )
        del self._names[:mark], self._starts[:mark], self._sizes[:mark], self._ends[:]
        self._mark = 0

    def _flush(self, capacity: int) -> None:
        """Hand over the whole pages before the current sample, and continue in the other block."""
        self._seal()
        done = self._sample - self._sample % _ALIGNMENT
        block = self._view[:done]
        self._digester.update(block)
        self._sink.write(block)
        following = self._spare if len(self._spare) >= capacity else page_aligned(capacity)
        kept = self._view[done : self._at]
        following[: len(kept)] = kept
        self._spare = self.memory
        self._use(following)
        self.base += done
        self._sample -= done
        self._at -= done


class _Idle(threading.local):
    """A thread's blocks that no buffer is using: memory touched before need not be allocated and cleared again."""

    def __init__(self) -> None:
        self._blocks: list[mmap] = []

    def take(self, size: int) -> mmap:
        """A block of that size, with undefined content."""
        return self._blocks.pop() if self._blocks and size == BLOCK_BYTES else page_aligned(size)

    def keep(self, *blocks: mmap) -> None:
        """Keep at most two blocks, of the usual size."""
        self._blocks = [block for block in (*self._blocks, *blocks) if len(block) == BLOCK_BYTES][:2]


_IDLE = _Idle()


def _joined(parts: Sequence[Placed]) -> Placed:
    return Placed(
        np.concatenate([part.members for part in parts]),
        np.concatenate([part.offsets for part in parts]),
        np.concatenate([part.lengths for part in parts]),
        [digest for part in parts for digest in part.xxh3_128],
        [digest for part in parts for digest in part.sha256],
    )
