"""Hugging Face's imagefolder and tables of samples."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.support.accounting import pack_all, write_files
from tests.support.city_pairs import tiny_jpeg
from wdstools import FormatError, NotFoundError, UsageError, WdsError, open_source, scan

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
