"""A plan by ranges where laws seldom come: names that splits share, shards with one key, no labels, no images, sizes in bytes."""

from __future__ import annotations

import itertools
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from tests.properties.test_placement_laws import listing_of
from tests.properties.test_ranged_plan_laws import _plan, _told
from tests.support.came import came
from wdstools.errors import UsageError
from wdstools.executors.local import Serial
from wdstools.formats.arrow import to_ipc
from wdstools.planning import by_names, plan, ranges, sizes, spill
from wdstools.planning.options import make_options
from wdstools.planning.plan import Slices, make_plan
from wdstools.planning.ranges import RangedPlan
from wdstools.planning.splits import SplitRule
from wdstools.progress import Silent

if TYPE_CHECKING:
    import pyarrow as pa

    from tests.properties.test_placement_laws import Sample

CUTS = ((1, 50, 50), (7, 3, 4))
MANY: list[Sample] = [("train", "oslo", str(number)) for number in range(40)]
TWICE: list[Sample] = [*MANY, ("val", "oslo", "3"), ("val", "oslo", "x"), (None, "oslo", "7"), ("train", "oslo", "9")]


@pytest.fixture(name="cut")
def _cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every plan is made by seven ranges."""
    monkeypatch.setattr(by_names, "LARGE", 0)
    monkeypatch.setattr(spill, "RANGES", 7)
    monkeypatch.setattr(ranges, "_PART_ROWS", 9)


def _of(samples: list[Sample], **choices: Any) -> Any:
    return make_plan(listing_of(samples), make_options(shards=1, **choices), Serial(), Silent())[0]


@pytest.mark.parametrize("split_in_key", [None, True, False])
@pytest.mark.parametrize("recipe", ["", "shards"])
@pytest.mark.parametrize(
    "samples", [MANY, TWICE, [*MANY, ("val", "oslo", "3")], [*MANY, (None, "oslo", "x")], [*MANY, ("val", "oslo", "x")]]
)
def test_names_that_several_samples_have_are_planned_and_told_alike(
    samples: list[Sample], recipe: str, split_in_key: bool | None
) -> None:
    listing = replace(listing_of(samples), split_in_key=split_in_key, recipe=recipe)
    for cut in came(CUTS):
        assert _plan(listing, make_options(shards=1), 9, cut) == _plan(listing, make_options(shards=1), 9, None)


@pytest.mark.parametrize("types", [{"jpg": 1}, {}])
@pytest.mark.parametrize("labels", [("oslo",), (None,), (None, "oslo")])
def test_ratios_divide_samples_without_labels_and_without_images_alike(
    types: dict[str, int], labels: tuple[str | None, ...]
) -> None:
    samples: Any = [(None, labels[number % len(labels)], str(number)) for number in range(60)]
    listing = replace(listing_of(samples), image_types=types, members=("txt",))
    for cut, kinds in came(itertools.product(CUTS, (1, 25))):
        options = make_options(shards=1, splits="a=50,b=20,c=30")
        whole = _plan(listing, options, kinds, None)
        assert _plan(listing, options, kinds, cut) == whole
        assert types or [bound[3] - bound[2] for bound in whole["bounds"]] == [30, 12, 18]


def test_lists_that_name_nothing_show_the_key_of_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    listing = listing_of([(None, "oslo", "1")])
    options = replace(make_options(shards=1), splits=SplitRule(lists={"a": ["rome/1", "rome/2"]}))
    for least in (0, 2):
        monkeypatch.setattr(by_names, "LARGE", least)
        with pytest.raises(UsageError) as caught:
            make_plan(listing, options, Serial(), Silent())
        assert (caught.value.code, caught.value.expected) == ("split-lists", "ids like oslo/1")
        assert caught.value.got == "rome/1"


def test_shards_of_a_size_in_bytes_are_as_many_as_the_first_samples_say(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []

    def sample_bytes(samples: pa.Table, opener: object, members: tuple[str, ...]) -> int:
        assert (opener is not None, members) == (True, ("jpg",))
        hashes = np.sort(samples.column("order_hash").to_numpy())[:5]
        looked.append(samples.num_rows)
        return int(hashes.sum() % np.uint64(900)) + 300

    monkeypatch.setattr(sizes, "sample_bytes", sample_bytes)
    monkeypatch.setattr(ranges, "sample_bytes", sample_bytes)
    monkeypatch.setattr(ranges, "LOOKED_AT", 5)
    listing = listing_of([*MANY, *[("val", "rome", str(number)) for number in range(40)]])
    options = make_options(shard_bytes=20_000)
    told = [_plan(listing, options, 9, cut) for cut in (None, (1, 50, 50), (7, 3, 5))]
    assert told[1:] == told[:1] * 2
    assert 2 < len(told[0]["bounds"]) < 20
    assert looked[:2] == [80, 80]
    assert 5 <= looked[2] < 60  # no more ranges than it takes


@pytest.mark.usefixtures("cut")
def test_what_a_plan_holds_of_its_samples_is_let_go() -> None:
    made = _of(TWICE)
    assert isinstance(made, RangedPlan)
    first = made.rows(*made.bounds[0][2:])
    assert made.rows(3, 3).num_rows == made.rows(0, 0).num_rows == 0
    assert made.rows(3, 3).schema.names == first.schema.names
    assert 0 < made.first().num_rows <= made.count == 41
    assert len(made._latest) == 1  # one range at a time
    left = made.let_go()
    assert (left.count, left.bounds, left.skips) == (0, made.bounds, made.skips)
    assert left.spill._file.closed
    assert not left._latest


def test_every_sample_of_a_plan_by_ranges_is_told_once(cut: None) -> None:
    told: list[Any] = []

    class Told(Silent):
        def start(self, *task: Any) -> None:
            told.append([task, 0])

        def advance(self, count: int) -> None:
            told[-1][1] += count

    make_plan(listing_of(TWICE), make_options(shards=1), Serial(), Told())
    assert told == [[("plan", 44, "samples"), 44]]


@pytest.mark.parametrize("held", [0, 1000])
@pytest.mark.parametrize("is_cut", [True, False])
def test_slices_of_a_plan_are_the_same_each_time_held_or_not(
    held: int, is_cut: bool, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_cut:
        request.getfixturevalue("cut")
    made = _of(TWICE)
    monkeypatch.setattr(plan, "_HELD_SAMPLES", held)
    slices = Slices(made)
    found = list(slices)
    assert (slices.samples, slices.members, list(slices)) == (41, ("jpg",), found)
    assert [(split, number) for split, number, _ in found] == [bound[:2] for bound in made.bounds]
    assert [data for _, _, data in found] == [to_ipc(made.rows(*bound[2:])) for bound in made.bounds]
    if is_cut:
        monkeypatch.setattr(spill, "RANGES", 3)
        assert list(Slices(_of(TWICE))) == found


@pytest.mark.usefixtures("cut")
def test_a_shard_names_only_what_it_holds() -> None:
    listing = replace(listing_of(TWICE), image_types={}, members=("txt",))
    made = make_plan(listing, make_options(shards=1, splits="a=50,b=50"), Serial(), Silent())[0]
    for _, _, start, stop in came(made.bounds):
        table = made.rows(start, stop)
        for name in came(["split", "label", "image_dir"]):
            column = table.column(name).combine_chunks()
            assert sorted(column.dictionary.to_pylist()) == sorted({*column.to_pylist()} - {None})


def test_more_than_memory_compares_and_another_kind_of_dataset_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    listing, options = listing_of(MANY), make_options(shards=1)
    like = cast("Any", SimpleNamespace(members=("png",), labels=(), seed=0, splits={"train": (1,)}))
    alike = replace(options, layout=replace(options.layout, like=like))
    for least in (1, 1000):
        monkeypatch.setattr(by_names, "LARGE", least)
        with pytest.raises(UsageError) as caught:
            make_plan(listing, alike, Serial(), Silent())
        assert caught.value.where == "like"
    monkeypatch.setattr(by_names, "LARGE", 1)
    monkeypatch.setattr(by_names, "free_bytes", lambda: 0)
    with pytest.raises(UsageError) as caught:
        make_plan(listing, make_options(level="edited"), Serial(), Silent())
    assert caught.value.code == "plan-too-large"


def test_a_plan_says_all_that_it_decided() -> None:
    made, notes = make_plan(replace(listing_of(TWICE), split_in_key=None), make_options(shards=1), Serial(), Silent())
    told = _told(made, notes)
    assert (told["split_in_key"], told["members"], told["count"], len(told["notes"])) == (True, ("jpg",), 42, 1)
    assert made.leaks is None
    assert made.let_go().count == 0
    compared = replace(make_options(shards=1, level="edited"), splits=SplitRule(one="x"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wdstools.planning.duplicates.group_alike", lambda table, *_: _alone(table.num_rows))
        assert make_plan(listing_of(MANY), compared, Serial(), Silent())[0].leaks == {}


def _alone(count: int) -> Any:
    return SimpleNamespace(component=np.arange(count), leader=np.arange(count))
