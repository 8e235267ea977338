"""Folders in the layouts in which such datasets are handed round, named and recognised."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.test_layouts import make
from tests.support.accounting import pack_all, write_files
from tests.support.came import came
from tests.support.city_pairs import tiny_jpeg
from wdstools import NotFoundError, UsageError, open_source, scan
from wdstools.sources.recipe import load_recipe, parse_template, recipe_names

if TYPE_CHECKING:
    from pathlib import Path

CITIES = ("london", "newyork", "sanfrancisco")


def pairs(
    image: str, caption: str, labels: tuple[str, ...] = CITIES, splits: tuple[str, ...] = ("",)
) -> dict[str, bytes]:
    """Two pairs for each split and label, by templates with {split}, {label} and {id}."""
    files: dict[str, bytes] = {}
    number = 0
    for split in splits:
        for label in labels:
            for _ in range(2):
                number += 1
                fields = {"split": split, "label": label, "id": str(100 + number)}
                files[image.format(**fields)] = tiny_jpeg(number)
                files[caption.format(**fields)] = f"caption {number}".encode()
    return files


RESIZED = ("img_resized_1M/cities_instagram/{label}/{id}.jpg", "captions_resized_1M/cities_instagram/{label}/{id}.txt")
SPLIT = ("img/{split}/{label}/{id}.jpg", "captions/{split}/{label}/{id}.txt")
NEW_YORK = ("img_resized/{label}/{id}.jpg", "captions/{label}/{id}.txt")


@pytest.mark.parametrize("nesting", ["", "InstaCities1M/", "InstaCities1M/InstaCities1M/"])
@pytest.mark.parametrize("named", [True, False])
def test_instacities1m_as_distributed(nesting: str, tmp_path: Path, *, named: bool) -> None:
    write_files(tmp_path / "src" / nesting, pairs(*RESIZED))
    layout = {"recipe": "instacities1m"} if named else {}
    packed = pack_all(tmp_path / "src", tmp_path / "out", layout=layout)
    assert sorted(packed.samples()) == [
        "london/101", "london/102", "newyork/103", "newyork/104", "sanfrancisco/105", "sanfrancisco/106",
    ]  # fmt: skip
    assert packed.skips == ()
    assert packed.samples()["newyork/103"] == {"jpg": tiny_jpeg(3), "txt": b"caption 3", "cls": b"1"}
    assert packed.samples()["sanfrancisco/105"]["cls"] == b"9"
    assert packed.dataset.manifest.name == "InstaCities1M"
    assert packed.dataset.manifest.labels[:3] == ("london", "newyork", "sydney")


@pytest.mark.parametrize("nesting", ["", "InstaCities1M/", "InstaCities1M/InstaCities1M/"])
def test_instacities1m_after_splitting(nesting: str, tmp_path: Path) -> None:
    write_files(tmp_path / "src" / nesting, pairs(*SPLIT, splits=("train", "val", "test")))
    inventory = scan(str(tmp_path / "src"))
    assert inventory.recipe == "instacities1m"
    assert {split: sum(labels.values()) for split, labels in inventory.samples.items()} == {
        "train": 6,
        "val": 6,
        "test": 6,
    }
    packed = pack_all(tmp_path / "src", tmp_path / "out")
    assert packed.dataset.splits == ["test", "train", "val"]
    assert len(packed.samples()) == 18


@pytest.mark.parametrize("nesting", ["", "InstaNY100K/", "InstaNY100K/InstaNY100K/"])
@pytest.mark.parametrize("named", [True, False])
def test_instany100k_nested_or_not(nesting: str, tmp_path: Path, *, named: bool) -> None:
    write_files(tmp_path / "src" / nesting, pairs(*NEW_YORK, labels=("newyork",)))
    layout = {"recipe": "instany100k"} if named else {}
    packed = pack_all(tmp_path / "src", tmp_path / "out", layout=layout)
    assert packed.dataset.manifest.name == "InstaNY100K"
    assert set(packed.samples()) == {"newyork/101", "newyork/102"}
    assert packed.samples()["newyork/101"]["cls"] == b"0"


def test_nesting_changes_no_byte(tmp_path: Path) -> None:
    roots = set()
    for number, nesting in enumerate(("", "a/", "a/b/")):
        write_files(tmp_path / f"src{number}" / nesting, pairs(*RESIZED))
        roots.add(pack_all(tmp_path / f"src{number}", tmp_path / f"out{number}").dataset.root)
    assert len(roots) == 1


def test_cities_that_the_recipe_does_not_know_are_another_dataset(tmp_path: Path) -> None:
    write_files(tmp_path / "src", pairs(*SPLIT, labels=("oslo", "rome"), splits=("train", "val")))
    packed = pack_all(tmp_path / "src", tmp_path / "out")
    assert packed.dataset.manifest.labels == ("oslo", "rome")
    assert scan(str(tmp_path / "src")).recipe == "folders"


@pytest.mark.parametrize("folder", ["", "a/", "a/b/c/"])
def test_flat_and_nested_pairs(folder: str, tmp_path: Path) -> None:
    write_files(
        tmp_path / "src",
        {f"{folder}1.jpg": tiny_jpeg(1), f"{folder}1.txt": b"one", "z.jpg": tiny_jpeg(2), "z.txt": b""},
    )
    packed = pack_all(tmp_path / "src", tmp_path / "out")
    assert packed.samples() == {
        f"{folder}1": {"jpg": tiny_jpeg(1), "txt": b"one"},
        "z": {"jpg": tiny_jpeg(2), "txt": b""},
    }


def test_images_alone_have_no_captions(tmp_path: Path) -> None:
    write_files(tmp_path / "src", {"1.jpg": tiny_jpeg(1), "deep/er/2.jpg": tiny_jpeg(2)})
    packed = pack_all(tmp_path / "src", tmp_path / "out")
    assert packed.samples() == {"1": {"jpg": tiny_jpeg(1)}, "deep/er/2": {"jpg": tiny_jpeg(2)}}
    assert packed.dataset.manifest.members == ("jpg",)


def test_captions_beside_images_in_split_folders_are_packed(tmp_path: Path) -> None:
    files = pairs("{split}/{label}/{id}.jpg", "{split}/{label}/{id}.txt", splits=("train", "val"))
    write_files(tmp_path / "src", files)
    packed = pack_all(tmp_path / "src", tmp_path / "out")
    assert {sample.get("txt", b"") for sample in packed.samples().values()} == {
        data for name, data in files.items() if name.endswith(".txt")
    }


def test_labels_as_folders_of_pairs(tmp_path: Path) -> None:
    write_files(tmp_path / "src", pairs("{label}/{id}.jpg", "{label}/{id}.txt", labels=("cat", "dog")))
    packed = pack_all(tmp_path / "src", tmp_path / "out", layout={"recipe": "labels"})
    assert packed.dataset.manifest.labels == ("cat", "dog")
    assert packed.samples()["dog/103"] == {"jpg": tiny_jpeg(3), "txt": b"caption 3", "cls": b"1"}


FOLDERS = {f"{label}/{n}.jpg": tiny_jpeg(n) for n, label in enumerate(("cat", "cat", "dog"), 1)}


@pytest.mark.parametrize("prefix", ["", "top/", "images/"])
def test_labels_as_folders_of_images_alone(prefix: str, tmp_path: Path) -> None:
    source = str(write_files(tmp_path / "src", {prefix + name: data for name, data in FOLDERS.items()}))
    found = scan(source)
    assert [note for note in found.notes if "--recipe labels" in note and "cat, dog" in note]
    packed = pack_all(source, tmp_path / "out", layout={"recipe": "labels"})
    assert packed.skips == ()
    assert packed.dataset.manifest.labels == ("cat", "dog")
    assert {key: sample["cls"] for key, sample in packed.samples().items()} == {
        "cat/1": b"0", "cat/2": b"0", "dog/3": b"1",
    }  # fmt: skip
    assert packed.dataset.manifest.members == ("jpg", "cls")


def test_labels_beside_captions_tables_and_splits_of_any_kind(tmp_path: Path) -> None:
    captions = {f"{name[:-4]}.caption": b"words" for name in FOLDERS}
    found = scan(str(write_files(tmp_path / "captions", {**FOLDERS, **captions})), recipe="labels")
    assert (found.samples, found.members) == ({"": {"cat": 2, "dog": 1}}, ("jpg", "txt", "cls"))
    splits = {f"train/{name}": data for name, data in FOLDERS.items()} | {"test/dog/9.jpg": tiny_jpeg(9)}
    assert scan(str(write_files(tmp_path / "splits", splits)), recipe="labels").samples == {
        "test": {"dog": 1}, "train": {"cat": 2, "dog": 1},
    }  # fmt: skip
    found = scan(str(write_files(tmp_path / "stray", {**FOLDERS, "9.jpg": tiny_jpeg(9)})), recipe="labels")
    assert [(skip.path, skip.reason) for skip in found.skips] == [("9.jpg", "label-missing")]


@pytest.mark.parametrize("name", ["cat", "cat.zip", "cat.tar", "inner"])
def test_a_folder_of_images_may_be_one_label_by_its_own_name(name: str, tmp_path: Path) -> None:
    container = name.rpartition(".")[2] if "." in name else "folder"
    inside = "cat/" if name == "inner" else ""
    files = {f"{inside}1.jpg": tiny_jpeg(1), f"{inside}2.jpg": tiny_jpeg(2)}
    source = make(container, tmp_path / name.partition(".")[0], files)
    packed = pack_all(source, tmp_path / "out", layout={"recipe": "labels"})
    assert set(packed.samples()) == {"cat/1", "cat/2"}
    assert packed.dataset.manifest.labels == ("cat",)


@pytest.mark.parametrize("upper", [".JPG", ".jpeg", ".JPEG", ".jpe", ".Jfif"])
def test_other_spellings_of_jpg_are_jpg(upper: str, tmp_path: Path) -> None:
    write_files(tmp_path / "src", {f"1{upper}": tiny_jpeg(1), "1.txt": b"one"})
    assert pack_all(tmp_path / "src", tmp_path / "out").samples() == {"1": {"jpg": tiny_jpeg(1), "txt": b"one"}}


def test_custom_templates_read_any_layout(tmp_path: Path) -> None:
    files = pairs("photos-{split}/of {label}/x/{id}.jpg", "text/{label}.{split}/x/{id}.caption", splits=("a", "b"))
    write_files(tmp_path / "src", files)
    layout = {"image": "photos-{split}/of {label}/{id}.jpg", "caption": "text/{label}.{split}/{id}.caption"}
    packed = pack_all(tmp_path / "src", tmp_path / "out", layout=layout)
    assert packed.dataset.splits == ["a", "b"]
    assert packed.samples()["london/x/101"] == {"jpg": tiny_jpeg(1), "txt": b"caption 1", "cls": b"0"}
    assert packed.skips == ()


@pytest.mark.parametrize(
    "template",
    [
        "",
        "{id}",
        "x.jpg",
        "{id}/x.jpg",
        "{other}/{id}.jpg",
        "../{id}.jpg",
        "a/../../{id}.jpg",
        "{label}/{label}/{id}.jpg",
        "{id}.{split}",
    ],
)
def test_templates_that_say_nothing_useful_are_refused(template: str) -> None:
    with pytest.raises(UsageError):
        parse_template(template)


def test_a_template_cannot_lead_out_of_the_source(tmp_path: Path) -> None:
    write_files(tmp_path, {"src/in/1.jpg": tiny_jpeg(1), "outside/2.jpg": tiny_jpeg(2)})
    with pytest.raises(UsageError):
        open_source(str(tmp_path / "src"), image="../outside/{id}.jpg").list()


def test_every_recipe_loads() -> None:
    for name in came(recipe_names()):
        assert load_recipe(name).name == name


@pytest.mark.parametrize(
    "text",
    [
        "not toml [",
        "name = 'x'",
        "layouts = []",
        "layouts = 3",
        "[[layouts]]\ncaption = '{id}.txt'",
        "captions = 'maybe'\n[[layouts]]\nimage = '{id}.jpg'",
        "labels = 3\n[[layouts]]\nimage = '{id}.jpg'",
        "version = 'two'\n[[layouts]]\nimage = '{id}.jpg'",
        "expect = 'many'\n[[layouts]]\nimage = '{id}.jpg'",
        "[[layouts]]\nimage = '{id}.jpg'\ncaption = 7",
        "[[layouts]]\nimage = '{id}.jpg'\nsplits = 7",
        "typo = 1\n[[layouts]]\nimage = '{id}.jpg'",
    ],
)
def test_a_recipe_file_that_is_wrong_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(text)
    write_files(tmp_path / "src", {"1.jpg": tiny_jpeg(1)})
    with pytest.raises(UsageError):
        open_source(str(tmp_path / "src"), recipe=str(tmp_path / "r.toml")).list()


def test_a_recipe_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(
        "name = 'mine'\ndataset = 'Mine'\nversion = 4\ncaptions = 'optional'\nlabels = ['b', 'a']\n"
        "[[layouts]]\nimage = '{label}/{id}.jpg'\ncaption = '{label}/{id}.md'\n"
    )
    write_files(tmp_path / "src", {"a/1.jpg": tiny_jpeg(1), "b/2.jpg": tiny_jpeg(2), "b/2.md": b"two"})
    packed = pack_all(tmp_path / "src", tmp_path / "out", layout={"recipe": str(tmp_path / "r.toml")})
    manifest = packed.dataset.manifest
    assert (manifest.name, manifest.version, manifest.labels) == ("Mine", 4, ("b", "a"))
    assert packed.samples() == {
        "a/1": {"jpg": tiny_jpeg(1), "txt": b"", "cls": b"1"},
        "b/2": {"jpg": tiny_jpeg(2), "txt": b"two", "cls": b"0"},
    }


@pytest.mark.parametrize("source", ["empty", "text", "missing", "file.txt"])
def test_a_source_without_images_is_refused_in_one_sentence(source: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write_files(tmp_path, {"text/readme.txt": b"hello", "file.txt": b"hello"})
    with pytest.raises((NotFoundError, UsageError)):
        open_source(str(tmp_path / source)).list()
