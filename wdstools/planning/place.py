"""Which sample goes into which shard, and where: a pure function of keys, seed and counts.

Nothing here opens a file. The order of the listing does not matter, and a shard's content depends only on its own
samples, so packing gives the same result on any number of workers and after any interruption.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from wdstools.errors import UsageError, option
from wdstools.formats.manifest import is_split_name
from wdstools.units import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

    from wdstools.formats.manifest import Manifest
    from wdstools.planning.table import Samples


@dataclass(frozen=True, slots=True)
class ShardLayout:
    """How a split is divided: by samples or bytes per shard, into a number of shards, or like another manifest."""

    shard_samples: int | None
    shards: int | None
    like: Manifest | None
    seed: int
    shard_bytes: int | None = None

    def count(self, split: str, samples: int) -> int:
        """The number of shards of a split with this many samples."""
        if self.like is not None:
            if split not in self.like.splits:
                raise UsageError(
                    f"the manifest given with {option('like')} has no such split",
                    where=split,
                    expected=", ".join(self.like.splits),
                )
            return len(self.like.splits[split])
        return self.shards or usual_shards(samples, self.shard_samples)

    def by_bytes(self, sample_bytes: int) -> ShardLayout:
        """The layout whose shards have about ``shard_bytes``, if a sample takes ``sample_bytes``."""
        assert self.shard_bytes is not None
        return replace(self, shard_samples=max(1, self.shard_bytes // sample_bytes))


#: The default average number of samples in a shard; and the number of shards of a small split, if each gets enough
#: samples.
_USUAL_SAMPLES, _FEW_SHARDS, _FEW_SAMPLES = 10_000, 4, 1_000


def usual_shards(samples: int, shard_samples: int | None) -> int:
    """The number of shards of a split: of ``shard_samples`` or 10,000, but up to four of 1,000, for several workers."""
    if shard_samples is not None:
        return -(-samples // shard_samples)
    return max(-(-samples // _USUAL_SAMPLES), min(_FEW_SHARDS, samples // _FEW_SAMPLES))


def place(samples: Samples, layout: ShardLayout) -> tuple[NDArray[np.int64], tuple[tuple[str, int, int, int], ...]]:
    """Sort samples, which have splits, into shards; returns their rows in order, one per key, and the shards' bounds."""
    hashes = samples.numbers("order_hash")
    order, _ = in_order(samples)
    given, known = samples.named("split")
    names = sorted(set(known))
    refuse_names(names)
    codes = np.array([names.index(name) for name in known], np.int64)[given]
    parts: list[NDArray[np.int64]] = []
    bounds: list[tuple[str, int, int, int]] = []
    start = 0
    for code, split in enumerate(names):
        rows = order[codes[order] == code]
        if not len(rows) and layout.like is None:  # all its samples were left out
            continue
        count = layout.count(split, len(rows))
        numbers = shards_of(hashes[rows], count)
        edges = np.searchsorted(numbers, np.arange(count + 1))
        refuse_empty(split, edges, layout)
        bounds += [(split, n, start + int(edges[n]), start + int(edges[n + 1])) for n in range(count)]
        parts.append(rows)
        start += len(rows)
    return np.concatenate(parts), tuple(bounds)


def place_among(samples: Samples, counts: Mapping[str, int]) -> dict[tuple[str, int], NDArray[np.int64]]:
    """The rows of each shard that gets any, in order; each split already has its number of shards."""
    hashes = samples.numbers("order_hash")
    order, _ = in_order(samples)
    codes, names = samples.named("split")
    found: dict[tuple[str, int], NDArray[np.int64]] = {}
    for code, split in enumerate(names):
        rows = order[codes[order] == code]
        numbers = shards_of(hashes[rows], counts[split]) if len(rows) else rows
        for number in np.unique(numbers).tolist():
            found[split, number] = rows[numbers == number]
    return found


def shards_of(hashes: NDArray[np.uint64], shards: int) -> NDArray[np.int64]:
    """``shard_of`` of each hash: hash * shards / 2**64 in two halves, neither of which overflows."""
    high, low = hashes >> np.uint64(32), hashes & np.uint64(2**32 - 1)
    return ((high * np.uint64(shards) + (low * np.uint64(shards) >> np.uint64(32))) >> np.uint64(32)).astype(np.int64)


def hash_keys(samples: Samples, hash_key: Callable[[bytes], int]) -> NDArray[np.uint64]:
    """A 64-bit hash of each sample's key."""
    parts = [np.fromiter(map(hash_key, part.texts("key")), np.uint64, len(part)) for part in samples.parts()]
    return np.concatenate(parts) if parts else np.zeros(0, np.uint64)


def refuse_names(names: Iterable[str], hint: str | None = None) -> None:
    """Raise UsageError (``split-name``) for an invalid name of a split; ``hint`` says what to do about one that was given."""
    for name in names:
        if not is_split_name(name):
            raise UsageError(
                "not a split name",
                code="split-name",
                got=name,
                expected="letters, digits, _ and -, not containing 'tar'",
                hint=hint or f"rename the folder, or name the split with {option('splits')}",
            )


def refuse_empty(split: str, edges: NDArray[np.int64], layout: ShardLayout) -> None:
    """Refuse an empty shard, which several readers cannot handle; ``--like`` must keep its number of shards."""
    if layout.like is None and np.any(edges[:-1] == edges[1:]):
        raise UsageError(
            "a shard would be empty",
            code="shards-too-many",
            where=f"split {split}",
            expected=f"fewer than {counted(len(edges) - 1, 'shard')} for {counted(int(edges[-1]), 'sample')}",
            hint=f"use {option('shards', max(1, int(edges[-1]) // 20))} or fewer, or {option('shard_samples', 20)} or more",
        )


def in_order(samples: Samples) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows by order hash and then key, for each key only the one with the smallest image path; and the other rows."""
    hashes = samples.numbers("order_hash")
    order = np.argsort(hashes, kind="stable")
    tied = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
    if not len(tied):
        return order, np.zeros(0, np.int64)
    at = np.unique(np.concatenate((tied, tied + 1)))
    rows = order[at].tolist()
    chosen = samples.take(rows)
    keys = dict(zip(rows, chosen.texts("key"), strict=True))
    paths = dict(zip(rows, chosen.paths(), strict=True))
    order[at] = sorted(rows, key=lambda row: (int(hashes[row]), keys[row], paths[row]))
    repeated = [b for a, b in zip(order[tied], order[tied + 1], strict=True) if keys[a] == keys[b]]
    return order[~np.isin(order, repeated)], np.array(repeated, np.int64)
