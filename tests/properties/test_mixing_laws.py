"""Whose turn it is: every source as often as its weight says, in every window."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.came import came
from wdstools.errors import UsageError
from wdstools.reader.turns import LONGEST, Turns

shares = st.lists(st.integers(1, 60), min_size=1, max_size=8)

#: Whatever changes these changes which sample comes when.
GOLDEN = {
    (0.7, 0.3): [0, 1, 0, 0, 0, 1, 0, 0, 1, 0],
    (5, 3, 2): [0, 1, 0, 2, 0, 1, 0, 2, 1, 0],
    (1, 1, 1): [0, 1, 2, 0, 1, 2, 0, 1, 2, 0],
}


def _off(weights: list[int], first: int, count: int) -> Fraction:
    """How far a window of positions is from the weights, at the source that is furthest."""
    turns = Turns(weights)
    whole = sum(weights)
    before, after = turns.before(first), turns.before(first + count)
    found = [late - early for early, late in zip(before, after, strict=True)]
    return max(abs(number - Fraction(count * weight, whole)) for number, weight in zip(found, weights, strict=True))


@settings(deadline=None, max_examples=80)
@given(shares, st.integers(0, 3000), st.integers(0, 3000))
@example([333, 333, 334], 100, 500)
def test_windows_hold_each_source_as_often_as_its_weight_says(weights: list[int], first: int, count: int) -> None:
    assert _off(weights, 0, count) < 1
    assert _off(weights, first, count) < 2


@settings(deadline=None, max_examples=80)
@given(st.lists(st.integers(1, 200), min_size=2, max_size=2), st.integers(0, 3000), st.integers(0, 3000))
def test_of_two_sources_every_window_is_less_than_one_off(weights: list[int], first: int, count: int) -> None:
    assert _off(weights, first, count) < 1


@pytest.mark.parametrize("weights", [(0.5, 0.3, 0.2), (0.6, 0.3, 0.1), (0.5, 0.25, 0.25), (0.4, 0.4, 0.2)])
def test_usual_weights_of_three_sources_are_at_most_one_off_in_every_window(weights: tuple[float, ...]) -> None:
    turns = Turns(weights)
    sources = turns.at(np.arange(2 * turns.period))
    counts = np.cumsum(sources[:, np.newaxis] == np.arange(3), axis=0)
    counts = np.concatenate((np.zeros((1, 3), np.int64), counts))
    for size in came(range(1, turns.period + 1)):
        windows = counts[size:] - counts[:-size]
        assert (abs(windows - size * np.array(weights)) <= 1 + 1e-9).all()


@settings(deadline=None, max_examples=100)
@given(shares, st.integers(0, 500))
def test_counts_and_places_are_those_of_the_turns(weights: list[int], count: int) -> None:
    turns = Turns(weights)
    sources = turns.at(np.arange(count)).tolist()
    assert turns.before(count) == [sources.count(source) for source in range(len(weights))]
    for source in set(sources):
        places = [place for place, one in enumerate(sources) if one == source]
        assert [turns.place(source, number) for number in range(len(places))] == places


def test_turns_are_these_for_ever() -> None:
    assert {weights: Turns(weights).at(np.arange(10)).tolist() for weights in GOLDEN} == GOLDEN


def test_weights_are_taken_as_they_are_written() -> None:
    assert Turns([0.1, 0.2, 0.7]).shares == [1, 2, 7]
    assert Turns([1 / 3, 1 / 3, 1 / 3]).shares == [1, 1, 1]
    assert Turns([200_000, 100_000]).shares == [2, 1]
    odd = Turns([0.7312345, 0.2687655])
    assert odd.period == LONGEST
    assert abs(float(odd.weights[0]) - 0.7312345) < 1 / LONGEST
    with pytest.raises(UsageError, match="too small"):
        Turns([1.0, 1e-9])
