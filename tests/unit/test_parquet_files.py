"""Parquet tables of people: whatever they hold that is sound is read, as it is, on each machine."""

from __future__ import annotations

import dataclasses
import datetime as dt
import io
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import wdstools as wt
from tests.support.tools import need_pyarrow
from wdstools.formats import parquet_files, parquet_pages
from wdstools.formats.parquet_files import batches_of, read_whole, rows_of, weight_of
from wdstools.formats.parquet_pages import TooMuchError, groups_of
from wdstools.ops.columns.parquet_table import parquet_batches
from wdstools.units import size as shown

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
    (batch,) = batches_of(file, 9)
    assert batch.to_pydict() == {"mood": words, "none": [None] * 4}
    assert batch.schema.types == [pa.string()] * 2
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
        (NS, 2999, MOMENT),
        (pa.time64("ns"), 2999, MOMENT.time()),
        (pa.duration("ns"), 2999, dt.timedelta(microseconds=2)),
        (pa.list_(NS), [2999], [MOMENT]),
        (pa.list_(NS, 1), [2999], [MOMENT]),
        (pa.large_list(NS), [2999], [MOMENT]),
        (pa.list_view(NS), [2999], [MOMENT]),
        (pa.large_list_view(NS), [2999], [MOMENT]),
        (pa.map_(pa.string(), NS), [("a", 2999)], [("a", MOMENT)]),
        (pa.map_(NS, pa.list_(NS)), [(2999, [2999])], [(MOMENT, [MOMENT])]),
        (pa.struct([("a", pa.list_view(NS)), ("b", NS)]), {"a": [2999], "b": None}, {"a": [MOMENT], "b": None}),
        (pa.map_(pa.string(), pa.list_view(NS)), [("a", [2999])], [("a", [MOMENT])]),
        (pa.list_(pa.list_view(NS)), [[2999], None], [[MOMENT], None]),
        (pa.list_view(pa.struct([("a", NS)])), [{"a": 2999}], [{"a": MOMENT}]),
    ],
)
def test_what_is_below_microseconds_is_cut_off_however_deep_it_lies(
    kind: pa.DataType, value: object, wanted: object
) -> None:
    if "list_view" in str(kind):
        need_pyarrow(25, "write list views")
    if pa.types.is_fixed_size_list(kind):
        need_pyarrow(26, "write and read lists of one length if some are missing")
    file = written(pa.table({"x": pa.array([value, None, value, value], kind)}))
    (batch,) = batches_of(file, 9)
    assert batch.schema.field("x").type.id == kind.id
    for part, rows in ((batch, [wanted, None, wanted, wanted]), (batch.slice(1, 2), [None, wanted])):
        got = [row["x"] for row in rows_of(part)]
        assert repr(got) == repr(rows)  # a time of pandas is equal, and is written with its nanoseconds


@pytest.mark.parametrize("version", ["25.0.0", "9.0.0.dev1", "26.0.0"])
def test_a_pyarrow_that_is_too_old_for_a_column_is_told_so(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists that are not of their schema's length raise in every version what a missing one raises in an older."""
    two, three = (
        written(pa.table({"key": ["a"], "vector": pa.array([[1.0] * width], pa.list_(pa.float32(), width))})).getvalue()
        for width in (2, 3)
    )
    schemas = (pq.read_metadata(io.BytesIO(data)).metadata[b"ARROW:schema"] for data in (two, three))
    table = tmp_path / "table.parquet"
    table.write_bytes(two.replace(*schemas))
    monkeypatch.setattr(pa, "__version__", version)
    with table.open("rb") as file:
        assert [batch.to_pydict() for batch in parquet_batches(file, "t", ["key"])] == [{"key": ["a"]}]
        with pytest.raises(wt.FormatError) as caught:
            list(parquet_batches(file, "t", ["key", "vector"]))
    if version == "26.0.0":
        assert caught.value.code == "table-damaged", "no newer one would help"
        return
    assert caught.value.code == "table-unsupported"
    assert str(caught.value.where) == "t, column vector"
    assert str(caught.value.got).startswith(f"pyarrow {version}: fixed_size_list<")
    assert "upgrade pyarrow" in str(caught.value.hint)


def test_groups_of_rows_whose_lists_hold_one_dictionary_are_read() -> None:
    words = [f"word {number:05d}" for number in range(64)]
    table = pa.table({"n": range(128), "lists": [[{"word": word, "at": 1}] for word in words * 2]})
    file = written(table, row_group_size=40, use_dictionary=True, store_schema=False)
    assert read_whole(file.getbuffer(), ["n", "lists"], 5000).to_pylist() == table.to_pylist()
    with pytest.raises(ValueError, match=r"takes 4\.\d+ kB unpacked, and the limit is 3\.0 kB"):
        read_whole(file.getbuffer(), ["n", "lists"], 3000)


def test_a_column_that_appears_twice_gives_no_rows() -> None:
    with pytest.raises(ValueError, match=r"^a column appears twice$"):
        rows_of(pa.record_batch([pa.array([1]), pa.array([2])], ["a", "a"]))


def test_rows_of_no_columns_are_as_many() -> None:
    (batch,) = batches_of(written(pa.table({"n": range(3)})), 9, [])
    assert rows_of(batch) == [{}, {}, {}]


def test_a_row_that_is_larger_than_a_batch_comes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_files, "_BATCH_BYTES", 100)
    texts = ["x" * 1000, "y", "z" * 2000, "w"]
    batches = list(batches_of(written(pa.table({"text": texts, "lists": [[text] for text in texts]})), 9))
    assert [row for batch in batches for row in batch.column("text").to_pylist()] == texts
    assert [row for batch in batches for row in batch.column("lists").to_pylist()] == [[text] for text in texts]
    assert {batch.schema.field("text").type for batch in batches} == {pa.string()}
    assert all(batch.num_rows == 1 for batch in batches if len(batch.column("text")[0].as_py()) > 1)


@pytest.mark.parametrize(
    ("values", "encoding", "values_each"),
    [
        (["ab"] * 400, "DELTA_BYTE_ARRAY", 1),  # each row may have all bytes of its page
        (["x" * 100] * 400, "PLAIN", 1),
        (range(400), "PLAIN", 1),
        ([[number] for number in range(400)], None, 1),
        ([[number] * 4 for number in range(400)], None, 4),
    ],
)
def test_a_batch_takes_little(
    values: list[object], encoding: str | None, values_each: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    encodings = encoding and {"x": encoding}
    file = written(pa.table({"x": values}), use_dictionary=False, column_encoding=encodings)
    claim = groups_of(file, len(file.getvalue()))[0].claims[0]
    each = 64 + (claim.width or claim.dense) + (claim.largest if claim.prefixed else 0)
    assert each > 100 or claim.width == 8
    monkeypatch.setattr(parquet_files, "_BATCH_BYTES", 20 * each * values_each)
    assert [batch.num_rows for batch in batches_of(file, 400)] == [20] * 20


def test_no_more_rows_come_at_once_than_were_asked_for() -> None:
    assert [batch.num_rows for batch in batches_of(written(pa.table({"n": range(5)})), 1)] == [1] * 5
    assert [batch.num_rows for batch in batches_of(written(pa.table({"n": range(5)})), 2)] == [2, 2, 1]


def test_rows_that_share_a_long_text_come_in_parts_that_take_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_files, "_BATCH_BYTES", 2500)
    for rows in range(9):
        texts = [letter * 1000 for letter in "abbabaaab"[:rows]]
        parts = [batch.column("text").to_pylist() for batch in batches_of(written(pa.table({"text": texts})), 99)]
        assert [text for part in parts for text in part] == texts
        assert all(len(part) in (1, 2) for part in parts)
    two = written(pa.table({"text": ["a" * 1000] * 2}))
    for limit, parts in ((2000, [2]), (1999, [1, 1])):
        monkeypatch.setattr(parquet_files, "_BATCH_BYTES", limit)
        assert [batch.num_rows for batch in batches_of(two, 99)] == parts


def test_a_part_of_rows_with_maps_takes_what_its_own_pairs_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_files, "_BATCH_BYTES", 2100)
    pairs = pa.array([[("word", "x" * 1000)]] * 8, pa.map_(pa.string(), pa.string()))
    assert [batch.num_rows for batch in batches_of(written(pa.table({"pairs": pairs})), 99)] == [2, 2, 2, 2]


@pytest.mark.parametrize(("limit", "is_coded"), [(60 * 504 - 1, True), (60 * 504, False)])
def test_texts_stay_codes_where_a_batch_of_them_may_come_to_much(
    limit: int, is_coded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["w" * 500] * 60  # a dictionary of 504 bytes
    lists = pa.table({"x": [words[:30], words[30:]]})  # one row may have all values
    structures = pa.table({"x": [{"word": word} for word in words]})
    monkeypatch.setattr(parquet_files, "_BATCH_BYTES", limit)
    for table, rows in ((lists, 2), (structures, 60), (structures, 9)):
        (batch, *_) = batches_of(written(table, store_schema=False), rows, held=False)
        kind = batch.schema.field("x").type.field(0).type
        assert pa.types.is_dictionary(kind) is (is_coded and rows != 9), (rows, kind)
        assert batch.to_pylist() == table.to_pylist()[: batch.num_rows]


def test_rows_that_are_held_may_take_the_limit_and_no_byte_more(monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(pa.table({"text": ["x" * 1000] * 50}))
    takes = weight_of(file, 99, ["text"])
    assert takes >= 50_000
    monkeypatch.setattr(parquet_files, "_TIMES", 0)
    for limit, is_held in ((takes, True), (takes - 1, False)):
        monkeypatch.setattr(parquet_files, "FLOOR_BYTES", limit)
        assert sum(batch.num_rows for batch in batches_of(file, 99, held=is_held)) == 50
    with pytest.raises(TooMuchError, match=f"^it takes {shown(takes)} unpacked"):
        list(batches_of(file, 99))


def test_a_small_table_may_have_a_million_rows() -> None:
    million, more = (written(pa.table({"n": pa.nulls(rows, pa.int8())})) for rows in (1 << 20, (1 << 20) + 1))
    assert weight_of(million, 1 << 20, ["n"]) >= 1 << 20
    with pytest.raises(TooMuchError, match=r"^it claims 1,048,577 rows in"):
        weight_of(more, 1 << 20, ["n"])


def test_a_table_may_have_as_many_rows_as_the_limit_and_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [
        row for batch in batches_of(written(pa.table({"n": pa.array([], "i8")})), 9) for row in rows_of(batch)
    ] == []
    file = written(pa.table({"n": [1] * 1200}))
    monkeypatch.setattr(parquet_files, "_ROWS_TIMES", 0)
    monkeypatch.setattr(parquet_files, "_ROWS", 1200)
    assert sum(batch.num_rows for batch in batches_of(file, 1200)) == 1200
    monkeypatch.setattr(parquet_files, "_ROWS", 1199)
    with pytest.raises(TooMuchError, match=rf"^it claims 1,200 rows in {len(file.getvalue()):,} bytes$"):
        list(batches_of(file, 1200))


def test_texts_that_repeat_bytes_of_others_are_not_decoded_to_learn_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    data = written(pa.table({"text": ["x" * 100] * 50})).getvalue()
    (group,) = groups_of(data, len(data))
    # as if some of its pages were of differences, and others of codes: no writer here makes that
    mixed = dataclasses.replace(group.claims[0], prefixed=True)
    assert read_whole(data, ["text"], mixed.most - 1).num_rows == 50
    monkeypatch.setattr(parquet_files, "groups_of", lambda *_: [dataclasses.replace(group, claims=(mixed,))])
    with pytest.raises(TooMuchError, match=f"^it takes {shown(mixed.most)} unpacked"):
        read_whole(data, ["text"], mixed.most - 1)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.list_(pa.int64()), [1, 2]),
        (pa.large_list(pa.string()), ["a"]),
        (pa.list_(pa.struct([("a", pa.string())])), [{"a": "b"}]),
        (pa.map_(pa.string(), pa.int64()), [("a", 1)]),
    ],
)
def test_a_list_takes_eight_bytes_besides_its_values(kind: pa.DataType, value: object) -> None:
    one, three = (written(pa.table({"x": pa.array(values, kind)})) for values in ([value], [[], value, []]))
    assert weight_of(three, 9, ["x"]) == weight_of(one, 9, ["x"]) + 2 * 8


def _plain(**columns: pa.Array) -> io.BytesIO:
    """A file of columns without nulls, texts as often as they occur."""
    schema = pa.schema([pa.field(name, array.type, nullable=False) for name, array in columns.items()])
    encodings = {name: "PLAIN" for name, array in columns.items() if not pa.types.is_list(array.type)}
    lists = {f"{name}.list.element": "DELTA_BYTE_ARRAY" for name in columns if name == "words"}
    return written(pa.table(columns, schema), use_dictionary=False, column_encoding={**encodings, **lists} or None)


@pytest.mark.parametrize(("values", "takes"), [(pa.array(range(10)), 80), (pa.array(["abc"] * 10), 70)])
def test_a_file_of_ours_may_take_the_limit_and_no_byte_more(values: pa.Array, takes: int) -> None:
    data = _plain(x=values).getbuffer()
    assert read_whole(data, ["x"], takes).column("x").to_pylist() == values.to_pylist()
    with pytest.raises(TooMuchError, match=f"^it takes {takes} B unpacked, and the limit is {takes - 1} B$"):
        read_whole(data, ["x"], takes - 1)


def test_texts_count_beside_values_that_take_all_of_the_limit() -> None:
    data = written(pa.table({"n": range(10), "text": ["abc"] * 10}), use_dictionary=["text"]).getbuffer()
    (group,) = groups_of(data, len(data))
    with pytest.raises(TooMuchError):
        read_whole(data, ["n", "text"], group.claims[0].most)


NUMBERS, WORDS = [[1, 2], [3], [4, 5, 6]], [["a", "b"], ["c"], ["d"] * 3]


@pytest.mark.parametrize(
    ("file", "each"),
    [
        (_plain(n=pa.array(range(6))), 8),
        (_plain(n=pa.array(range(3)), lists=pa.array(NUMBERS)), 16 + 8),
        (_plain(n=pa.array(range(3)), words=pa.array(WORDS)), None),
    ],
)
def test_values_may_take_the_limit_and_no_byte_more(
    file: io.BytesIO, each: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_files, "_TIMES", 0)
    (group,) = groups_of(file, len(file.getvalue()))
    claim = group.claims[-1]
    assert claim.values == 6
    # where texts repeat bytes of those before them, each may have all bytes of its page
    takes = claim.bytes + 6 * (16 + claim.largest if each is None else each)
    monkeypatch.setattr(parquet_files, "FLOOR_BYTES", takes)
    assert sum(batch.num_rows for batch in batches_of(file, 9)) == group.rows
    monkeypatch.setattr(parquet_files, "FLOOR_BYTES", takes - 1)
    with pytest.raises(TooMuchError, match=f"^it takes {takes} B unpacked, and the limit is {takes - 1} B$"):
        list(batches_of(file, 9))


def test_the_largest_pages_of_all_columns_lie_in_memory_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    text, number = pa.array(["x" * 400] * 3), pa.array(range(3))
    schema = pa.schema([pa.field("text", text.type, nullable=False), pa.field("n", number.type, nullable=False)])
    file = written(pa.table([text, number], schema), use_dictionary=["text"], compression="none")
    takes = 2 * (4 + 400) + 8 * 3 + 8  # the dictionary as a page and as values, and the page of numbers
    monkeypatch.setattr(parquet_files, "_PAGES_TIMES", 0)
    for limit in (takes, takes - 1):
        monkeypatch.setattr(parquet_files, "_PAGES_BYTES", limit)
        if limit == takes:
            assert sum(batch.num_rows for batch in batches_of(file, 9)) == 3
        else:
            with pytest.raises(TooMuchError, match=f"^it takes {takes} B unpacked, and the limit is {limit} B$"):
                list(batches_of(file, 9))
    monkeypatch.setattr(parquet_files, "_PAGES_BYTES", 0)
    monkeypatch.setattr(parquet_files, "_PAGES_TIMES", 8)
    assert sum(batch.num_rows for batch in batches_of(file, 9)) == 3  # a large file may have large pages
    small = written(pa.table({"text": ["x" * 100_000]}), compression="zstd")
    told = f"it takes {shown(2 * 100_004)} unpacked, and the limit is {shown(8 * len(small.getvalue()))}"
    with pytest.raises(TooMuchError, match=f"^{told}$"):
        list(batches_of(small, 9))
