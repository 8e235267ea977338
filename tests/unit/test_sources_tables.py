"""Hugging Face's imagefolder and tables of samples."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.support.accounting import Packed, pack_all, write_files
from tests.support.city_pairs import tiny_jpeg
from wdstools import FormatError, NotFoundError, UsageError, WdsError, open_source, pack, scan

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [
    {"file_name": "1.jpg", "caption": "été, 東京", "likes": "3"},
    {"file_name": "2.jpg", "caption": 'with "quotes"\nand lines', "likes": "4"},
]


def rendered(rows: list[dict[str, Any]], extension: str) -> bytes:
    """A table in the form of a file extension."""
    if extension == "parquet":
        sink = io.BytesIO()
        parquet.write_table(pa.Table.from_pylist(rows), sink)
        return sink.getvalue()
    if extension == "jsonl":
        return "".join(json.dumps(row) + "\n" for row in rows).encode()
    names = list(rows[0])
    quoted = [names, *([str(row[name]) for name in names] for row in rows)]
    separator = "\t" if extension == "tsv" else ","
    return "".join(separator.join('"' + v.replace('"', '""') + '"' for v in line) + "\n" for line in quoted).encode()


EXTENSIONS = pytest.mark.parametrize("extension", ["csv", "jsonl", "parquet"])


@EXTENSIONS
def test_imagefolder_takes_captions_from_its_metadata(extension: str, tmp_path: Path) -> None:
    write_files(
        tmp_path / "src",
        {"1.jpg": tiny_jpeg(1), "2.jpg": tiny_jpeg(2), f"metadata.{extension}": rendered(ROWS, extension)},
    )
    packed = pack_all(tmp_path / "src", tmp_path / "out")
    assert scan(str(tmp_path / "src")).recipe == "folders"
    assert {key: sample["txt"].decode() for key, sample in packed.samples().items()} == {
        str(n + 1): row["caption"] for n, row in enumerate(ROWS)
    }
    assert json.loads(packed.samples()["1"]["json"]) == {"likes": "3"}
    assert packed.skips == ()


@EXTENSIONS
def test_imagefolder_with_a_table_in_each_split(extension: str, tmp_path: Path) -> None:
    for split in ("train", "test"):
        rows = [{"file_name": "x.jpg", "text": f"of {split}"}]
        write_files(
            tmp_path / "src" / split, {"x.jpg": tiny_jpeg(1), f"metadata.{extension}": rendered(rows, extension)}
        )
    write_files(tmp_path / "src/test", {"y.jpg": tiny_jpeg(2)})
    packed = pack_all(tmp_path / "src", tmp_path / "out")
    assert packed.reasons["test/y.jpg"] == "caption-missing"
    # the same id in two splits is one key: one is packed, the other is named
    assert len(packed.samples()) + sum(reason == "key-duplicate" for reason in packed.reasons.values()) == 2


def test_imagefolder_with_labels_and_without_metadata(tmp_path: Path) -> None:
    names = [
        f"{split}/{label}/{n}.jpg" for split in ("train", "validation") for label in ("cat", "dog") for n in (1, 2)
    ]
    write_files(tmp_path / "src", {name: tiny_jpeg(n) for n, name in enumerate(names)})
    packed = pack_all(tmp_path / "src", tmp_path / "out")
    assert packed.dataset.manifest.labels == ("cat", "dog")
    assert packed.dataset.manifest.members == ("jpg", "cls")
    # cat/1 lies in both splits
    assert len(packed.samples()) + len(packed.skips) == 8


def test_an_image_that_the_metadata_does_not_name_is_skipped_wherever_it_lies(tmp_path: Path) -> None:
    rows = [{"file_name": "a/1.jpg", "caption": "one"}]
    files = {"a/1.jpg": tiny_jpeg(1), "a/2.jpg": tiny_jpeg(2), "b/3.jpg": tiny_jpeg(3)}
    write_files(tmp_path / "src", {**files, "metadata.csv": rendered(rows, "csv")})
    packed = pack_all(tmp_path / "src", tmp_path / "out")
    assert set(packed.samples()) == {"a/1"}
    assert packed.reasons == {"a/2.jpg": "caption-missing", "b/3.jpg": "caption-missing"}


def test_a_metadata_row_without_its_image_is_named(tmp_path: Path) -> None:
    write_files(tmp_path / "src", {"1.jpg": tiny_jpeg(1), "metadata.csv": rendered(ROWS, "csv")})
    packed = pack_all(tmp_path / "src", tmp_path / "out")
    assert packed.reasons == {"2.jpg": "image-missing"}


@pytest.mark.parametrize("extension", ["csv", "tsv", "jsonl", "parquet"])
def test_a_table_of_samples_is_packed(extension: str, tmp_path: Path) -> None:
    rows = [
        {"path": "in/1.jpg", "caption": "one", "label": "b", "split": "train", "id": "007", "likes": "3"},
        {"path": "./in/2.jpg", "caption": "two", "label": "a", "split": "val", "id": "x/y", "likes": "4"},
    ]
    write_files(
        tmp_path, {"in/1.jpg": tiny_jpeg(1), "in/2.jpg": tiny_jpeg(2), f"t.{extension}": rendered(rows, extension)}
    )
    packed = pack_all(tmp_path / f"t.{extension}", tmp_path / "out")
    assert packed.dataset.splits == ["train", "val"]
    assert packed.samples("train") == {
        "007": {"jpg": tiny_jpeg(1), "txt": b"one", "cls": b"1", "json": b'{"likes":"3"}'}
    }
    assert packed.samples("val") == {"x/y": {"jpg": tiny_jpeg(2), "txt": b"two", "cls": b"0", "json": b'{"likes":"4"}'}}


def test_every_row_of_a_table_is_packed_or_named(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"path": "1.jpg", "caption": "one", "id": "a"},
        {"path": "1.jpg", "caption": "again", "id": "a"},
        {"path": "2.jpg", "caption": "two", "id": ""},
        {"path": "3.jpg", "caption": "three", "id": "b//c"},
        {"path": "missing.jpg", "caption": "gone", "id": "d"},
        {"path": "5.jpg", "caption": None, "id": "e"},
        {"path": "notes.pdf", "caption": "no image", "id": "f"},
        {"path": None, "caption": "no path", "id": "g"},
        {"path": "", "caption": "no path", "id": "h"},
        {"path": "nowhere/9.jpg", "caption": "no folder", "id": "i"},
        {"path": "nul\0/9.jpg", "caption": "no such name", "id": "j"},
    ]
    write_files(tmp_path, {f"{n}.jpg": tiny_jpeg(n) for n in (1, 2, 3, 5)})
    write_files(tmp_path, {"t.jsonl": rendered(rows, "jsonl")})
    packed = pack_all(tmp_path / "t.jsonl", tmp_path / "out")
    assert json.loads(packed.samples()["a"]["json"]) == {"captions": ["one", "again"]}, "two rows of one sample"
    assert len(packed.samples()) + 1 + len(packed.skips) == len(rows)


@pytest.mark.parametrize("path", ["../outside/1.jpg", "{tmp}/outside/1.jpg"])
def test_a_row_that_leads_outside_is_packed_or_named(path: str, tmp_path: Path) -> None:
    write_files(tmp_path, {"src/2.jpg": tiny_jpeg(2), "outside/1.jpg": tiny_jpeg(1)})
    rows = [{"path": path.format(tmp=tmp_path)}, {"path": "2.jpg"}]
    write_files(tmp_path / "src", {"t.csv": rendered(rows, "csv")})
    packed = pack_all(tmp_path / "src/t.csv", tmp_path / "out")
    assert len(packed.samples()) + len(packed.skips) == 2


@pytest.mark.parametrize(
    "table",
    [
        b"",
        b"\n",
        b"who,caption\n1.jpg,x\n",
        b"path,caption,caption\n1.jpg,x,y\n",
        b"path,path\n1.jpg,1.jpg\n",
        b"path,caption\n1.jpg\n",
        b"path,caption\n1.jpg,\xff\xfe\n",
        b"\xff\xfep\0a\0t\0h\0",
        b'path,caption\n"1.jpg,x\n',
    ],
)
def test_a_table_that_cannot_be_read_is_one_clear_error(table: bytes, tmp_path: Path) -> None:
    write_files(tmp_path, {"1.jpg": tiny_jpeg(1), "t.csv": table})
    with pytest.raises(WdsError):
        open_source(str(tmp_path / "t.csv")).list()


@pytest.mark.parametrize("extension", ["jsonl", "parquet", "tsv"])
@pytest.mark.parametrize("table", [b"", b"garbage", b"PAR1" * 4, b"[1, 2]\n", b"{\n", b"\0" * 64])
def test_garbage_is_no_table(extension: str, table: bytes, tmp_path: Path) -> None:
    write_files(tmp_path, {"1.jpg": tiny_jpeg(1), f"t.{extension}": table})
    with pytest.raises((FormatError, UsageError)):
        open_source(str(tmp_path / f"t.{extension}")).list()


def test_a_table_that_names_no_image_is_refused(tmp_path: Path) -> None:
    write_files(tmp_path, {"t.csv": b"path\nx.jpg\n"})
    with pytest.raises(NotFoundError):
        open_source(str(tmp_path / "t.csv")).list()


HEADER = "file_name,caption\n"


def captions_of(packed: Packed) -> dict[str, str]:
    return {key: bytes(sample["txt"]).decode() for key, sample in packed.samples().items()}


@pytest.mark.parametrize("image", ["{}/{}.jpg", "images/{}/{}.jpg"])
@pytest.mark.parametrize("table", ["{}.csv", "tables/{}.csv", "captions_{}.csv"])
def test_a_table_called_as_a_split_is_that_splits_also_where_names_meet(image: str, table: str, tmp_path: Path) -> None:
    files = {image.format(s, n): tiny_jpeg(n + 10 * len(s)) for s in ("train", "test") for n in (1, 2)}
    files |= {
        table.format(s): (HEADER + "".join(f"{n}.jpg,{s} {n}\n" for n in (1, 2))).encode() for s in ("train", "test")
    }
    packed = pack_all(write_files(tmp_path / "src", files), tmp_path / "out")
    assert packed.skips == ()
    assert captions_of(packed) == {f"{s}/{n}": f"{s} {n}" for s in ("train", "test") for n in (1, 2)}


def test_a_row_finds_its_image_by_the_end_of_its_path_by_label_by_capitals_and_by_stem(tmp_path: Path) -> None:
    table = "path,label,caption\n/home/me/a/1.jpg,e,one\nb/1.jpg,e,two\n3.jpg,d,three\nimg_4.jpg,e,four\n5.png,e,five\n"
    names = ["x/a/1.jpg", "x/b/1.jpg", "x/c/3.jpg", "x/d/3.jpg", "x/IMG_4.JPG", "x/5.jpg"]
    files = {name: tiny_jpeg(n) for n, name in enumerate(names)} | {"captions.csv": table.encode()}
    result = pack(write_files(tmp_path / "src", files), tmp_path / "out", captions="optional")
    assert {s.key: bytes(s["txt"]).decode() for s in result.dataset["train"]} == {
        "x/a/1": "one", "x/b/1": "two", "x/d/3": "three", "x/IMG_4": "four", "x/5": "five",
    }  # fmt: skip
    assert {note.partition("named ")[2] for note in result.notes} == {"in another case", "with another extension"}


def test_a_name_that_several_images_have_is_ambiguous_and_not_missing(tmp_path: Path) -> None:
    files = {"a/1.jpg": tiny_jpeg(1), "b/1.jpg": tiny_jpeg(2), "b/2.jpg": tiny_jpeg(3)}
    files["captions.csv"] = (HEADER + "1.jpg,one\n2.jpg,two\n").encode()
    packed = pack_all(write_files(tmp_path / "src", files), tmp_path / "out")
    (skip,) = (skip for skip in packed.skips if skip["path"] == "1.jpg")
    assert skip["reason"] == "image-ambiguous"
    assert "a/1.jpg, b/1.jpg" in skip["detail"]


@pytest.mark.parametrize(
    ("table", "words"),
    [("Bild,Worte\n1.jpg,one\n", ["Bild, Worte", "--path-column"]), (HEADER + "x9.jpg,one\n", ["x9.jpg", "file_name"])],
)
def test_a_table_that_matches_nothing_says_why(table: str, words: list[str], tmp_path: Path) -> None:
    source = write_files(tmp_path / "src", {"1.jpg": tiny_jpeg(1), "captions.csv": table.encode()})
    result = pack(source, tmp_path / "out")
    assert dict(result.skipped) == {"outside-layout": 1}
    (note,) = result.notes
    assert all(word in note for word in ["captions.csv is not used", *words])
    assert scan(source).notes == result.notes


@pytest.mark.parametrize("option", ["path_column", "caption_column", "label_column", "split_column", "key_column"])
def test_a_column_that_no_table_has_is_refused_with_those_that_there_are(option: str, tmp_path: Path) -> None:
    source = write_files(tmp_path / "src", {"1.jpg": tiny_jpeg(1), "more.csv": (HEADER + "1.jpg,one\n").encode()})
    choice: Any = {option: "Nr"}
    with pytest.raises(UsageError) as caught:
        pack(source, tmp_path / "out", **choice)
    assert caught.value.code == "table-columns"
    assert "file_name, caption" in caught.value.expected
    (source / "more.csv").unlink()
    with pytest.raises(UsageError) as caught:
        scan(source, **choice)
    assert caught.value.code == "option-idle"


def test_ids_beside_images_are_kept_or_are_the_keys(tmp_path: Path) -> None:
    table = "id,file_name,caption\nX1,a/1.jpg,one\nX/2,a/2.jpg,two\n"
    files = {f"a/{n}.jpg": tiny_jpeg(n) for n in (1, 2, 3)} | {"captions.csv": table.encode()}
    source = write_files(tmp_path / "src", files)
    kept = pack_all(source, tmp_path / "kept", layout={"captions": "optional"})
    assert {key: json.loads(s["json"]) for key, s in kept.samples().items()} == {
        "a/1": {"id": "X1"}, "a/2": {"id": "X/2"}, "a/3": {},
    }  # fmt: skip
    keyed = pack_all(source, tmp_path / "keyed", layout={"captions": "optional", "key_column": "ID"})
    assert captions_of(keyed) == {"X1": "one", "X/2": "two", "a/3": ""}


@pytest.mark.parametrize(
    ("place", "choice"),
    [
        ("table.csv", {"ignore": ["x"]}),
        ("table.csv", {"drop_members": "npy"}),
        ("shards", {"key_column": "id"}),
        ("shards", {"follow_links": True}),
        (".", {"prefix_keys": "shard"}),
    ],
)
def test_choices_that_do_nothing_for_a_kind_of_source_are_refused(
    place: str, choice: dict[str, Any], tmp_path: Path
) -> None:
    write_files(tmp_path, {"1.jpg": tiny_jpeg(1), "table.csv": (HEADER + "1.jpg,one\n").encode()})
    (tmp_path / "shards").mkdir()
    with tarfile.open(tmp_path / "shards/0.tar", "w") as archive:
        archive.add(tmp_path / "1.jpg", "1.jpg")
    with pytest.raises(UsageError) as caught:
        open_source(tmp_path / place if place != "." else write_files(tmp_path / "f", {"1.jpg": b""}), **choice)
    assert caught.value.code == "option-idle"


def _six(tmp_path: Path, tables: dict[str, bytes]) -> Packed:
    write_files(tmp_path / "src", {f"{n}.jpg": tiny_jpeg(n) for n in range(6)} | tables)
    return pack_all(tmp_path / "src", tmp_path / "out")


_COCO = {
    "images": [{"id": n, "file_name": f"{n}.jpg"} for n in range(6)],
    "annotations": [{"image_id": n, "caption": "x"} for n in range(5)],
}


@pytest.mark.parametrize(
    ("name", "table", "missing", "empty"),
    [
        ("metadata.csv", b"file_name,text\n0.jpg,a\n1.jpg,b\n2.jpg,\n", [3, 4, 5], "2"),
        ("metadata.jsonl", b'{"file_name":"0.jpg","text":"a"}\n{"file_name":"1.jpg","text":null}\n', [2, 3, 4, 5], "1"),
        ("captions.json", json.dumps(_COCO).encode(), [5], None),
    ],
)
def test_an_empty_cell_leaves_captions_required(
    name: str, table: bytes, missing: list[int], empty: str | None, tmp_path: Path
) -> None:
    packed = _six(tmp_path, {name: table})
    assert [(skip["path"], skip["reason"]) for skip in packed.skips] == [
        (f"{n}.jpg", "caption-missing") for n in missing
    ]
    assert [key for key, sample in packed.samples().items() if not sample["txt"]] == ([empty] if empty else [])


def test_a_table_in_a_splits_folder_is_about_the_images_below_it(tmp_path: Path) -> None:
    files = {f"{split}/{name}": data for split in ("train", "val") for name, data in (
        ("images/1.jpg", tiny_jpeg(len(split))), ("captions.json", json.dumps({"1.jpg": f"words of {split}"}).encode())
    )}  # fmt: skip
    packed = pack_all(write_files(tmp_path / "src", files), tmp_path / "out")
    assert captions_of(packed) == {"train/1": "words of train", "val/1": "words of val"}
    assert packed.skips == ()


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("splits.json", b'{"train": ["0.jpg"], "test": ["1"]}'),
        ("split.csv", b"file_name,split\n0.jpg,train\n1.jpg,test\n"),
    ],
)
def test_images_of_which_nothing_says_the_split_are_told(name: str, table: bytes, tmp_path: Path) -> None:
    write_files(tmp_path, {f"images/{n}.jpg": tiny_jpeg(n) for n in range(2)} | {name: table})
    found = scan(str(tmp_path))
    assert (found.samples, found.notes) == ({"test": {"": 1}, "train": {"": 1}}, ())
    write_files(tmp_path, {"images/2.jpg": tiny_jpeg(2)})
    found = scan(str(tmp_path))
    assert found.samples == {"": {"": 1}, "test": {"": 1}, "train": {"": 1}}
    assert [note for note in found.notes if note.startswith("1 sample without a given split")]


@pytest.mark.parametrize(
    ("table", "bad", "captions"),
    [
        (b'file_name,text\n0.jpg,"a\n1.jpg,b\n2.jpg,c\n', [2], {"1": "b", "2": "c"}),
        (b'file_name,text\n0.jpg,"a\n1.jpg,"b\n2.jpg,c\n', [2, 3], {"2": "c"}),
        (b'file_name,text\n0.jpg,a\n1.jpg,"b\nb"\n2.jpg,"c ""c"""\n', [], {"0": "a", "1": "b\nb", "2": 'c "c"'}),
        (b'file_name,text\n0.jpg,5" a\n1.jpg,b\n2.jpg,"c', [4], {"0": '5" a', "1": "b"}),
    ],
)
def test_a_quote_that_nothing_ends_costs_its_own_line_alone(
    table: bytes, bad: list[int], captions: dict[str, str], tmp_path: Path
) -> None:
    packed = _six(tmp_path, {"metadata.csv": table})
    assert captions_of(packed) == captions
    damaged = [skip["detail"].partition(":")[0] for skip in packed.skips if skip["reason"] == "row-damaged"]
    assert damaged == [f"row {number}" for number in bad]


def test_captions_none_of_which_is_a_text_are_not_passed_over(tmp_path: Path) -> None:
    rows = [{"file_name": f"{n}.jpg", "caption": {"en": "dog", "fr": "chien"}} for n in range(2)]
    files = {f"{n}.jpg": tiny_jpeg(n) for n in range(2)} | {"metadata.jsonl": rendered(rows, "jsonl")}
    source = write_files(tmp_path / "src", files)
    with pytest.raises(NotFoundError) as caught:
        pack(source, tmp_path / "out")
    assert caught.value.code == "source-empty"
    assert "caption-not-text" in str(caught.value)
    assert "captions" in str(caught.value.hint)
    packed = pack_all(source, tmp_path / "out", layout={"captions": "none"})
    assert packed.samples()["0"]["json"] == b'{"caption":{"en":"dog","fr":"chien"}}'


def test_captions_that_are_numbers_are_skipped_by_name(tmp_path: Path) -> None:
    rows = [{"file_name": f"{n}.jpg", "caption": "a" if n else 5} for n in range(6)]
    packed = _six(tmp_path, {"metadata.jsonl": rendered(rows, "jsonl")})
    assert ("0.jpg", "caption-not-text") in [(skip["path"], skip["reason"]) for skip in packed.skips]
    assert sorted(packed.samples()) == ["1", "2", "3", "4", "5"]
    alone = open_source(str(tmp_path / "src/metadata.jsonl")).list()
    assert [(skip.path, skip.reason) for skip in alone.skips] == [("0.jpg", "caption-not-text")]


def test_labels_that_differ_in_capitals_are_told(tmp_path: Path) -> None:
    table = b"file_name,label\n" + b"".join(b"%d.jpg,%s\n" % (n, b"Dog" if n % 2 else b"dog") for n in range(6))
    write_files(tmp_path / "src", {f"{n}.jpg": tiny_jpeg(n) for n in range(6)} | {"metadata.csv": table})
    assert any("Dog, dog" in note for note in scan(str(tmp_path / "src")).notes)
