"""What lies around and beside a layout: folders that only wrap it, texts beside them, and everything once more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.test_layouts import images, make, pairs, words
from tests.support.accounting import pack_all, write_files
from tests.support.city_pairs import tiny_jpeg
from tests.support.pictures import encoded
from wdstools import append, open_dataset, scan

if TYPE_CHECKING:
    from pathlib import Path

SPLITS = {**pairs("train/{}.jpg", "train/{}.txt", 1, 2), **pairs("val/{}.jpg", "val/{}.txt", 3)}
CLASSES = {**images("cat/{}.jpg", 1, 2), **images("dog/{}.jpg", 3, 4)}


@pytest.mark.parametrize("container", ["folder", "zip", "tar"])
def test_a_text_beside_the_only_folder_makes_no_class_of_it(container: str, tmp_path: Path) -> None:
    files = {"info.txt": b"about", **{f"my set/{name}": data for name, data in SPLITS.items()}}
    found = scan(str(make(container, tmp_path / "src", files)))
    assert found.samples == {"train": {"": 2}, "val": {"": 1}}
    assert [skip.path for skip in found.skips] == ["info.txt"]


def test_a_table_beside_the_only_folder_is_read(tmp_path: Path) -> None:
    files = {f"my set/{name}": data for name, data in SPLITS.items() if name.endswith(".jpg")}
    table = "file_name,text\n" + "".join(f"{name},words\n" for name in files)
    packed = pack_all(write_files(tmp_path / "src", {"captions.csv": table.encode(), **files}), tmp_path / "out")
    assert {key: sample["txt"] for key, sample in packed.samples().items()} == dict.fromkeys("123", b"words")
    assert packed.dataset.splits == ["train", "val"]


@pytest.mark.parametrize(
    ("inner", "again"), [("archive/dataset/", "archive/archive/dataset/"), ("", "brain/"), ("x/", "x/x/")]
)
@pytest.mark.parametrize(("files", "samples"), [(SPLITS, {"train": {"": 2}, "val": {"": 1}}), (CLASSES, {"": {"": 4}})])
def test_what_an_archive_holds_once_more_is_not_packed_twice(
    inner: str, again: str, files: dict[str, bytes], samples: dict[str, dict[str, int]], tmp_path: Path
) -> None:
    twice = {place + name: data for place in (inner, again) for name, data in files.items()}
    found = scan(str(make({"": "folder", "x/": "tar"}.get(inner, "zip"), tmp_path / "src", twice)))
    assert found.samples == samples
    assert {skip.path for skip in found.skips} == {again + name for name in files}
    assert found.losses == len(files)
    assert sum("second copy" in note for note in found.notes) == 1


@pytest.mark.parametrize("container", ["folder", "zip", "tar"])
def test_images_of_the_same_names_and_sizes_and_other_bytes_are_other_images(container: str, tmp_path: Path) -> None:
    clean = {f"{at:02}.jpg": tiny_jpeg(at) for at in range(40)}
    noisy = {f"noisy/{name}": data for name, data in clean.items()}
    data = noisy["noisy/33.jpg"]
    noisy["noisy/33.jpg"] = data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]
    found = scan(str(make(container, tmp_path / "src", {**clean, **noisy})))
    assert (found.total, found.losses, [note for note in found.notes if "second copy" in note]) == (80, 0, [])


def test_images_of_the_same_names_and_other_sizes_are_other_images(tmp_path: Path) -> None:
    small = {name: encoded("JPEG", size=(9, 9)) for name in CLASSES}
    write_files(tmp_path, {**CLASSES, **{f"small/{name}": data for name, data in small.items()}})
    found = scan(str(tmp_path))
    assert (found.total, found.losses) == (8, 0)


@pytest.mark.parametrize(
    ("one", "other", "keys"),
    [
        ("train_A", "train_B", {"train_A/1", "train_B/1"}),
        ("train2014", "train2017", {"train2014/1", "train2017/1"}),
        ("trainA", "trainB", {"trainA/1", "trainB/1"}),
    ],
)
def test_folders_of_one_split_lose_no_image_of_a_name_that_both_have(
    one: str, other: str, keys: set[str], tmp_path: Path
) -> None:
    source = write_files(
        tmp_path / "src", {f"{one}/1.jpg": tiny_jpeg(1), f"{other}/1.jpg": tiny_jpeg(2), "val/3.jpg": tiny_jpeg(3)}
    )
    packed = pack_all(source, tmp_path / "out")
    assert packed.skips == ()
    assert set(packed.samples("train")) == keys
    assert set(packed.samples("val")) == {"3"}
    assert packed.samples()[f"{one}/1"]["jpg"] == tiny_jpeg(1)


def test_folders_of_one_split_are_no_part_of_keys_where_they_say_nothing(tmp_path: Path) -> None:
    files = {**images("train_0/{}.jpg", 1), **images("train_1/{}.jpg", 2), **images("test/{}.jpg", 3)}
    packed = pack_all(write_files(tmp_path / "src", files), tmp_path / "out")
    assert (set(packed.samples("train")), set(packed.samples("test"))) == ({"1", "2"}, {"3"})


def test_domains_are_kept_beside_their_split(tmp_path: Path) -> None:
    files = (
        images("trainA/{}.jpg", 1) | images("trainB/{}.jpg", 2) | images("testA/{}.jpg", 3) | images("testB/{}.jpg", 4)
    )
    packed = pack_all(write_files(tmp_path / "src", files), tmp_path / "out")
    assert set(packed.samples("train")) == {"trainA/1", "trainB/2"}
    assert set(packed.samples("test")) == {"testA/3", "testB/4"}
    more = images("trainA/{}.jpg", 5) | images("testB/{}.jpg", 6)
    append(tmp_path / "out", write_files(tmp_path / "more", more), output=tmp_path / "new")
    new = open_dataset(tmp_path / "new")
    assert {sample.key for split in new.splits for sample in new.split(split)} >= {"trainA/5", "testB/6"}


def test_captions_in_folders_with_a_word_for_captions_in_their_names_are_packed(tmp_path: Path) -> None:
    files = {
        **images("images/{}.jpg", 1), "captions_en/1.txt": b"a dog", "captions_fr/1.txt": b"un chien",
        "text_images/2.jpg": tiny_jpeg(2), "text_images/2.txt": words(2),
    }  # fmt: skip
    packed = pack_all(write_files(tmp_path / "src", files), tmp_path / "out")
    assert packed.skips == ()
    assert packed.samples()["images/1"]["txt"] == b"a dog"
    assert packed.samples()["images/1"]["json"] == b'{"captions":["a dog","un chien"]}'
    assert packed.samples()["text_images/2"]["txt"] == words(2)


@pytest.mark.parametrize("container", ["folder", "zip"])
def test_folders_of_captions_of_other_splits_are_no_captions(container: str, tmp_path: Path) -> None:
    files = {
        **images("images_train/{}.jpg", 1), **images("images_val/{}.jpg", 2),
        "captions_train/1.txt": b"train", "captions_val/1.txt": b"val", "captions_val/2.txt": b"val",
    }  # fmt: skip
    packed = pack_all(make(container, tmp_path / "src", files), tmp_path / "out")
    assert {key: sample["txt"] for key, sample in packed.samples().items()} == {"1": b"train", "2": b"val"}
    assert packed.reasons == {"captions_val/1.txt": "image-missing"}
