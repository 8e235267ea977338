"""Files of perceptual hashes: read back for the shard and versions they were made of, and for no others."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wdstools.errors import FormatError
from wdstools.formats import hashes as files
from wdstools.formats.hashes import (
    SCHEMA,
    ImageHashes,
    column_of,
    columns_of,
    is_handed_out,
    present,
    read_handed_out,
    read_hashes,
    write_handed_out,
    write_hashes,
)

if TYPE_CHECKING:
    from pathlib import Path

VERSIONS = {"hashes": "3", "numpy": "2"}
NAMES = [field.name for field in SCHEMA]
UNREADABLE = (None, "cut", None)


def _hashes() -> ImageHashes:
    draw = np.random.default_rng(1)
    arrays = {field.name: draw.integers(1, 255, (3, field.type.byte_width), np.uint8) for field in list(SCHEMA)[:-1]}
    return ImageHashes(**arrays, unreadable=UNREADABLE)


_NESTED = dict.fromkeys((b"wdstools.versions", b"wdstools.handed-out"), b"[" * 100000)


def _changed(data: bytes, metadata: dict[bytes, bytes] | None = None, **columns: pa.Array) -> bytes:
    table = pq.read_table(io.BytesIO(data))
    for name, column in columns.items():
        table = table.set_column(table.column_names.index(name), name, column)
    sink = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, **metadata} if metadata else None), sink)
    return sink.getvalue()


def test_hashes_are_read_back_and_null_where_an_image_has_none() -> None:
    hashes = _hashes()
    data = write_hashes(hashes, "ab" * 32, VERSIONS)
    assert write_hashes(hashes, "ab" * 32, dict(reversed(VERSIONS.items()))) == data
    table = read_hashes(data, "ab" * 32, VERSIONS, 3, NAMES)
    assert table is not None
    assert table.schema == SCHEMA
    group = pq.read_metadata(io.BytesIO(data)).row_group(
        0
    )  # a dictionary of hashes, or statistics, would only take room
    columns = [group.column(number) for number in range(group.num_columns)]
    assert not any(column.has_dictionary_page or column.is_stats_set for column in columns)
    assert present(table).tolist() == [True, False, True]
    assert table["unreadable"].to_pylist() == list(UNREADABLE)
    for name in NAMES[:-1]:
        expected = getattr(hashes, name).copy()
        expected[1] = 0
        assert np.array_equal(column_of(table, name), expected)
    for name in ("unreadable", "key"):
        with pytest.raises(FormatError):
            column_of(table, name)
    some = read_hashes(data, "ab" * 32, VERSIONS, 3, ["turn"])
    assert some is not None
    assert some.column_names == ["turn"]


def test_hashes_of_anything_else_are_none() -> None:
    data = write_hashes(_hashes(), "ab" * 32, VERSIONS)
    assert read_hashes(data, "cd" * 32, VERSIONS, 3, NAMES) is None
    assert read_hashes(data, "ab" * 32, {**VERSIONS, "numpy": "3"}, 3, NAMES) is None
    assert read_hashes(data, "ab" * 32, VERSIONS, 2, NAMES) is None
    assert read_hashes(data, "ab" * 32, VERSIONS, 3, ["key"]) is None
    at = data.index(_hashes().phash16[0].tobytes())
    damaged = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    assert read_hashes(damaged, "ab" * 32, VERSIONS, 3, NAMES) is None
    for other in (
        b"",
        data[:-1],
        _changed(data),
        _changed(data, {b"wdstools.versions": b"{"}),
        _changed(data, _NESTED),
    ):
        assert read_hashes(other, "ab" * 32, VERSIONS, 3, NAMES) is None
    meta = dict(pq.read_metadata(io.BytesIO(data)).metadata)
    large = pa.array([bytes(8)] * 3, pa.large_binary())
    again = read_hashes(_changed(data, meta, phash=large), "ab" * 32, VERSIONS, 3, ["phash"])
    assert again is not None
    assert again.schema.types == [pa.binary(8)]
    long = pa.array([bytes(9)] * 3, pa.binary(9))
    assert read_hashes(_changed(data, meta, phash=long), "ab" * 32, VERSIONS, 3, ["phash"]) is None


def _handed_out(path: Path, versions: dict[str, str] = VERSIONS, changed: dict[str, list[Any]] | None = None) -> str:
    own = _hashes()
    columns = columns_of({name: getattr(own, name) for name in NAMES[:-1]}, UNREADABLE)
    rows = {"key": ["a", "b", "c"], "split": ["train"] * 3, "xxh3_64": [1, 2, 3], "bytes": [4, 5, 6]}
    kinds = dict(files._HANDED_OUT)
    columns |= {name: pa.array(values, kinds[name]) for name, values in {**rows, **(changed or {})}.items()}
    table = pa.table(columns)
    with path.open("wb") as file:
        write_handed_out(iter([table.slice(0, 2), table.slice(2)]), versions, file)
    return str(path)


def test_hashes_that_are_handed_out_are_known_and_read_back(tmp_path: Path) -> None:
    path = _handed_out(tmp_path / "good")
    assert is_handed_out(path)
    table = read_handed_out(path, "3")
    assert table.column_names == [*NAMES, "key", "split", "xxh3_64", "bytes"]
    assert table["key"].to_pylist() == ["a", "b", "c"]
    assert table["bytes"].to_pylist() == [4, 5, 6]
    assert present(table).tolist() == [True, False, True]
    # the order in which versions are named does not matter, and there are no statistics, which would take most of the room
    other = _handed_out(tmp_path / "other", dict(reversed(VERSIONS.items())))
    assert (tmp_path / "other").read_bytes() == (tmp_path / "good").read_bytes()
    groups = pq.ParquetFile(other).metadata
    assert [groups.row_group(number).num_rows for number in range(2)] == [2, 1]
    assert not any(groups.row_group(0).column(number).is_stats_set for number in range(groups.num_columns))


def test_a_table_of_others_is_not_taken_for_hashes(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other")
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata(_NESTED), tmp_path / "nested")
    (tmp_path / "text").write_text("no table")
    assert not is_handed_out(str(tmp_path / "other"))
    assert not is_handed_out(str(tmp_path / "text"))
    assert not is_handed_out(str(tmp_path / "missing"))
    for name in ("other", "text", "missing", "nested"):
        with pytest.raises(FormatError) as told:
            read_handed_out(str(tmp_path / name), "3")
        assert told.value.code == "hashes-damaged"


@pytest.mark.parametrize("column", ["key", "split", "xxh3_64", "bytes"])
def test_hashes_that_do_not_say_whose_they_are_are_refused(tmp_path: Path, column: str) -> None:
    with pytest.raises(FormatError) as told:
        read_handed_out(_handed_out(tmp_path / "holes", changed={column: [None] * 3}), "3")
    assert told.value.code == "hashes-damaged"


def test_hashes_of_another_version_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "old"
    bare = pq.read_table(_handed_out(tmp_path / "good")).replace_schema_metadata(None)
    listed = bare.replace_schema_metadata({b"wdstools.handed-out": json.dumps(["3"])})
    for table, got in [(None, "2"), (bare, "None"), (listed, "['3']")]:
        if table is None:
            _handed_out(path, {"hashes": "2"})
        else:
            pq.write_table(table, path)
        with pytest.raises(FormatError) as told:
            read_handed_out(str(path), "3")
        assert (told.value.code, told.value.expected, told.value.got) == ("hashes-version", "3", got)
