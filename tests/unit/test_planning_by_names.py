"""What names alone decide of a pack: image type, members, which samples fit, and what is refused before any file is opened."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.properties.test_placement_laws import listing_of
from wdstools.errors import UsageError
from wdstools.planning import by_names
from wdstools.planning.by_names import (
    NothingLeftError,
    by_ranges,
    decide_members,
    note_of_repeated,
    packable,
    refuse_too_many_compared,
    refuse_unlike,
)
from wdstools.planning.options import make_options
from wdstools.results import Skip
from wdstools.sources.base import Listing, SamplesBuilder

if TYPE_CHECKING:
    from tests.properties.test_placement_laws import Sample
    from wdstools.options.pack import PackChoices

SAMPLES: list[Sample] = [("train", "oslo", str(number)) for number in range(10)]


def _of_kinds(*suffixes: str, labels: tuple[str | None, ...] = ("oslo",), **parts: Any) -> Listing:
    """A listing of an image of each of these kinds, called by its number."""
    builder = SamplesBuilder()
    for number, suffix in enumerate(suffixes):
        label = labels[number % len(labels)]
        builder.add({"split": "train", "label": label}, {"stem": [str(number)], "image_suffix": [suffix]})
    return replace(listing_of([]), samples=builder.table(), label_in_key=False, **parts)


@pytest.mark.parametrize(
    ("choices", "where"),
    [
        ({"duplicates": "drop", "level": "edited"}, "duplicates='drop'"),
        ({"exclude_duplicates_of": ["a", "b"]}, "exclude_duplicates_of='a, b'"),
        ({"level": "re-encode"}, "level='re-encode'"),
    ],
)
def test_more_images_are_compared_than_memory_holds_only_where_none_are_asked_for(
    choices: PackChoices, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing, options = listing_of(SAMPLES), make_options(**choices)
    monkeypatch.setattr(by_names, "LARGE", 10)
    monkeypatch.setattr(by_names, "COMPARED_BYTES", 200)
    monkeypatch.setattr(by_names, "free_bytes", lambda: 1999)
    with pytest.raises(UsageError) as caught:
        refuse_too_many_compared(listing, options)
    assert caught.value.to_dict() == {
        "code": "plan-too-large",
        "message": "a plan that compares all images needs more memory than is free on this machine",
        "where": where,
        "expected": "at most about 9 samples in 2.0 kB",
        "got": "10 samples, about 2.0 kB",
        "hint": "use a machine with more memory, or pack without this option and look for copies in the dataset: "
        "wdstools duplicates",
    }
    refuse_too_many_compared(listing, make_options())  # nothing is compared
    monkeypatch.setattr(by_names, "LARGE", 11)
    refuse_too_many_compared(listing, options)  # they are few
    monkeypatch.setattr(by_names, "LARGE", 10)
    monkeypatch.setattr(by_names, "free_bytes", lambda: 2000)
    refuse_too_many_compared(listing, options)  # they fit


def test_so_many_samples_are_planned_by_ranges_where_nothing_looks_at_all_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listing = listing_of(SAMPLES)
    for least, is_by_ranges in ((9, True), (10, True), (11, False)):
        monkeypatch.setattr(by_names, "LARGE", least)
        assert by_ranges(listing, make_options()) == is_by_ranges
        assert not by_ranges(listing, make_options(level="edited"))


def test_a_manifest_of_other_members_or_labels_is_no_pattern() -> None:
    listing, usual = replace(listing_of(SAMPLES), labels=("oslo",)), make_options()

    def refuse(members: tuple[str, ...], labels: tuple[str, ...]) -> None:
        like = cast("Any", SimpleNamespace(members=members, labels=labels))
        refuse_unlike(listing, replace(usual, layout=replace(usual.layout, like=like)), ("jpg", "cls"))

    refuse_unlike(listing, usual, ("jpg",))
    refuse(("jpg", "cls"), ("oslo",))
    for members, labels, expected, got in (
        (("jpg",), ("oslo",), "members jpg, 1 label", "members jpg,cls, 1 label"),
        (("jpg", "cls"), ("oslo", "rome"), "members jpg,cls, 2 labels (only here: rome)", "members jpg,cls, 1 label"),
        (
            ("jpg", "cls"),
            ("rome",),
            "members jpg,cls, 1 label (only here: rome)",
            "members jpg,cls, 1 label (only here: oslo)",
        ),
        (("png",), (), "members png, 0 labels", "members jpg,cls, 1 label (only here: oslo)"),
    ):
        with pytest.raises(UsageError) as caught:
            refuse(members, labels)
        assert caught.value.to_dict() == {
            "code": "usage",
            "message": "the manifest given with like does not fit this source",
            "where": "like",
            "expected": expected,
            "got": got,
        }


@pytest.mark.parametrize(
    ("types", "choices", "extension"),
    [
        ({"jpg": 1}, {}, "jpg"),
        ({"jpg": 1, "png": 2}, {}, "png"),
        ({"jpg": 2, "png": 2}, {}, "jpg"),
        ({"gif": 9, "webp": 1}, {}, "webp"),
        ({"jpg": 1, "png": 2}, {"only": "jpg"}, "jpg"),
        ({"jpg": 1, "png": 2}, {"convert": "webp"}, "webp"),
        ({"png": 2}, {"resize": 300}, "jpg"),
        ({}, {}, ""),
    ],
)
def test_the_type_of_most_images_is_that_of_a_dataset_unless_one_is_asked_for(
    types: dict[str, int], choices: PackChoices, extension: str
) -> None:
    listing = replace(listing_of(SAMPLES), image_types=types, members=("txt", "json"))
    first = (extension,) if extension else ()
    assert decide_members(listing, make_options(**choices)) == (extension, (*first, "txt", "json"))
    assert decide_members(listing, make_options(**choices), ("cls",)) == (extension, (*first, "cls"))


def test_images_that_go_into_no_shard_are_refused_with_what_to_do() -> None:
    with pytest.raises(UsageError) as caught:
        decide_members(replace(listing_of(SAMPLES), image_types={"tiff": 1, "gif": 2000}), make_options())
    assert caught.value.to_dict() == {
        "code": "image-types",
        "message": "images of this type cannot be stored in shards unchanged",
        "expected": "one of jpg, png, webp",
        "got": "2,000 gif, 1 tiff",
        "hint": "add convert='jpg' to re-encode them",
    }


@pytest.mark.parametrize(
    ("choices", "where"),
    [
        ({"only": "png"}, "only='png'"),
        ({"resize": 300}, "resize=300"),
        ({"convert": "png"}, "convert='png'"),
        ({"duplicates": "group"}, "duplicates='group'"),
        ({"exclude_duplicates_of": ["a", "b"]}, "exclude_duplicates_of='a, b'"),
        ({"level": "edited"}, None),
    ],
)
def test_choices_about_images_are_refused_where_there_are_none(choices: PackChoices, where: str | None) -> None:
    listing = replace(listing_of(SAMPLES), image_types={})
    if where is None:
        assert decide_members(listing, make_options(**choices)) == ("", ())
    else:
        with pytest.raises(UsageError) as caught:
            decide_members(listing, make_options(**choices))
        expected = {"code": "no-images", "message": "no sample in this source has an image", "where": where}
        assert caught.value.to_dict() == expected
    assert decide_members(replace(listing, samples=listing.samples.slice(0, 0)), make_options(**choices)) == ("", ())


def test_images_of_other_types_are_left_out_with_the_reason() -> None:
    types = {"jpg": 2, "png": 1, "gif": 1}
    listing = _of_kinds(".jpg", ".JPEG", ".png", ".gif", image_types=types)
    found = packable(listing, make_options())
    assert (found.image_extension, found.members, found.samples.texts("stem")) == ("jpg", ("jpg",), ["0", "1"])
    assert found.skips == (
        Skip(
            "image-needs-convert", "2.png", "train", "2", "png: most images are jpg, and a dataset has one type: add --convert jpg"
        ),
        Skip(
            "image-needs-convert", "3.gif", "train", "3", "gif: does not go into a shard as it is: add --convert jpg"
        ),
    )  # fmt: skip
    alone = packable(listing, make_options(only="png"))
    assert (alone.image_extension, alone.samples.texts("stem")) == ("png", ["2"])
    assert [(skip.reason, skip.key, skip.detail) for skip in alone.skips] == [
        ("image-not-png", key, None) for key in ("0", "1", "3")
    ]
    converted = packable(listing, make_options(convert="png"))
    assert (converted.samples.texts("stem"), converted.skips) == (["0", "1", "2", "3"], ())
    both = packable(listing, make_options(only="jpg", resize=300))
    assert (both.image_extension, both.samples.texts("stem")) == ("jpg", ["0", "1"])


def test_samples_without_a_label_are_left_out_of_a_dataset_of_labels() -> None:
    listing = _of_kinds(*[".jpg"] * 4, labels=("oslo", None))
    assert len(packable(listing, make_options()).samples) == 4
    found = packable(replace(listing, labels=("oslo",)), make_options())
    assert (found.members, found.samples.texts("stem")) == (("jpg", "cls"), ["0", "2"])
    assert [(skip.reason, skip.path) for skip in found.skips] == [
        ("label-missing", "1.jpg"),
        ("label-missing", "3.jpg"),
    ]
    whole = packable(replace(_of_kinds(".jpg", ".jpg"), labels=("oslo",)), make_options())
    assert (len(whole.samples), whole.skips) == (2, ())


def test_where_nothing_is_left_it_is_said_why() -> None:
    earlier = Skip("image-damaged", "x.jpg", "train", "x")
    listing = _of_kinds(*[".png"] * 1200, image_types={"png": 1200}, skips=(earlier,))
    with pytest.raises(NothingLeftError) as caught:
        packable(listing, make_options(only="jpg"))
    assert caught.value.to_dict() == {
        "code": "source-empty",
        "message": "no samples are left to pack",
        "where": "1,201 skipped: image-damaged, image-not-jpg",
        "got": "x.jpg: image-damaged; 0.png: image-not-jpg; 1.png: image-not-jpg; and 1,198 more",
    }
    assert caught.value.skips[:2] == (earlier, Skip("image-not-jpg", "0.png", "train", "0"))
    assert len(caught.value.skips) == 1201


def test_samples_of_shards_with_one_key_are_told_how_to_keep_them_all() -> None:
    listing = _of_kinds(".jpg", recipe="shards")
    note = "the keys of 1,200 samples also occur in another shard: --prefix-keys shard puts the tar's name before each key and keeps them all"
    assert note_of_repeated(listing, 1200) == (note,)
    assert note_of_repeated(listing, 0) == note_of_repeated(replace(listing, recipe="flat"), 1200) == ()


def test_of_one_key_one_sample_is_packed_and_the_other_is_told() -> None:
    builder = SamplesBuilder()
    for split in ("train", "val"):
        builder.add({"split": split, "image_dir": split}, {"stem": ["1", split], "image_suffix": [".jpg"] * 2})
    listing = replace(listing_of([]), samples=builder.table(), label_in_key=False, skips=(Skip("link", "y"),))
    found = packable(replace(listing, recipe="shards"), make_options())
    assert sorted(found.samples.texts("key")) == [b"1", b"train", b"val"]
    assert found.skips == (Skip("link", "y"), Skip("key-duplicate", "val/1.jpg", "val", "1"))
    assert (found.split_in_key, len(found.notes)) == (False, 1)
    both = packable(replace(listing, split_in_key=None), make_options())
    assert sorted(both.samples.texts("key")) == [b"train/1", b"train/train", b"val/1", b"val/val"]
    assert (both.split_in_key, both.skips) == (True, (Skip("link", "y"),))
    assert both.notes == ("keys begin with their split, because several splits have samples of the same name, like 1",)
    given = packable(replace(listing, split_in_key=True), make_options())
    assert (given.split_in_key, given.notes, sorted(given.samples.texts("key"))) == (
        True, (), sorted(both.samples.texts("key"))
    )  # fmt: skip
