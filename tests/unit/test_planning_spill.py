"""Rows that are laid aside on a disk, by a key of theirs: they come back as they came, however many are held."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.laws import SHORT_LAW
from wdstools.errors import StoreError
from wdstools.planning import spill as module
from wdstools.planning.spill import Spill

if TYPE_CHECKING:
    from pathlib import Path


def _rows(first: int, count: int) -> pa.Table:
    numbers = range(first, first + count)
    names = pa.array([f"name {number % 3}" for number in numbers]).dictionary_encode()
    return pa.table({"number": list(numbers), "name": names})


@SHORT_LAW
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6)), max_size=12), st.integers(1, 12), st.integers(1, 4000))
def test_rows_come_back_in_their_order_and_few_are_held(added: list[tuple[int, int]], most: int, at_once: int) -> None:
    expected: dict[int, list[int]] = {}
    real = os.pwrite
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MOST_HELD", most)
        patch.setattr(os, "pwrite", lambda fd, data, at: real(fd, data[:at_once], at))  # as disks may
        spill: Spill[int] = Spill()
        first = 0
        for key, count in added:
            spill.add(key, _rows(first, count))
            expected.setdefault(key, []).extend(range(first, first + count))
            first += count
            assert sum(table.num_rows for tables in spill._held.values() for table in tables) < most
    expected = {key: numbers for key, numbers in expected.items() if numbers}
    assert sorted(spill.held()) == sorted(expected)
    for key in range(4):
        numbers = expected.get(key, [])
        assert spill.rows(key) == len(numbers)
        table = spill.take(key)
        assert (table.column("number").to_pylist() if table is not None else []) == numbers
        if table is not None:
            assert table.column("name").to_pylist() == [f"name {number % 3}" for number in numbers]
            assert spill.whole(key).equals(table)
            assert table.column("name").num_chunks == 1
    spill.close()
    assert spill.take(0) is None


def test_where_nothing_can_be_written_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        Spill(str(tmp_path / "absent"))
