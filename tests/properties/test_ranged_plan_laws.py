"""A plan that is made range by range is the plan that is made of everything at once, for any number of ranges and parts."""

from __future__ import annotations

import zlib
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.properties.test_placement_laws import listing_of, sample_lists
from tests.support.laws import SHORT_LAW
from wdstools.errors import UsageError
from wdstools.executors.local import Serial
from wdstools.planning import by_names, identical, ranged_splits, ranges, spill
from wdstools.planning.options import make_options
from wdstools.planning.plan import PackPlan, make_plan
from wdstools.planning.ranges import RangedPlan
from wdstools.planning.splits import SplitRule
from wdstools.progress import Silent
from wdstools.sources.base import Listing, SamplesBuilder, image_paths

if TYPE_CHECKING:
    import pyarrow as pa

    from tests.properties.test_placement_laws import Sample
    from wdstools.planning.plan import Planned


def _digests(kinds: int) -> Any:
    """Images of a few kinds, told by their paths; some cannot be read."""

    def digests_of(samples: pa.Table, *_: object) -> Any:
        words = [zlib.crc32(path.rpartition("/")[2].encode()) % kinds for path in image_paths(samples)]
        return (
            np.array([(word >> 1 << 56, word & 1) for word in words], np.uint64).reshape(-1, 2).view("V16").reshape(-1)
        )

    return digests_of


def _told(plan: Planned, notes: list[str]) -> dict[str, Any]:
    """All that a plan says, whatever it is made of."""
    shards = [plan.rows(start, stop).to_pydict() for _, _, start, stop in plan.bounds]
    skips = sorted((skip.path, skip.reason, skip.split or "", skip.key or "") for skip in plan.skips)
    told = {"shards": shards, "bounds": plan.bounds, "skips": skips, "notes": notes, "members": plan.members}
    return told | {"files": plan.files(), "count": plan.count, "split_in_key": plan.split_in_key}


def _plan(listing: Listing, options: Any, kinds: int, cut: tuple[int, int, int] | None) -> dict[str, Any]:
    """What is planned at once, or in some ranges, of parts of so many rows, with so many held; an error as its code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(identical, "image_digests", _digests(kinds))
        patch.setattr(ranged_splits, "image_digests", _digests(kinds))
        if cut is not None:
            patch.setattr(by_names, "LARGE", 0)
            for module, name, value in zip(
                (spill, ranges, spill), ("RANGES", "_PART_ROWS", "_MOST_HELD"), cut, strict=True
            ):
                patch.setattr(module, name, value)
        try:
            plan, notes = make_plan(listing, options, Serial(), Silent())
            assert isinstance(plan, PackPlan if cut is None else RangedPlan)
            return _told(plan, notes)
        except UsageError as error:
            return {"code": error.code, "where": error.where, "got": error.got}


_CUTS = st.tuples(st.sampled_from([1, 2, 7, 64]), st.integers(1, 50), st.integers(1, 50))


@SHORT_LAW
@given(sample_lists(st.sampled_from(["train", "val", None])), _CUTS, st.integers(0, 9), st.integers(1, 3), st.data())
def test_splits_of_the_source_in_any_number_of_ranges(
    samples: list[Sample], cut: tuple[int, int, int], seed: int, shards: int, data: st.DataObject
) -> None:
    again = [sample for sample in samples if data.draw(st.booleans())]
    others = [("val" if split == "train" else split, label, stem) for split, label, stem in again]
    listing = replace(listing_of([*samples, *others]), split_in_key=data.draw(st.sampled_from([None, True, False])))
    options = make_options(shards=shards, seed=seed)
    assert _plan(listing, options, 9, cut) == _plan(listing, options, 9, None)


@SHORT_LAW
@given(
    st.lists(st.tuples(st.sampled_from(["train", "val", None]), st.sampled_from(["jpg", "png"])), min_size=1, max_size=30),
    _CUTS, st.sampled_from([("train", "val"), ("train",), ("all", "train"), ("all", "train", "val")]),
    st.sampled_from(["given", "one"]),
)  # fmt: skip
@example([("train", "jpg")] * 9 + [(None, "jpg"), ("val", "png")], (7, 4, 5), ("train", "val"), "given")
@example([("train", "jpg")] * 9 + [(None, "jpg"), ("val", "png")], (7, 4, 5), ("train",), "given")
def test_a_split_that_is_left_empty_is_that_of_one_like_it_in_any_number_of_ranges(
    kinds: list[tuple[str | None, str]], cut: tuple[int, int, int], like: tuple[str, ...], rule: str
) -> None:
    builder = SamplesBuilder()
    for number, (split, kind) in enumerate(kinds):
        shared = {"split": split, "label": "oslo", "image_dir": f"img/{split}"}
        builder.add(shared, {"stem": [str(number)], "image_suffix": [f".{kind}"]})
    counts = {kind: sum(kind == found for _, found in kinds) for kind in ("jpg", "png")}
    listing = replace(listing_of([]), samples=builder.table(), image_types=counts)
    options = make_options(shards=1, seed=0, only="jpg", splits="train" if rule == "one" else None)
    members = by_names.decide_members(listing, options)[1]
    other = SimpleNamespace(members=members, labels=listing.labels, seed=0, splits=dict.fromkeys(like, (1,)))
    alike = replace(options, layout=replace(options.layout, like=cast("Any", other)))
    assert _plan(listing, alike, 1, cut) == _plan(listing, alike, 1, None)


@SHORT_LAW
@given(
    sample_lists(st.none()).filter(len), _CUTS, st.integers(0, 9), st.integers(1, 40),
    st.sampled_from(["train=80,val=5,test=15", "a=1,b=1", "a=1,b=0,c=2", "a=30,b=69"]),
)  # fmt: skip
@example([(None, "oslo", str(n)) for n in range(40)], (7, 3, 5), 0, 4, "train=80,val=5,test=15")
@example([(None, label, str(n)) for label in ("oslo", "rome") for n in range(20)], (64, 50, 50), 1, 30, "a=1,b=1")
def test_splits_by_ratio_keep_counts_and_identical_images_in_any_number_of_ranges(
    samples: list[Sample], cut: tuple[int, int, int], seed: int, kinds: int, ratios: str
) -> None:
    options = make_options(splits=ratios, shards=1, seed=seed)
    whole = _plan(listing_of(samples), options, kinds, None)
    assert _plan(listing_of(samples), options, kinds, cut) == whole


@SHORT_LAW
@given(sample_lists(st.sampled_from(["train", "val"])).filter(len), _CUTS, st.integers(0, 3))
def test_what_cannot_be_packed_is_skipped_alike(samples: list[Sample], cut: tuple[int, int, int], seed: int) -> None:
    builder = SamplesBuilder()
    for number, (split, label, stem) in enumerate(samples):
        shared = {
            "split": split,
            "label": label,
            "image_dir": f"img/{split}",
            "caption_dir": "captions",
            "caption_suffix": ".txt",
        }
        odd = stem if number % 5 else f"{stem}/../x"
        builder.add(shared, {"stem": [odd], "image_suffix": [(".jpg", ".png", ".jpg", ".webp")[number % 4]]})
    listing = replace(
        listing_of([]), samples=builder.table(), image_types={"jpg": 2, "png": 1, "webp": 1}, captions="required"
    )
    for only in (None, "png"):
        options = make_options(shards=1, seed=seed, only=only)
        assert _plan(listing, options, 1, cut) == _plan(listing, options, 1, None)


_LINES = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from(["oslo/1", "oslo/2", "rome/1", "rome/9"])), max_size=6
)


@SHORT_LAW
@given(_LINES, _CUTS, st.integers(0, 3))
@example([("a", "rome/9"), ("b", "rome/9")], (7, 4, 5), 0)
@example([(split, key) for split in "ab" for key in ("rome/9", "oslo/1", "rome/1", "oslo/2")], (64, 4, 5), 0)
def test_lists_that_say_two_things_are_refused_alike(
    lines: list[tuple[str, str]], cut: tuple[int, int, int], seed: int
) -> None:
    listing = replace(listing_of([(None, "oslo", "1"), (None, "oslo", "2"), (None, "rome", "1")]), label_in_key=True)
    options = make_options(shards=1, seed=seed)
    lists = {name: [key for split, key in lines if split == name] for name in "ab"}
    options = replace(options, splits=SplitRule(lists=lists))
    assert _plan(listing, options, 1, cut) == _plan(listing, options, 1, None)


@pytest.mark.parametrize("split", ["tar", "a.b"])
def test_a_name_that_no_split_can_have_is_refused_alike(split: str) -> None:
    listing = listing_of([("train", "oslo", "1"), (split, "oslo", "2")])
    told = [_plan(listing, make_options(shards=1), 1, cut) for cut in ((7, 4, 5), None)]
    assert told == [{"code": "split-name", "where": "", "got": split}] * 2


def test_few_samples_and_choices_that_look_at_all_are_planned_at_once() -> None:
    listing = listing_of([("train", "oslo", "1")])
    assert isinstance(make_plan(listing, make_options(), Serial(), Silent())[0], PackPlan)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(by_names, "LARGE", 1)
        assert by_names.by_ranges(listing, make_options())
        assert not by_names.by_ranges(listing, make_options(duplicates="drop"))
