"""Which shards of a dataset to rewrite when samples are added, and what goes into them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wdstools.errors import UsageError, option
from wdstools.formats.arrow import to_list, to_numpy
from wdstools.formats.index import ROW_COLUMNS
from wdstools.formats.manifest import index_path, shard_path
from wdstools.formats.sample import order_hash
from wdstools.planning.place import place_among, refuse_names, shards_of, usual_shards

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.formats.manifest import ShardEntry
    from wdstools.planning.table import Samples

_NO_ROWS = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class ShardChange:
    """A shard to write: the masked samples of old shards, and ``rows`` of the new samples.

    ``old`` counts its old samples, and ``old_bytes`` their bytes; ``moved`` counts those that are in another shard now.
    """

    split: str
    path: str
    parts: tuple[tuple[ShardEntry, NDArray[np.bool_]], ...]
    rows: NDArray[np.int64]
    old: int
    old_bytes: int
    moved: int = 0

    @property
    def paths(self) -> tuple[str, str]:
        """The shard, and its index."""
        return self.path, index_path(self.path)


def shard_counts(dataset: Dataset, samples: Samples, shards: int | None, shard_samples: int | None) -> dict[str, int]:
    """The number of shards of each split: as it is, as asked for, or, for a new split, as many as its samples need."""
    codes, names = samples.named("split")
    refuse_names(names)
    counts = {split: shards or len(entries) for split, entries in dataset.manifest.splits.items() if entries}
    for code, split in enumerate(names):
        new = int(np.count_nonzero(codes == code))
        if split not in counts and new:
            counts[split] = shards or usual_shards(new, shard_samples)
    return counts


def shard_changes(dataset: Dataset, samples: Samples, counts: Mapping[str, int]) -> list[ShardChange]:
    """Every shard to write, in the manifest's order; raises UsageError if one would be empty."""
    placed = place_among(samples, counts)
    changes: list[ShardChange] = []
    for split in sorted(counts):
        entries = dataset.manifest.splits.get(split, ())
        if len(entries) == counts[split]:
            changes += [
                _grown(split, entry, placed[split, number])
                for number, entry in enumerate(entries)
                if (split, number) in placed
            ]
        else:
            changes += _divided(dataset, split, counts[split], placed)
    return changes


def _grown(split: str, entry: ShardEntry, rows: NDArray[np.int64]) -> ShardChange:
    everything = np.ones(entry.samples, bool)
    return ShardChange(split, entry.path, ((entry, everything),), rows, entry.samples, entry.bytes)


def _divided(
    dataset: Dataset, split: str, count: int, placed: Mapping[tuple[str, int], NDArray[np.int64]]
) -> Iterator[ShardChange]:
    """A split whose number of shards changes, or that is new."""
    entries = dataset.manifest.splits.get(split, ())
    numbers: list[NDArray[np.int64]] = []
    lengths: list[NDArray[np.int64]] = []
    for entry in entries:
        table = dataset.index(entry, ROW_COLUMNS)
        keys = [key.encode() for key in to_list(table.column("key"))]
        hashes = np.fromiter((order_hash(key, dataset.manifest.seed) for key in keys), np.uint64, len(keys))
        numbers.append(shards_of(hashes, count))
        lengths.append(to_numpy(table.column("length")))
    for number in range(count):
        masks = [each == number for each in numbers]
        parts = tuple((entry, mask) for entry, mask in zip(entries, masks, strict=True) if mask.any())
        rows = placed.get((split, number), _NO_ROWS)
        if not parts and not len(rows):
            raise UsageError(
                "a shard would be empty",
                code="shards-too-many",
                where=f"split {split}",
                expected=f"fewer than {count:,} shards",
                hint=f"use fewer {option('shards')}",
            )
        path = shard_path(split, number)
        counted = [int(mask.sum()) for mask in masks]
        moved = sum(n for entry, n in zip(entries, counted, strict=True) if entry.path != path)
        size = sum(int(length[mask].sum()) for length, mask in zip(lengths, masks, strict=True))
        yield ShardChange(split, path, parts, rows, sum(counted), size, moved)
