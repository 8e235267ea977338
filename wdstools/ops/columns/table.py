"""The table that columns come from: Parquet, CSV, TSV, JSON or JSON lines; read in batches, as often as needed."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wdstools.errors import SourceChangedError, UsageError, option
from wdstools.formats.arrow import one_chunk
from wdstools.formats.column_files import aligned, size_of
from wdstools.formats.columns import MAX_FIELDS, MAX_WIDTH, ColumnField, is_field_name
from wdstools.ops.columns.kinds import JsonText, Kinds, value_of
from wdstools.ops.columns.parquet_table import is_text, parquet_batches, schema_of_file, text_size
from wdstools.sources.rows import BadRow, damaged, read_rows
from wdstools.stores.local import buffered_plain, translated

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from wdstools.options.declare import StrPath

#: The default names of the column of keys.
_KEYS = ("key", "__key__")
_BATCH_ROWS = 1 << 14
_SUPPORTED = "bool, whole numbers, floats, text, and lists of floats, all of one length"


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its column of keys and its fields. ``stamp`` is the size and time of its file when they were read.

    ``texts``: its values are text or JSON rather than Parquet or Arrow. ``empty`` are fields without any values;
    ``in_memory`` is the table itself if it is not in a file.
    """

    path: str
    key: str
    fields: tuple[ColumnField, ...]
    texts: bool = False
    stamp: tuple[int, int] = (0, 0)
    in_memory: pa.Table | None = None
    empty: frozenset[str] = frozenset()

    @property
    def size(self) -> int:
        """The approximate size of its values in bytes."""
        if self.in_memory is not None:
            return int(self.in_memory.nbytes)
        if self.texts:
            return self.stamp[0]
        texts = [field.name for field in self.fields if field.kind == "string"]
        with translated(self.path), buffered_plain(self.path) as file:
            rows: int = pq.ParquetFile(file).metadata.num_rows
            size = size_of(rows, self.fields)
            return size + text_size(file, self.path, texts)

    def key_batches(self) -> Iterator[list[str]]:
        """The keys, batch by batch."""
        first = 0
        for batch in self._batches([self.key]):
            yield self._keys_of(batch, first).to_pylist()
            first += batch.num_rows

    def batches(self) -> Iterator[pa.Table]:
        """``key`` and the fields, batch by batch; raises UsageError (``columns-unsupported``) for what does not fit."""
        schema = pa.schema([pa.field("key", pa.string()), *(pa.field(f.name, f.arrow) for f in self.fields)])
        first = 0
        for batch in self._batches([self.key, *(field.name for field in self.fields if field.name != self.key)]):
            arrays = [self._keys_of(batch, first)]
            for field in self.fields:
                try:
                    arrays.append(aligned(batch.column(field.name), field.arrow))
                except (ValueError, pa.ArrowException) as error:
                    raise unsupported(self.path, field.name, str(error)) from None
            yield pa.Table.from_arrays(arrays, schema=schema)
            first += batch.num_rows
        self._check_same()

    def _keys_of(self, batch: pa.Table, first: int) -> pa.Array:
        column = one_chunk(batch.column(self.key))
        if not is_text(column.type):
            raise unsupported(self.path, self.key, f"keys must be text, and this is {column.type}")
        column = column.cast(pa.string())
        if column.null_count:
            row = first + int(np.flatnonzero(~np.asarray(column.is_valid().to_pylist(), bool))[0])
            raise UsageError(
                "a row has no key", code="columns-key", where=f"{self.path}, row {row + 1}", got=f"column {self.key}"
            )
        return column

    def _batches(self, names: Sequence[str]) -> Iterator[pa.Table]:
        if self.in_memory is not None:
            yield from map(pa.Table.from_batches, ([b] for b in self.in_memory.select(names).to_batches(_BATCH_ROWS)))
        elif self.texts:
            yield from self._rows(names)
        else:
            with translated(self.path), buffered_plain(self.path) as file:
                yield from parquet_batches(file, self.path, names)

    def _rows(self, names: Sequence[str]) -> Iterator[pa.Table]:
        kinds = {field.name: field for field in self.fields}
        for rows in _numbered(self.path):
            arrays = []
            for name in names:
                values = [row.get(name) for _, row in rows]
                field = kinds.get(name)
                if field is None or name == self.key:
                    arrays.append(pa.array([None if v is None else str(v) for v in values], pa.string()))
                    continue
                try:
                    # converted to float32 later, where numbers that are too large are found
                    kind = ColumnField(name, field.kind.replace("float32", "float64")).arrow
                    arrays.append(pa.array([value_of(value, field.kind) for value in values], kind))
                except (ValueError, TypeError, KeyError, pa.ArrowException) as error:
                    raise unsupported(self.path, name, str(error)) from None
            yield pa.Table.from_arrays(arrays, names=list(names))

    def _check_same(self) -> None:
        if self.in_memory is None and self.stamp != _stamp(self.path):
            raise SourceChangedError(
                "the table changed while it was read",
                where=self.path,
                hint="run the same command again; nothing was changed",
            )


def open_table(given: StrPath | pa.Table, key: str | None, fields: Sequence[str] | None) -> Table:
    """A table, with its column of keys and the wanted fields: all others, or those in ``fields``.

    Raises UsageError (``table-columns``, ``columns-unsupported``, ``columns-name``), FormatError (``table-damaged``), and
    StoreError.
    """
    if isinstance(given, pa.Table):
        return _of_schema(Table("table", "", (), in_memory=given), given.schema, key, fields)
    path = os.fspath(given)
    with translated(path):
        stamp = _stamp(path)
    if path.lower().endswith(".parquet"):
        with translated(path), buffered_plain(path) as file:
            schema = schema_of_file(file, path)
        return _of_schema(Table(path, "", (), stamp=stamp), schema, key, fields)
    kinds = _kinds_of_rows(path)
    chosen_key, names = _chosen(list(kinds), path, key, fields)
    found = []
    for name in names:
        kind = kinds[name].kind()
        if kind is None:
            raise unsupported(path, name, kinds[name].why())
        found.append(ColumnField(name, kind))
    empty = frozenset(name for name in names if kinds[name].is_empty)
    return Table(path, chosen_key, tuple(found), texts=True, stamp=stamp, empty=empty)


def unsupported(path: str, name: str, got: str) -> UsageError:
    """The error for values that no field can hold."""
    return UsageError(
        "a column holds values that cannot be added",
        code="columns-unsupported",
        where=f"{path}, column {name}",
        expected=_SUPPORTED,
        got=got.partition("\n")[0][:200],
        hint=f"choose other columns with {option('fields')}, or change this one; nothing was changed",
    )


def _of_schema(table: Table, schema: pa.Schema, key: str | None, wanted: Sequence[str] | None) -> Table:
    chosen_key, names = _chosen(schema.names, table.path, key, wanted)
    table = replace(table, key=chosen_key)
    found = []
    for name in names:
        kind = schema.field(name).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        word = _word_of(kind)
        if word is None and _is_list(kind) and _is_float(kind.value_type):
            width = kind.list_size if pa.types.is_fixed_size_list(kind) else _first_length(table, name)
            if not 0 < width <= MAX_WIDTH:
                raise unsupported(table.path, name, f"lists of {width:,} numbers")
            word = f"{_word_of(kind.value_type)}[{width}]"
        if word is None:
            raise unsupported(table.path, name, str(kind))
        if pa.types.is_uint64(kind):
            _refuse_beyond(table, name)
        found.append(ColumnField(name, word))
    return replace(table, fields=tuple(found))


def _refuse_beyond(table: Table, name: str) -> None:
    """Refuse integers beyond int64, which only uint64 can hold, before a plan is shown."""
    for batch in table._batches([name]):  # noqa: SLF001  its own module
        try:
            one_chunk(batch.column(name)).cast(pa.int64())
        except (ValueError, pa.ArrowException) as error:
            raise unsupported(table.path, name, str(error)) from None


def _chosen(names: Sequence[str], path: str, key: str | None, wanted: Sequence[str] | None) -> tuple[str, list[str]]:
    """The column of keys, and the fields, sorted."""
    if len(set(names)) != len(names):
        raise UsageError("a column is given twice", code="table-columns", where=path, got=", ".join(names)[:200])
    found = key or next((name for name in _KEYS if name in names), None)
    if found is None or found not in names:
        raise UsageError(
            "the table has no column of keys" if key is None else "the table has no such column",
            code="table-columns",
            where=path,
            expected=", ".join(names)[:200],
            got=key or "no column called key",
            hint=f"{option('key_column', 'NAME')} says which one holds the samples' keys",
        )
    chosen = [name for name in names if name != found] if wanted is None else list(dict.fromkeys(wanted))
    if missing := [name for name in chosen if name not in names]:
        raise UsageError(
            "the table has no such column",
            code="table-columns",
            where=f"{path}, {option('fields')}",
            expected=", ".join(names)[:200],
            got=missing[0],
        )
    if not 0 < len(chosen) <= MAX_FIELDS:
        raise UsageError(
            "the table has no columns to add" if not chosen else "the table has too many columns for one set",
            code="table-columns",
            where=path,
            expected=f"1 to {MAX_FIELDS} columns in addition to the keys",
            got=str(len(chosen)),
        )
    for name in chosen:
        if not is_field_name(name):
            raise UsageError(
                "a column cannot have this name",
                code="columns-name",
                where=f"{path}, column {name[:80]!r}",
                expected="letters, digits and _, a letter first, at most 64, not a Python keyword",
                hint=f"rename it, or choose others with {option('fields')}",
            )
    return found, sorted(chosen)


def _stamp(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


def _first_length(table: Table, name: str) -> int:
    """The length of the first list in a column; 0 if there is none."""
    for batch in table._batches([name]):  # noqa: SLF001  its own module
        lengths = one_chunk(batch.column(name)).drop_null().value_lengths()
        if len(lengths):
            return int(lengths[0].as_py())
    return 0


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_float(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind))


def _word_of(kind: pa.DataType) -> str | None:
    """The name of a scalar type as a field."""
    if pa.types.is_boolean(kind):
        return "bool"
    if pa.types.is_integer(kind):
        return "int64"
    if pa.types.is_float64(kind):
        return "float64"
    if _is_float(kind):
        return "float32"
    return "string" if is_text(kind) else None


def _numbered(path: str) -> Iterator[list[tuple[int, Mapping[str, Any]]]]:
    """The rows of a table of text or JSON, in batches; raises FormatError for a row that cannot be read."""
    rows: list[tuple[int, Mapping[str, Any]]] = []
    with translated(path), buffered_plain(path) as file:
        for number, row in read_rows(file, path):
            if isinstance(row, BadRow):
                raise damaged(f"{path}, row {number}", row.detail)
            rows.append((number, row))
            if len(rows) >= _BATCH_ROWS:
                yield rows
                rows = []
    if rows:
        yield rows


def _kinds_of_rows(path: str) -> dict[str, Kinds]:
    is_delimited = path.rpartition(".")[2].lower() not in ("json", "jsonl", "ndjson")
    found: dict[str, Kinds] = {}
    for rows in _numbered(path):
        for _, row in rows:
            for name, value in row.items():
                kinds = found.setdefault(name, Kinds())
                if is_delimited or not isinstance(value, str):
                    kinds.note(value)
                else:
                    kinds.note(JsonText(value))
    return found
