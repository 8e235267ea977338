"""Parquet files of strangers that are small and come to much: as a source, as an index, as hashes. None takes the memory that it asks for."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wdstools as wt
from tests.support.city_pairs import tiny_jpeg
from wdstools.errors import FormatError
from wdstools.formats import hashes, parquet_files
from wdstools.formats.index import build_index, read_index, write_index
from wdstools.formats.parquet_files import batches_of, rows_of
from wdstools.formats.parquet_pages import groups_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

MIB = 1 << 20


def same(value: object, rows: int) -> pa.Array:
    """One value for every row, written once."""
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([value]))


def lists(value: str, rows: int, each: int) -> pa.Array:
    ends = pa.array(np.arange(rows + 1, dtype=np.int32) * each)
    return pa.ListArray.from_arrays(ends, same(value, rows * each))


_POOLS: list[pa.MemoryPool] = []


@contextlib.contextmanager
def counted() -> Iterator[pa.MemoryPool]:
    """Where Arrow's memory comes from meanwhile: it knows how much that was at most."""
    _POOLS.append(pa.proxy_memory_pool(pa.default_memory_pool()))  # kept: what came from it is given back to it
    before = pa.default_memory_pool()
    pa.set_memory_pool(_POOLS[-1])
    try:
        yield _POOLS[-1]
    finally:
        pa.set_memory_pool(before)


def as_json(texts: pa.Array) -> pa.Array:
    """Texts declared as JSON, for which Arrow has a type of its own; before pyarrow 19 they are texts."""
    return (
        pa.ExtensionArray.from_storage(pa.json_(pa.string()), texts.cast(pa.string()))
        if hasattr(pa, "json_")
        else texts
    )


def growing(rows: int) -> pa.Array:
    """Each is the one before and a letter more: as differences, a byte or two a row."""
    return pa.array(["x" * (10 * number) for number in range(rows)])


def parquet(table: pa.Table, **options: object) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", store_schema=False, **options)
    return bytes(sink.getvalue())


#: Tables of a few kilobytes, which come to the limit of the test and more.
BOMBS = {
    "a text of all rows": lambda: parquet(pa.table({"file_name": same("0.jpg", 1000), "caption": same("x" * 9000, 1000)})),
    "further columns": lambda: parquet(pa.table({"file_name": same("0.jpg", 1000), "notes": same("x" * 9000, 1000)})),
    "texts in lists": lambda: parquet(pa.table({"file_name": same("0.jpg", 100), "caption": lists("x" * 9000, 100, 1000)})),
    "texts in structures": lambda: parquet(
        pa.table({"file_name": same("0.jpg", 1000), "about": pa.StructArray.from_arrays([same("x" * 9000, 1000)], ["text"])})
    ),
    "texts declared as JSON": lambda: parquet(
        pa.table({"file_name": same("0.jpg", 5000), "caption": as_json(same("x" * 9000, 5000))})
    ),
    "a page": lambda: parquet(pa.table({"file_name": ["0.jpg"], "caption": ["x" * 5 * MIB]}), use_dictionary=False),
    "differences": lambda: parquet(
        pa.table({"file_name": ["0.jpg"] * 1500, "caption": growing(1500)}),
        use_dictionary=False, column_encoding={"caption": "DELTA_BYTE_ARRAY", "file_name": "PLAIN"},
    ),
    "rows": lambda: parquet(pa.table({"file_name": same("0.jpg", 500_000)})),
    "numbers in lists": lambda: parquet(
        pa.table({"file_name": ["0.jpg"], "n": pa.ListArray.from_arrays([0, 600_000], pa.array(np.zeros(600_000)))})
    ),
}  # fmt: skip


@pytest.fixture
def low(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that a test reaches without taking gigabytes itself."""
    monkeypatch.setattr(parquet_files, "FLOOR_BYTES", 8 * MIB)
    monkeypatch.setattr(parquet_files, "_PAGES_BYTES", 4 * MIB)
    monkeypatch.setattr(parquet_files, "_BATCH_BYTES", MIB)
    monkeypatch.setattr(parquet_files, "_ROWS", 100_000)


@pytest.mark.usefixtures("low")
@pytest.mark.parametrize("kind", BOMBS)
def test_a_small_table_is_no_source_of_much(kind: str, tmp_path: Path) -> None:
    data = BOMBS[kind]()
    assert len(data) < 200_000
    (tmp_path / "0.jpg").write_bytes(tiny_jpeg(0))
    (tmp_path / "table.parquet").write_bytes(data)
    with counted() as pool, pytest.raises(FormatError) as caught:
        wt.pack(tmp_path / "table.parquet", tmp_path / "out")
    assert caught.value.code == "table-too-large"
    assert not (tmp_path / "out").exists()
    assert pool.max_memory() < 16 * MIB


@pytest.mark.usefixtures("low")
def test_a_small_table_of_images_is_no_source_of_much(tmp_path: Path) -> None:
    image = tiny_jpeg(0) + bytes(100_000)
    data = parquet(pa.table({"image": same(image, 400), "caption": same("a", 400)}))
    (tmp_path / "in").mkdir()
    (tmp_path / "in/table.parquet").write_bytes(data)
    with pytest.raises(FormatError) as caught:
        wt.pack(tmp_path / "in", tmp_path / "out")
    assert caught.value.code == "table-too-large"


@pytest.mark.usefixtures("low")
def test_a_table_beside_images_is_told_and_left_out(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/0.jpg").write_bytes(tiny_jpeg(0))
    (tmp_path / "in/table.parquet").write_bytes(BOMBS["a text of all rows"]())
    packed = wt.pack(tmp_path / "in", tmp_path / "out")
    assert isinstance(packed, wt.PackResult)
    assert packed.skipped == {"table-damaged": 1}


@given(st.integers(1, 80), st.integers(4, 40), st.sampled_from([True, False, ["text"]]), st.sampled_from(["PLAIN", "DELTA_BYTE_ARRAY", None]))  # fmt: skip
@settings(max_examples=12, deadline=None)
def test_a_sound_table_is_read_as_it_is(rows: int, group: int, dictionary: object, encoding: str | None) -> None:
    texts = [None if number % 7 == 3 else f"{'word ' * (number % 50)}{number}" for number in range(rows)]
    table = pa.table({
        "text": texts,
        "list": [None if n % 5 == 1 else texts[n : n + n % 4] for n in range(rows)],
        "image": [{"bytes": b"\0" * (n % 90), "path": f"{n}.jpg"} for n in range(rows)],
        "number": list(range(rows)),
        "pairs": pa.array([[("a", f"{n}")] for n in range(rows)], pa.map_(pa.string(), pa.string())),
    })  # fmt: skip
    options = {"column_encoding": {"text": encoding}} if encoding and dictionary is False else {}
    data = parquet(table, use_dictionary=dictionary, row_group_size=group, data_page_size=900, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet_files, "_BATCH_BYTES", 5000)
        batches = list(batches_of(io.BytesIO(data), 64))
    assert max(batch.num_rows for batch in batches) <= 64
    assert [row for batch in batches for row in batch.to_pylist()] == table.to_pylist()


def index_of(rows: int, caption: pa.Array) -> pa.Table:
    members: dict[str, Sequence[object]] = {
        "ext": ["jpg"] * rows,
        "offset": [512] * rows,
        "size": [1] * rows,
        "xxh3_64": [1] * rows,
        "count": [1] * rows,
    }
    table = build_index({"split": ["train"] * rows, "key": [f"{n}" for n in range(rows)]}, members)
    return table.set_column(table.column_names.index("caption"), "caption", caption)


@pytest.mark.usefixtures("low")
@pytest.mark.parametrize("nested", [False, True])
def test_texts_declared_as_json_come_in_batches_that_take_little(*, nested: bool) -> None:
    ids = pa.array([bytes([number % 256]) * 16 for number in range(4000)], pa.binary(16))
    ids = pa.ExtensionArray.from_storage(pa.uuid(), ids) if hasattr(pa, "uuid") else ids
    (alone,) = batches_of(io.BytesIO(parquet(pa.table({"id": ids}))), 4000)
    text = "[1]" * 3000
    about, wanted = as_json(same(text, 4000)), {"text": text} if nested else text
    about = pa.StructArray.from_arrays([about], ["text"]) if nested else about
    data = parquet(pa.table({"id": ids, "about": about}))
    read: list[object] = []
    with counted() as pool:
        for batch in batches_of(io.BytesIO(data), 4000, held=False):
            read += [(row["about"] == wanted, row["id"]) for row in rows_of(batch)]
    assert pool.max_memory() < 4 * MIB
    assert read == [(True, row["id"]) for row in rows_of(alone)]


def test_an_index_whose_captions_are_one_long_text_is_refused() -> None:
    rows = 2100
    data = parquet(index_of(rows, same("x" * MIB, rows)))
    assert len(data) < 100_000
    with pytest.raises(FormatError) as caught:
        read_index(data)
    assert caught.value.code == "index-damaged"
    assert read_index(data, columns=["key"]).num_rows == rows
    few = index_of(20, pa.array(["x" * MIB] * 20))
    for made in (write_index(few), parquet(few.set_column(13, "caption", as_json(same("x" * MIB, 20))))):
        assert read_index(made).equals(few)


def test_captions_declared_as_json_are_not_unpacked_to_learn_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    data = parquet(index_of(40, as_json(same("x" * MIB, 40))))
    monkeypatch.setattr("wdstools.formats.index._MAX_UNPACKED_BYTES", 20 * MIB)
    with counted() as pool, pytest.raises(FormatError, match="unpacked, and the limit is"):
        read_index(data)
    assert pool.max_memory() < 20 * MIB


def test_a_dictionary_that_claims_more_values_than_it_has_bytes_is_refused() -> None:
    data = bytearray(parquet(pa.table({"a": ["x"] * 300 + [f"{n}" for n in range(200)]}), write_statistics=False))
    head = data.index(bytes([0x4C, 0x15])) + 2  # the structure of a dictionary's page, and its number of values
    assert data[head : head + 2] == bytes([0x92, 0x03])
    groups_of(bytes(data), len(data))
    data[head : head + 2] = bytes([0xFE, 0x7F])
    with pytest.raises(ValueError, match="claims 8,191 values"):
        groups_of(bytes(data), len(data))


@pytest.mark.usefixtures("low")
def test_hashes_of_a_stranger_are_bounded(tmp_path: Path) -> None:
    rows = 1500
    columns = {
        field.name: same(b"\0" * field.type.byte_width, rows) for field in hashes.SCHEMA if field.name != "unreadable"
    }
    table = pa.table({**columns, "unreadable": same("x" * 50_000, rows), "key": same("k", rows), "split": same("train", rows),
                      "xxh3_64": pa.array(np.zeros(rows, np.uint64)), "bytes": pa.array(np.zeros(rows, np.uint64))})  # fmt: skip
    path = tmp_path / "theirs.parquet"
    path.write_bytes(parquet(table.replace_schema_metadata({"wdstools.handed-out": '{"hashes": "1"}'})))
    with pytest.raises(FormatError) as caught:
        hashes.read_handed_out(str(path), "1")
    assert caught.value.code == "hashes-damaged"
