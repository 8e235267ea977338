"""Laws of added columns: the join is that of a dictionary, any order of a table gives the same files, and documents read back."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wdstools as wt
from tests.support.added_columns import keys_of, values_in
from tests.support.city_pairs import write_city_pairs
from tests.support.outcome import contents
from wdstools.errors import FormatError
from wdstools.executors.local import Serial
from wdstools.formats.columns import RESERVED, ColumnField, ColumnSet, ColumnShard, dumps, is_field_name, loads
from wdstools.ops.columns.join import join
from wdstools.ops.columns.place import Places
from wdstools.ops.columns.table import open_table
from wdstools.stores.local import LocalStore

VALUES: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "number": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "small": (pa.float32(), st.floats(width=32)),
    "wide": (pa.float64(), st.floats()),
    "text": (pa.string(), st.text(max_size=8)),
    "truth": (pa.bool_(), st.booleans()),
    "vector": (pa.list_(pa.float32(), 3), st.lists(st.floats(width=32), min_size=3, max_size=3)),
}


@pytest.fixture(scope="module", name="packed")
def _packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("columns")
    wt.pack(write_city_pairs(work / "source", train=10, val=3), work / "packed", shard_samples=4, executor=Serial())
    return work / "packed"


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[int], list[dict[str, Any]], list[str]]:
    """Which of 13 samples have a row, what the rows say, and the fields."""
    fields = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=3, unique=True))
    which = draw(st.lists(st.integers(0, 12), min_size=1, max_size=13, unique=True))
    row = st.fixed_dictionaries({name: st.none() | VALUES[name][1] for name in fields})
    return which, draw(st.lists(row, min_size=len(which), max_size=len(which))), fields


def same(one: Any, other: Any) -> bool:
    """Equal, and not-a-number is itself."""
    if isinstance(one, list) and isinstance(other, list):
        return all(map(same, one, other))
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return bool(one == other) and type(one) is type(other)


def as_table(keys: list[str], rows: list[dict[str, Any]], fields: list[str]) -> pa.Table:
    """The rows as a table."""
    columns = {name: pa.array([row[name] for row in rows], VALUES[name][0]) for name in fields}
    return pa.table({"key": pa.array(keys, pa.string()), **columns})


@settings(max_examples=15)
@given(table=tables(), data=st.data())
def test_the_join_is_that_of_a_dictionary_whatever_the_order(
    packed: Path, table: tuple[list[int], list[dict[str, Any]], list[str]], data: st.DataObject
) -> None:
    which, rows, fields = table
    known = keys_of(packed)
    keys = [known[number] for number in which]
    order = data.draw(st.permutations(range(len(keys))))
    wanted = dict(zip(keys, rows, strict=True))
    dataset, made = wt.open_dataset(packed), []
    for turn, held in ((range(len(keys)), 1 << 30), (order, 1)):
        source = open_table(as_table([keys[n] for n in turn], [rows[n] for n in turn], fields), None, None)
        places = Places(dataset, source, join(source, dataset, Serial(), lambda _: None), "law", held=held)
        assert places.parts == (1 if held > 1 else len(dataset.manifest.shards))
        with tempfile.TemporaryDirectory(dir=packed.parent) as work:
            columns = places.write(work, lambda _: None)
            found = values_in(LocalStore(work), columns)
            made.append((columns, contents(Path(work))))
        assert list(found) == known
        for key in known:
            expected = wanted.get(key, dict.fromkeys(fields))
            assert all(same(found[key][name], expected[name]) for name in fields)
    assert made[0] == made[1]


KINDS = st.sampled_from(["bool", "int64", "float32", "float64", "string", "float32[7]", "float64[65536]"])
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,10}", fullmatch=True).filter(
    lambda name: is_field_name(name) and name not in RESERVED
)
HEX = st.text("0123456789abcdef", min_size=64, max_size=64)


@st.composite
def sets(draw: st.DrawFn) -> ColumnSet:
    """A set of columns."""
    names = sorted(draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)))
    paths = draw(st.lists(st.integers(0, 99).map("train/train-{:06d}.tar".format), max_size=4, unique=True))
    shards = []
    for path in paths:
        rows = draw(st.integers(0, 2**40))
        nulls = tuple(draw(st.integers(0, rows)) for _ in names)
        shards.append(ColumnShard(path, draw(st.integers(0, 2**40)), draw(HEX), rows, nulls))
    fields = tuple(ColumnField(name, draw(KINDS)) for name in names)
    return ColumnSet(draw(NAMES), draw(HEX), fields, tuple(shards))


@given(columns=sets())
def test_a_document_reads_back(columns: ColumnSet) -> None:
    assert loads(dumps(columns)) == columns


@given(columns=sets(), data=st.data())
def test_a_changed_document_is_the_same_set_in_no_other_form(columns: ColumnSet, data: st.DataObject) -> None:
    """Whatever is accepted has one form: nothing else can be hidden in it."""
    document = bytearray(dumps(columns))
    at = data.draw(st.integers(0, len(document) - 1))
    document[at] = data.draw(st.integers(0, 255))
    try:
        written = dumps(loads(bytes(document)))
    except FormatError:
        written = None
    assert written in (None, bytes(document))


@given(document=st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=3) | st.integers(), st.lists))
def test_any_other_json_is_refused(document: Any) -> None:
    with pytest.raises(FormatError):
        loads(json.dumps(document).encode())


def test_a_list_of_numbers_has_at_most_65536() -> None:
    """As FORMAT.md says."""
    assert ColumnField("x", "float32[65536]").arrow.list_size == 65_536
    with pytest.raises(ValueError, match="not a type of field"):
        _ = ColumnField("x", "float32[65537]").arrow
