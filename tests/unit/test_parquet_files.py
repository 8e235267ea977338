"""Parquet tables of people: whatever they hold that is sound is read, as it is, on each machine."""

from __future__ import annotations

import datetime as dt
import io
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import wdstools as wt
from wdstools.formats import parquet_pages
from wdstools.formats.parquet_files import batches_of, read_whole, rows_of, weight_of

if TYPE_CHECKING:
    from pathlib import Path


def written(table: pa.Table, **options: object) -> io.BytesIO:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink


@pytest.mark.parametrize("code", [pa.int8(), pa.uint8(), pa.uint16(), pa.uint32()])
def test_categories_with_nulls_are_read_whatever_number_their_codes_are(code: pa.DataType) -> None:
    words = ["calm", None, "loud", None]
    coded = pa.array(words).dictionary_encode().cast(pa.dictionary(code, pa.large_string()))
    table = pa.table({"mood": coded, "none": coded.filter(coded.is_null()).take([0, 1, 0, 1])})
    file = written(table)
    assert [batch.to_pydict() for batch in batches_of(file, 9)] == [{"mood": words, "none": [None] * 4}]
    assert weight_of(file, 9, ["mood", "none"]) == 8


@pytest.mark.slow
def test_a_table_that_was_written_a_row_at_a_time_is_read() -> None:
    table = pa.table({f"column {number}": range(1500) for number in range(40)})
    file = written(table, row_group_size=1)
    assert sum(batch.num_rows for batch in batches_of(file, 99, ["column 7"])) == 1500


def test_a_table_whose_footer_is_too_long_is_refused_and_told_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "table.parquet").write_bytes(written(pa.table({"file_name": ["0.jpg"]})).getvalue())
    monkeypatch.setattr(parquet_pages, "_MAX_FOOTER_BYTES", 100)
    with pytest.raises(wt.FormatError) as caught:
        wt.pack(tmp_path / "table.parquet", tmp_path / "out")
    assert caught.value.code == "table-too-large"
    assert str(caught.value.got).endswith("and the limit is 100 B")


MOMENT = dt.datetime(1970, 1, 1, 0, 0, 0, 2)  # noqa: DTZ001 (the column has no time zone)
NS = pa.timestamp("ns")


@pytest.mark.parametrize(
    ("kind", "value", "wanted"),
    [
        (NS, 2001, MOMENT),
        (pa.list_(NS), [2001], [MOMENT]),
        (pa.list_(NS, 1), [2001], [MOMENT]),
        (pa.large_list(NS), [2001], [MOMENT]),
        (pa.list_view(NS), [2001], [MOMENT]),
        (pa.large_list_view(NS), [2001], [MOMENT]),
        (pa.map_(pa.string(), NS), [("a", 2001)], [("a", MOMENT)]),
        (pa.map_(NS, pa.list_(NS)), [(2001, [2001])], [(MOMENT, [MOMENT])]),
        (pa.struct([("a", pa.list_view(NS)), ("b", NS)]), {"a": [2001], "b": None}, {"a": [MOMENT], "b": None}),
        (pa.map_(pa.string(), pa.list_view(NS)), [("a", [2001])], [("a", [MOMENT])]),
        (pa.list_(pa.list_view(NS)), [[2001], None], [[MOMENT], None]),
        (pa.list_view(pa.struct([("a", NS)])), [{"a": 2001}], [{"a": MOMENT}]),
    ],
)
def test_what_is_below_microseconds_is_cut_off_however_deep_it_lies(
    kind: pa.DataType, value: object, wanted: object
) -> None:
    file = written(pa.table({"x": pa.array([value, None, value, value], kind)}))
    (batch,) = batches_of(file, 9)
    assert batch.schema.field("x").type.id == kind.id
    for part, rows in ((batch, [wanted, None, wanted, wanted]), (batch.slice(1, 2), [None, wanted])):
        got = [row["x"] for row in rows_of(part)]
        assert repr(got) == repr(rows)  # a time of pandas is equal, and is written with its nanoseconds


def test_groups_of_rows_whose_lists_hold_one_dictionary_are_read() -> None:
    words = [f"word {number:05d}" for number in range(64)]
    table = pa.table({"n": range(128), "lists": [[{"word": word, "at": 1}] for word in words * 2]})
    file = written(table, row_group_size=40, use_dictionary=True, store_schema=False)
    assert read_whole(file.getbuffer(), ["n", "lists"], 5000).to_pylist() == table.to_pylist()
    with pytest.raises(ValueError, match=r"takes 4\.\d+ kB unpacked, and the limit is 3\.0 kB"):
        read_whole(file.getbuffer(), ["n", "lists"], 3000)
