"""Parquet tables that hold the images themselves."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from wdstools.dataset import open_dataset
from wdstools.errors import FormatError, UsageError
from wdstools.ops.pack import pack
from wdstools.ops.scan import scan

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
FEATURES = {
    "info": {"features": {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["dog", "cat"]}}}
}


def picture(number: int, kind: str = "JPEG") -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (16, 12), (number * 9 % 256, 40, 80)).save(made, kind)
    return made.getvalue()


def write_table(path: Path, rows: list[dict[str, Any]], columns: dict[str, pa.DataType]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = pa.schema(columns, metadata={"huggingface": json.dumps(FEATURES)})
    parquet.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def write_huggingface(root: Path) -> dict[str, bytes]:
    """As ``push_to_hub`` writes it: two splits, one of two files; the images by the keys that they will have."""
    columns = {"image": IMAGE, "caption": pa.string(), "label": pa.int64(), "score": pa.float64()}
    images = {f"im{number}": picture(number) for number in range(9)}
    rows: list[dict[str, Any]] = [
        {"image": {"bytes": data, "path": f"{key}.jpg"}, "caption": f"a {key}", "label": number % 2, "score": 0.5}
        for number, (key, data) in enumerate(images.items())
    ]
    write_table(root / "data/train-00000-of-00002.parquet", rows[:3], columns)
    write_table(root / "data/train-00001-of-00002.parquet", rows[3:6], columns)
    write_table(root / "data/test-00000-of-00001.parquet", rows[6:], columns)
    (root / "README.md").write_text("---\nlicense: mit\n---\n")
    return images


def test_a_dataset_of_the_hub_is_packed_byte_for_byte(tmp_path: Path) -> None:
    images = write_huggingface(tmp_path / "hub")
    result = pack(tmp_path / "hub", tmp_path / "out")
    assert result.samples == {"test": 3, "train": 6}
    dataset = open_dataset(tmp_path / "out")
    samples = {sample.key: sample for split in dataset.splits for sample in dataset.split(split)}
    assert {key: sample["jpg"] for key, sample in samples.items()} == images
    assert dataset.manifest.labels == ("cat", "dog")
    assert (samples["im1"]["txt"], samples["im1"]["cls"]) == (b"a im1", b"0")
    assert json.loads(samples["im1"]["json"]) == {"label": 1, "score": 0.5}
    assert result.skipped == {"outside-layout": 1}
    account = dict(result.account)
    assert account.pop("files") == sum(account.values())
    assert (account["read"], account["outside"]) == (3, 1)
    assert sum(sum(counts.values()) for counts in scan(tmp_path / "hub").samples.values()) == 9


def test_a_pack_of_tables_gives_the_same_bytes_again_and_leaves_nothing(tmp_path: Path) -> None:
    write_huggingface(tmp_path / "hub")
    roots = {pack(tmp_path / "hub", tmp_path / f"out{number}", shards=1 + number // 2).root for number in range(2)}
    assert len(roots) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hub", "out0", "out1"]


def test_one_table_is_packed_by_its_name_and_names_that_come_again_are_kept_apart(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"jpg": picture(1), "text": ["one", "two"]},
        {"jpg": picture(2, "PNG"), "text": []},
        {"jpg": None, "text": ["none"]},
        {"jpg": b"no image", "text": ["odd"]},
        {"jpg": picture(3), "text": ["three"]},
    ]
    write_table(tmp_path / "t.parquet", rows, {"jpg": pa.binary(), "text": pa.list_(pa.string())})
    result = pack(tmp_path / "t.parquet", tmp_path / "out", captions="optional", convert="jpg")
    assert dict(result.skipped) == {"image-missing": 1, "image-unknown": 1}
    dataset = open_dataset(tmp_path / "out")
    assert sorted(sample.key for sample in dataset["train"]) == ["t-0000000", "t-0000001", "t-0000004"]
    assert json.loads(dataset["t-0000000"]["json"])["captions"] == ["one", "two"]


def test_same_names_in_two_tables_are_two_samples(tmp_path: Path) -> None:
    for number in range(2):
        rows = [{"image": {"bytes": picture(number), "path": "same.jpg"}}]
        write_table(tmp_path / f"hub/train-{number}.parquet", rows, {"image": IMAGE})
    result = pack(tmp_path / "hub", tmp_path / "out")
    assert result.samples == {"train": 2}


def test_what_is_damaged_or_does_nothing_is_refused(tmp_path: Path) -> None:
    write_huggingface(tmp_path / "hub")
    with pytest.raises(UsageError) as caught:
        pack(tmp_path / "hub", tmp_path / "out", path_column="image")
    assert caught.value.code == "option-idle"
    damaged = tmp_path / "hub/data/train-00001-of-00002.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-40])
    with pytest.raises(FormatError) as error:
        pack(tmp_path / "hub", tmp_path / "out")
    assert (error.value.code, "train-00001" in error.value.where) == ("table-damaged", True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hub"]


@pytest.mark.parametrize("part", ["footer", "pages"])
def test_a_damaged_table_of_images_is_said_to_be_one(tmp_path: Path, part: str) -> None:
    table = tmp_path / "t.parquet"
    write_table(table, [{"jpg": picture(number)} for number in range(9)], {"jpg": pa.binary()})
    data = bytearray(table.read_bytes())
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little") if part == "footer" else 4
    data[start : start + 30] = b"\xff" * 30
    table.write_bytes(data)
    with pytest.raises(FormatError) as caught:
        pack(table, tmp_path / "out", captions="none")
    assert caught.value.code == "table-damaged"
    assert "\n" not in str(caught.value.args[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.parquet"]
