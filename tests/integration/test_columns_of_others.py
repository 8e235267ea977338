"""Columns of datasets that others wrote: shards in folders that are called alike keep their values apart."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

import wdstools as wt
from tests.support.added_columns import keys_of, values_of
from tests.support.foreign_tars import pairs, tar_bytes, write
from wdstools.columns.sets import is_of
from wdstools.errors import FormatError
from wdstools.formats.columns import ColumnField, ColumnSet, ColumnShard, column_path, dumps, loads

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIST = ".wdstools/columns/SHA256SUMS"


@pytest.fixture(name="dataset")
def _dataset(tmp_path: Path) -> Path:
    files = {f"{split}/00000.tar": tar_bytes(pairs(first, 2)) for split, first in (("train", 0), ("val", 2))}
    wt.adopt(write(tmp_path / "theirs", files))
    return tmp_path / "theirs"


def number(sample: wt.Sample) -> dict[str, Any]:
    return {"number": len(sample.key)}


def test_a_table_has_a_file_for_each_shard(dataset: Path) -> None:
    keys = keys_of(dataset)
    wt.add_columns(dataset, pa.table({"key": keys, "score": range(len(keys))}), name="s")
    assert values_of(dataset, "s") == {key: {"score": row} for row, key in enumerate(keys)}
    assert len(list((dataset / ".wdstools/columns/s").rglob("*.parquet"))) == 2
    assert (dataset / ".wdstools/columns/s/train/00000.tar.parquet").exists()
    subprocess.run(["sha256sum", "--strict", "-c", LIST], cwd=dataset, check=True, capture_output=True)
    assert wt.verify(dataset).ok
    wt.remove_columns(dataset, "s")
    assert not (dataset / ".wdstools/columns").exists()


def test_what_is_computed_has_a_file_for_each_shard(dataset: Path) -> None:
    keys: Iterator[int] = iter(range(99))
    wt.map_columns(dataset, lambda _: {"n": next(keys)}, columns={"n": "int64"}, name="made")
    assert values_of(dataset, "made") == {key: {"n": row} for row, key in enumerate(keys_of(dataset))}
    assert wt.verify(dataset).ok


@pytest.mark.parametrize("path", ["../a.tar", "/a.tar", "a/../../b.tar", ".hidden/a.tar", "", "a//b.tar"])
def test_a_document_cannot_lead_out_of_its_folder(path: str) -> None:
    shard = ColumnShard(path, 1, "0" * 64, 1, (0,))
    with pytest.raises(FormatError):
        loads(dumps(ColumnSet("s", "0" * 64, (ColumnField("x", "bool"),), (shard,))))
    assert not is_of(column_path("s", path), "s") or ".." not in column_path("s", path)


def test_shards_are_looked_up_without_a_search() -> None:
    class Counted(tuple[ColumnShard, ...]):
        __slots__ = ()
        passes = 0

        def __iter__(self) -> Iterator[ColumnShard]:
            Counted.passes += 1
            return super().__iter__()

    shards = Counted(ColumnShard(f"a/{number}.tar", 1, "0" * 64, 1, (0,)) for number in range(9))
    columns = ColumnSet("s", "0" * 64, (ColumnField("x", "bool"),), shards)
    assert [columns.shard(shard.path) for shard in list(shards)] == list(shards)
    with pytest.raises(KeyError):
        columns.shard("a/9.tar")
    assert Counted.passes <= 4
