"""The ways of reading that bench compares: raw bytes, verified samples, decoded images, batches."""

from __future__ import annotations

import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

from wdstools.ops.bench.clock import Tally, private_bytes, run_for
from wdstools.ops.bench.limits import decoder_for
from wdstools.reader.hashes import image_extension
from wdstools.reader.image import Pipeline
from wdstools.reader.loader import loader
from wdstools.reader.shard import ShardReader
from wdstools.reader.stream import stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wdstools.dataset import Dataset
    from wdstools.reader.loader import Loader

_LOOK_EVERY = 128
_LOOK_AT_MEMORY_EVERY = 8
#: How many batches a loader may have prepared while another contender was running.
_AHEAD = 8


@dataclass(frozen=True, slots=True)
class Task:
    """What to read, and how."""

    dataset: Dataset
    split: str
    shuffle: str | None
    batch_size: int
    threads: int
    steps: Callable[..., Any] | None = None

    @property
    def image(self) -> str:
        """The extension of the images. Raises UsageError (``no-images``) if there are none."""
        return image_extension(self.dataset)

    def open_loader(self, threads: int | None = None) -> Loader:
        """The loader under test."""
        return loader(
            self.dataset,
            self.split,
            batch_size=self.batch_size,
            shuffle=self.shuffle,
            threads=threads or self.threads,
            remainder="drop",
            image_transform=self.steps,
            # a function may take and return images of any size
            fit="stretch" if self.steps is None or isinstance(self.steps, Pipeline) else "list",
        )


def read_raw(task: Task, seconds: float) -> Tally:
    """Every member's bytes copied, in order, unchecked; one thread."""
    readers = (ShardReader(task.dataset, entry, check=False) for entry in task.dataset.manifest.splits[task.split])
    samples = (dict(reader.sample(row)) for reader in cycle(readers) for row in range(len(reader)))
    return run_for(seconds, _counted(samples))


def read_verified(task: Task, seconds: float) -> Tally:
    """The stream's samples, every member verified, in the order asked for; one thread."""
    reader = stream(task.dataset, task.split, shuffle=task.shuffle)
    return run_for(seconds, _counted(sample for _ in iter(int, 1) for sample in reader))


def read_decoded(task: Task, seconds: float) -> Tally:
    """As ``read_verified``, with the image decoded; one thread."""
    decode = decoder_for(task.image)
    reader = stream(task.dataset, task.split, shuffle=task.shuffle)
    samples = (sample for _ in iter(int, 1) for sample in reader)
    return run_for(seconds, (1.0 for sample in samples if decode(sample.view(task.image)) is not None))


@contextmanager
def batches(task: Task, threads: int | None = None) -> Iterator[Callable[[float], Tally]]:
    """The loader's batches, from one loader for all calls, which is closed at the end of the block."""
    with closing(task.open_loader(threads)) as opened:
        stocked = _endless(opened)

        def read(seconds: float) -> Tally:
            for _ in islice(stocked, _AHEAD):
                pass
            return run_for(seconds, stocked)

        yield read


def _endless(opened: Loader) -> Iterator[float]:
    """The number of samples of each batch, epoch after epoch."""
    while True:
        for batch in opened:
            yield len(batch)


@dataclass(frozen=True, slots=True)
class Start:
    """The start of training: milliseconds from opening the dataset to its first batch, and the peak memory."""

    first_batch_ms: float
    peak_memory_bytes: int


def start_training(task: Task, open_again: Callable[[], Dataset], seconds: float) -> Start:
    """Open the dataset again, read batches for some time, and watch the memory, before anything else uses it."""
    begin = time.perf_counter()
    fresh = replace(task, dataset=open_again())
    peak = 0
    first = 0.0
    with closing(fresh.open_loader()) as opened:
        for number, _ in enumerate(_endless(opened)):
            first = first or time.perf_counter() - begin
            if number % _LOOK_AT_MEMORY_EVERY == 0:
                peak = max(peak, private_bytes())
            if time.perf_counter() - begin >= seconds:
                break
    return Start(first * 1000, peak)


def _counted(samples: Iterator[object]) -> Iterator[float]:
    """Count samples in groups: looking at the clock costs as much as a sample."""
    while done := sum(1 for _ in islice(samples, _LOOK_EVERY)):
        yield done
