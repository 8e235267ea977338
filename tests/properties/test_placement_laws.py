"""Laws of placement: the order of a listing decides nothing, and each sample lies where its hash says."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.came import came
from tests.support.laws import LAW
from tests.support.refusal import or_refused
from wdstools.errors import UsageError
from wdstools.executors.local import Serial
from wdstools.formats.sample import order_hash, shard_of, split_hash
from wdstools.planning import samples as planned
from wdstools.planning.options import make_options
from wdstools.planning.plan import PackPlan, make_plan
from wdstools.planning.samples import with_keys
from wdstools.planning.splits import SplitRule, assign_splits, parse_ratios
from wdstools.planning.table import Samples
from wdstools.progress import Silent
from wdstools.sources.base import Listing, SamplesBuilder, image_paths

if TYPE_CHECKING:
    import pyarrow as pa

    from wdstools.options.pack import PackChoices
    from wdstools.results import Skip

Sample = tuple[str | None, str, str]
_LABELS = st.sampled_from(["rome", "oslo", "new york"])
_STEMS = st.text("abc01._", min_size=1, max_size=4)
_RATIOS = st.lists(st.integers(0, 9), min_size=1, max_size=4).filter(any)


def sample_lists(split: st.SearchStrategy[str | None]) -> st.SearchStrategy[list[Sample]]:
    """Samples of different label and stem: (split, label, stem)."""
    return st.lists(st.tuples(split, _LABELS, _STEMS), max_size=40, unique_by=lambda sample: sample[1:])


def listing_of(samples: list[Sample]) -> Listing:
    builder = SamplesBuilder()
    for split, label, stem in samples:
        shared = {"split": split, "label": label, "image_dir": f"img/{split}/{label}"}
        builder.add(shared, {"stem": [stem], "image_suffix": [".jpg"]})
    return Listing(
        _NoOpener(),
        builder.table(),
        (),
        "none",
        label_in_key=True,
        recipe="",
        template={},
        image_types={"jpg": 1},
        split_in_key=False,
    )


def table_of(samples: list[Sample]) -> pa.Table:
    made = with_keys(listing_of(samples), seed=0)
    assert made.skips == []
    return made.samples.table


class _NoOpener:
    def open(self) -> Any:
        raise AssertionError("placement opens no file")


Bounds = tuple[tuple[str, int, int, int], ...]


def arranged(samples: list[Sample], **choices: Unpack[PackChoices]) -> tuple[pa.Table, Bounds, tuple[Skip, ...]]:
    """The samples in their places, as a pack puts them there."""
    made, notes = make_plan(listing_of(samples), make_options(**choices), Serial(), Silent())
    assert notes == []
    assert isinstance(made, PackPlan)
    return made.samples.take(made.order), made.bounds, made.skips


def contents(table: pa.Table) -> list[tuple[Any, ...]]:
    names = ("split", "label", "stem", "key")
    return list(zip(*(table.column(name).to_pylist() for name in names), strict=True))


@LAW
@given(sample_lists(st.sampled_from(["train", "val"])).filter(len), st.integers(0, 2**53 - 1), st.randoms(), st.data())
def test_placement_does_not_depend_on_the_order_of_the_listing(
    samples: list[Sample], seed: int, shuffler: Any, data: st.DataObject
) -> None:
    shard_samples = data.draw(st.integers(len(samples), 50))
    placed, bounds, skips = arranged(samples, shard_samples=shard_samples, seed=seed)
    shuffled = list(samples)
    shuffler.shuffle(shuffled)
    again, bounds_again, skips_again = arranged(shuffled, shard_samples=shard_samples, seed=seed)
    assert (contents(again), bounds_again, skips_again) == (contents(placed), bounds, skips)
    assert sorted(contents(placed)) == sorted(contents(table_of(samples)))


@LAW
@given(sample_lists(st.sampled_from(["train", "val"])).filter(len), st.integers(0, 9), st.integers(1, 4))
def test_each_sample_lies_in_the_shard_of_its_hash_in_order_of_hash_and_key(
    samples: list[Sample], seed: int, shards: int
) -> None:
    if _some_shard_is_empty(samples, seed, shards):
        with pytest.raises(UsageError) as caught:
            arranged(samples, shards=shards, seed=seed)
        assert caught.value.code == "shards-too-many"
        return
    placed, bounds, skips = arranged(samples, shards=shards, seed=seed)
    assert skips == ()
    splits = sorted({split for split, _, _ in samples if split})
    assert [(split, number) for split, number, _, _ in bounds] == [(s, n) for s in splits for n in range(shards)]
    assert [start for _, _, start, _ in bounds] == [0, *(stop for _, _, _, stop in bounds[:-1])]
    assert bounds[-1][3] == len(samples)
    rows = contents(placed)
    for split, number, start, stop in bounds:
        keys = [key for _, _, _, key in rows[start:stop]]
        assert {row[0] for row in rows[start:stop]} <= {split}
        assert all(shard_of(order_hash(key, seed), shards) == number for key in keys)
        assert keys == sorted(keys, key=lambda key: (order_hash(key, seed), key))


def _some_shard_is_empty(samples: list[Sample], seed: int, shards: int) -> bool:
    used: dict[str | None, set[int]] = {}
    for split, _, _, key in contents(table_of(samples)):
        used.setdefault(split, set()).add(shard_of(order_hash(key, seed), shards))
    return any(len(numbers) < shards for numbers in used.values())


@LAW
@given(sample_lists(st.just("train")).filter(len), st.integers(1, 12))
def test_the_number_of_shards_is_the_samples_over_the_shard_size_rounded_up(samples: list[Sample], size: int) -> None:
    shards = math.ceil(len(samples) / size)
    with or_refused("shards-too-many"):
        _, bounds, _ = arranged(samples, shard_samples=size)
        assert len(bounds) == shards
        assert not _some_shard_is_empty(samples, 0, shards)


@LAW
@given(sample_lists(st.just("train")).filter(len), st.randoms(), st.integers(1, 4))
def test_samples_whose_hashes_collide_are_in_order_of_their_keys(
    samples: list[Sample], shuffler: Any, values: int
) -> None:
    shuffled = list(samples)
    shuffler.shuffle(shuffled)

    def poor_hash(key: bytes, seed: int) -> int:
        return len(key) % values << 62

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planned, "order_hash", poor_hash)
        placed, _, skips = arranged(shuffled, shards=1)
    keys = [key for _, _, _, key in contents(placed)]
    assert skips == ()
    assert keys == sorted((row[3] for row in contents(table_of(samples))), key=lambda key: (poor_hash(key, 0), key))


@LAW
@given(sample_lists(st.sampled_from(["train", "val", "test"])).filter(len), st.randoms(), st.data())
def test_of_samples_with_one_key_the_one_with_the_smallest_path_stays(
    samples: list[Sample], shuffler: Any, data: st.DataObject
) -> None:
    copies = [(f"x{split}", label, stem) for split, label, stem in samples if data.draw(st.booleans())]
    everything = [*samples, *copies]
    shuffler.shuffle(everything)
    placed, _, skips = arranged(everything)
    kept = {row[3]: path for row, path in zip(contents(placed), image_paths(placed), strict=True)}
    assert len(kept) == placed.num_rows == len(samples)
    assert {skip.reason for skip in skips} <= {"key-duplicate"}
    assert len(skips) == len(copies)
    for skip in skips:
        assert skip.key is not None
        assert kept[skip.key.encode()] < skip.path


def test_a_split_whose_every_key_is_taken_by_another_leaves_the_others_as_they_are() -> None:
    samples: list[Sample] = [("a", "oslo", "1"), ("a", "oslo", "2"), ("b", "oslo", "2")]
    placed, bounds, skips = arranged(samples, shards=1)
    assert placed.num_rows == 2
    assert bounds == (("a", 0, 0, 2),)
    assert [skip.reason for skip in skips] == ["key-duplicate"]


def assigned(
    samples: list[Sample], rule: SplitRule, seed: int, identical: list[int] | None
) -> tuple[pa.Table, list[str]]:
    """The samples with their splits, and notes; ``identical`` numbers equal images, in the order of ``samples``."""
    numbers = None if identical is None else np.array(identical, np.int64)
    made, skips, notes = assign_splits(Samples(table_of(samples)), rule, seed=seed, identical=numbers)
    assert skips == []
    assert len(made) == len(samples)
    return made.table, notes


def split_of(samples: list[Sample], rule: SplitRule, seed: int, identical: list[int] | None) -> dict[bytes, str]:
    return {row[3]: row[0] for row in contents(assigned(samples, rule, seed, identical)[0])}


def rule_of(weights: list[int]) -> SplitRule:
    return SplitRule(ratios={f"part{number}": Fraction(weight) for number, weight in enumerate(weights)})


@LAW
@given(sample_lists(st.none()).filter(len), _RATIOS, st.integers(0, 9))
@example([(None, "oslo", str(number)) for number in range(40)], [80, 5, 15], 0)
def test_ratios_are_met_exactly_for_each_label(samples: list[Sample], weights: list[int], seed: int) -> None:
    splits = split_of(samples, rule_of(weights), seed, None)
    for label in came({label for _, label, _ in samples}):
        keys = [row[3] for row in contents(table_of(samples)) if row[1] == label]
        exact = [Fraction(len(keys) * weight, sum(weights)) for weight in weights]
        counts = [sum(splits[key] == f"part{n}" for key in keys) for n in range(len(weights))]
        assert sum(counts) == len(keys)
        assert all(abs(count - share) < 1 for count, share in zip(counts, exact, strict=True))
        _assert_largest_remainders_round_up(counts, exact)
        _assert_in_hash_order(keys, splits, seed)


def _assert_largest_remainders_round_up(counts: list[int], exact: list[Fraction]) -> None:
    up = [(share % 1, -n) for n, (count, share) in enumerate(zip(counts, exact, strict=True)) if count > share]
    down = [(share % 1, -n) for n, (count, share) in enumerate(zip(counts, exact, strict=True)) if count < share]
    assert not up or not down or min(up) > max(down)


def _assert_in_hash_order(keys: list[bytes], splits: dict[bytes, str], seed: int) -> None:
    names = [splits[key] for key in sorted(keys, key=lambda key: (split_hash(key, seed), key))]
    assert names == sorted(names)


@LAW
@given(sample_lists(st.none()).filter(len), _RATIOS, st.randoms(), st.data())
def test_identical_images_stay_together_in_any_order_of_the_listing(
    samples: list[Sample], weights: list[int], shuffler: Any, data: st.DataObject
) -> None:
    groups = data.draw(st.lists(st.integers(0, 12), min_size=len(samples), max_size=len(samples)))
    rule = rule_of(weights)
    splits = split_of(samples, rule, 0, groups)
    names = {f"part{number}" for number, weight in enumerate(weights) if weight}
    assert set(splits.values()) <= names
    assert len(splits) == len(samples)
    for group in set(groups):
        keys = [row[3] for row, g in zip(contents(table_of(samples)), groups, strict=True) if g == group]
        assert len({splits[key] for key in keys}) == 1
    shuffled = list(zip(samples, groups, strict=True))
    shuffler.shuffle(shuffled)
    # other numbers for the same groups: only which images are equal may matter
    renamed = [{0: 99, 1: 5, 5: 1}.get(group, group) for _, group in shuffled]
    assert split_of([sample for sample, _ in shuffled], rule, 0, renamed) == splits


@LAW
@given(sample_lists(st.none()).filter(len), _RATIOS, st.data())
def test_counts_are_exact_where_no_note_says_otherwise(
    samples: list[Sample], weights: list[int], data: st.DataObject
) -> None:
    groups = data.draw(st.lists(st.integers(0, 30), min_size=len(samples), max_size=len(samples)))
    table, notes = assigned(samples, rule_of(weights), 0, groups)
    free, no_notes = assigned(samples, rule_of(weights), 0, None)
    assert no_notes == []

    def counts(of: pa.Table) -> dict[tuple[str, str], int]:
        found: dict[tuple[str, str], int] = {}
        for split, label, _, _ in contents(of):
            found[label, split] = found.get((label, split), 0) + 1
        return found

    assert (counts(table) != counts(free)) == bool(notes)


@LAW
@given(st.text("train,=80.5/ -val", max_size=20))
@example("train=80,val=5,test=15")
@example("train=1/3,val=2/3")
@example("train=0,val=0")
@example("train=nan,val=1")
@example("train=1e400,val=1")
@example("train=1e9999999999,val=1")
@example("train=1E-9_999_999_999,val=1")
def test_ratios_are_read_or_they_are_none(text: str) -> None:
    ratios = parse_ratios(text)
    assert ratios is None or (sum(ratios.values()) > 0 and all(weight >= 0 for weight in ratios.values()))


def test_ratios_may_have_points_fractions_and_short_exponents() -> None:
    assert parse_ratios("a=8e1,b=1/3, c=.5") == {"a": Fraction(80), "b": Fraction(1, 3), " c": Fraction(1, 2)}
    assert parse_ratios("a=1E+002,b=5e-0_1") == {"a": Fraction(100), "b": Fraction(1, 2)}
    assert parse_ratios(f"a={10**15}") == {"a": Fraction(10**15)}
    assert parse_ratios(f"a={10**15 + 1}") is None
    assert [parse_ratios(text) for text in ("a=1,a=1", "=1", "a", "a=1e99", "a=-1,b=2", "a=0")] == [None] * 6
