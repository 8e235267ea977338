"""bench: measure how fast a dataset reaches a training loop here, what limits it, and what to change."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Unpack

from wdstools.dataset import open_dataset
from wdstools.errors import UsageError, option
from wdstools.executors.base import run_all
from wdstools.executors.open import executor_or_here, processors
from wdstools.ops.bench import stages
from wdstools.ops.bench.advice import Figures, advise, find_bottleneck
from wdstools.ops.bench.clock import Tally, in_turn, quantile, rate_of, ratio_of
from wdstools.ops.bench.limits import copy_memory, decode_images, hash_payloads, read_cold, read_warm, work_on
from wdstools.ops.bench.machine import Others, machine_facts, memory_bytes
from wdstools.ops.bench.peers import check_peers, peer_work
from wdstools.ops.bench.pipeline import decode_through, steps_of
from wdstools.ops.bench.result import BenchResult, Limit, Speed
from wdstools.options.check import BenchChoices
from wdstools.options.declare import part, settle
from wdstools.options.read import OpenChoices
from wdstools.progress import Silent, under_way
from wdstools.reader.order import Order, mixing_score
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wdstools.dataset import Dataset
    from wdstools.executors.base import Executor, Tick
    from wdstools.ops.bench.stages import Start, Task
    from wdstools.options.declare import StrPath
    from wdstools.progress import Progress

_ROUNDS = 3
_BATCH_SIZE = 64
_PAYLOADS = 2_000
_PAYLOAD_BYTES = 1 << 26
_POINTS = 2_000
#: The share of the memory that can be expected to be page cache.
_CACHE_PART = 0.7
COLD, WARM = "storage, cold", "storage, warm"
PIPELINE = "pipeline"
#: Each way of reading, and the limit that applies to it.
_AGAINST = {"raw": WARM, "verified": "hash", "decoded": "decoder, 1 thread", "batches": "decoder"}


def bench(
    where: StrPath,
    *,
    executor: Executor | None = None,
    progress: Progress | None = None,
    **choices: Unpack[BenchChoices],
) -> BenchResult:
    """Measure how fast one split of a dataset reaches a training loop here, what limits it, and what to change.

    Everything runs in turn, in one process; only caches are written.

    Args:
        where: The dataset's folder or URL; it is opened as it would be for training.
        executor: Measures, as one task: on a cluster, on one of its hosts. Without one, this process does.
        progress: Receives how many of the four parts are measured.
        **choices: What to measure, for how long, and how to open the dataset; see ``BenchChoices``.

    Returns:
        Rates in samples and bytes per second, times in milliseconds, and advice in sentences.

    Raises:
        UsageError: There is no such split or peer, or an option is invalid.
        WdsError: The dataset could not be read.
    """
    task = _BenchTask(os.fspath(where), settle(BenchChoices, choices))
    with under_way(progress or Silent(), "measuring", 4, "parts") as tick:
        (found,) = run_all(executor_or_here(executor), _bench, [task], tick)
    return found


@dataclass(frozen=True, slots=True)
class _BenchTask:
    """What to measure."""

    local_paths: ClassVar[tuple[str, ...]] = ("where",)

    where: str
    options: BenchChoices


def _bench(given: _BenchTask, tick: Tick) -> BenchResult:
    """Measure one dataset on this machine."""
    options = given.options
    opened = partial(open_dataset, given.where, **part(OpenChoices, options))
    task = _task_of(opened(), options)
    check_peers(options["compare"], task)
    others = Others()
    start = stages.start_training(task, opened, options["seconds"])
    tick(1)
    limits = _storage_limits(task, options["seconds"])
    tick(1)
    found = _measure(task, options)
    tick(1)
    scaling = _scaling(task, options["seconds"] / 2, rate_of(found["batches"]))
    tick(1)
    return _result(task, options, _Measured(start, limits, found, scaling, others.cores()))


@dataclass(frozen=True, slots=True)
class _Measured:
    start: Start
    storage: Mapping[str, Tally]
    found: Mapping[str, Sequence[Tally]]
    scaling: Mapping[int, float]
    others: float


def _task_of(dataset: Dataset, options: BenchChoices) -> Task:
    splits = dataset.manifest.splits
    split = options["split"] or ("train" if "train" in splits else next(iter(splits), ""))
    if split not in splits:
        raise UsageError("no such split", where=option("split"), expected=", ".join(splits), got=split)
    samples = sum(entry.samples for entry in splits[split])
    batch_size = min(_BATCH_SIZE, samples) if options["batch_size"] is None else options["batch_size"]
    if not 1 <= batch_size <= samples:
        raise UsageError(
            "a batch cannot be larger than the split",
            where=option("batch_size"),
            expected=f"1 to {samples:,}",
            got=f"{batch_size:,}",
        )
    shuffle = None if options["shuffle"] == "none" else options["shuffle"]
    threads = options["threads"] or processors()
    return stages.Task(dataset, split, shuffle, batch_size, threads, steps_of(options))


def _storage_limits(task: Task, seconds: float) -> dict[str, Tally]:
    shards = task.dataset.manifest.splits[task.split]
    return {COLD: read_cold(task.dataset, shards, seconds)}


def _measure(task: Task, options: BenchChoices) -> dict[str, list[Tally]]:
    """Measure repeatable limits, ways of reading, and peers, all in turn."""
    payloads = _payloads(task)
    store, shards = task.dataset.shards, task.dataset.manifest.splits[task.split]
    work: dict[str, Callable[[float], Tally]] = {
        "memory": copy_memory,
        "hash": partial(hash_payloads, payloads),
        "decoder": partial(decode_images, payloads, task.image, task.threads),
        "decoder, 1 thread": partial(decode_images, payloads, task.image, 1),
        "raw": partial(stages.read_raw, task),
        "verified": partial(stages.read_verified, task),
        "decoded": partial(stages.read_decoded, task),
    }
    if task.steps is not None:
        each = partial(decode_through, task.steps)
        work[PIPELINE] = partial(work_on, payloads, each, task.threads)
        work[f"{PIPELINE}, 1 thread"] = partial(work_on, payloads, each, 1)
    if isinstance(store, LocalStore):
        work[WARM] = partial(read_warm, store, shards)
    with ExitStack() as stack:
        work["batches"] = stack.enter_context(stages.batches(task))
        if options["compare"]:
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="wdstools-bench-"))
            work.update({name: peer_work(name, task, scratch) for name in options["compare"]})
        return in_turn(work, options["seconds"], _ROUNDS)


def _payloads(task: Task) -> list[bytes]:
    """Some images, spread over the split, in memory."""
    split = task.dataset.split(task.split)
    found: list[bytes] = []
    room = _PAYLOAD_BYTES
    for number in range(0, len(split), max(1, len(split) // _PAYLOADS)):
        found.append(split[number][task.image])
        room -= len(found[-1])
        if room < 0:
            break
    return found


def _scaling(task: Task, seconds: float, known: float) -> dict[int, float]:
    """Batches per second by number of threads: 1, 2, 4 ... up to the number asked for, whose rate is known."""
    counts = [1 << power for power in range(task.threads.bit_length()) if 1 << power < task.threads]
    found = {}
    for threads in counts:
        with stages.batches(task, threads) as read:
            found[threads] = read(seconds).rate
    return {**found, task.threads: known}


def _result(task: Task, options: BenchChoices, measured: _Measured) -> BenchResult:
    shards = task.dataset.manifest.splits[task.split]
    samples, size = sum(entry.samples for entry in shards), sum(entry.bytes for entry in shards)
    limits = _limits(task, measured, size / samples)
    speeds = tuple(_speed(name, measured.found, size / samples) for name in _AGAINST)
    fits = isinstance(task.dataset.shards, LocalStore) and size <= _CACHE_PART * memory_bytes()
    order = Order(samples, shuffle=task.shuffle)
    figures = Figures(
        {limit.name: limit for limit in limits},
        WARM if fits else COLD,
        speeds[-1].samples_per_s,
        speeds[-1].share or 0.0,
        measured.scaling,
        processors(),
        len(shards),
        size,
        samples,
        mixing_score(order, task.batch_size),
        task.shuffle,
        options["wanted"],
        measured.others,
    )
    laps = [lap * 1000 for tally in measured.found["batches"] for lap in tally.laps]
    return BenchResult(
        dataset=task.dataset.name,
        root=task.dataset.root,
        at=task.dataset.shards.url,
        split=task.split,
        samples=samples,
        bytes=size,
        shards=len(shards),
        shuffle=options["shuffle"],
        batch_size=task.batch_size,
        threads=task.threads,
        cores=processors(),
        machine={**machine_facts(), "others": f"other programs kept {measured.others:.2f} cores busy"},
        limits=limits,
        speeds=speeds,
        scaling=measured.scaling,
        first_batch_ms=measured.start.first_batch_ms,
        p50_ms=quantile(laps, 0.5),
        p99_ms=quantile(laps, 0.99),
        batch_ms=_thinned(laps),
        peak_memory_bytes=measured.start.peak_memory_bytes,
        mixing=figures.mixing,
        bottleneck=find_bottleneck(figures),
        advice=advise(figures),
        peers=tuple(_peer(name, measured.found, size / samples) for name in options["compare"]),
    )


def _limits(task: Task, measured: _Measured, sample_bytes: float) -> tuple[Limit, ...]:
    far = not isinstance(task.dataset.shards, LocalStore)
    how = {
        "memory": "one thread copies",
        COLD: "ranges of 8 MB, one after the other" if far else "read around the page cache",
        WARM: "read from the page cache",
        "hash": "one thread computes XXH3-64 of images in memory",
        "decoder": f"{task.threads} threads in tight loops",
        "decoder, 1 thread": "one thread in a tight loop",
        PIPELINE: f"{task.threads} threads decode and apply the steps in tight loops",
        f"{PIPELINE}, 1 thread": "one thread does the same",
    }
    by_bytes = {"memory", COLD, WARM}
    rates = {name: tally.rate for name, tally in measured.storage.items()}
    rates |= {name: rate_of(tallies) for name, tallies in measured.found.items()}
    made = []
    for name, text in how.items():
        if name in rates:
            samples = rates[name] / sample_bytes if name in by_bytes else rates[name]
            made.append(Limit(name, samples, samples * sample_bytes, text))
    return tuple(made)


def _speed(name: str, found: Mapping[str, Sequence[Tally]], sample_bytes: float) -> Speed:
    tallies, limit = found[name], _AGAINST[name]
    if name == "batches" and PIPELINE in found:
        limit = PIPELINE
    rate = rate_of(tallies)
    cores = sum(tally.cpu_seconds for tally in tallies) / sum(tally.seconds for tally in tallies)
    if limit not in found:  # remote storage has no warm limit
        return Speed(name, rate, rate * sample_bytes, cores)
    share = ratio_of(tallies, found[limit]) * (sample_bytes if limit == WARM else 1)
    return Speed(name, rate, rate * sample_bytes, cores, limit, share)


def _peer(name: str, found: Mapping[str, Sequence[Tally]], sample_bytes: float) -> Speed:
    rate = rate_of(found[name])
    return Speed(name, rate, rate * sample_bytes, limit="batches", share=ratio_of(found[name], found["batches"]))


def _thinned(values: Sequence[float]) -> tuple[float, ...]:
    """No more values than a chart can show: the largest of each run of neighbours."""
    step = -(-len(values) // _POINTS)
    return tuple(round(max(values[at : at + step]), 3) for at in range(0, len(values), step))
