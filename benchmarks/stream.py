"""Streaming: verified samples and decoded batches against webdataset and against the decoder's own limit."""

from __future__ import annotations

import gc
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import simplejpeg
import webdataset

import wdstools as wt
from benchmarks.measure import Row, clocked, race
from wdstools.reader.order import Order

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.inputs import Setup

_BATCH = 64
_SIDE = 300
_THREADS = 2
_LIMIT = "two tight simplejpeg loops over images in memory"
_LOADER = "batches, full shuffle, all checked"
_WDS_BATCHES = "webdataset, DataLoader-free, decode rgb8, batched"
_STREAM, _STREAM_FULL = "verified samples in order", "verified samples, full shuffle"
_WDS = "webdataset, in order"
_WDS_SHUFFLED = "webdataset, shuffle(1000)"
_MEMORY = """
import re, sys, wdstools as wt
loader = wt.loader(sys.argv[1], batch_size=64, image_size=300, threads=2)
peaks = []
for _ in range(int(sys.argv[2])):
    for batch in loader: pass
    # not getrusage's: the peak of the process that started this one would count as its own
    peaks.append(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]))
print(peaks[0], peaks[-1])
"""


def measure(setup: Setup) -> list[Row]:
    """Samples, batches, the first batch, the order of a million, memory."""
    dataset = setup.dataset
    count = len(dataset["train"])
    images = [sample["jpg"] for _, sample in zip(range(4000), dataset["train"], strict=False)]
    shards = setup.shard_paths("train")
    batches = {
        _LIMIT: lambda: clocked(lambda: _tight(images)) * count / len(images),
        _LOADER: lambda: clocked(lambda: _through(_loader(dataset))),
        _WDS_BATCHES: lambda: _quietly(
            webdataset.WebDataset(shards, shardshuffle=False).decode("rgb8").to_tuple("jpg", "txt").batched(_BATCH)
        ),
    }
    samples = {
        _STREAM: lambda: clocked(lambda: _through(wt.stream(dataset, shuffle=None))),
        _STREAM_FULL: lambda: clocked(lambda: _through(wt.stream(dataset, shuffle="full"))),
        _WDS: lambda: _quietly(webdataset.WebDataset(shards, shardshuffle=False)),
        _WDS_SHUFFLED: lambda: _quietly(webdataset.WebDataset(shards, shardshuffle=False).shuffle(1000)),
    }
    decoded, read = (race(found, setup.rounds, hasty=setup.tiny) for found in (batches, samples))
    return [
        decoded.row((_LOADER, _LIMIT), of=("stream", count, "images/s"), at_least=0.88),
        decoded.row((_LOADER, _WDS_BATCHES), of=("stream", count, "images/s"), at_least=3.8),
        read.row((_STREAM, _WDS), of=("stream", count, "samples/s"), at_least=30),
        read.row((_STREAM_FULL, _WDS_SHUFFLED), of=("stream", count, "samples/s")),
        *_single(setup),
    ]


def _single(setup: Setup) -> list[Row]:
    first = min(clocked(lambda: next(iter(_loader(setup.dataset)))) for _ in range(3)) * 1000
    orders = {
        shuffle: min(clocked(partial(Order(1_000_000, shuffle=shuffle).rows, 0, 1_000_000)) for _ in range(3))
        for shuffle in ("full", "block")
    }
    epochs = "2" if setup.tiny else "20"
    command = [sys.executable, "-c", _MEMORY, setup.dataset.shards.url, epochs]
    begin, end = map(int, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    return [
        Row("stream", "first batch, indexes not yet read", first, "ms", target="< 100", met=first < 100),
        *(
            Row("stream", f"order of 1,000,000 samples, {shuffle}", order, "s", target="< 0.2", met=order < 0.2)
            for shuffle, order in orders.items()
        ),
        Row("stream", f"peak memory, {epochs} epochs", end / 1024, "MiB", target="< 260", met=end / 1024 < 260),
        Row("stream", "growth of the peak after the first epoch", (end - begin) / 1024, "MiB"),
    ]


def _loader(dataset: wt.Dataset) -> Any:
    return wt.loader(dataset, batch_size=_BATCH, image_size=_SIDE, threads=_THREADS)


def _tight(images: Sequence[bytes]) -> None:
    def loop(part: Sequence[bytes]) -> None:
        pixels = np.empty((_SIDE, _SIDE, 3), np.uint8)
        for image in part:
            simplejpeg.decode_jpeg(image, "RGB", buffer=pixels)

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(loop, [images[number::_THREADS] for number in range(_THREADS)]))


def _through(items: Iterable[object]) -> None:
    for _ in items:
        pass


def _quietly(items: Iterable[object]) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # webdataset leaves shards open to the garbage collector
        start = time.perf_counter()
        _through(items)
        seconds = time.perf_counter() - start
        gc.collect()
    return seconds
