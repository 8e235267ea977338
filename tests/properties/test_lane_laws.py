"""Batches of one kind each: exactly once, equal ranks, and on from anywhere with any batch size and number of ranks."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wdstools.errors import UsageError
from wdstools.reader.lanes import LaneDeal, Lanes
from wdstools.reader.order import Sharing

if TYPE_CHECKING:
    from wdstools.reader.lanes import Step

#: One kind for each position of an order; more kinds than there are samples of, too.
KINDS = 5
orders = st.lists(st.sampled_from([0] * 12 + list(range(KINDS))), min_size=1, max_size=120)
sizes = st.integers(1, 7)
worlds = st.integers(1, 5)
remainders = st.sampled_from(["pad", "drop", "keep"])


def lanes_of(kinds: list[int]) -> Lanes:
    """Lanes of an order whose row at each position is the position plus 1000."""
    return Lanes(np.array(kinds), np.arange(len(kinds)) + 1000, KINDS)


def deals_of(lanes: Lanes, batch_size: int, world_size: int, remainder: str) -> list[LaneDeal]:
    phases = [(3 * lane + 1) / 16 for lane in range(KINDS)]
    count = sum(lanes.counts)
    return [LaneDeal(Sharing(count, batch_size, r, world_size, remainder), lanes, phases) for r in range(world_size)]


def own(lanes: Lanes, step: Step) -> list[int]:
    """The positions of a batch, padding not counted."""
    positions: list[int] = lanes.of(step.lane, step.at[: len(step.at) - step.padding])[1].tolist()
    return positions


def global_batches(lanes: Lanes, deals: list[LaneDeal], place: Any) -> list[tuple[list[int], Any]]:
    """What all ranks together get, batch by batch, and where they are after it."""
    ranks = [list(deal.steps(place)) for deal in deals]
    found = []
    for steps in zip(*ranks, strict=True):
        assert len({step.after for step in steps}) == 1
        found.append(([position for step in steps for position in own(lanes, step)], steps[0].after))
    return found


@settings(deadline=None, max_examples=100)
@given(orders, sizes, worlds, remainders)
def test_every_position_comes_once_in_batches_of_one_kind(
    kinds: list[int], batch_size: int, world_size: int, remainder: str
) -> None:
    lanes = lanes_of(kinds)
    seen: list[int] = []
    for deal in deals_of(lanes, batch_size, world_size, remainder):
        steps = list(deal.steps(0))
        assert len(steps) == deal.batches(0)
        for step in steps:
            rows, positions = lanes.of(step.lane, step.at)
            assert {kinds[position] for position in positions} == {step.lane}
            assert (rows == positions + 1000).all()
            assert 0 < len(step.at) <= batch_size
            seen += own(lanes, step)
    left_out = Counter({kind: n % (batch_size * world_size) for kind, n in Counter(kinds).items()})
    assert len(seen) == len(set(seen)) == len(kinds) - (sum(left_out.values()) if remainder == "drop" else 0)


@settings(deadline=None, max_examples=80)
@given(orders, sizes, worlds, st.sampled_from(["pad", "drop"]))
def test_ranks_get_equally_many_batches_of_equal_sizes_and_kinds(
    kinds: list[int], batch_size: int, world_size: int, remainder: str
) -> None:
    lanes = lanes_of(kinds)
    ranks = [
        [(step.lane, len(step.at), step.after) for step in deal.steps(0)]
        for deal in deals_of(lanes, batch_size, world_size, remainder)
    ]
    assert ranks == [ranks[0]] * world_size


@settings(deadline=None, max_examples=80)
@given(
    st.lists(st.sampled_from([0] * 12 + list(range(KINDS))), min_size=40, max_size=120),
    st.sampled_from([(4, 1), (2, 2), (1, 4)]),
    st.sampled_from([(4, 1), (2, 2), (1, 4)]),
    st.integers(0, 20),
)
def test_on_other_ranks_a_run_goes_on_as_it_would_have(
    kinds: list[int], before: tuple[int, int], after: tuple[int, int], stop: int
) -> None:
    lanes = lanes_of(kinds)
    whole = global_batches(lanes, deals_of(lanes, *before, "pad"), 0)
    begun = whole[:stop]
    place = begun[-1][1] if begun else 0
    rest = global_batches(lanes, deals_of(lanes, *after, "pad"), place)
    assert [batch for batch, _ in begun + rest] == [batch for batch, _ in whole]


@settings(deadline=None, max_examples=80)
@given(orders, st.lists(st.tuples(sizes, worlds, st.integers(1, 6)), min_size=1, max_size=5))
def test_with_any_batch_sizes_and_ranks_in_a_row_every_position_still_comes_once(
    kinds: list[int], runs: list[tuple[int, int, int]]
) -> None:
    lanes = lanes_of(kinds)
    place: Any = 0
    seen: list[int] = []
    for batch_size, world_size, stop in [*runs, (3, 2, 10**6)]:
        for batch, after in global_batches(lanes, deals_of(lanes, batch_size, world_size, "pad"), place)[:stop]:
            seen += batch
            place = after
    assert sorted(seen) == list(range(len(kinds)))
    assert all(not deal.batches(place) for deal in deals_of(lanes, 2, 2, "pad"))


@settings(deadline=None, max_examples=80)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 120), st.integers(1, 120), st.floats(0, 0.999))
def test_of_two_kinds_every_window_of_batches_has_each_within_one_of_its_share(
    first: int, second: int, start: int, size: int, phase: float
) -> None:
    lanes = Lanes(np.array([0] * first + [1] * second), np.arange(first + second), 2)
    deal = LaneDeal(Sharing(first + second, 1), lanes, [phase, 0.5])
    kinds = [step.lane for step in deal.steps(0)]
    window = kinds[start : start + size]
    assert abs(window.count(0) - len(window) * first / (first + second)) <= 1 + 1e-9


def test_lanes_are_not_shared_out_to_worker_processes() -> None:
    with pytest.raises(UsageError, match="worker processes"):
        LaneDeal(Sharing(4, 1, worker=0, workers=2), lanes_of([0, 1, 0, 1]), [0.5] * KINDS)
