"""Datasets for readers: small canonical ones, damaged ones, and ones in a store of objects."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import wdstools as wt
from tests.support.city_pairs import write_city_pairs
from wdstools.stores.memory import MemoryStore

if TYPE_CHECKING:
    from pathlib import Path

    from wdstools import Dataset

SIDE = 24


def packed(
    folder: Path, *, train: int = 60, val: int = 10, shard_samples: int = 16, side: int | None = SIDE
) -> Dataset:
    """A packed dataset; ``side`` brings its images to one size."""
    source = write_city_pairs(folder / "source", train=train, val=val)
    return wt.pack(str(source), str(folder / "shards"), shard_samples=shard_samples, resize=side, jobs=1)


def in_memory(dataset: Dataset) -> Dataset:
    """The same dataset in a store that can only be asked for ranges."""
    store = MemoryStore()
    for info in dataset.shards.list():
        store.put(info.key, dataset.shards.get(info.key))
    return replace(dataset, shards=store, metadata=store, readers={})


def flip(dataset: Dataset, split: str, number: int, member: str = "jpg") -> str:
    """Flip a bit in the middle of a member of one sample; gives its key."""
    import pathlib

    for entry in dataset.manifest.splits[split]:
        if number < entry.samples:
            break
        number -= entry.samples
    row = dataset.index(entry).slice(number, 1).to_pylist()[0]
    (place,) = [found for found in row["members"] if found["ext"] == member]
    path = pathlib.Path(dataset.shards.url, entry.path)
    data = bytearray(path.read_bytes())
    data[place["offset"] + place["size"] // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    return str(row["key"])
