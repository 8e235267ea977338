"""The work of a plan by ranges that workers do: making keys for some samples, and sorting one range of the order hash.

Tables go there and back, so that hosts need no shared disk. Only a few are in flight at a time, so that the caller's
memory does not grow with the number of samples or workers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, TypeVar

import pyarrow as pa

from wdstools.executors.base import run_all
from wdstools.formats.sample import split_hash
from wdstools.planning.by_names import fitting
from wdstools.planning.place import hash_keys, in_order
from wdstools.planning.splits import SplitRule
from wdstools.planning.table import Samples

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wdstools.executors.base import Executor, Tick, Value, Work
    from wdstools.planning.options import PackOptions
    from wdstools.results import Skip
    from wdstools.sources.base import Listing

#: The bytes of tables in flight at once, there and back; at least one table.
_UNDER_WAY_BYTES, _WAYS = 256 << 20, 2


@dataclass(frozen=True, slots=True)
class KeyRule:
    """How keys are made and samples chosen; ``listing`` is stripped of its samples and its opener."""

    travels_once: ClassVar[bool] = True

    listing: Listing
    options: PackOptions
    decided: tuple[str, tuple[str, ...]]

    @classmethod
    def of(cls, listing: Listing, options: PackOptions, decided: tuple[str, tuple[str, ...]]) -> KeyRule:
        """The rule for a listing."""
        bare = replace(listing, samples=pa.table({}), opener=None, skips=(), notes=(), labels=(), unmatched={})  # type: ignore[arg-type]
        plain = options if options.splits.lists is None else replace(options, splits=SplitRule())  # lists may be long
        return cls(bare, plain, decided)


@dataclass(frozen=True, slots=True)
class KeyTask:
    """Some samples of a listing."""

    rule: KeyRule
    samples: pa.Table


@dataclass(frozen=True, slots=True)
class Chosen:
    """Samples, and those left out; ``repeated`` counts those whose key another sample has."""

    samples: Samples
    skips: tuple[Skip, ...]
    repeated: int = 0


def make_keys(task: KeyTask, tick: Tick) -> Chosen:
    """The samples that can be packed, judging by names, with key and order hash; for ratios, with a split hash."""
    rule = task.rule
    keyed = fitting(replace(rule.listing, samples=task.samples), rule.options, rule.decided)
    samples, seed = keyed.samples, rule.options.layout.seed
    if rule.options.splits.ratios is not None:
        hashes = hash_keys(samples, lambda key: split_hash(key, seed))
        samples = samples.with_column("split_hash", [hashes], pa.uint64())
    tick(task.samples.num_rows)
    return Chosen(samples, tuple(keyed.skips))


@dataclass(frozen=True, slots=True)
class SortTask:
    """The samples of a range of the order hash."""

    samples: pa.Table


Task = TypeVar("Task", KeyTask, SortTask)


def sort_range(task: SortTask, tick: Tick) -> Chosen:
    """The samples in order, one per key."""
    del tick
    samples = Samples(task.samples)
    order, others = in_order(samples)
    return Chosen(samples.take(order), tuple(samples.skips(others, "key-duplicate")), len(others))


def some_at_a_time(
    executor: Executor, work: Work[Task, Value], tasks: Iterable[Task], tick: Tick | None = None
) -> Iterator[Value]:
    """The results of the tasks, in order, with as many in flight at once as the size of their tables allows."""
    for some in _by_size(tasks):
        yield from run_all(executor, work, some, tick)


def _by_size(tasks: Iterable[Task]) -> Iterator[list[Task]]:
    some: list[Task] = []
    held = 0
    for task in tasks:
        size = _WAYS * task.samples.nbytes
        if some and held + size > _UNDER_WAY_BYTES:
            yield some
            some, held = [], 0
        some.append(task)
        held += size
    if some:
        yield some
