"""Files and documents of added columns at their limits: what is too large, or not what it claims, is refused."""

from __future__ import annotations

import dataclasses
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wdstools.checks.columns import _lines
from wdstools.errors import FormatError, UnsupportedVersionError, UsageError
from wdstools.formats import column_files
from wdstools.formats.column_files import (
    aligned,
    described,
    read_columns,
    refuse_too_large,
    schema_of,
    size_of,
    write_columns,
)
from wdstools.formats.columns import ColumnField, ColumnSet, column_path, dumps, is_column_file, loads

if TYPE_CHECKING:
    from collections.abc import Callable

SHARD = "train/train-000000.tar"
FIELDS = (ColumnField("score", "float64"), ColumnField("text", "string"), ColumnField("vector", "float32[2]"))
TABLE = pa.table(
    {
        "key": ["a", "b", "c"],
        "score": [1.5, None, 2.0],
        "text": ["same", "same", None],
        "vector": pa.array([[1, 2], None, [3, 4]], pa.list_(pa.float32(), 2)),
    }
)


def _written(table: pa.Table = TABLE) -> tuple[bytes, ColumnSet]:
    data = write_columns(table, FIELDS)
    shard = described(SHARD, TABLE, data, FIELDS)
    return data, ColumnSet("scores", "0" * 64, FIELDS, (shard,))


def _read(data: bytes, columns: ColumnSet, *names: str) -> pa.Table:
    return read_columns(data, columns, columns.shards[0], names)


def test_what_is_read_is_what_was_written() -> None:
    data, columns = _written()
    assert columns.shards[0].nulls == (1, 1, 1)
    names = ["text", "key", "vector", "score"]
    assert _read(data, columns, *names).to_pylist() == TABLE.select(names).to_pylist()
    assert [columns.field(field.name) for field in FIELDS] == list(FIELDS)
    with pytest.raises(KeyError, match="other"):
        columns.field("other")


def test_bytes_that_are_not_those_of_the_document_or_no_text_are_refused() -> None:
    columns = _written()[1]
    with pytest.raises(FormatError, match="not those that were written"):
        _read(_written(TABLE.slice(0, 2))[0], columns, "score")
    ends = pa.py_buffer(np.array([0, 1, 2, 3], np.int32))
    broken = pa.Array.from_buffers(pa.string(), 3, [None, ends, pa.py_buffer(b"a\xffb")])
    for name in ("text", "key"):
        other = _written(TABLE.set_column(TABLE.column_names.index(name), name, broken))[0]
        sound = dataclasses.replace(columns, shards=(described(SHARD, TABLE, other, FIELDS),))
        with pytest.raises(FormatError) as told:
            _read(other, sound, name)
        assert told.value.code == "columns-damaged"
        assert _read(other, sound, "score").num_rows == 3


def test_a_line_that_is_missing_from_the_list_is_told_from_one_that_differs() -> None:
    columns = _written()[1]
    sums = columns.files()
    assert _lines(columns, sums) == []
    for path in sums:
        others = {other: digest for other, digest in sums.items() if other != path}
        (missing,) = _lines(columns, others)
        assert (missing.cause, missing.field, missing.got) == ("line-missing", path, None)
        assert "no line" in missing.message
        (differs,) = _lines(columns, {**others, path: "0" * 64})
        assert (differs.cause, differs.field, differs.got) == ("line-differs", path, "0" * 64)


def test_more_or_fewer_rows_than_the_document_says_are_refused() -> None:
    for rows in (2, 4):
        data, columns = _written()
        other = dataclasses.replace(columns.shards[0], rows=rows)
        with pytest.raises(FormatError, match=r"rows|values"):
            read_columns(data, columns, other, ["text"])
    data, columns = _written()
    with pytest.raises(FormatError, match="columns"):
        _read(data, dataclasses.replace(columns, fields=FIELDS[:2]), "text")


@pytest.mark.parametrize(
    ("name", "lists", "why"),
    [
        ("vector", [[1, 2, 3]] * 3, "column vector claims 9 values, not 6"),
        ("vector", [[0.0] * 9, None, None], "column vector claims 11 values, not 6"),
        ("text", [["a", "b"]] * 3, "column text claims 6 values, not 3"),
        ("score", [[], [1.5, 2.5], [1.0]], "column score claims 4 values, not 3"),
    ],
)
def test_lists_of_more_values_than_their_rows_have_are_refused_unread(name: str, lists: list[Any], why: str) -> None:
    sink, table = pa.BufferOutputStream(), TABLE
    for column, values in (("vector", TABLE.column("vector").to_pylist()), (name, lists)):
        table = table.set_column(table.column_names.index(column), column, pa.array(values))
    pq.write_table(table, sink)
    data = sink.getvalue().to_pybytes()
    with pytest.raises(FormatError, match=why):
        read_columns(data, _written()[1], described(SHARD, TABLE, data, FIELDS), [name])


def test_every_row_of_a_file_has_a_key() -> None:
    table = TABLE.cast(schema_of(FIELDS))
    data, columns = _written(table)
    for schema in (pq.read_schema(io.BytesIO(data)), _read(data, columns, *table.column_names).schema):
        assert [field.name for field in schema if not field.nullable] == ["key"]
    with pytest.raises(ValueError, match="null"):
        TABLE.set_column(0, "key", pa.array(["a", None, "b"])).cast(schema_of(FIELDS))


def test_a_file_may_hold_two_gibibytes() -> None:
    refuse_too_large(2 << 30)
    with pytest.raises(UsageError) as told:
        refuse_too_large((2 << 30) + 1)
    assert told.value.code == "columns-too-large"


def test_no_more_is_written_or_read_than_a_file_may_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    data, columns = _written()
    texts = pa.compute.sum(pa.compute.binary_length(TABLE["text"])).as_py()
    monkeypatch.setattr(column_files, "MAX_COLUMNS_BYTES", texts)
    with pytest.raises(FormatError, match="the limit is 9 B"):
        _read(data, columns, "vector", "score", "key")
    assert texts == 8
    refuse_too_large(texts)
    with pytest.raises(UsageError) as told:
        refuse_too_large(texts + 1)
    assert told.value.code == "columns-too-large"
    with pytest.raises(UsageError):
        write_columns(TABLE, FIELDS)


TEXTS = st.lists(st.none() | st.integers(0, 400).map("ab ".__mul__), min_size=1, max_size=9)


@given(st.integers(60, 300), TEXTS, st.sampled_from(["bool", "int64", "float64", "float32", "float32[3]", "float32[64]"]), st.booleans())  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_what_is_written_is_read(rows: int, texts: list[str | None], kind: str, gaps: bool) -> None:
    rng = np.random.default_rng(rows)
    fields = (ColumnField("number", kind), ColumnField("text", "string"))
    wanted = fields[0].arrow
    each: Callable[[], object] = (
        (lambda: rng.random(fields[0].width).tolist()) if "[" in kind else lambda: kind == "bool" or 1
    )
    table = pa.table({
        "key": [f"{number:08d}" for number in range(rows)],
        "number": pa.array([None if gaps and rng.random() < 0.5 else each() for _ in range(rows)], wanted),
        "text": pa.array([texts[number % len(texts)] for number in range(rows)], pa.string()),
    })  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(column_files, "MAX_COLUMNS_BYTES", table.nbytes)
        data = write_columns(table, fields)
        shard = described(SHARD, table, data, fields)
        read = read_columns(data, ColumnSet("scores", "0" * 64, fields, (shard,)), shard, table.column_names)
    assert read.to_pylist() == table.to_pylist()


def test_how_many_bytes_values_take_at_least() -> None:
    kinds = {"float64": 24, "int64": 24, "float32": 12, "string": 0, "float32[5]": 60}
    assert {kind: size_of(3, [ColumnField("a", kind)]) for kind in kinds} == kinds
    assert size_of(0, FIELDS) == 0
    assert size_of(1, FIELDS) == 16


@pytest.mark.parametrize("large", [1e39, -1e39])
def test_a_number_that_is_too_large_for_its_field_is_refused_and_infinity_is_kept(large: float) -> None:
    good = [1.0, None, np.inf, -np.inf]
    assert aligned(pa.array(good), pa.float32()) == pa.array(good, pa.float32())
    with pytest.raises(ValueError, match="too large"):
        aligned(pa.array([1.0, large]), pa.float32())
    with pytest.raises(ValueError, match="too large"):
        aligned(pa.array([[1.0, large]]), pa.list_(pa.float32(), 2))


def test_numbers_of_other_kinds_become_those_of_the_field() -> None:
    for numbers in (pa.array([1, None]), pa.array(["1", None]), pa.array([1.0, None])):
        assert aligned(numbers, pa.float32()).to_pylist() == [1.0, None]


def test_lists_of_any_kind_become_those_of_the_field() -> None:
    kind = pa.list_(pa.float32(), 2)
    wanted = pa.array([[1, 2], None, [3, 4]], kind)
    values = [[1.0, 2.0], None, [3.0, 4.0]]
    for other in (pa.list_(pa.float64()), pa.large_list(pa.float32()), pa.list_(pa.float64(), 2), pa.list_(pa.int64())):
        assert aligned(pa.array(values, other), kind).to_pylist() == wanted.to_pylist()
    assert aligned(pa.nulls(2), kind).to_pylist() == [None, None]
    assert aligned(pa.chunked_array([wanted, wanted.slice(0, 1)]), kind).to_pylist() == [*wanted.to_pylist(), [1, 2]]
    for bad, why in [
        ([[1.0]], "has 1"),
        ([[1.0, 2.0], [1.0, 2.0, 3.0]], "has 3"),
        ([[1.0, None]], "missing"),
        ([1.0], "not a"),
    ]:
        with pytest.raises(ValueError, match=why):
            aligned(pa.array(bad), kind)
    with pytest.raises(ValueError, match="has 3"):
        aligned(pa.array([[1.0, 2.0, 3.0]], pa.list_(pa.float64(), 3)), kind)
    with pytest.raises(ValueError, match="missing"):
        aligned(pa.array([None, [1.0, None]], kind), kind)


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        (".wdstools/columns/scores.json", True),
        (".wdstools/columns/scores/train/train-000000.parquet", True),
        (".wdstools/columns/scores", False),
        (".wdstools/columns/scores.txt", False),
        (".wdstools/columns/.json", False),
        (".wdstools/columns/a b.json", False),
        (".wdstools/columns/SHA256SUMS", False),
        (".wdstools/columns/scores/x.tar", False),
        (".wdstools/columns/scores/../x.parquet", False),
        ("scores.json", False),
        ("scores/train.parquet", False),
        ("columns/scores.json", False),
    ],
)
def test_a_file_of_a_set_is_told_by_its_path(path: str, is_one: bool) -> None:
    assert is_column_file(path) is is_one
    assert is_column_file(column_path("scores", SHARD))


def _changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    """A document with a change, in canonical form otherwise."""
    document = json.loads(dumps(_written()[1]))
    change(document)
    shards = ",\n".join(json.dumps(one, sort_keys=True, separators=(",", ":")) for one in document.pop("shards"))
    return f'{json.dumps(document, sort_keys=True, separators=(",", ":"))[:-1]},"shards":[\n{shards}\n]}}\n'.encode()


def _fields(*names: str) -> Callable[[dict[str, Any]], object]:
    def change(document: dict[str, Any]) -> None:
        document["fields"] = [{"name": name, "type": "int64"} for name in names]
        document["shards"][0]["nulls"] = [0] * len(names)

    return change


def test_a_document_is_read_back_or_refused() -> None:
    columns = _written()[1]
    assert loads(dumps(columns)) == columns
    abroad = dataclasses.replace(columns, shards=(dataclasses.replace(columns.shards[0], path="zürich/0.tar"),))
    assert '"zürich/0.tar"'.encode() in dumps(abroad)
    assert loads(dumps(abroad)) == abroad
    many = [f"f{number:03}" for number in range(257)]
    assert len(loads(_changed(_fields(*many[:256]))).fields) == 256
    for change in (
        *(_fields(), _fields("b", "a"), _fields("a", "a"), _fields("key"), _fields("9 x"), _fields(*many)),
        *(lambda d: d.update(name="a b"), lambda d: d.update(root="0" * 63), lambda d: d.update(format=0)),
        *(lambda d: d.update(format=True), lambda d: d.update(more=1), lambda d: d["shards"].append(d["shards"][0])),
        *(lambda d: d["shards"][0].update(rows=-1), lambda d: d["shards"][0].update(nulls=[1, 1])),
        lambda d: d["fields"][0].update(type="decimal"),
        *(lambda d, size=size: d["shards"][0].update(bytes=size) for size in (-1, 2**53, True, 1.0)),
    ):
        with pytest.raises(FormatError) as told:
            loads(_changed(change))
        assert told.value.code == "columns-damaged"
    with pytest.raises(UnsupportedVersionError):
        loads(_changed(lambda document: document.update(format=2)))
    with pytest.raises(FormatError):
        loads(dumps(columns)[:-1])
