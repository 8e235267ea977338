"""What a pack does about images that are the same, once it is known which: keeps, gathers, drops or leaves out, and says so."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.properties.test_placement_laws import table_of
from wdstools.dedup import across
from wdstools.dedup.groups import Grouping
from wdstools.dedup.levels import LIMITS
from wdstools.errors import UsageError
from wdstools.executors.local import Serial
from wdstools.planning import compiling, duplicates, prints
from wdstools.planning.duplicates import Divided, Division, DuplicateRule, divide
from wdstools.planning.splits import SplitRule, parse_ratios
from wdstools.planning.table import Samples
from wdstools.progress import Silent
from wdstools.results import Skip

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def _samples(*splits: str | None) -> Samples:
    """One sample of each split, called by its number."""
    return Samples(table_of([(split, "oslo", str(number)) for number, split in enumerate(splits)]))


def _divide(samples: Samples, rule: DuplicateRule, splits: SplitRule | None = None, *, images: bool = True) -> Divided:
    nowhere: Any = None
    return divide(samples, nowhere, Division(splits or SplitRule(), rule, 0, images=images), Serial(), Silent())


def _of(divided: Divided) -> list[tuple[str, str]]:
    return list(zip(divided.samples.texts("stem"), divided.samples.texts("split"), strict=True))


@pytest.fixture
def alike(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Says which images are the same: who leads each, and the first that it is linked with."""

    def say(leader: Sequence[int], component: Sequence[int] | None = None) -> None:
        arrays = [np.array(rows, np.int64) for rows in (leader, component or leader)]
        nothing = np.zeros(len(leader), np.uint64)
        found = Grouping("edited", arrays[0], arrays[1], nothing, nothing.astype(bool))
        monkeypatch.setattr(duplicates, "group_alike", lambda *_: found)

    return say


@pytest.mark.parametrize(
    ("level", "skipped", "notes"),
    [
        ("exact", [1], ["left out 1 image identical to others of the source, level exact"]),
        (
            "edited",
            [1, 3],
            ["left out 2 images identical to others of the source, level edited", f"edited: {LIMITS['edited']}"],
        ),
    ],
)
def test_of_the_same_images_one_stays_and_the_others_say_which(
    level: str, skipped: list[int], notes: list[str], alike: Callable[..., None]
) -> None:
    splits = ("train", "train", "val", "val")
    leader = [2 if number in skipped else number for number in range(4)]
    alike(leader)
    found = _divide(_samples(*splits), DuplicateRule("drop", level))
    assert _of(found) == [(str(number), splits[number]) for number in range(4) if number not in skipped]
    assert found.skips == [
        Skip("image-duplicate", f"img/{splits[n]}/oslo/{n}.jpg", splits[n], f"oslo/{n}", f"{level}: the same image as oslo/2")
        for n in skipped
    ]  # fmt: skip
    assert (found.notes, found.leaks) == (notes, {"train/val": 0})


def test_where_splits_are_given_groups_are_gathered_only_where_that_is_allowed(alike: Callable[..., None]) -> None:
    samples = _samples("val", "train", "train", "val", "test", "val")
    alike([0, 1, 2, 3, 4, 5], [0, 0, 0, 3, 3, 5])
    with pytest.raises(UsageError) as caught:
        _divide(samples, DuplicateRule("group"))
    assert caught.value.to_dict() == {
        "code": "splits-given",
        "message": "the source defines the splits, and grouping would change them",
        "where": "duplicates='group'",
        "got": "test, train, val",
        "hint": "add resplit=True to move what leaks, splits='train=80,val=5,test=15' to divide again, "
        "or use duplicates='drop'",
    }
    found = _divide(samples, DuplicateRule("group", resplit=True))
    assert [split for _, split in _of(found)] == ["train", "train", "train", "val", "val", "val"]
    assert found.notes == ["moved 2 images to another split, so that no group of identical images is in two"]
    assert (found.skips, found.leaks) == ([], {"train/val": 0})
    with pytest.raises(UsageError, match="splits"):
        _divide(_samples("val", "train", "train", "val", "train", "val"), DuplicateRule("group"))
    one = _divide(_samples("train", None, "train", "train", "train", "train"), DuplicateRule("group"))
    assert ({split for _, split in _of(one)}, one.notes, one.leaks) == ({"train"}, [], {})


@pytest.mark.parametrize(
    ("splits", "home"),
    [
        (("a", "b", "b", "c"), "b"),  # most of it
        (("b", "a", "b", "a", "a"), "a"),  # the largest
        (("b", "a"), "b"),  # the last name
        (("a", "b"), "b"),
    ],
)
def test_a_group_is_brought_to_the_split_that_holds_most_of_it(
    splits: tuple[str, ...], home: str, alike: Callable[..., None]
) -> None:
    grouped = min(4, len(splits))
    alike(range(len(splits)), [0] * grouped + list(range(grouped, len(splits))))
    found = _divide(_samples(*splits), DuplicateRule("group", resplit=True))
    assert [split for _, split in _of(found)] == [home] * grouped + list(splits[grouped:])


def test_groups_that_lie_in_two_splits_are_counted_for_each_pair(alike: Callable[..., None]) -> None:
    alike(range(7), [0, 0, 0, 3, 3, 5, 6])
    found = _divide(_samples("c", "a", "b", "a", "b", "c", "c"), DuplicateRule(level="edited"))
    assert found.leaks == {"a/b": 2, "a/c": 1, "b/c": 1}
    assert (found.notes, found.skips) == ([], [])


def test_groups_are_kept_together_where_ratios_divide(alike: Callable[..., None]) -> None:
    ratios = parse_ratios("a=50,b=49")
    alike(range(10), [0] * 4 + [4] * 4 + [8, 9])
    found = _divide(_samples(*[None] * 10), DuplicateRule("group", "edited"), SplitRule(ratios=ratios))
    homes = [split for _, split in _of(found)]
    assert (len(set(homes[:4])), len(set(homes[4:8])), sorted(homes).count("a")) == (1, 1, 5)
    assert found.notes == [
        "the ratios sum to 99, not 100, and were taken in proportion: a 50.51 %, b 49.49 %"
    ]  # fmt: skip
    assert found.leaks == {"a/b": 0}
    alike([0] * 4 + [4] * 4 + [8, 9])
    dropped = _divide(_samples(*[None] * 10), DuplicateRule("drop", "exact"), SplitRule(ratios=ratios))
    assert [stem for stem, _ in _of(dropped)] == ["0", "4", "8", "9"]
    assert sorted(split for _, split in _of(dropped)) == ["a", "a", "b", "b"]
    assert len(dropped.skips) == 6


@pytest.mark.parametrize(("images", "is_compared"), [(True, True), (False, False)])
def test_without_a_choice_copies_are_looked_for_only_where_ratios_divide_images(
    images: bool, is_compared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def group_identical(table: Any, *_: object) -> Any:
        asked.append(table.num_rows)
        return np.array([0, 0, 0, 0, 4, 5, 6, 7], np.int64)

    monkeypatch.setattr(duplicates, "group_identical", group_identical)
    samples = _samples(*[None] * 8)
    found = _divide(samples, DuplicateRule(), SplitRule(ratios=parse_ratios("a=50,b=50")), images=images)
    assert asked == [8] * is_compared
    assert len({split for _, split in _of(found)[:4]}) == 1 or not is_compared
    assert found.leaks is None
    assert {split for _, split in _of(_divide(samples, DuplicateRule()))} == {"train"}
    assert asked == [8] * is_compared


@pytest.mark.parametrize("level", ["exact", "edited"])
@pytest.mark.parametrize("is_path", [True, False])
def test_what_another_set_holds_is_left_out_and_told(
    level: str, is_path: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreadable = tuple((f"bad{number}", "image-damaged") for number in range(4 * is_path))
    theirs = SimpleNamespace(prints="theirs", keys=["x", "y", "z"], unreadable=unreadable)
    asked: list[object] = []

    def matching(mine: object, others: object, levels: Sequence[object], before_many: Callable[[], None]) -> Any:
        asked.append((mine, others, len(levels)))
        before_many()
        return SimpleNamespace(other=np.array([-1, 2, 0])), None

    def printed(other: object, *_: object, pixels: bool) -> Any:
        asked.append((other, pixels))
        return theirs

    monkeypatch.setattr(prints, "print_set", printed)
    monkeypatch.setattr(duplicates, "fingerprints_of", lambda table, order, *_: f"mine {order.tolist()}")
    monkeypatch.setattr(compiling, "compile_search", lambda _, *counts: asked.append(counts))
    monkeypatch.setattr(compiling, "compile_matching", lambda _: asked.append("matching"))
    monkeypatch.setattr(across, "match", matching)
    other: Any = "other" if is_path else SimpleNamespace()
    stay, skips, bad = duplicates.exclude(_samples("train", "val", "val"), asked, other, level, Serial(), Silent())  # type: ignore[arg-type]
    assert stay.texts("stem") == ["0"]
    whose, reason = (" of other", "image-excluded") if is_path else ("", "image-duplicate")
    assert [(skip.reason, skip.key, skip.detail) for skip in skips] == [
        (reason, "oslo/1", f"{level}: the same image as z{whose}"),
        (reason, "oslo/2", f"{level}: the same image as x{whose}"),
    ]
    assert bad == unreadable
    compared = [(3, 3)] if level == "edited" else []
    levels = 2 if level == "edited" else 0
    assert asked == [(other, level != "exact"), *compared, ("mine [0, 1, 2]", "theirs", levels), "matching"]


def test_several_sets_are_left_out_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch, alike: Callable[..., None]
) -> None:
    held = {"one": [0], "two": [1, 2]}
    unreadable = {"one": (("k", "image-damaged"),), "two": tuple((f"k{n}", "cut") for n in range(4))}
    given: list[str] = []

    def exclude(samples: Samples, _: object, other: str, level: str, *__: object) -> Any:
        given.append(level)
        gone = [number for number, stem in enumerate(samples.texts("stem")) if int(stem) in held[other]]
        keep = ~np.isin(np.arange(len(samples)), gone)
        return samples.keep(keep), samples.skips(gone, "image-excluded"), unreadable[other]

    monkeypatch.setattr(duplicates, "exclude", exclude)
    alike([0])
    rule = DuplicateRule(level="edited", excluded=("one", "two"))
    found = _divide(_samples("train", "train", "val", "val"), rule)
    assert (_of(found), [skip.key for skip in found.skips]) == ([("3", "val")], ["oslo/0", "oslo/1", "oslo/2"])
    assert found.notes == [
        "1 image of one cannot be decoded: k (image-damaged)",
        "left out 1 image also in one, level edited",
        "4 images of two cannot be decoded: k0 (cut), k1 (cut), k2 (cut) and 1 more",
        "left out 2 images also in two, level edited",
    ]
    assert given == ["edited"] * 2
    unreadable["one"] = ()
    assert (
        _divide(_samples("train", "train", "val", "val"), rule).notes[0] == "left out 1 image also in one, level edited"
    )
    held["two"] = [1, 2, 3]
    with pytest.raises(UsageError) as caught:
        _divide(_samples("train", "train", "val", "val"), rule)
    assert caught.value.to_dict() == {
        "code": "source-empty", "message": "no samples are left to pack", "got": "image-excluded"
    }  # fmt: skip


def test_lists_divide_before_images_are_compared(alike: Callable[..., None]) -> None:
    alike([0, 0])
    lists = SplitRule(lists={"val": ["oslo/0", "oslo/2", "oslo/9"]})
    found = _divide(_samples("a", "a", "a"), DuplicateRule("drop"), lists)
    assert _of(found) == [("0", "val")]
    assert [skip.reason for skip in found.skips] == ["sample-missing", "split-not-listed", "image-duplicate"]


def test_a_rule_that_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        DuplicateRule("drop", resplit=True)
    assert caught.value.to_dict() == {"code": "usage", "message": "resplit needs duplicates='group'"}
    with pytest.raises(UsageError) as caught:
        DuplicateRule(level="some")
    assert caught.value.where == "level"
    assert not DuplicateRule().compares
    rules = (DuplicateRule("drop"), DuplicateRule(level="edited"), DuplicateRule(excluded=("x",)))
    assert all(rule.compares for rule in rules)
