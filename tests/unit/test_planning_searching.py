"""A search on this machine takes as many threads as memory has room for, and finds the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from wdstools.dedup import few
from wdstools.dedup.compare import Comparison
from wdstools.dedup.groups import nothing_seen
from wdstools.dedup.levels import LEVELS
from wdstools.dedup.parts import SearchTask, linked, ranges_for
from wdstools.executors import local
from wdstools.planning import searching
from wdstools.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wdstools.executors.base import Item, Outcome, Tick, Value, Work


@pytest.mark.parametrize(("room", "jobs"), [(0, 1), (2.5, 2), (100, 4)])
def test_threads_are_as_few_as_memory_asks_for(room: float, jobs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(5)
    codes = random.integers(0, 1 << 62, (3000, 5)).astype(np.uint64)
    codes[1500:] = codes[:1500] ^ np.uint64(1)  # each has one that is alike
    mirrored = random.integers(0, 1 << 62, (3000, 5)).astype(np.uint64)
    expected = linked(codes, (4, 40), mirrored, searching.OnWorkers(local.Serial(), Silent()))
    took: list[int] = []

    class Told(local.Threads):
        def map(
            self, work: Work[Item, Value], items: Iterable[Item], tick: Tick | None = None
        ) -> Iterator[Outcome[Value]]:
            took.append(self.jobs)
            return super().map(work, items, tick)

    monkeypatch.setattr(few, "FEW_CODES", 0)
    monkeypatch.setattr(searching, "Threads", Told)
    monkeypatch.setattr(searching, "ranges_for", lambda *_: 5)
    monkeypatch.setattr(SearchTask, "bytes", 1000)
    monkeypatch.setattr(searching, "free_bytes", lambda: int(2 * room * 1000))
    found = linked(codes, (4, 40), mirrored, searching.OnWorkers(Told(4), Silent()))
    assert took == [jobs]
    assert np.array_equal(found, expected)
    assert len(np.unique(found)) <= 1500


@pytest.mark.parametrize("jobs", [1, 2, 4])
def test_a_search_is_cut_where_there_is_more_than_one_worker(jobs: int) -> None:
    workers = searching.OnWorkers(local.Threads(jobs), Silent())
    for seconds in (0.001, 1000):
        assert workers.ranges(seconds) == (1 if jobs == 1 else ranges_for(seconds, jobs))
    assert (workers.ranges(1000) > 1) == (jobs > 1)


def test_nothing_is_asked_of_workers_where_there_is_nothing_to_do() -> None:
    workers = searching.OnWorkers(local.Threads(2), Silent())
    assert list(workers.search(iter([]), 0)) == []
    assert list(workers.compare(iter([]), 0)) == []


def test_workers_elsewhere_are_asked_whatever_memory_is_free_here(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class Elsewhere(local.Serial):
        jobs = 4

        def map(
            self, work: Work[Item, Value], items: Iterable[Item], tick: Tick | None = None
        ) -> Iterator[Outcome[Value]]:
            asked.append(self.jobs)
            return super().map(work, items, tick)

    monkeypatch.setattr(few, "FEW_CODES", 0)
    monkeypatch.setattr(searching, "ranges_for", lambda *_: 3)
    monkeypatch.setattr(searching, "free_bytes", lambda: 0)
    codes = np.random.default_rng(5).integers(0, 1 << 62, (600, 5)).astype(np.uint64)
    found = linked(codes, (4, 40), codes, searching.OnWorkers(Elsewhere(), Silent()))
    assert (len(np.unique(found)), asked) == (600, [4])


@pytest.mark.parametrize("are_few", [True, False])
def test_loops_that_compare_are_compiled_before_workers_start_where_there_is_much(
    are_few: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []

    class Told(Silent):
        def start(self, task: str, total: int, unit: str) -> None:
            told.append((task, total, unit))

        def advance(self, count: int) -> None:
            told.append(count)

    none = Comparison(nothing_seen(), np.zeros(1, np.int64), np.zeros(0, np.uint64), LEVELS[:1], few=are_few)
    monkeypatch.setattr(searching, "compile_comparing", lambda _: told.append("compiled"))
    (found,) = searching.OnWorkers(local.Serial(), Told()).compare(iter([none]), 5)
    assert (found[0], len(found[1])) == (0, 1)
    assert told == ["compiled"] * (not are_few) + [("compare pictures", 5, "images"), 0]


@pytest.mark.parametrize(
    ("sizes", "are_few"), [([2] * 43_690, True), ([2] * 43_691, False), ([512], True), ([513], False), ([], True)]
)
def test_components_that_are_many_or_large_are_left_to_compiled_loops(sizes: list[int], are_few: bool) -> None:
    starts = np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))
    assert (few.effort_of(starts) <= few.FEW_PAIRS) == are_few
