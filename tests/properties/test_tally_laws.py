"""Counts by three digits: histograms are those of the numbers themselves, and parts add up in any order."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wdstools.ops.tally import Tally
from wdstools.units import size

NUMBERS = st.lists(st.one_of(st.integers(0, 1_200), st.integers(0, 2**53)), min_size=1, max_size=60)
CLOSE = st.tuples(st.integers(0, 2**40), st.lists(st.integers(0, 50), min_size=1, max_size=30)).map(
    lambda found: [found[0] + further for further in found[1]]
)


def _tally(numbers: list[int]) -> Tally:
    return Tally.of(np.array(numbers, np.int64))


@given(st.one_of(NUMBERS, CLOSE))
def test_a_histogram_counts_every_number_where_it_belongs(numbers: list[int]) -> None:
    found = _tally(numbers).histogram()
    assert found is not None
    assert (found.least, found.most, found.values) == (min(numbers), max(numbers), len(numbers))
    assert found.mean == sum(numbers) / len(numbers)
    assert found.edges[0] <= min(numbers) <= max(numbers) < found.edges[-1]
    assert list(found.edges) == sorted(set(found.edges))
    assert len(found.counts) == len(found.edges) - 1 <= 60
    assert sum(found.counts) == len(numbers)
    if all(len(str(edge).rstrip("0")) <= 3 for edge in found.edges):  # else bars are coarser than the digits kept
        bars = [sum(a <= one < b for one in numbers) for a, b in zip(found.edges, found.edges[1:], strict=False)]
        assert list(found.counts) == bars
    assert len(set(found.ranges(size))) == len(found.counts)
    middle = sorted(numbers)[(len(numbers) - 1) // 2]
    assert middle * 0.99 <= found.median <= middle


@given(NUMBERS, st.integers(0, 60))
def test_parts_add_up(numbers: list[int], cut: int) -> None:
    whole, one, other = _tally(numbers), _tally(numbers[:cut]), _tally(numbers[cut:])
    other.add(one)
    assert other == whole


def test_nothing_has_no_histogram_and_what_is_absent_is_not_counted() -> None:
    assert Tally().histogram() is None
    assert _tally([-1, -1]).histogram() is None
    found = _tally([-1, 300, 300]).histogram()
    assert found is not None
    assert (found.edges, found.counts) == ((300, 301), (2,))
