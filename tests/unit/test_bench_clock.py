"""bench's timing: turns, medians, ratios, quantiles; no test here depends on how fast anything is."""

from __future__ import annotations

from functools import partial
from itertools import repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.laws import LAW
from wdstools.ops.bench.clock import Tally, in_turn, private_bytes, quantile, rate_of, ratio_of, run_for


def test_work_stops_when_its_time_is_up_and_has_one_lap_a_step() -> None:
    tally = run_for(0.01, repeat(3.0))
    assert tally.seconds >= 0.01
    assert tally.count == 3 * len(tally.laps)
    assert sum(tally.laps) == pytest.approx(tally.seconds)


def test_work_that_ends_by_itself_counts_what_it_did() -> None:
    assert run_for(60, iter([1.0, 2.0])).count == 3
    assert run_for(60, iter([])).count == 0


def test_at_least_one_step_is_taken() -> None:
    assert run_for(0, repeat(1.0)).count == 1


def test_contenders_take_turns_and_each_round_starts_with_another() -> None:
    calls: list[tuple[str, float]] = []

    def work(name: str, seconds: float) -> Tally:
        calls.append((name, seconds))
        return Tally(len(calls), 1.0)

    found = in_turn({name: partial(work, name) for name in "abc"}, 6, 2)
    assert calls == [("a", 3), ("b", 3), ("c", 3), ("b", 3), ("c", 3), ("a", 3)]
    assert [tally.count for tally in found["a"]] == [1, 6]


def test_a_ratio_is_taken_round_by_round() -> None:
    # others were at work in the last round, and while the peer ran in the second: the ratio of the medians would be 20
    ours, theirs = [Tally(20, 1), Tally(20, 1), Tally(2, 1)], [Tally(10, 1), Tally(1, 1), Tally(1, 1)]
    assert ratio_of(ours, theirs) == 2
    assert rate_of([Tally(1, 1), Tally(30, 1), Tally(4, 1)]) == 4


@LAW
@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 1))
def test_a_quantile_is_a_value_that_so_many_do_not_exceed(values: list[float], part: float) -> None:
    found = quantile(values, part)
    assert found in values
    assert sum(value <= found for value in values) >= part * len(values)
    assert quantile(values, 1) == max(values)
    assert quantile(values, 0) == min(values)


def test_no_values_have_no_quantile() -> None:
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)


def test_memory_of_ones_own_grows_by_what_is_kept() -> None:
    before = private_bytes()
    kept = bytearray(b"x" * 50_000_000)
    assert private_bytes() - before > 40_000_000
    assert kept
