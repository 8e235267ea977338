"""Epochs of a mix: exactly once, equal ranks, and on from anywhere with any batch sizes and numbers of ranks."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wdstools as wt
from tests.support.streams import packed
from wdstools.reader.mixing import course_of
from wdstools.reader.options import LoaderOptions, settled
from wdstools.reader.order import Sharing

if TYPE_CHECKING:
    from wdstools import Dataset
    from wdstools.reader.course import Course

SIZES = {"a": 23, "b": 11, "c": 5}


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    return {name: packed(tmp_path_factory.mktemp(name), train=count, val=1) for name, count in SIZES.items()}


mixes = st.fixed_dictionaries(
    {
        "weights": st.tuples(*[st.integers(1, 9)] * 3),
        "stop": st.sampled_from(["first", "all"]),
        "samples": st.sampled_from([None, None, 1, 37, 60]),
        "per_batch": st.sampled_from(["mixed", "homogeneous"]),
    }
)
runs = st.lists(st.tuples(st.integers(1, 6), st.integers(1, 4), st.integers(0, 5)), max_size=4)


def course(datasets: dict[str, Dataset], weights: tuple[int, ...], **options: Any) -> Course:
    sources = {name: wt.source(datasets[name], weight=weight) for name, weight in zip(SIZES, weights, strict=True)}
    given: LoaderOptions = {"batch_size": 1}
    return course_of(wt.mix(sources, **options), "train", settled(LoaderOptions, given, "a test"))


def steps(here: Course, batch_size: int, world_size: int) -> list[tuple[list[int], Any]]:
    """The rows of all ranks together, batch by batch from where a course is, and the place behind each."""
    ranks = []
    for rank in range(world_size):
        deal = here.deal(Sharing(here.count, batch_size, rank, world_size))
        found = list(deal.steps(here.place))
        assert len(found) == deal.batches(here.place)
        ranks.append(found)
    assert len({tuple(len(step.at) for step in rank) for rank in ranks}) == 1
    joined = []
    for batch in zip(*ranks, strict=True):
        own = [here.planned(step)[0][: len(step.at) - step.padding].tolist() for step in batch]
        joined.append(([row for rows in own for row in rows], batch[0].after))
    return joined


@settings(deadline=None, max_examples=25)
@given(mixes, st.integers(0, 3), runs)
def test_an_epoch_is_the_same_whatever_runs_it_was_read_in(
    datasets: dict[str, Dataset], options: dict[str, Any], epoch: int, parts: list[tuple[int, int, int]]
) -> None:
    whole = course(datasets, **options)
    whole.go_to(epoch)
    expected = [row for rows, _ in steps(whole, 4, 1) for row in rows]
    assert len(expected) == whole.count
    here = course(datasets, **options)
    here.go_to(epoch)
    got: list[int] = []
    for batch_size, world_size, stop in [*parts, (3, 2, 10**6)]:
        there = course(datasets, **options)
        there.restore(json.loads(json.dumps(here.state())))
        for rows, after in steps(there, batch_size, world_size)[:stop]:
            got += rows
            there.place = after
        here = there
    assert Counter(got) == Counter(expected)
    if options["per_batch"] == "mixed":
        assert got == expected


@settings(deadline=None, max_examples=20)
@given(mixes, st.integers(1, 5))
def test_each_source_is_read_once_an_epoch_of_its_own(
    datasets: dict[str, Dataset], options: dict[str, Any], epochs: int
) -> None:
    here = course(datasets, **options)
    rows: list[list[int]] = [[], [], []]
    for epoch in range(epochs):
        here.go_to(epoch)
        parts = [here.planned(step) for step in here.deal(Sharing(here.count, 1)).steps(0)]
        # batches of one source each come in another order than the positions that they are of
        order = sorted((int(at), int(row)) for own, places in parts for row, at in zip(own, places, strict=True))
        assert [at for at, _ in order] == list(range(here.count))
        found = np.array([row for _, row in order])
        for feed in range(3):
            rows[feed] += (found[here.feed_of(found) == feed] - here.first_row(feed)).tolist()
    assert here.mixing is not None
    assert [len(each) for each in rows] == [epochs * count for count in here.mixing.turns.before(here.count)]
    for each, count in zip(rows, SIZES.values(), strict=True):
        for first in range(0, len(each) - count + 1, count):
            assert sorted(each[first : first + count]) == list(range(count))
