"""Rows that are laid aside on a disk, by a key of theirs: they come back as they came, however many are held."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.properties.test_placement_laws import table_of
from tests.support.laws import SHORT_LAW
from wdstools.errors import WdsError
from wdstools.planning import spill as module
from wdstools.planning.spill import Spill, shelve, spread, tables_of
from wdstools.planning.table import Samples

if TYPE_CHECKING:
    from pathlib import Path


def _rows(first: int, count: int) -> pa.Table:
    numbers = range(first, first + count)
    names = pa.array([f"name {number % 3}" for number in numbers]).dictionary_encode()
    return pa.table({"number": list(numbers), "name": names})


@SHORT_LAW
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6)), max_size=12), st.integers(1, 12), st.integers(1, 4000))
@example([(0, 2), (1, 1)], 3, 1)
@example([(0, 2), (1, 1)], 4, 1)
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
    assert [spill.take(key) for key in range(4)] == [None] * 4
    assert spill._file.closed  # what it took on the disk is free


def test_where_nothing_can_be_written_it_is_said(tmp_path: Path) -> None:
    for folder in (tmp_path / "absent", None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
            with pytest.raises(WdsError) as caught:
                Spill(None if folder is None else str(folder))
        assert caught.value.where == str(folder or tmp_path / "nowhere")


@SHORT_LAW
@given(st.integers(0, 80), st.sampled_from([1, 2, 7, 64]))
def test_samples_lie_in_the_range_of_their_hash_and_in_their_split(count: int, ranges: int) -> None:
    samples = Samples(table_of([(("train", "val")[number % 3 == 1], "oslo", str(number)) for number in range(count)]))
    hashes = samples.numbers("order_hash").tolist()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "RANGES", ranges)
        spill: Spill[int] = Spill()
        spread(spill, samples)
        places: dict[int, list[str]] = {}
        for stem, at in zip(samples.texts("stem"), hashes, strict=True):
            places.setdefault(at * ranges >> 64, []).append(stem)
        tables = list(tables_of(spill))
        assert [table.column("stem").to_pylist() for table in tables] == [places[number] for number in sorted(places)]
        assert sorted(spill.held()) == sorted(places)
        placed: Spill[tuple[str, int]] = Spill()
        for number in spill.held():
            shelve(placed, number, Samples(spill.whole(number)))
    for split, number in placed.held():
        table = placed.whole((split, number))
        assert set(table.column("split").to_pylist()) == {split}
        mine = [stem for stem in places[number] if ("train", "val")[int(stem) % 3 == 1] == split]
        assert table.column("stem").to_pylist() == mine
    assert sum(placed.rows(key) for key in placed.held()) == count
