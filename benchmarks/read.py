"""Reading samples undecoded, in one process, against webdataset's plain iteration over the same shards."""

from __future__ import annotations

import gc
import random
import warnings
from typing import TYPE_CHECKING

import webdataset

from benchmarks.measure import Row, clocked, race
from wdstools import open_dataset

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.inputs import Setup
    from wdstools import Split

_RANDOM, _ORDER = 'dataset["train"][i], i shuffled, checked', 'for sample in dataset["train"], checked'
_COPIES = "the same, jpg and txt copied to bytes"
_OPEN = "the same, opening dataset and indexes too"
_WEBDATASET = "webdataset, in order, unchecked"


def measure(setup: Setup) -> list[Row]:
    """By number in random order, and in order; every sample once."""
    url, shards = setup.dataset.shards.url, setup.shard_paths("train")
    train = setup.dataset["train"]
    numbers = random.Random(0).sample(range(len(train)), len(train))

    def plain() -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # webdataset leaves shards open to the garbage collector
            seconds = clocked(lambda: _go_through(webdataset.WebDataset(shards, shardshuffle=False)))
            gc.collect()
        return seconds

    contenders = {
        _RANDOM: lambda: clocked(lambda: _pick(train, numbers)),
        _COPIES: lambda: clocked(lambda: _copy(train, numbers)),
        _OPEN: lambda: clocked(lambda: _pick(open_dataset(url)["train"], numbers)),
        _ORDER: lambda: clocked(lambda: _go_through(train)),
        _WEBDATASET: plain,
    }
    _go_through(train)  # opens the shards and brings them into the page cache
    result = race(contenders, setup.rounds, hasty=setup.tiny)
    work = ("read", len(train), "samples/s")
    return [
        result.row((_RANDOM, _WEBDATASET), of=work, at_least=30),
        result.row((_COPIES, _WEBDATASET), of=work),
        result.row((_OPEN, _WEBDATASET), of=work),
        result.row((_ORDER, _WEBDATASET), of=work),
    ]


def _pick(train: Split, numbers: Sequence[int]) -> None:
    for number in numbers:
        train[number]


def _copy(train: Split, numbers: Sequence[int]) -> None:
    for number in numbers:
        sample = train[number]
        _ = sample["jpg"], sample["txt"]


def _go_through(samples: Iterable[object]) -> None:
    for _ in samples:
        pass
