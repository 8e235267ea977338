"""Columns of the golden dataset, as they were written once: read for ever, and written again as the same files."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import wdstools
from tests.support.added_columns import values_of
from tests.support.make_golden import columns_table
from tests.support.outcome import contents
from wdstools.formats.columns import dumps, loads

HERE = Path(__file__).parent
DOCUMENT_SHA256 = "13fa33f3868401d6ade400d6e0fb75d02c769dfd2c6e6086680fa34d9efb314a"
TYPES = {
    "again": "string",
    "exact": "float64",
    "good": "bool",
    "number": "int64",
    "score": "float32",
    "vector": "float32[3]",
}


@pytest.fixture(name="dataset")
def _dataset(tmp_path: Path) -> Path:
    return Path(shutil.copytree(HERE / "v2/dataset", tmp_path / "golden"))


def test_golden_columns_are_read_with_every_value(dataset: Path) -> None:
    shutil.copytree(HERE / "columns", dataset / ".wdstools/columns")
    (info,) = wdstools.list_columns(dataset)
    assert (info.name, info.state, info.fields, info.samples) == ("golden", "ok", TYPES, 15)
    assert wdstools.verify(dataset).ok
    found = values_of(dataset, "golden")
    table = columns_table(dataset).to_pylist()
    assert len(table) == len(found) - 1 == 14
    for row in table:
        key = row.pop("key")
        assert repr(sorted(found.pop(key).items())) == repr(sorted(row.items()))
    assert [set(row.values()) for row in found.values()] == [{None}]


def test_the_golden_document_has_its_bytes_and_form() -> None:
    document = (HERE / "columns/golden.json").read_bytes()
    assert hashlib.sha256(document).hexdigest() == DOCUMENT_SHA256
    assert dumps(loads(document)) == document


def test_the_same_table_gives_the_same_files_again(dataset: Path) -> None:
    wdstools.add_columns(dataset, columns_table(dataset), name="golden")
    made, golden = contents(dataset / ".wdstools/columns"), contents(HERE / "columns")
    assert made.keys() == golden.keys()
    written = pq.ParquetFile(pa.BufferReader(golden["golden/train-000000.parquet"])).metadata.created_by
    if written == pq.ParquetFile(pa.BufferReader(made["golden/train-000000.parquet"])).metadata.created_by:
        assert made == golden
    for path in (path for path in golden if path.endswith(".parquet")):
        one, other = (pq.read_table(pa.BufferReader(files[path])) for files in (made, golden))
        assert str(one.to_pylist()) == str(other.to_pylist())
