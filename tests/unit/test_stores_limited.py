"""``--limit-rate``: so many bytes a second, by a clock of the test's own."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wdstools as wt
from tests.support.command import run_command
from tests.support.damaged_dataset import make_dataset
from wdstools.stores.limited import Limited, Rate
from wdstools.stores.memory import MemoryStore
from wdstools.stores.open import remote

if TYPE_CHECKING:
    from pathlib import Path


class _Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


@given(rate=st.integers(1, 10_000), counts=st.lists(st.integers(0, 1_000_000), max_size=20), idle=st.floats(0, 100))
def test_no_more_moves_in_any_time_than_may(rate: int, counts: list[int], idle: float) -> None:
    clock = _Clock()
    limit = Rate(rate, clock.now, clock.sleep)
    clock.time += idle  # time that passed before saves nothing up
    for count in counts:
        limit.spend(count)
    assert clock.time - idle == pytest.approx(sum(counts) / rate)


def test_everything_that_moves_is_counted_and_stays_what_it_is(tmp_path: Path) -> None:
    clock = _Clock()
    store = Limited(remote(MemoryStore()), Rate(1000, clock.now, clock.sleep))
    data = bytes(range(256)) * 4096
    (tmp_path / "file").write_bytes(data)
    store.put_data("a", data)
    assert store.get("a") == data
    assert store.fetch("a", 5, 100) == data[5:105]
    assert b"".join(map(bytes, store.stream("a"))) == data
    assert clock.time == pytest.approx((3 * len(data) + 100) / 1000)


def test_a_limit_goes_to_another_process() -> None:
    assert pickle.loads(pickle.dumps(Rate(7))).per_second == 7  # noqa: S301


def test_mirror_and_pull_take_a_limit(tmp_path: Path) -> None:
    made = make_dataset(tmp_path, train=3, val=1)
    assert run_command("mirror", made, tmp_path / "mirror", "-y", "--limit-rate", "100MB").code == 0
    ran = run_command("pull", tmp_path / "mirror", tmp_path / "copy", "--limit-rate", "100MB", "--json")
    assert ran.code == 0
    wt.verify(tmp_path / "copy", root=wt.open_dataset(made).root).raise_for_findings()
    assert run_command("pull", tmp_path / "mirror", tmp_path / "x", "--limit-rate", "0").code == 2
