"""Which sample comes when: a pure function of seed, epoch and position, the same on every machine, for ever.

The order of an epoch is a permutation that can be asked for any position without being written down: a Feistel
network over the next power of two, walked until it lands inside (Black and Rogaway, "Ciphers with Arbitrary Finite
Domains", 2002), its round function the finaliser of SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom
Number Generators", 2014). No part of it depends on numpy. ``docs/training/order.md`` has test vectors; a change of
them needs another ORDER_VERSION, which is part of a saved state.

The rank that takes a sample also depends on the position alone: global batch t is positions [t * G, (t + 1) * G) with
G = batch_size * world_size, and rank r takes the r-th part of it. So the global batches of a run are those of any
other with the same G, whatever its number of ranks.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wdstools.errors import UsageError
from wdstools.formats.digest import xxh3_64_intdigest

if TYPE_CHECKING:
    from numpy.typing import NDArray

ORDER_VERSION = 1
SHUFFLES = ("full", "block", None)
_ROUNDS = 10
_MIN_BITS = 6
_PIECE = 1 << 14
_FULL, _BLOCKS, _WINDOW = 0, 1, 2
_U64 = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1, _MIX_2 = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


class Permutation:
    """A keyed permutation of ``count`` numbers: ``at`` maps positions to numbers, ``inverse`` back.

    Law: for every count, ``at(arange(count))`` holds each number once, and ``inverse(at(x)) == x``.
    """

    def __init__(self, count: int, key: int) -> None:
        self.count = count
        bits = max(_MIN_BITS, (count - 1).bit_length())
        self._low_bits = bits // 2
        self._high_bits = bits - bits // 2
        self._keys = [np.uint64(_mix(key + (number + 1) * _GOLDEN & _U64)) for number in range(_ROUNDS)]

    def at(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The numbers at these positions, each 0 to count - 1."""
        return self._walk(positions, inverse=False)

    def inverse(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """The positions of these numbers."""
        return self._walk(numbers, inverse=True)

    def _walk(self, values: NDArray[np.int64], *, inverse: bool) -> NDArray[np.int64]:
        if self.count == 1:
            return np.zeros(len(values), np.int64)
        found = np.empty(len(values), np.int64)
        for start in range(0, len(values), _PIECE):  # pieces that stay in the cache
            piece = self._rounds(values[start : start + _PIECE].astype(np.uint64), inverse=inverse)
            outside = np.flatnonzero(piece >= self.count)
            while len(outside):
                again = self._rounds(piece[outside], inverse=inverse)
                piece[outside] = again
                outside = outside[again >= self.count]
            found[start : start + _PIECE] = piece
        return found

    def _rounds(self, values: NDArray[np.uint64], *, inverse: bool) -> NDArray[np.uint64]:
        low_bits, high_bits = np.uint64(self._low_bits), np.uint64(self._high_bits)
        low, high = values & np.uint64((1 << self._low_bits) - 1), values >> low_bits
        for number in reversed(range(_ROUNDS)) if inverse else range(_ROUNDS):
            # each round changes one half by the other: its own inverse
            if number % 2:
                high ^= _mixed(low + self._keys[number]) >> (np.uint64(64) - high_bits)
            else:
                low ^= _mixed(high + self._keys[number]) >> (np.uint64(64) - low_bits)
        joined: NDArray[np.uint64] = high << low_bits | low
        return joined


def _mix(value: int) -> int:
    value = (value ^ value >> 30) * _MIX_1 & _U64
    value = (value ^ value >> 27) * _MIX_2 & _U64
    return value ^ value >> 31


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """``_mix`` of each value, in place."""
    values ^= values >> np.uint64(30)
    values *= np.uint64(_MIX_1)
    values ^= values >> np.uint64(27)
    values *= np.uint64(_MIX_2)
    values ^= values >> np.uint64(31)
    return values


@dataclass(frozen=True, slots=True)
class Order:
    """One epoch's global order of ``count`` samples: which sample stands at which position.

    ``shuffle="full"`` is a permutation of all; ``"block"`` permutes blocks of ``block_samples`` neighbours, then the
    samples within each window of ``window_blocks`` blocks, so that storage is read in blocks and no more than a window
    is under way; None is the order of the shards. Seeds and epochs are below 2**64.
    """

    count: int
    seed: int = 0
    epoch: int = 0
    shuffle: str | None = "full"
    block_samples: int = 64
    window_blocks: int = 32

    def __post_init__(self) -> None:
        if self.shuffle not in SHUFFLES:
            raise UsageError("no such shuffle", where="shuffle", expected="full, block or None", got=str(self.shuffle))
        for name in ("seed", "epoch"):
            if not 0 <= getattr(self, name) <= _U64:
                raise UsageError("out of range", where=name, expected="0 to 2**64 - 1", got=str(getattr(self, name)))
        for name in ("block_samples", "window_blocks"):
            if getattr(self, name) < 1:
                raise UsageError("out of range", where=name, expected="1 or more", got=str(getattr(self, name)))

    def rows(self, start: int, stop: int) -> NDArray[np.int64]:
        """The samples at positions ``start`` to ``stop`` (not included), int64; takes time proportional to the range."""
        start, stop = max(0, start), min(stop, self.count)
        positions = np.arange(start, max(start, stop), dtype=np.int64)
        if self.shuffle is None or not len(positions):
            return positions
        if self.shuffle == "full":
            return Permutation(self.count, self.key(_FULL)).at(positions)
        return _BlockOrder(self).rows(positions)

    def key(self, kind: int, number: int = 0) -> int:
        """The key of one of this order's permutations."""
        return xxh3_64_intdigest(struct.pack("<9s4Q", b"wdsorder1", kind, self.seed, self.epoch, number))


class _BlockOrder:
    """Blocks in permuted places; all but the last of the dataset are full, so the start of a place can be computed."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._size = order.block_samples
        self._blocks = -(-order.count // self._size)
        self._permutation = Permutation(self._blocks, order.key(_BLOCKS))
        self._missing = self._blocks * self._size - order.count
        self._short_place = int(self._permutation.inverse(np.array([self._blocks - 1]))[0])

    def rows(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Samples at ascending positions."""
        each = self._order.window_blocks
        windows = self._places(positions) // each
        edges = np.flatnonzero(np.diff(windows)) + 1
        parts = np.split(positions, edges)
        mixed = np.concatenate(
            [self._mixed(int(windows[at]), part) for at, part in zip((0, *edges), parts, strict=True)]
        )
        places = self._places(mixed)
        # each block is looked up once, not once per sample
        first = int(windows[0]) * each
        blocks = self._permutation.at(np.arange(first, min((int(windows[-1]) + 1) * each, self._blocks)))
        found: NDArray[np.int64] = blocks[places - first] * self._size + mixed - self._starts(places)
        return found

    def _mixed(self, window: int, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The place within the window from which each of these positions is taken."""
        edges = np.array([window, window + 1], np.int64) * self._order.window_blocks
        first, last = self._starts(np.minimum(edges, self._blocks)).tolist()
        inside = Permutation(last - first, self._order.key(_WINDOW, window)).at(positions - first)
        inside += first
        return inside

    def _starts(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        return places * self._size - np.where(places > self._short_place, self._missing, 0)

    def _places(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        behind = positions >= (self._short_place + 1) * self._size - self._missing
        return np.where(behind, positions + self._missing, positions) // self._size


@dataclass(frozen=True, slots=True)
class Part:
    """What one rank takes of one global batch: positions ``start`` to ``stop``, then ``padding`` more.

    Padding repeats positions of the same global batch from ``again`` on, cyclically. ``after`` is where the next
    global batch begins.
    """

    start: int
    stop: int
    padding: int
    again: tuple[int, ...]
    after: int


@dataclass(frozen=True, slots=True)
class Sharing:
    """How ``count`` positions are dealt out in global batches of ``batch_size * world_size``.

    All ranks get the same number of batches of the same sizes (except with ``keep``). The rest of an epoch that does not fill a
    global batch: ``drop`` leaves it out; ``pad`` shares it out evenly in one shorter batch, which some ranks complete by
    repeating samples of it; ``keep`` shares it out without repeats, so that the last ranks may get a shorter batch
    or none. Over all ranks, every position comes exactly once, not counting padding.

    The ``workers`` of a rank take its batches in turn: worker w takes those whose number is w modulo ``workers``,
    counted from where reading begins.
    """

    count: int
    batch_size: int
    rank: int = 0
    world_size: int = 1
    remainder: str = "pad"
    worker: int = 0
    workers: int = 1

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UsageError("out of range", where="batch_size", expected="1 or more", got=str(self.batch_size))
        if self.world_size < 1:
            raise UsageError("out of range", where="world_size", expected="1 or more", got=str(self.world_size))
        if not 0 <= self.rank < self.world_size:
            raise UsageError(
                "rank out of range", where="rank", expected=f"0 to {self.world_size - 1}", got=str(self.rank)
            )
        if self.remainder not in ("drop", "pad", "keep"):
            raise UsageError("no such remainder", where="remainder", expected="drop, pad or keep", got=self.remainder)

    @property
    def global_batch(self) -> int:
        """How many positions a global batch has."""
        return self.batch_size * self.world_size

    @property
    def stride(self) -> int:
        """How many positions lie between two batches of this reader."""
        return self.global_batch * self.workers

    def batches(self, position: int = 0) -> int:
        """How many batches this reader gets from a position to the end of the epoch."""
        batches, left = divmod(max(0, self.count - position), self.global_batch)
        if self.remainder != "drop" and left:
            batches += self.remainder == "pad" or self.rank * -(-left // self.world_size) < left
        return max(0, -(-(batches - self.worker) // self.workers))

    def part(self, position: int) -> Part:
        """What this reader takes next when its rank is at ``position``."""
        begin = position + self.worker * self.global_batch
        after = min(position + self.stride, self.count)
        left = max(0, self.count - begin)
        each = min(self.batch_size, -(-left // self.world_size))
        start = min(begin + self.rank * each, self.count)
        stop = min(start + each, self.count)
        padding = each - (stop - start) if self.remainder == "pad" else 0
        again = tuple(begin + (self.rank * each + stop - start + number) % left for number in range(padding))
        return Part(start, stop, padding, again, after)


def mixing_score(order: Order, batch_size: int, batches: int = 64) -> float:
    """How well batches are mixed, 0 (neighbours in the shards) to 1 (as a true permutation).

    The mean distance in the shards between two samples of one batch, divided by that of a true permutation,
    (count + 1) / 3; averaged over ``batches`` batches spread over the epoch.
    """
    size = min(batch_size, order.count)
    if size < 2:
        return 1.0
    starts = np.unique(np.linspace(0, order.count - size, batches).astype(np.int64)).tolist()
    rows = np.sort(np.stack([order.rows(start, start + size) for start in starts]), axis=1)
    weights = 2 * np.arange(size) - size + 1  # sum of |a - b| over all pairs of a sorted row
    distance = float((rows * weights).sum(axis=1).mean()) / (size * (size - 1) / 2)
    return min(1.0, distance / ((order.count + 1) / 3))
