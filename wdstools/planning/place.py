"""Which sample lies in which shard, and where: a pure function of keys, seed and counts.

Nothing here opens a file. The order of the listing does not matter, and a shard's content depends on its own samples
alone: that is what makes packing the same on any number of workers and after any interruption.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from wdstools.errors import UsageError, option
from wdstools.formats.arrow import one_chunk, to_array, to_list, to_numpy
from wdstools.formats.manifest import is_split_name
from wdstools.sources.base import image_paths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from wdstools.formats.manifest import Manifest

_PART_ROWS = 1 << 16


@dataclass(frozen=True, slots=True)
class ShardLayout:
    """How a split is divided: by samples a shard, into a given number, or as another manifest is."""

    shard_samples: int
    shards: int | None
    like: Manifest | None
    seed: int

    def count(self, split: str, samples: int) -> int:
        """Number of shards of a split with this many scanned samples."""
        if self.like is not None:
            if split not in self.like.splits:
                raise UsageError(
                    f"the manifest given with {option('like')} has no such split",
                    where=split,
                    expected=", ".join(self.like.splits),
                )
            return len(self.like.splits[split])
        return self.shards or -(-samples // self.shard_samples)


def in_parts(samples: pa.Table) -> Iterator[pa.Table]:
    """A table in slices, so that only a few of its values are Python objects at a time."""
    for start in range(0, samples.num_rows, _PART_ROWS):
        yield samples.slice(start, _PART_ROWS)


def place(samples: pa.Table, layout: ShardLayout) -> tuple[NDArray[np.int64], tuple[tuple[str, int, int, int], ...]]:
    """Sort samples with different keys and with splits into shards; gives their rows in order, and shards' bounds."""
    hashes = to_numpy(samples.column("order_hash"))
    order, _ = break_ties(np.argsort(hashes, kind="stable"), hashes, samples)
    splits = one_chunk(samples.column("split"))
    names = sorted({name for name in to_list(splits.dictionary) if name is not None})
    _refuse_names(names)
    codes = np.array([names.index(name) for name in to_list(splits.dictionary)], np.int64)[to_numpy(splits.indices)]
    parts: list[NDArray[np.int64]] = []
    bounds: list[tuple[str, int, int, int]] = []
    start = 0
    for code, split in enumerate(names):
        rows = order[codes[order] == code]
        if not len(rows) and layout.like is None:  # every sample of it was left out
            continue
        count = layout.count(split, len(rows))
        numbers = _shards_of(hashes[rows], count)
        edges = np.searchsorted(numbers, np.arange(count + 1))
        _refuse_empty(split, edges, layout)
        bounds += [(split, n, start + int(edges[n]), start + int(edges[n + 1])) for n in range(count)]
        parts.append(rows)
        start += len(rows)
    return np.concatenate(parts), tuple(bounds)


def _shards_of(hashes: NDArray[np.uint64], shards: int) -> NDArray[np.int64]:
    """``shard_of`` of each hash: hash * shards / 2**64 in two halves, neither of which overflows."""
    high, low = hashes >> np.uint64(32), hashes & np.uint64(2**32 - 1)
    return ((high * np.uint64(shards) + (low * np.uint64(shards) >> np.uint64(32))) >> np.uint64(32)).astype(np.int64)


def hash_keys(samples: pa.Table, hash_key: Callable[[bytes], int]) -> NDArray[np.uint64]:
    """A 64-bit hash of each sample's key."""
    parts = [
        np.fromiter(map(hash_key, to_list(part.column("key"))), np.uint64, part.num_rows) for part in in_parts(samples)
    ]
    return np.concatenate(parts) if parts else np.zeros(0, np.uint64)


def _refuse_names(names: list[str]) -> None:
    for name in names:
        if not is_split_name(name):
            raise UsageError(
                "not a split name",
                code="split-name",
                got=name,
                expected="letters, digits, _ and -, without 'tar' in it",
                hint=f"rename the folder, or name the split with {option('splits')}",
            )


def _refuse_empty(split: str, edges: NDArray[np.int64], layout: ShardLayout) -> None:
    """An empty shard trips several readers, so it is not planned; ``--like`` must keep its number of shards."""
    if layout.like is None and np.any(edges[:-1] == edges[1:]):
        raise UsageError(
            "a shard would be empty",
            code="shards-too-many",
            where=f"split {split}",
            expected=f"fewer than {len(edges) - 1} shards for {int(edges[-1]):,} samples",
            hint=f"use {option('shards', max(1, int(edges[-1]) // 20))} or fewer, or {option('shard_samples', 20)} or more",
        )


def break_ties(
    order: NDArray[np.int64], hashes: NDArray[np.uint64], samples: pa.Table
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Order samples of one hash by key, and drop all but one of each key: the one whose image path is smallest."""
    tied = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
    if not len(tied):
        return order, np.zeros(0, np.int64)
    at = np.unique(np.concatenate((tied, tied + 1)))
    rows = order[at].tolist()
    chosen = samples.take(to_array(rows, pa.int64()))
    keys = dict(zip(rows, to_list(chosen.column("key")), strict=True))
    paths = dict(zip(rows, image_paths(chosen), strict=True))
    order[at] = sorted(rows, key=lambda row: (int(hashes[row]), keys[row], paths[row]))
    repeated = [b for a, b in zip(order[tied], order[tied + 1], strict=True) if keys[a] == keys[b]]
    return order[~np.isin(order, repeated)], np.array(repeated, np.int64)
