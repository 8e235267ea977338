"""How splits are decided: what is told of ratios and lists, and how many of each label a split gets."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties.test_placement_laws import listing_of, table_of
from tests.support.laws import LAW
from wdstools.errors import UsageError
from wdstools.formats.sample import split_hash
from wdstools.planning.samples import with_keys
from wdstools.planning.splits import (
    Room,
    SplitRule,
    assign_splits,
    divide_listed,
    note_listed,
    nothing_listed,
    odd_sum,
    parse_ratios,
)
from wdstools.planning.table import Samples
from wdstools.results import Skip
from wdstools.sources.base import SamplesBuilder

if TYPE_CHECKING:
    from tests.properties.test_placement_laws import Sample


@pytest.mark.parametrize(
    ("ratios", "said"),
    [
        ("train=90,val=10", None),
        ("train=91,val=10", "101, not 100, and were taken in proportion: train 90.10 %, val 9.90 %"),
        ("train=80,val=10", "90, not 100, and were taken in proportion: train 88.89 %, val 11.11 %"),
        ("train=80,val=9", None),  # too few for percentages
        ("train=1,val=1", None),
        ("train=9,val=1", None),
        ("train=0.9,val=0.1", None),
        ("train=0.8,val=0.1", "0.9, not 1, and were taken in proportion: train 88.89 %, val 11.11 %"),
        ("train=0.8,val=0.09", None),
        ("train=0.9,val=0.2", "1.1, not 1, and were taken in proportion: train 81.82 %, val 18.18 %"),
        ("train=0.5,val=2.5", None),
        ("train=0.5,val=1", "1.5, not 1, and were taken in proportion: train 33.33 %, val 66.67 %"),
        ("train=0.5,val=2.4", "2.9, not 1, and were taken in proportion: train 17.24 %, val 82.76 %"),
        ("train=8/10,val=1/10,test=1/10", None),
        ("a=100", None),
        ("a=1", None),
    ],
)
def test_ratios_are_said_not_to_sum_up_where_they_were_meant_to(ratios: str, said: str | None) -> None:
    weights = parse_ratios(ratios)
    assert weights is not None
    assert odd_sum(weights) == ([f"the ratios sum to {said}"] if said else [])


@pytest.mark.parametrize(
    ("text", "weight"),
    [
        ("0", Fraction(0)), ("1/3", Fraction(1, 3)), ("5e-1", Fraction(1, 2)), ("1E15", Fraction(10**15)),
        ("1e0_9", Fraction(10**9)), ("1000000000000000", Fraction(10**15)), ("1000000000000000.1", None),
        ("1e16", None), ("1e100", None), ("0e1_00", None), ("0e00100", None), ("0e-999", None), ("1/0", None),
        ("-1", None), ("-0.1", None), ("", None), ("x", None), ("nan", None), ("inf", None),
    ],
)  # fmt: skip
def test_a_weight_is_a_number_that_may_be(text: str, weight: Fraction | None) -> None:
    assert parse_ratios(f"x={text},y=1") == (None if weight is None else {"x": weight, "y": 1})


@pytest.mark.parametrize(
    ("key", "line", "expected", "got"),
    [(b"oslo/1", b"rome/2", "ids like oslo/1", "rome/2"), (b"", b"", "ids like -", "no lines")],
)
def test_lists_that_name_nothing_show_a_key_and_a_line(key: bytes, line: bytes, expected: str, got: str) -> None:
    error = nothing_listed(key, line).to_dict()
    assert error == {
        "code": "split-lists",
        "message": "no line of the split lists names a sample of this source",
        "expected": expected,
        "got": got,
    }


def _three() -> Samples:
    return Samples(table_of([(None, "oslo", "1"), (None, "oslo", "2"), (None, "rome", "1")]))


def test_lists_divide_samples_and_what_is_left_over_is_told() -> None:
    lists = {"val": ["rome/1", "oslo/9"], "train": ["oslo/1.jpg,5", " ", ",x", "//", "oslo/1"]}
    kept, skips, notes = assign_splits(_three(), SplitRule(lists=lists), seed=0)
    assert list(zip(kept.texts("key"), kept.texts("split"), strict=True)) == [(b"oslo/1", "train"), (b"rome/1", "val")]
    why = "in a split list, but no sample with this id can be packed"
    assert skips == [
        Skip("list-invalid", "//", "train"),
        Skip("sample-missing", "oslo/9", "val", "oslo/9", why),
        Skip("split-not-listed", "oslo/2", None, "oslo/2"),
    ]
    assert notes == []
    for lines, got in ((["nobody/1", "nobody/2"], "nobody/1"), ([], "no lines")):
        with pytest.raises(UsageError) as caught:
            assign_splits(_three(), SplitRule(lists={"val": lines}), seed=0)
        assert (caught.value.expected, caught.value.got) == ("ids like oslo/1", got)
    with pytest.raises(UsageError) as caught:
        assign_splits(_three().take([]), SplitRule(lists=lists), seed=0)
    assert (caught.value.expected, caught.value.got) == ("ids like -", "rome/1")


def test_a_key_in_two_lists_is_refused_and_in_one_it_may_stand_twice() -> None:
    wanted: dict[bytes, str] = {}
    note_listed(wanted, b"a", "train")
    note_listed(wanted, b"a", "train")
    with pytest.raises(UsageError) as caught:
        note_listed(wanted, b"a", "val")
    assert caught.value.to_dict() == {
        "code": "split-lists",
        "message": "a sample is in two split lists",
        "where": "a",
        "got": "train and val",
    }
    kept, skips = divide_listed(_three(), {b"oslo/1": "x", b"oslo/2": "y", b"rome/1": "x"})
    assert (kept.texts("split"), skips) == (["x", "y", "x"], [])


def test_samples_of_no_split_are_of_the_usual_one_and_one_name_is_that_of_all() -> None:
    samples: list[Sample] = [("val", "oslo", "1"), (None, "oslo", "2"), ("test", "oslo", "3"), ("train", "oslo", "4")]
    table = Samples(table_of(samples))
    found, skips, notes = assign_splits(table, SplitRule(), seed=0)
    assert (found.texts("split"), skips, notes) == (["val", "train", "test", "train"], [], [])
    assert assign_splits(table, SplitRule(one="x"), seed=0)[0].texts("split") == ["x"] * 4
    there = Samples(table_of(samples[2:]))
    assert assign_splits(there, SplitRule(), seed=0)[0] is there
    known = Samples(table_of(samples[:2])).keep([False, True]).with_split_of_the_rest("other")
    assert known.texts("split") == ["other"]
    assert set(known.named("split")[1]) == {"val", "other"}  # what is left empty stays known


_WEIGHTS = st.lists(st.integers(0, 9), min_size=1, max_size=4).filter(any)


@LAW
@given(st.integers(0, 200), _WEIGHTS)
def test_shares_are_the_nearest_whole_ones_and_the_largest_remainder_comes_first(
    total: int, weights: list[int]
) -> None:
    ratios = {f"part{number}": Fraction(weight) for number, weight in enumerate(weights)}
    room = Room.of({"": total}, ratios)
    exact = [Fraction(total * weight, sum(weights)) for weight in weights]
    found = list(room.left[""].values())
    assert (sum(found), list(room.left[""])) == (total, list(ratios))
    assert all(math.floor(share) <= count <= math.ceil(share) for count, share in zip(found, exact, strict=True))
    up = [count > math.floor(share) for count, share in zip(found, exact, strict=True)]
    order = sorted(range(len(weights)), key=lambda at: (math.floor(exact[at]) - exact[at], at))
    assert [up[at] for at in order] == sorted(up, reverse=True)


def test_groups_take_the_place_of_their_hash_where_there_is_room_and_singles_the_rest() -> None:
    ratios = {"a": Fraction(1), "b": Fraction(2), "c": Fraction(1)}
    room = Room.of({"x": 8, "y": 4}, ratios)  # a 2, b 4, c 2; a 1, b 2, c 1
    assert room.place(["x", "x"], 2**62 - 1) == 0  # the first quarter
    assert room.place(["x", "y"], 2**62) == 1
    assert room.place(["x"], 3 * 2**62 - 1) == 1
    assert room.place(["y"], 3 * 2**62) == 2
    assert room.left == {"x": {"a": 0, "b": 2, "c": 2}, "y": {"a": 1, "b": 1, "c": 0}}
    assert room.place(["x", "x"], 0) == 1  # no room where it belongs: the largest that has some
    assert room.place(["y", "x"], 0) == 0  # nowhere is room for both
    assert room.left == {"x": {"a": -1, "b": 0, "c": 2}, "y": {"a": 0, "b": 1, "c": 0}}
    assert room.ends("x").tolist() == [0, 0]
    assert room.ends("y").tolist() == [0, 1]
    assert room.ends("z").tolist() == []
    room.take("z", 3)
    room.take("x", 1)
    room.take("y", 1)
    assert room.left == {"x": {"a": -1, "b": 0, "c": 1}, "y": {"a": 0, "b": 0, "c": 0}}
    assert room.notes() == [
        "identical images kept together: counts differ from the exact ratio in x/a by +1, x/c by -1"
    ]
    exact = Room.of({"": 4}, ratios)
    assert exact.ends("").tolist() == [1, 3]
    exact.take("", 4)
    assert exact.notes() == []
    over = Room.of({"": 4}, ratios)
    over.take("", 5)
    assert over.notes()[0].endswith("in all/c by +1")


def test_groups_of_identical_images_lie_in_one_split_in_hash_order() -> None:
    samples: list[Sample] = [(None, ("oslo", "rome")[number % 2], str(number)) for number in range(12)]
    table = Samples(table_of(samples))
    identical = np.array([0, 1, 2, 3, 0, 1, 6, 7, 8, 0, 10, 11])
    ratios = {"a": Fraction(1), "b": Fraction(1)}
    found, skips, notes = assign_splits(table, SplitRule(ratios=ratios), seed=3, identical=identical)
    names = found.texts("split")
    assert (len({names[0], names[4], names[9]}), len({names[1], names[5]}), skips, notes) == (1, 1, [], [])
    for label in range(2):
        assert sorted(names[label::2]) == ["a"] * 3 + ["b"] * 3
    rows = table.take([5, 0, 11, 9, 4, 7, 2, 1, 10, 3, 6, 8])
    again = assign_splits(
        rows, SplitRule(ratios=ratios), seed=3, identical=identical[[5, 0, 11, 9, 4, 7, 2, 1, 10, 3, 6, 8]]
    )
    assert dict(zip(again[0].texts("key"), again[0].texts("split"), strict=True)) == dict(
        zip(found.texts("key"), names, strict=True)
    )
    assert assign_splits(table.take([]), SplitRule(ratios=ratios), seed=3, identical=identical[:0])[2] == []


def test_the_smallest_hash_of_a_group_says_where_it_belongs() -> None:
    samples = Samples(table_of([(None, "oslo", str(number)) for number in range(12)]))
    hashes = [split_hash(key, 3) for key in samples.texts("key")]
    first, last = hashes.index(min(hashes)), hashes.index(max(hashes))
    assert hashes[first] < 2**63 <= hashes[last]
    identical = np.arange(12)
    identical[last] = first
    rule = SplitRule(ratios={"a": Fraction(1), "b": Fraction(1)})
    names = assign_splits(samples, rule, seed=3, identical=identical)[0].texts("split")
    assert (names[first], names[last]) == ("a", "a")


@pytest.mark.parametrize("labels", [("oslo",), (None,), ("oslo", None, "rome")])
def test_images_that_are_all_different_are_divided_as_if_nobody_had_looked(labels: tuple[str | None, ...]) -> None:
    builder = SamplesBuilder()
    for number in range(60):
        label = labels[number % len(labels)]
        builder.add({"label": label}, {"stem": [str(number)], "image_suffix": [".jpg"]})
    samples = with_keys(replace(listing_of([]), samples=builder.table(), label_in_key=False), 0).samples
    rule = SplitRule(ratios={"a": Fraction(80), "b": Fraction(5), "c": Fraction(15)})
    alone, skips, notes = assign_splits(samples, rule, seed=3)
    assert (skips, notes) == ([], [])
    names = alone.texts("split")
    assert [names.count(split) for split in "abc"] == [48, 3, 9]
    hashes = [split_hash(key, 3) for key in samples.texts("key")]
    for label in set(labels):  # in the order of hashes, one split after the other
        rows = [row for row in range(60) if labels[row % len(labels)] == label]
        assert [names[row] for row in sorted(rows, key=lambda row: hashes[row])] == sorted(names[row] for row in rows)
    assert assign_splits(samples, rule, seed=3, identical=np.arange(60))[0].texts("split") == names


@pytest.mark.parametrize(
    ("text", "ratios"),
    [
        ("a=1", {"a": 1}), ("a=1,b=2", {"a": 1, "b": 2}), ("a=1,b=0", {"a": 1, "b": 0}), ("a=0", None), ("a", None),
        ("=1", None), ("a=1,a=2", None), ("a=1,b", None), ("a=1,=2", None), ("a=1,", None), ("", None),
    ],
)  # fmt: skip
def test_ratios_have_names_that_differ_and_weigh_something(text: str, ratios: dict[str, int] | None) -> None:
    assert parse_ratios(text) == ratios


def test_columns_are_asked_in_the_same_way_whether_they_are_there_or_not() -> None:
    samples = Samples(table_of([("val", "oslo", "1"), (None, "rome", "2")]))
    assert samples.texts("none") == [None, None]
    assert samples.there("split").tolist() == [True, False]
    assert samples.there("none").tolist() == [False, False]
    codes, names = samples.named("split")
    assert (codes.tolist(), names, codes.dtype.name) == ([0, -1], ["val"], "int64")
    added = samples.with_column("n", [[1], [2]], pa.int32())
    assert added.numbers("n").tolist() == [1, 2]
    assert added.with_column("n", [[3, 4]], pa.int64()).texts("n") == [3, 4]
    assert samples.skips([], "gone") == []
    assert samples.skips([1], "gone") == [Skip("gone", "img/None/rome/2.jpg", None, "rome/2")]
    assert [skip.detail for skip in samples.skips([1, 0], "gone", ["b", None])] == ["b", None]
    assert samples.take([1]).texts("key") == samples.keep([False, True]).texts("key") == [b"rome/2"]
    assert pa.ipc.open_stream(samples.message()).read_all().equals(samples.table)
