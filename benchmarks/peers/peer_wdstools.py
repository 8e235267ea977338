"""wdstools: verified samples and batches. ``default`` gives numpy arrays, ``torch`` tensors.

Members are read by ``wt.stream``, or, as variant ``dataset``, by iterating a split and by its samples' numbers.
"""

from __future__ import annotations

import random
from itertools import islice
from typing import TYPE_CHECKING, Any

import wdstools as wt

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "wdstools"


def raw(task: dict[str, Any]) -> Iterator[int]:
    """Undecoded samples, every member checked, one thread."""
    samples = wt.stream(task["dataset"], "train", shuffle="full" if task["shuffle"] else None)
    while True:
        for _ in samples:
            yield 1


def members(task: dict[str, Any]) -> Iterator[int]:
    """Runs of undecoded samples, every member checked: all of their members as bytes, or images alone."""
    images, run = task["images"], task["run"]
    for samples in _epochs(task):
        while True:
            count = 0
            for sample in islice(samples, run):
                _ = sample["jpg"] if images else [sample[name] for name in sample]
                count += 1
            yield count
            if count < run:
                break


def _epochs(task: dict[str, Any]) -> Iterator[Iterator[Any]]:
    """The samples of one epoch after another; where images alone are wanted, a stream reads nothing else."""
    if task["variant"] != "dataset":
        members = ["jpg"] if task["images"] else None
        samples = wt.stream(task["dataset"], "train", shuffle="full" if task["shuffle"] else None, members=members)
        while True:
            yield iter(samples)
    train = wt.open_dataset(task["dataset"])["train"]
    numbers = list(range(len(train)))
    mixed = random.Random(0)
    while True:
        if not task["shuffle"]:
            yield iter(train)
        else:
            mixed.shuffle(numbers)
            yield map(train.__getitem__, numbers)


def batches(task: dict[str, Any]) -> Iterator[int]:
    """Decoded batches."""
    make = wt.torch.loader if task["variant"] == "torch" else wt.loader
    shuffle = "full" if task["shuffle"] else None
    loader = make(
        task["dataset"],
        "train",
        batch_size=task["batch_size"],
        shuffle=shuffle,
        threads=task["threads"],
        remainder="drop",
    )
    while True:
        for batch in loader:
            yield len(batch.images)
