"""webshart: a reader in Rust over JSON indexes, which it makes once. It returns files one by one, unchecked and undecoded.

In order it is iterated as its README shows; shuffled, every member of a sample is read by number. Simplejpeg decodes batches.
Members are read by number in either order, or, with variant ``iterated``, as they come.
"""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import webshart

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "webshart"


def _dataset(task: dict[str, Any]) -> Any:
    """The folder of the shards, with its indexes made."""
    source = str(Path(task["shards"][0]).parent)
    indexes = Path(task["scratch"], "webshart", source.replace("/", "_"))
    if not indexes.exists():
        indexes.mkdir(parents=True)
        webshart.MetadataExtractor().extract_metadata(source=source, destination=str(indexes), max_workers=2)
    return webshart.discover_dataset(source=source, metadata=str(indexes))


def raw(task: dict[str, Any]) -> Iterator[int]:
    """Undecoded samples: all of their members."""
    dataset = _dataset(task)
    if not task["shuffle"]:
        loader = webshart.TarDataLoader(dataset)
        while True:
            for entry in loader:
                _ = entry.data
                if entry.path.endswith(".jpg"):
                    yield 1
            loader.reset()
    for members in _shuffled(dataset):
        _ = [reader.read_file(number) for reader, number in members.values()]
        yield 1


def members(task: dict[str, Any]) -> Iterator[int]:
    """Runs of undecoded samples: all of their members, or only images."""
    dataset = _dataset(task)
    if task["variant"] == "iterated":
        yield from _iterated(webshart.TarDataLoader(dataset), task["run"])
    found = list(_samples(dataset))
    mixed = random.Random(0)  # noqa: S311
    while True:
        if task["shuffle"]:
            mixed.shuffle(found)
        if task["images"]:
            for images in _runs([sample["jpg"] for sample in found], task["run"]):
                for reader, number in images:
                    reader.read_file(number)
                yield len(images)
        else:
            for samples in _runs([list(sample.values()) for sample in found], task["run"]):
                for sample in samples:
                    _ = [reader.read_file(number) for reader, number in sample]
                yield len(samples)


def _iterated(loader: Any, run: int) -> Iterator[int]:
    """All files as they come, endlessly."""
    while True:
        count = 0
        for entry in loader:
            _ = entry.data
            count += entry.path.endswith(".jpg")
            if count == run:
                yield count
                count = 0
        yield count
        loader.reset()


def _runs(found: list[Any], size: int) -> Iterator[list[Any]]:
    return (found[at : at + size] for at in range(0, len(found), size))


def batches(task: dict[str, Any]) -> Iterator[int]:
    """Decoded batches, as arrays, with captions."""
    import numpy as np
    import simplejpeg

    def read(members: dict[str, tuple[Any, int]]) -> tuple[Any, str]:
        image, caption = (reader.read_file(number) for reader, number in (members["jpg"], members["txt"]))
        return simplejpeg.decode_jpeg(image), caption.decode()

    samples = _shuffled(_dataset(task))
    with ThreadPoolExecutor(task["threads"]) as pool:
        while True:
            made = list(pool.map(read, [next(samples) for _ in range(task["batch_size"])]))
            images = np.stack([image for image, _ in made])
            yield len(images)


def _shuffled(dataset: Any) -> Iterator[dict[str, tuple[Any, int]]]:
    """Shuffled samples, endlessly, each as extension -> (reader, number of the file)."""
    found = list(_samples(dataset))
    mixed = random.Random(0)  # noqa: S311
    while True:
        mixed.shuffle(found)
        yield from found


def _samples(dataset: Any) -> Iterator[dict[str, tuple[Any, int]]]:
    """Samples in order, each as extension -> (reader, number of the file)."""
    for shard in range(dataset.num_shards):
        reader = dataset.open_shard(shard)
        samples: dict[str, dict[str, tuple[Any, int]]] = {}
        for number, name in enumerate(dataset.list_files_in_shard(shard)):
            stem, _, extension = name.rpartition(".")
            samples.setdefault(stem, {})[extension] = (reader, number)
        yield from samples.values()
