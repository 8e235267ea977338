"""A search on this machine takes as many threads as memory has room for, and finds the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from wdstools.dedup import few
from wdstools.dedup.parts import SearchTask, linked
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


@pytest.mark.parametrize(
    ("sizes", "are_few"), [([2] * 43_690, True), ([2] * 43_691, False), ([512], True), ([513], False), ([], True)]
)
def test_components_that_are_many_or_large_are_left_to_compiled_loops(sizes: list[int], are_few: bool) -> None:
    starts = np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))
    assert (few.effort_of(starts) <= few.FEW_PAIRS) == are_few
