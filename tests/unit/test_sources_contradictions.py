"""What a source says twice: rows of one image that differ, images of one name, and files that people say are no part of it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance.test_layouts import make, pairs
from tests.support.accounting import Packed, pack_all, write_files
from tests.support.city_pairs import tiny_jpeg
from tests.support.command import run_command
from tests.support.pictures import encoded
from wdstools import NotFoundError, scan

if TYPE_CHECKING:
    from pathlib import Path

PAIR = {"a.jpg": tiny_jpeg(1), "b.jpg": tiny_jpeg(2)}
BY_FOLDER_AND_BY_NAME = pytest.mark.parametrize("named", ["src", "src/metadata.csv"])


def packed_table(tmp_path: Path, table: str, named: str = "src", files: dict[str, bytes] | None = None) -> Packed:
    """Two images, or these, with a table beside them; the source is the folder or the table."""
    write_files(tmp_path / "src", {**(files or PAIR), "metadata.csv": table.encode()})
    return pack_all(tmp_path / named, tmp_path / "out")


def document(packed: Packed, key: str) -> dict[str, Any]:
    """The ``json`` of a sample."""
    found: dict[str, Any] = json.loads(bytes(packed.samples()[key]["json"]))
    return found


@BY_FOLDER_AND_BY_NAME
@pytest.mark.parametrize(
    ("column", "first", "other"), [("label", "cat", "dog"), ("split", "train", "test"), ("split", "train", "val2017")]
)
def test_an_image_of_two_labels_or_splits_is_skipped_by_name(
    column: str, first: str, other: str, named: str, tmp_path: Path
) -> None:
    table = f"file_name,text,{column}\na.jpg,one,{first}\na.jpg,two,{other}\nb.jpg,three,{first}\n"
    packed = packed_table(tmp_path, table, named)
    assert set(packed.samples()) == {"b"}
    (skip,) = packed.skips
    assert (skip["path"], skip["reason"]) == ("a.jpg", "row-contradicts")
    assert f"{column} {first}" in skip["detail"]
    assert "row 2" in skip["detail"]
    assert "row 3" in skip["detail"]


@BY_FOLDER_AND_BY_NAME
def test_rows_that_say_the_same_in_other_words_agree(named: str, tmp_path: Path) -> None:
    table = "file_name,text,split,label\na.jpg,one,Train,cat\na.jpg,two,training,\nb.jpg,three,train,cat\n"
    packed = packed_table(tmp_path, table, named)
    assert packed.skips == ()
    assert document(packed, "a")["captions"] == ["one", "two"]


def test_a_table_of_train_and_val_together_contradicts_neither(tmp_path: Path) -> None:
    write_files(tmp_path / "src", PAIR)
    for name, images in (("trainval", "ab"), ("train", "a"), ("val", "b")):
        rows = "".join(f"{image}.jpg,of {image}\n" for image in images)
        (tmp_path / f"src/{name}.csv").write_text(f"file_name,text\n{rows}")
    packed = pack_all(tmp_path / "src", tmp_path / "out")
    assert packed.skips == ()
    assert {split: set(packed.samples(split)) for split in packed.dataset.splits} == {"train": {"a"}, "val": {"b"}}


@BY_FOLDER_AND_BY_NAME
def test_other_columns_in_which_rows_differ_are_told(named: str, tmp_path: Path) -> None:
    table = "file_name,text,likes\na.jpg,one,3\na.jpg,two,4\nb.jpg,three,5\n"
    packed = packed_table(tmp_path, table, named)
    assert document(packed, "a") == {"captions": ["one", "two"], "likes": "3"}
    assert any("differ in column likes" in note for note in scan(tmp_path / named).notes)


@BY_FOLDER_AND_BY_NAME
@pytest.mark.parametrize("columns", ["xmin,ymin,xmax,ymax", "x_min,y_min,x_max,y_max", "X1,Y1,X2,Y2", "x,y,w,h"])
def test_rows_of_boxes_are_all_kept_and_their_classes_are_no_labels(columns: str, named: str, tmp_path: Path) -> None:
    table = f"filename,class,{columns}\na.jpg,cat,1,2,3,4\na.jpg,dog,5,6,7,8\nb.jpg,cat,1,2,3,4\n"
    packed = packed_table(tmp_path, table, named)
    assert packed.dataset.manifest.labels == ()
    boxes = document(packed, "a")["annotations"]
    assert [(box["class"], box[columns.split(",", maxsplit=1)[0]]) for box in boxes] == [("cat", "1"), ("dog", "5")]
    assert [box["class"] for box in document(packed, "b")["annotations"]] == ["cat"]


@BY_FOLDER_AND_BY_NAME
def test_where_each_image_has_one_box_its_class_is_the_label(named: str, tmp_path: Path) -> None:
    packed = packed_table(tmp_path, "filename,class,x1,y1,x2,y2\na.jpg,cat,1,2,3,4\nb.jpg,dog,1,2,3,4\n", named)
    assert packed.dataset.manifest.labels == ("cat", "dog")
    assert document(packed, "a") == {"x1": "1", "y1": "2", "x2": "3", "y2": "4"}


def test_a_folder_that_is_another_split_than_a_table_says_decides_and_it_is_told(tmp_path: Path) -> None:
    write_files(tmp_path / "src", {"train/a.jpg": tiny_jpeg(1), "test/b.jpg": tiny_jpeg(2)})
    (tmp_path / "src/m.csv").write_text("file_name,split\ntrain/a.jpg,test\ntest/b.jpg,Test\n")
    found = scan(tmp_path / "src")
    assert {split: sum(labels.values()) for split, labels in found.samples.items()} == {"train": 1, "test": 1}
    assert [note for note in found.notes if "the folder decides" in note and "train/a.jpg" in note]


@BY_FOLDER_AND_BY_NAME
def test_a_caption_that_is_no_text_gives_one_line_of_skips(named: str, tmp_path: Path) -> None:
    write_files(tmp_path / "src", PAIR)
    named = named.replace("csv", "jsonl")
    lines = [
        {"file_name": "a.jpg", "text": 5},
        {"file_name": "b.jpg", "text": "two"},
        {"file_name": "b.jpg", "text": 6},
    ]
    (tmp_path / "src/metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    packed = pack_all(tmp_path / named, tmp_path / "out")
    assert {key: sample["txt"] for key, sample in packed.samples().items()} == {"b": b"two"}
    assert [skip["reason"] for skip in packed.skips] == ["caption-not-text", "caption-not-text"]
    assert packed.reasons.pop("a.jpg") == "caption-not-text"
    assert all("row 3" in skip["path"] + skip["detail"] for skip in packed.skips if skip["path"] != "a.jpg")


@BY_FOLDER_AND_BY_NAME
def test_a_column_of_labels_that_few_rows_fill_costs_no_sample(named: str, tmp_path: Path) -> None:
    images = {f"{n}.jpg": tiny_jpeg(n) for n in range(5)}
    rows = "".join(f"{n}.jpg,c{n},{'cat' if n == 0 else ''}\n" for n in range(5))
    packed = packed_table(tmp_path, f"file_name,text,label\n{rows}", named, images)
    assert len(packed.samples()) == 5
    assert packed.dataset.manifest.members == ("jpg", "txt")
    assert packed.reasons == {"*.cls": "member-left-out"}
    asked = pack_all(tmp_path / named, tmp_path / "asked", layout={"label_column": "label"})
    assert set(asked.samples()) == {"0"}
    assert set(asked.reasons.values()) == {"label-missing"}


@pytest.mark.parametrize(
    ("files", "kept"),
    [
        ({"a.jpg": tiny_jpeg(1), "a.png": encoded("PNG"), "b.png": encoded("PNG"), "c.png": encoded("PNG")}, "a.png"),
        ({"a.jpg": tiny_jpeg(1), "a.png": encoded("PNG"), "b.jpg": tiny_jpeg(2), "c.jpg": tiny_jpeg(3)}, "a.jpg"),
        ({"a.jpg": tiny_jpeg(1), "a.bmp": encoded("BMP"), "b.jpg": tiny_jpeg(3)}, "a.jpg"),
        ({"a.JPG": tiny_jpeg(1), "a.jpg": tiny_jpeg(2)}, "a.jpg"),
    ],
)
def test_of_images_of_one_name_that_stays_which_can_be_packed(
    files: dict[str, bytes], kept: str, tmp_path: Path
) -> None:
    packed = pack_all(write_files(tmp_path / "src", files), tmp_path / "out")
    lost = {name for name in files if name.startswith("a.")} - {kept}
    assert packed.reasons == dict.fromkeys(lost, "key-duplicate")
    assert packed.skips[0]["detail"] == f"same id as {kept}"
    assert files[kept] in packed.samples()["a"].values()


def test_of_images_of_one_name_that_stays_which_a_table_names(tmp_path: Path) -> None:
    files = {"a.jpg": tiny_jpeg(1), "a.png": encoded("PNG"), "b.png": encoded("PNG")}
    packed = packed_table(tmp_path, "file_name,text\na.png,one\nb.png,two\n", files=files)
    assert packed.reasons == {"a.jpg": "key-duplicate"}
    assert packed.samples()["a"] == {"png": files["a.png"], "txt": b"one"}
    both = packed_table(tmp_path / "both", "file_name,text\na.png,one\nb.png,two\na.jpg,x\n", files=files)
    assert [(skip["path"], skip["reason"]) for skip in both.skips] == [("a.jpg", "key-duplicate")]
    assert "metadata.csv, row 4" in both.skips[0]["detail"]


@pytest.mark.parametrize("container", ["folder", "zip", "tar"])
def test_what_is_ignored_is_not_packed_and_a_pattern_for_nothing_is_told(container: str, tmp_path: Path) -> None:
    files = {"a.jpg": tiny_jpeg(1), "thumbs/b.jpg": tiny_jpeg(2), "c.png": encoded("PNG"), "x.pdf": b"x"}
    files |= {"metadata.csv": b"file_name,label\na.jpg,cat\n"}
    layout: dict[str, Any] = {"ignore": ["thumbs/", "*.png", "*.csv", "no such*"], "recipe": "folders"}
    source = make(container, tmp_path / "src", files)
    packed = pack_all(source, tmp_path / "out", layout=layout)
    assert set(packed.samples()) == {"a"}
    assert packed.dataset.manifest.labels == ()
    assert packed.reasons == {"x.pdf": "outside-layout"}
    found = scan(source, **layout)
    assert (found.account["ignored"], found.account["files"], found.total) == (3, 5, 1)
    assert [note for note in found.notes if "no file" in note] == ["--ignore no such* matches no file"]


@pytest.mark.parametrize("container", ["folder", "zip"])
@pytest.mark.parametrize(
    ("pattern", "ignored"),
    [
        ("junk", 2), ("junk/", 2), ("top/junk", 2), ("./top/junk", 2), ("/top/junk", 2), ("junk/*.jpg", 1), ("top/*/3.jpg", 1),
        ("/junk", 0), ("jun", 0), ("top/3.jpg", 0),
    ],
)  # fmt: skip
def test_a_pattern_may_begin_in_any_folder(pattern: str, ignored: int, container: str, tmp_path: Path) -> None:
    files = pairs("top/train/{}.jpg", "top/train/{}.txt", 1) | pairs("top/junk/{}.jpg", "top/junk/{}.txt", 3)
    found = scan(str(make(container, tmp_path / "src", files)), ignore=[pattern])
    assert (found.account["ignored"], found.account["outside"], found.total) == (ignored, 2 - ignored, 1)
    assert [note for note in found.notes if "matches no file" in note] == (
        [] if ignored else [f"--ignore {pattern} matches no file"]
    )


def test_ignored_links_that_lead_nowhere_are_counted_once(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.jpg": tiny_jpeg(1)})
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    (tmp_path / ".hidden").write_bytes(b"")
    found = scan(str(tmp_path), ignore=["gone*", ".hidden"])
    account = dict(found.account)
    assert (account.pop("files"), sum(account.values()), account["ignored"]) == (3, 3, 1)
    assert found.notes == ()


def test_the_numbers_of_what_is_outside_the_layout_are_one(tmp_path: Path) -> None:
    """The account, the counts by reason and the list of skips."""
    beside = dict.fromkeys(("README.md", "notes", "junk/4.jpg", "junk/table.csv", "train/Thumbs.db"), b"x,y")
    write_files(tmp_path / "src", pairs("train/{}.jpg", "train/{}.txt", 1) | beside)
    ran = run_command("pack", tmp_path / "src", tmp_path / "out", "--json")
    lines = (tmp_path / "out/.wdstools/skipped.jsonl").read_text().splitlines()
    found = scan(str(tmp_path / "src"))
    assert ran.code == 3
    assert ran.summary["skipped"] == {"outside-layout": len(lines)} == dict(found.skipped)
    assert ran.summary["account"]["outside"] == len(lines) == len(beside) == found.account["outside"]
    assert ran.summary["losses"] == found.losses == 2


def test_what_is_called_as_an_image_is_no_paper(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.jpg": tiny_jpeg(1), "a.md": b"words", "README.md": b"x", "README.jpg": tiny_jpeg(2)})
    found = scan(str(tmp_path))
    assert (found.total, found.losses) == (2, 1)
    assert {skip.path: skip.detail for skip in found.skips} == {"README.md": None, "a.md": "named like an image"}


def test_papers_outside_the_layout_are_listed_and_no_loss(tmp_path: Path) -> None:
    write_files(tmp_path / "src", pairs("{}.jpg", "{}.txt", 1) | {"README.md": b"x"})
    ran = run_command("pack", tmp_path / "src", tmp_path / "out", "--json")
    assert (ran.code, ran.summary["skipped"], ran.summary["losses"]) == (0, {"outside-layout": 1}, 0)


def test_shards_that_are_ignored_are_not_packed(tmp_path: Path) -> None:
    for split, number in (("train", 1), ("test", 2)):
        make("tar", tmp_path / split, {f"{number}.jpg": tiny_jpeg(number), f"{number}.txt": b"x"})
        (tmp_path / "src").mkdir(exist_ok=True)
        next((tmp_path / split).parent.glob(f"{split}*.tar")).rename(tmp_path / f"src/{split}-000000.tar")
    assert set(scan(tmp_path / "src", ignore=["test-*"]).samples) == {"train"}
    assert "--ignore tost* matches no file" in scan(tmp_path / "src", ignore=["tost*"]).notes
    with pytest.raises(NotFoundError, match="ignored"):
        scan(tmp_path / "src", ignore=["*.tar"])


@pytest.mark.parametrize("container", ["folder", "zip", "tar"])
def test_every_hidden_file_counts_however_deep_it_lies(container: str, tmp_path: Path) -> None:
    files = {"a.jpg": tiny_jpeg(1), ".git/config": b"1", ".git/objects/ab/cd": b"2", "b/.cache/x.jpg": tiny_jpeg(3)}
    source = make(container, tmp_path / "src", {**files, "._a.jpg": b"4", ".DS_Store": b"5"})
    if container == "folder":
        os.symlink("/", source / ".git/loop")
    found = scan(source, recipe="folders")
    links = container == "folder"
    assert found.account["hidden"] == 5 + links
    assert found.account["files"] == 6 + links
