"""Laws of the index: it round-trips, and its digest depends on its rows alone, whatever wrote the Parquet."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.support.came import came
from tests.support.index_rows import reference_rows_digest, reference_values_digest, rows_strategy, table_of
from tests.support.laws import LAW, SHORT_LAW
from tests.support.refusal import or_refused
from tests.support.tools import need_module
from wdstools.errors import FormatError
from wdstools.formats.index import SCHEMA, VALUE_COLUMNS, misplaced, read_index, rows_digest, values_digest, write_index

rows_of_any_kind = rows_strategy() | rows_strategy(authenticated=True)
parquet_settings = st.fixed_dictionaries(
    {
        "compression": st.sampled_from(["none", "snappy", "gzip", "zstd", "brotli"]),
        "use_dictionary": st.booleans(),
        "row_group_size": st.integers(1, 4),
        "data_page_version": st.sampled_from(["1.0", "2.0"]),
        "write_statistics": st.booleans(),
        "store_schema": st.booleans(),
        "version": st.sampled_from(["2.4", "2.6"]),
    }
)


def rewritten(table: pa.Table, **settings: Any) -> bytes:
    """The table as Parquet bytes of another writer's making."""
    sink = io.BytesIO()
    pq.write_table(table, sink, **settings)
    return sink.getvalue()


@LAW
@given(rows_of_any_kind)
def test_an_index_round_trips_through_its_bytes(rows: list[dict[str, Any]]) -> None:
    table = table_of(rows)
    again = read_index(write_index(table))
    assert again.equals(table)
    assert again.schema == SCHEMA
    assert again.to_pylist() == [{"row": number, **row} for number, row in enumerate(rows)]


def test_a_text_that_is_no_utf8_is_refused() -> None:
    table = table_of([{**_ROW, "key": "ab"}])
    broken = pa.Array.from_buffers(pa.string(), 1, [None, *pa.array([b"\xffa"]).buffers()[1:]])
    at = table.column_names.index("caption")
    with pytest.raises(FormatError) as caught:
        read_index(write_index(table.set_column(at, "caption", broken)))
    assert caught.value.code == "index-damaged"
    assert "UTF8" in caught.value.message


def test_an_index_file_is_small_and_has_statistics_of_keys_alone() -> None:
    rows = [{**_ROW, "key": f"key-{number:04}", "offset": number * 1024} for number in range(500)]
    data = write_index(table_of(rows))
    assert len(data) < 12_000  # which takes dictionaries, numbers as differences, and compression
    file = pq.ParquetFile(io.BytesIO(data)).metadata
    assert file.metadata is None  # no schema of Arrow, which says nothing more
    columns = [file.row_group(0).column(number) for number in range(file.num_columns)]
    assert [column.path_in_schema for column in columns if column.is_stats_set] == ["key"]
    assert {column.compression for column in columns} == {"ZSTD"}
    for column in columns:
        last = min(column.data_page_offset, column.dictionary_page_offset or 1 << 30) + column.total_compressed_size - 1
        with pytest.raises(FormatError, match="CRC checksum"):
            read_index(data[:last] + bytes([data[last] ^ 1]) + data[last + 1 :])


@LAW
@given(rows_of_any_kind)
def test_the_rows_digest_is_the_one_of_the_format(rows: list[dict[str, Any]]) -> None:
    assert rows_digest(table_of(rows)) == reference_rows_digest(rows)


@LAW
@given(rows_of_any_kind)
def test_the_values_digest_is_the_one_of_the_format(rows: list[dict[str, Any]]) -> None:
    assert values_digest(table_of(rows)) == reference_values_digest(rows)


@LAW
@given(rows_of_any_kind.filter(len), st.data())
def test_the_values_digest_of_a_slice_is_that_of_its_rows(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(rows)))
    stop = data.draw(st.integers(start, len(rows)))
    assert values_digest(table_of(rows).slice(start, stop - start)) == reference_values_digest(rows[start:stop])


@LAW
@given(rows_of_any_kind, rows_of_any_kind)
def test_different_values_have_different_digests(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> None:
    one, two = ([[row[name] for name in VALUE_COLUMNS] for row in rows] for rows in (first, second))
    assert (values_digest(table_of(first)) == values_digest(table_of(second))) == (one == two)


def test_bytes_that_lie_behind_a_null_are_no_value() -> None:
    row: dict[str, Any] = {**dict.fromkeys(SCHEMA.names), "key": "k", "split": "s", "members": [], "caption": None}
    table = table_of([{name: value for name, value in row.items() if name != "row"}])
    behind = pa.Array.from_buffers(
        pa.string(), 1, [pa.py_buffer(b"\0"), pa.py_buffer(b"\0\0\0\0\3\0\0\0"), pa.py_buffer(b"abc")]
    )
    hidden = table.set_column(table.schema.get_field_index("caption"), SCHEMA.field("caption"), behind)
    assert values_digest(hidden) == values_digest(table)


@LAW
@given(rows_of_any_kind, parquet_settings)
def test_the_rows_digest_does_not_depend_on_how_the_parquet_was_written(
    rows: list[dict[str, Any]], settings: dict[str, Any]
) -> None:
    table = table_of(rows)
    again = read_index(rewritten(table, **settings))
    assert rows_digest(again) == rows_digest(table)
    assert values_digest(again) == values_digest(table)
    assert again.equals(table)


@LAW
@given(rows_of_any_kind, st.permutations(SCHEMA.names))
def test_the_rows_digest_does_not_depend_on_arrow_types_or_column_order(
    rows: list[dict[str, Any]], order: list[str]
) -> None:
    table = table_of(rows)
    wide = table.select(order)
    for name in ("key", "split", "caption"):
        at = wide.schema.get_field_index(name)
        kind = pa.large_string() if name != "split" else pa.dictionary(pa.int8(), pa.string())
        wide = wide.set_column(at, pa.field(name, kind), wide.column(name).cast(kind))
    wide = wide.append_column("more", pa.nulls(len(rows), pa.int8()))
    assert read_index(rewritten(wide)).equals(table)


@SHORT_LAW
@given(rows_strategy())
def test_an_index_that_duckdb_wrote_has_the_same_rows_digest(rows: list[dict[str, Any]]) -> None:
    duckdb = need_module("duckdb")
    table = table_of(rows)
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        ours, theirs = Path(folder, "ours.parquet"), Path(folder, "theirs.parquet")
        ours.write_bytes(write_index(table))
        connection.from_parquet(str(ours)).order("row").write_parquet(str(theirs))
        assert rows_digest(read_index(theirs.read_bytes())) == rows_digest(table)
        assert values_digest(read_index(theirs.read_bytes())) == values_digest(table)


@LAW
@given(rows_of_any_kind.filter(len), st.data())
def test_the_rows_digest_of_a_slice_is_that_of_its_rows(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(rows)))
    stop = data.draw(st.integers(start, len(rows)))
    assert rows_digest(table_of(rows).slice(start, stop - start)) == reference_rows_digest(rows[start:stop])


@LAW
@given(rows_of_any_kind, rows_of_any_kind)
def test_different_rows_have_different_digests(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> None:
    assume(_covered(first) != _covered(second))
    assert rows_digest(table_of(first)) != rows_digest(table_of(second))


def _covered(rows: list[dict[str, Any]]) -> list[list[Any]]:
    """What the digest covers; null and zero group digests are one, as are flags of no rows."""
    names = ("key", "offset", "length", "sha256", "members")
    return [[*(row[name] for name in names), row["xxh3_128"] or bytes(16)] for row in rows]


@LAW
@given(rows_strategy(), st.binary(max_size=64))
def test_a_digest_covers_no_column_that_the_tar_does_not_give(rows: list[dict[str, Any]], noise: bytes) -> None:
    other = [{**row, "source": noise.hex(), "caption": noise.hex(), "label": None, "width": 7} for row in rows]
    assert rows_digest(table_of(other)) == rows_digest(table_of(rows))


@SHORT_LAW
@given(rows_strategy().filter(len), st.data())
def test_a_damaged_index_is_an_error_or_reads_as_it_was(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    good = write_index(table_of(rows))
    at = data.draw(st.integers(0, len(good) - 1))
    damaged = bytearray(good)
    damaged[at] ^= data.draw(st.integers(1, 255))
    with or_refused("index-damaged"):
        table = read_index(bytes(damaged))
        assert rows_digest(table) == reference_rows_digest(table.to_pylist())


@pytest.mark.parametrize("data", [b"", b"PAR1", b"not a parquet file" * 9])
def test_bytes_that_are_no_index_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        read_index(data)
    assert caught.value.code == "index-damaged"


def test_of_what_arrow_says_the_first_line_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ValueError("one\ntwo")

    monkeypatch.setattr("wdstools.formats.index.read_whole", refuse)
    with pytest.raises(FormatError, match=r"^an index file cannot be read \(one\)$"):
        read_index(b"")


def test_an_index_without_a_column_is_refused() -> None:
    table = table_of([])
    for name in came(SCHEMA.names):
        with pytest.raises(FormatError) as caught:
            read_index(rewritten(table.drop_columns([name])))
        assert caught.value.code == "index-damaged"
        assert f"it has column {name} not at all" in caught.value.message
        with pytest.raises(FormatError, match=f"it has column {name} twice"):
            read_index(rewritten(table.append_column(SCHEMA.field(name), table.column(name))))


@pytest.mark.parametrize("name", ["row", "split", "key", "members"])
def test_an_index_with_a_null_where_none_may_be_is_refused(name: str) -> None:
    table = pa.Table.from_pylist([dict.fromkeys(SCHEMA.names)], schema=_nullable(SCHEMA))
    full = table_of([{**_ROW, "members": []}])
    columns = {f.name: table.column(f.name) if f.name == name else full.column(f.name) for f in SCHEMA}
    with pytest.raises(FormatError):
        read_index(rewritten(pa.table(columns)))


def _with_nulls(kind: pa.DataType) -> pa.DataType:
    """The type with nulls allowed however deep."""
    if pa.types.is_list(kind):
        return pa.list_(pa.field("element", _with_nulls(kind.value_type)))
    return pa.struct([field.with_nullable(True) for field in kind]) if pa.types.is_struct(kind) else kind


@pytest.mark.parametrize("name", ["", "ext", "offset", "size", "xxh3_64"])
def test_a_member_with_a_null_is_refused(name: str) -> None:
    member = {"ext": "jpg", "offset": 512, "size": 3, "xxh3_64": 7}
    full, kind = table_of([{**_ROW, "members": [member]}]), _with_nulls(SCHEMA.field("members").type)
    nulls = pa.array([[{**member, name: None} if name else None]], kind)
    columns = {f.name: nulls if f.name == "members" else full.column(f.name) for f in SCHEMA}
    with pytest.raises(FormatError):
        read_index(rewritten(pa.table(columns)))


@pytest.mark.parametrize("splits", [["train", "tr4in"], ["trai", "ntrain"], ["train", "train"], ["val", "val"], []])
def test_rows_of_another_split_or_number_are_told(splits: list[str]) -> None:
    table = table_of([{**_ROW, "split": split} for split in splits])
    assert misplaced(table, "train") == ("split" if set(splits) - {"train"} else None)
    assert misplaced(table.drop_columns(["split"]), "train") is None
    if splits:
        assert misplaced(table.slice(1), "train") == "row"
        assert misplaced(table.slice(1).drop_columns(["row", "split"]), "train") is None


def test_an_index_that_claims_other_rows_than_its_groups_have_is_refused() -> None:
    data = write_index(table_of([{**_ROW, "key": f"{number}"} for number in range(9000)]))
    # the number of all rows comes first in the footer, before those of the groups
    at = data.index(b"\xd0\x8c\x01", len(data) - 8 - int.from_bytes(data[-8:-4], "little"))
    other = data[:at] + b"\xd2" + data[at + 1 :]
    assert pq.read_metadata(io.BytesIO(other)).num_rows == 9001
    with pytest.raises(FormatError, match="it claims 9,000 rows"):
        read_index(other)


def test_an_index_may_claim_what_its_file_can_hold_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_index(table_of([{**_ROW, "members": [], "key": "a"} for _ in range(9000)]))
    claimed = pq.read_metadata(io.BytesIO(data)).row_group(0).total_byte_size
    monkeypatch.setattr("wdstools.formats.index._MAX_UNPACKED_BYTES", claimed - 1)
    with pytest.raises(FormatError, match=f"it claims 9,000 rows and {claimed:,} bytes"):
        read_index(data)
    monkeypatch.setattr("wdstools.formats.index._MAX_UNPACKED_BYTES", 2 << 30)
    # as many rows as three bytes can say, in place of 9,000: the number in Thrift's form
    many = data.replace(b"\xd0\x8c\x01", b"\xfe\xff\x7f")
    assert len(many) == len(data) < ((1 << 20) - 1) // 32
    with pytest.raises(FormatError, match=r"it claims 1,048,575 rows"):
        read_index(many)


_ROW: dict[str, Any] = {**dict.fromkeys(set(SCHEMA.names) - {"row"}), "split": "train", "key": "a", "members": []}


def _nullable(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field.with_nullable(True) for field in schema])
