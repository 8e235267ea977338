"""Datasets for readers: small canonical ones, damaged ones, and ones in an object store."""

from __future__ import annotations

import os
import pathlib
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

import wdstools as wt
from tests.support.city_pairs import write_city_pairs
from wdstools.stores.memory import MemoryStore

if TYPE_CHECKING:
    from wdstools import Dataset

SIDE = 24


def packed(
    folder: pathlib.Path, *, train: int = 60, val: int = 10, shard_samples: int = 16, side: int | None = SIDE
) -> Dataset:
    """A packed dataset; ``side`` brings its images to one size."""
    source = write_city_pairs(folder / "source", train=train, val=val)
    return wt.pack(str(source), str(folder / "shards"), shard_samples=shard_samples, resize=side, jobs=1).dataset


def of_many_aspects(folder: pathlib.Path, *, train: int = 60, val: int = 10, label: str = "oslo") -> Dataset:
    """A packed dataset of images that are 24 to 74 pixels high and 24 to 64 wide, all with one label."""
    for number in range(train + val):
        split = "train" if number < train else "val"
        image, text = (folder / "source" / kind / split / label / str(number) for kind in ("img", "captions"))
        for path in (image, text):
            path.parent.mkdir(parents=True, exist_ok=True)
        size = (24 + number * 7 % 50, 24 + number * 11 % 40)
        pixels = np.random.default_rng(number).integers(0, 255, (*size, 3), np.uint8)
        Image.fromarray(pixels).save(image.with_suffix(".jpg"), quality=80)
        text.with_suffix(".txt").write_text(f"number {number}")
    return wt.pack(str(folder / "source"), str(folder / "shards"), shard_samples=16, jobs=1).dataset


def in_memory(dataset: Dataset) -> Dataset:
    """The same dataset in a store that can only be asked for ranges."""
    store = MemoryStore()
    for info in dataset.shards.list():
        store.put(info.key, dataset.shards.get(info.key))
    return replace(dataset, shards=store, metadata=store, readers={})


def batch_keys(dataset: Dataset, **options: Any) -> list[list[str]]:
    """The keys of an epoch's batches, of eight samples unless ``options`` say otherwise."""
    return [batch.keys for batch in wt.loader(dataset, **{"batch_size": 8, "threads": 2, **options})]


def flip(dataset: Dataset, split: str, number: int, member: str = "jpg") -> str:
    """Flip a bit in the middle of a member of one sample; returns its key."""
    shard, entries = 0, dataset.manifest.splits[split]
    while number >= entries[shard].samples:
        number -= entries[shard].samples
        shard += 1
    row = dataset.index(entries[shard]).slice(number, 1).to_pylist()[0]
    (place,) = [found for found in row["members"] if found["ext"] == member]
    flip_at(dataset, split, shard, place["offset"] + place["size"] // 2)
    return str(row["key"])


def flip_at(dataset: Dataset, split: str, shard: int, place: int) -> None:
    """Flip the lowest bit of one byte of one of a split's shards."""
    path = pathlib.Path(dataset.shards.url, dataset.manifest.splits[split][shard].path)
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def open_files() -> set[str]:
    """The open files of this process, by number and path; the one of the listing itself is closed by then."""
    return {f"{fd} {os.readlink(f'/proc/self/fd/{fd}')}" for fd in os.listdir("/proc/self/fd") if _is_open(fd)}


def _is_open(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


def decoding_threads() -> list[threading.Thread]:
    """The decoding threads that are running."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("wdstools")]
