"""How many shards a split gets, which sample lies in which, and what is refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from tests.properties.test_placement_laws import table_of
from wdstools.errors import UsageError
from wdstools.formats.sample import order_hash, shard_of, split_hash
from wdstools.planning.place import (
    ShardLayout,
    hash_keys,
    in_order,
    place,
    place_among,
    refuse_empty,
    refuse_names,
    shards_of,
    usual_shards,
)
from wdstools.planning.table import Samples

if TYPE_CHECKING:
    from tests.properties.test_placement_laws import Sample


def _layout(shards: int | None = None, like: dict[str, int] | None = None, **parts: int) -> ShardLayout:
    """A layout; ``like`` says how many shards each split of another manifest has."""
    splits = None if like is None else {split: (None,) * count for split, count in like.items()}
    manifest = None if splits is None else SimpleNamespace(splits=splits)
    return ShardLayout(parts.get("shard_samples"), shards, cast("Any", manifest), 0, parts.get("shard_bytes"))


def _samples(count: int, *splits: str) -> Samples:
    made: list[Sample] = [(splits[number % len(splits)], "oslo", str(number)) for number in range(count)]
    return Samples(table_of(made))


@pytest.mark.parametrize(
    ("samples", "shards"),
    [(0, 0), (1, 1), (1_999, 1), (2_000, 2), (3_999, 3), (4_000, 4), (40_000, 4), (40_001, 5), (800_000, 80)],
)
def test_small_splits_have_shards_for_a_few_workers(samples: int, shards: int) -> None:
    assert usual_shards(samples, None) == shards
    assert usual_shards(samples, 10_000) == -(-samples // 10_000)


def test_more_samples_never_give_fewer_shards() -> None:
    counts = [usual_shards(samples, None) for samples in range(0, 120_000, 37)]
    assert counts == sorted(counts)


@pytest.mark.parametrize("shards", [1, 2, 3, 7, 80, 1000, 65_537, 2**31 - 1])
def test_the_number_of_a_shard_is_exact_at_every_edge(shards: int) -> None:
    firsts = {-(-(number << 64) // shards) for number in {*range(min(shards, 50)), shards // 2, shards - 1}}
    hashes = sorted({max(0, first - 1) for first in firsts} | firsts | {2**64 - 1, 2**32 - 1, 2**32})
    numbers = shards_of(np.array(hashes, np.uint64), shards).tolist()
    assert numbers == [shard_of(each, shards) for each in hashes]
    assert numbers == [each * shards >> 64 for each in hashes]


def test_the_number_of_shards_is_that_of_the_choice() -> None:
    assert _layout().count("x", 8000) == 4
    assert _layout(7).count("x", 8000) == 7
    assert _layout(shard_samples=3).count("x", 10) == 4
    assert _layout(like={"x": 2, "y": 0}).count("x", 8000) == 2
    assert _layout(like={"x": 2, "y": 0}).count("y", 8000) == 0
    with pytest.raises(UsageError) as caught:
        _layout(like={"x": 2, "y": 0}).count("z", 1)
    assert caught.value.to_dict() == {
        "code": "usage",
        "message": "the manifest given with like has no such split",
        "where": "z",
        "expected": "x, y",
    }


@pytest.mark.parametrize(
    ("shard_bytes", "each", "samples"), [(1000, 100, 10), (999, 100, 9), (99, 100, 1), (100, 100, 1)]
)
def test_a_bound_on_bytes_is_one_on_samples_of_a_size(shard_bytes: int, each: int, samples: int) -> None:
    assert _layout(shard_bytes=shard_bytes).by_bytes(each) == _layout(shard_bytes=shard_bytes, shard_samples=samples)


def test_hashes_of_keys_are_those_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = _samples(7, "a")
    expected = [split_hash(key, 3) for key in samples.texts("key")]
    for rows in (1 << 16, 3):
        monkeypatch.setattr("wdstools.planning.table._PART_ROWS", rows)
        assert hash_keys(samples, lambda key: split_hash(key, 3)).tolist() == expected
    nothing = hash_keys(samples.take([]), lambda _: 1)
    assert (nothing.tolist(), nothing.dtype.name) == ([], "uint64")


@pytest.mark.parametrize("name", ["tar", "a.b", "x" * 65, "a/b"])
def test_what_is_no_name_of_a_split_is_refused(name: str) -> None:
    refuse_names(["train", "val-2_x"])
    with pytest.raises(UsageError) as caught:
        refuse_names(["train", name])
    assert caught.value.to_dict() == {
        "code": "split-name",
        "message": "not a split name",
        "expected": "letters, digits, _ and -, not containing 'tar'",
        "got": name,
        "hint": "rename the folder, or name the split with splits",
    }
    with pytest.raises(UsageError, match="not a split name"):
        place(_samples(3, "train", name), _layout(1))


@pytest.mark.parametrize(("samples", "shards"), [(100, 5), (39, 1), (1, 1)])
def test_a_shard_without_samples_is_refused_with_what_to_do(samples: int, shards: int) -> None:
    edges = np.array([0, 0, samples])
    with pytest.raises(UsageError) as caught:
        refuse_empty("train", edges, _layout(2))
    assert caught.value.to_dict() == {
        "code": "shards-too-many",
        "message": "a shard would be empty",
        "where": "split train",
        "expected": f"fewer than 2 shards for {samples} sample{'s' * (samples != 1)}",
        "hint": f"use shards={shards} or fewer, or shard_samples=20 or more",
    }
    with pytest.raises(UsageError, match="would be empty"):
        place(_samples(3, "train"), _layout(50))
    refuse_empty("train", edges, _layout(like={"train": 2}))
    refuse_empty("train", np.array([0, 1, samples + 1]), _layout(2))


def test_samples_lie_in_order_of_splits_shards_and_hashes() -> None:
    samples = _samples(40, "b", "a")
    order, bounds = place(samples, _layout(2))
    keys, splits = samples.texts("key"), samples.texts("split")
    expected = sorted(range(40), key=lambda row: (splits[row], order_hash(keys[row], 0)))
    assert order.tolist() == expected
    assert [bound[:2] for bound in bounds] == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    assert [bound[2] for bound in bounds] == [0, *(bound[3] for bound in bounds[:-1])]
    assert (bounds[1][3], bounds[3][3]) == (20, 40)
    for split, number, start, stop in bounds:
        assert {(splits[row], shard_of(order_hash(keys[row], 0), 2)) for row in order[start:stop]} == {(split, number)}
    found = place_among(samples, {"a": 2, "b": 3, "c": 1})
    for (split, number), rows in found.items():
        assert {(splits[row], shard_of(order_hash(keys[row], 0), {"a": 2, "b": 3}[split])) for row in rows} == {
            (split, number)
        }
        assert rows.tolist() == [row for row in order.tolist() if row in set(rows.tolist())]
    assert sorted(row for rows in found.values() for row in rows.tolist()) == list(range(40))
    assert place_among(samples.take([0]), {"a": 2, "b": 1}) == {("b", 0): np.array([0])}
    left = samples.keep([split == "a" for split in splits])  # the name of the other split is known still
    assert {split for split, _ in place_among(left, {"a": 2})} == {"a"}


def test_a_split_that_is_left_empty_has_shards_only_where_another_dataset_has() -> None:
    samples = _samples(6, "b", "a", "c")
    left = samples.keep([split != "a" for split in samples.texts("split")])
    assert [bound[:2] for bound in place(left, _layout(1))[1]] == [("b", 0), ("c", 0)]
    order, bounds = place(left, _layout(like={"a": 2, "b": 1, "c": 1}))
    assert bounds == (("a", 0, 0, 0), ("a", 1, 0, 0), ("b", 0, 0, 2), ("c", 0, 2, 4))
    assert len(order) == 4


def test_of_samples_of_one_key_that_of_the_smallest_path_comes_and_the_others_do_not() -> None:
    samples = _samples(9, "b", "a", "c").take([0, 1, 2, 3, 4, 5, 6, 7, 8, 1, 4, 1, 8])
    samples = samples.with_splits(["z" if row == 1 else f"s{row}" for row in range(13)])
    order, others = in_order(samples)
    keys = samples.texts("key")
    assert [keys[row] for row in order] == sorted(set(keys), key=lambda key: order_hash(key, 0))
    assert sorted([*order.tolist(), *others.tolist()]) == list(range(13))
    assert sorted(others.tolist()) == [9, 10, 11, 12]
    back = samples.take(np.arange(12, -1, -1))
    again, rest = in_order(back)
    assert [keys[12 - row] for row in again] == [keys[row] for row in order]
    paths = samples.paths()
    assert all(
        paths[12 - row] == min(p for p, k in zip(paths, keys, strict=True) if k == keys[12 - row]) for row in again
    )
    assert len(rest) == 4
