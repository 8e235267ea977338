"""Options of a pack as people give them: the value that decides the bytes, what is refused, and what provenance keeps."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.city_pairs import tiny_jpeg
from wdstools import pack
from wdstools.errors import NotFoundError, UsageError
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.images.encoding import Encoding
from wdstools.images.rules import ImageRules
from wdstools.planning.duplicates import DuplicateRule
from wdstools.planning.options import make_options, split_rule
from wdstools.planning.place import ShardLayout
from wdstools.planning.splits import SplitRule

if TYPE_CHECKING:
    from pathlib import Path

    from wdstools.options.pack import PackChoices


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with lists, some with odd names."""
    monkeypatch.chdir(tmp_path)
    for name in ("train.txt", "80", "a=1,b"):
        (tmp_path / name).write_text(f"of {name}\n")


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ([], SplitRule()),
        (["test"], SplitRule(one="test")),
        (["a=80", "b=20"], SplitRule(ratios={"a": Fraction(80), "b": Fraction(20)})),
        (["a=1/3,b=2/3"], SplitRule(ratios={"a": Fraction(1, 3), "b": Fraction(2, 3)})),
    ],
)
def test_splits_are_one_or_ratios(given: list[str], rule: SplitRule) -> None:
    assert split_rule(given) == rule


def test_splits_are_lists_where_files_are_named() -> None:
    lists = split_rule(["train=train.txt", "val=a=1,b", "test=80"]).lists
    assert lists is not None
    assert {name: list(lines) for name, lines in lists.items()} == {
        "train": ["of train.txt"],
        "val": ["of a=1,b"],
        "test": ["of 80"],
    }


@pytest.mark.parametrize(
    ("given", "message", "where", "expected", "got"),
    [
        (["a", "b"], "not a split", "splits='a'", "NAME, NAME=FILE, or train=80,val=5,test=15", ""),
        (["=train.txt"], "not a split", "splits='=train.txt'", "NAME, NAME=FILE, or train=80,val=5,test=15", ""),
        (["t=train.txt", "b"], "not a split", "splits='b'", "NAME, NAME=FILE, or train=80,val=5,test=15", ""),
        (["a=1,b=x"], "not ratios", "splits='a=1,b=x'", "numbers, like train=80,val=5,test=15", "a=1,b=x"),
        (["a=80,b"], "", "a", "", ""),
        (["a="], "neither ratios nor a file", "splits='a='", "weights", "a="),
        (["a=0"], "neither ratios nor a file", "splits='a=0'", "weights", "a=0"),
        (["a=81", "b=train.txt"], "neither ratios nor a file", "splits='a=81'", "weights", "a=81"),
        (["a=-0,5 %", "b=2"], "neither ratios nor a file", "splits='a=-0,5 %'", "weights", "a=-0,5 %"),
        (["t=train.txt", "t=80"], "a split is given twice", "splits='t=80'", "", "t"),
        (["80/20"], "not a split name", "", "name", "80/20"),
        (["train:80,val:20"], "not a split name", "", "name", "train:80,val:20"),
        (["\udcff"], "not UTF-8 text", "splits", "", r"'\udcff'"),
        (["ok=1", "\ud800=2"], "not UTF-8 text", "splits", "", r"'\ud800'"),
        (["\udfff=train.txt"], "not UTF-8 text", "splits", "", r"'\udfff'"),
    ],
)
def test_splits_that_cannot_be_are_refused_with_what_they_should_be(
    given: list[str], message: str, where: str, expected: str, got: str
) -> None:
    if not message:  # the name of a file that is not there
        with pytest.raises(Exception, match="80,b"):
            split_rule(given)
        return
    with pytest.raises(UsageError) as caught:
        split_rule(given)
    if expected == "weights":
        expected = "ratios with a positive sum, like train=80,val=5,test=15, or the file of a list"
    said = {"code": "usage", "message": message, "where": where, "expected": expected, "got": got}
    if expected == "name":
        hint = "ratios are written splits='train=80,val=20'"
        said |= {"code": "split-name", "expected": "letters, digits, _ and -, not containing 'tar'", "hint": hint}
    assert caught.value.to_dict() == {name: text for name, text in said.items() if text}


def test_the_letters_beside_those_that_are_no_text_are_text() -> None:
    with pytest.raises(UsageError, match="not a split name"):
        split_rule(["\ud7ff\ue000"])


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"quality": 90}, "quality has no effect without resize or convert"),
        ({"mode": "crop"}, "mode has no effect without resize"),
        ({"mode": "crop", "convert": "jpg"}, "mode has no effect without resize"),
        ({"quality": 90, "convert": "png"}, "quality has no effect for png"),
        ({"quality": 90, "convert": "png", "resize": 300}, "quality has no effect for png"),
        ({"shard_bytes": 100, "shards": 2}, "shard_bytes has no effect with shards"),
        ({"shard_bytes": 100, "like": "x", "shards": 2}, "shard_bytes has no effect with shards"),
        ({"shard_bytes": 100, "like": "x"}, "shard_bytes has no effect with like"),
    ],
)
def test_a_choice_that_does_nothing_beside_the_others_is_refused(choices: PackChoices, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        make_options(**choices)
    assert caught.value.to_dict() == {"code": "option-idle", "message": message, "where": message.split(maxsplit=1)[0]}


@pytest.mark.parametrize(
    ("choices", "encoding"),
    [
        ({}, None),
        ({"resize": 300}, Encoding(side=300)),
        ({"resize": 300, "mode": "crop", "quality": 90}, Encoding(side=300, mode="crop", quality=90)),
        ({"resize": 300, "quality": 90, "convert": "webp"}, Encoding(side=300, image_type="webp", quality=90)),
        ({"convert": "png"}, Encoding(image_type="png", side=None, only_others=True)),
        ({"convert": "jpg", "quality": 90}, Encoding(side=None, quality=90, only_others=True)),
        ({"resize": 9, "max_pixels": 100}, Encoding(side=9, max_pixels=100)),
    ],
)
def test_images_are_encoded_again_where_they_are_resized_or_converted(
    choices: PackChoices, encoding: Encoding | None
) -> None:
    rules = make_options(**choices).images
    pixels = choices.get("max_pixels", ImageRules().max_pixels)
    assert rules == ImageRules(check="decode", encoding=encoding, max_pixels=pixels)


def test_one_type_alone_and_another_for_all_exclude_each_other() -> None:
    with pytest.raises(UsageError) as caught:
        make_options(only="jpg", convert="jpg")
    assert caught.value.message == "only and convert cannot be combined"
    assert make_options(only="jpg").only == "jpg"


def test_what_is_chosen_is_what_decides() -> None:
    options = make_options(
        shard_samples=5, seed=7, splits="a=1,b=2", duplicates="drop", level="edited", exclude_duplicates_of=["x"],
        trailing="cut", name="n", version=3, check="header",
    )  # fmt: skip
    assert options.layout == ShardLayout(5, None, None, 7)
    assert options.duplicates == DuplicateRule("drop", "edited", False, ("x",))
    assert (options.images.trailing, options.images.check, options.name, options.version) == ("cut", "header", "n", 3)
    assert make_options(splits=["a=1", "b=2"]).splits == options.splits
    assert make_options(shard_bytes=9).layout == ShardLayout(None, None, None, make_options().layout.seed, 9)


def test_a_document_of_options_has_what_is_not_as_usual(tmp_path: Path) -> None:
    usual = make_options().document()
    assert set(usual) == {
        "layout", "splits", "only", "on_error", "name", "version", "authenticated_ranges", "check", "max_pixels", "encoding",
    }  # fmt: skip
    assert usual["layout"] == {"shard_samples": None, "shards": None, "like": None, "seed": make_options().layout.seed}
    assert usual["splits"] == {"one": None, "ratios": {}, "lists": {}}
    assert make_options(splits="test").document()["splits"]["one"] == "test"
    assert make_options(splits="a=1/2,b=2").document()["splits"]["ratios"] == {"a": "1/2", "b": "2"}
    lists = make_options(splits=["train=train.txt"]).document()["splits"]["lists"]
    assert lists == {"train": hashlib.sha256(b"of train.txt").hexdigest()}
    assert make_options(shard_bytes=9).document()["layout"]["shard_bytes"] == 9
    assert make_options(trailing="cut").document()["trailing"] == "cut"
    document = make_options(duplicates="drop").document()
    assert document["duplicates"] == {"action": "drop", "level": "exact", "resplit": False, "excluded": ()}
    resized = make_options(resize=300, convert="webp").document()["encoding"]
    assert (resized["side"], resized["image_type"]) == (300, "webp")


def test_the_manifest_that_a_pack_is_like_is_named_by_its_folder_or_file(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(3):
        (tmp_path / f"in/{number}.jpg").write_bytes(tiny_jpeg(number))
    made = pack(tmp_path / "in", tmp_path / "out", seed=5, shards=1)
    shutil.copy(tmp_path / "out" / MANIFEST_PATH, tmp_path / "alone.json")
    shutil.copytree(tmp_path / "out", tmp_path / "s3:/bucket")
    for like in (tmp_path / "out", "out", "alone.json", f"file://{tmp_path}/out", "s3://bucket"):
        options = make_options(like=like)
        assert options.layout.like is not None
        assert (options.layout.like.root, options.layout.seed) == (made.root, 5)
        assert options.document()["layout"]["like"] == made.root
    with pytest.raises(NotFoundError) as caught:
        make_options(like="absent.json")
    assert caught.value.where == "absent.json"
    plain: Any = replace(options, layout=replace(options.layout, like=None)).document()
    assert plain["layout"] == {**options.document()["layout"], "like": None}
