"""A plan by ranges: how many tables are under way at once follows their size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from wdstools.executors.local import Serial
from wdstools.planning import range_tasks
from wdstools.planning.range_tasks import SortTask, some_at_a_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wdstools.executors.base import Item, Outcome, Tick, Value, Work


class Counting(Serial):
    """Notes how many items it was given at once."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[int] = []

    def map(self, work: Work[Item, Value], items: Iterable[Item], tick: Tick | None = None) -> Iterator[Outcome[Value]]:
        """As ever."""
        items = list(items)
        self.given.append(len(items))
        return super().map(work, items, tick)


def rows_of(task: SortTask, tick: Tick) -> int:
    del tick
    return int(task.samples.num_rows)


@pytest.mark.parametrize(("caption_bytes", "given"), [(10, [6]), (1000, [4, 2]), (5000, [1] * 6)])
def test_tables_that_are_under_way_at_once_are_within_the_bound(
    caption_bytes: int, given: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(range_tasks, "_UNDER_WAY_BYTES", 900_000)
    table, executor = pa.table({"caption": ["x" * caption_bytes] * 100}), Counting()
    rows = list(some_at_a_time(executor, rows_of, (SortTask(table) for _ in range(6))))
    assert (rows, executor.given) == ([100] * 6, given)
