"""The rule of splits: which word names which, and which split a tar at a path is of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.command import run_command
from tests.support.foreign_tars import compressed, pairs, tar_bytes, write
from wdstools import open_source
from wdstools.foreign.layout import read_layout
from wdstools.foreign.split_names import gaps, split_in_name, split_of_word, splits_of_paths
from wdstools.formats.manifest import is_split_name
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from pathlib import Path

#: Paths of one place, and the split of each.
PLACES = {
    "hub": {"data/train-00000-of-00001.tar": "train", "data/test-00000-of-00001.tar": "test"},
    "hub, with digests": {"data/train-00000-of-00002-abc12.tar": "train", "data/validation-00000-of-00001-f.tar": "validation"},
    "folders": {"data/train/00000.tar": "train", "data/test/00000.tar": "test"},
    "flat": {"train.tar": "train", "val.tar": "val"},
    "capitals": {"Train/0.tar": "train", "Test/0.tar": "test"},
    "long words": {"training/0.tar": "train", "testing/0.tar": "test", "validation/0.tar": "validation"},
    "years": {"train2017/0.tar": "train", "val2017/0.tar": "val"},
    "years and numbers": {"train2017-0001.tar": "train", "val2017-0001.tar": "val"},
    "words in names": {"seg_train/0.tar": "train", "seg_test/0.tar": "test"},
    "a name before": {"cc3m-train-0000.tar": "train", "cc3m-validation-0000.tar": "validation"},
    "parts below": {"train/part1/000.tar": "train", "part1/val-000.tar": "val"},
    "the whole word decides": {"test/training-data-000.tar": "test"},
    "the nearest decides": {"eval/train/000.tar": "train"},
    "numbers alone": {"00000.tar": "train", "00001.tar": "train"},
    "versions": {"v7.tar": "train", "v8.tar": "train"},
    "words for anything": {"data-0001.tar": "train", "shards/part-0002.tar": "train"},
    "names of people's own": {"cc3m-0000.tar": "cc3m", "laion/00000.tar": "laion", "my_split.003.tar": "my_split"},
    "a lone name": {"x.tar": "train"},
    "names beside words": {"train.tar": "train", "london.tar": "london", "x7.tar": "x"},
    "canonical": {"my_val/my_val-000000.tar": "my_val", "Train/Train-000000.tar": "Train"},
    "several endings": {"val.tar.gz": "val", "dev.tar.zst": "dev", "eval.tgz": "eval"},
    "no name for a split": {"starters/0.tar": "sta_rters", "a b/0.tar": "a_b"},
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_the_split_of_a_tar_is_told_by_its_path(place: str) -> None:
    assert splits_of_paths(PLACES[place]).of == PLACES[place]


@pytest.mark.parametrize("place", PLACES)
def test_listing_and_adopting_find_the_same_splits(place: str, tmp_path: Path) -> None:
    folder = _written(place, tmp_path / "s")
    adopted = read_layout(LocalStore(str(folder)), "", "auto", None).splits
    listed = open_source(str(folder)).list().samples
    assert adopted == PLACES[place]
    assert set(listed.column("split").to_pylist()) == set(adopted.values())


def test_pack_and_adopt_make_the_same_splits(tmp_path: Path) -> None:
    folder = _written("names beside words", tmp_path / "s")
    adopted = run_command("adopt", folder, "-o", tmp_path / "a", "--json").summary["samples"]
    packed = run_command("pack", folder, tmp_path / "p", "--no-progress", "--json")
    assert packed.code == 0, packed.err
    assert packed.summary["samples"] == adopted == {"london": 2, "train": 2, "x": 2}


def _written(place: str, folder: Path) -> Path:
    files = {}
    for number, path in enumerate(PLACES[place]):
        data = tar_bytes(pairs(number * 2, 2))
        encoding = {"gz": "tar.gz", "tgz": "tar.gz", "zst": "tar.zst"}.get(path.rpartition(".")[2])
        files[path] = compressed(data, encoding) if encoding else data
    return write(folder, files)


@pytest.mark.parametrize(
    ("word", "split"),
    [
        ("train", "train"), ("Train", "train"), ("TRAINING", "train"), ("train2014", "train"), ("trainset", "train"),
        ("test", "test"), ("testing", "test"), ("val", "val"), ("valid", "valid"), ("validation", "validation"),
        ("dev", "dev"), ("eval", "eval"), ("trainval", "trainval"),
        ("trains", None), ("latest", None), ("values", None), ("device", None), ("london", None), ("test7", None), ("", None),
    ],
)  # fmt: skip
def test_words_that_name_splits(word: str, split: str | None) -> None:
    assert split_of_word(word) == split


def test_a_name_with_words_of_two_splits_names_none() -> None:
    assert split_in_name("train_and_test") is None
    assert split_in_name("train_training") is not None


@given(
    st.lists(st.text(st.sampled_from("trainvesdo0127-_./ "), max_size=16).map(lambda name: f"{name}.tar"), unique=True)
)
def test_every_tar_has_a_split_that_may_be_called_so_whatever_the_order(paths: list[str]) -> None:
    found = splits_of_paths(paths)
    assert set(found.of) == set(paths)
    assert all(map(is_split_name, found.of.values()))
    assert splits_of_paths(reversed(paths)).of == found.of


def test_two_words_that_lead_to_one_split_are_told() -> None:
    assert splits_of_paths(["train2014/0.tar", "train2017/0.tar"]).joined == {"train": ("train2014", "train2017")}
    assert splits_of_paths(["Train/0.tar", "train/1.tar", "a-train-000.tar"]).joined == {}


def test_numbers_that_are_missing_are_told() -> None:
    assert [str(gap) for gap in gaps(f"data/train-{n:05d}-of-00004.tar" for n in (0, 1))] == ["data/train: 2 of 4"]
    assert [str(gap) for gap in gaps(["0.tar", "1.tar", "3.tar"])] == ["shards: 3 of 4"]
    assert gaps(["2017.tar", "1.tar"]) == []
