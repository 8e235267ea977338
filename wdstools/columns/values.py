"""The values of added columns, shard by shard, checked against the set that lists their files."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

from wdstools.columns.sets import find_fields
from wdstools.columns.waiting import in_place_or_waiting
from wdstools.errors import NotFoundError
from wdstools.formats.arrow import one_chunk
from wdstools.formats.column_files import MAX_COLUMNS_BYTES, read_columns
from wdstools.formats.columns import column_path, damaged

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    import pyarrow as pa

    from wdstools.columns.sets import Field
    from wdstools.dataset import Dataset
    from wdstools.formats.columns import ColumnSet
    from wdstools.formats.manifest import ShardEntry
    from wdstools.stores.base import Store


def shard_values(store: Store, columns: ColumnSet, path: str, names: Sequence[str]) -> pa.Table:
    """Some columns (and ``key``) of a set for the shard at ``path``.

    Raises FormatError (``columns-damaged``), even if the file is missing, and StoreError.
    """
    shard = columns.shard(path)
    where = column_path(columns.name, path)
    try:
        data = in_place_or_waiting(store, where, shard.sha256, MAX_COLUMNS_BYTES)
    except NotFoundError:
        raise damaged(
            where,
            "one of their files is missing",
            hint=f"wdstools columns rm {quote(store.url)} {columns.name}    then add them again",
        ) from None
    return read_columns(data, columns, shard, names, where=where)


def by_set(fields: Iterable[Field]) -> list[tuple[Store, ColumnSet, list[str]]]:
    """Columns, grouped by set."""
    found: dict[str, tuple[Store, ColumnSet, list[str]]] = {}
    for field in fields:
        found.setdefault(field.columns.name, (field.store, field.columns, []))[2].append(field.name)
    return list(found.values())


def attached(table: pa.Table, entry: ShardEntry, fields: Mapping[str, Field]) -> pa.Table:
    """Rows of a shard's index, with the values of added columns.

    Raises FormatError (``columns-damaged``), including if the keys are not those of the index.
    """
    for store, columns, names in by_set(fields.values()):
        values = shard_values(store, columns, entry.path, ["key", *names])
        if not one_chunk(values.column("key")).equals(one_chunk(table.column("key"))):
            raise damaged(column_path(columns.name, entry.path), "its keys do not match the index")
        for name in names:
            table = table.append_column(values.schema.field(name), values.column(name))
    return table


def with_columns(dataset: Dataset, entry: ShardEntry, table: pa.Table, names: Collection[str]) -> pa.Table:
    """``attached`` with those of ``names`` that the table lacks. Also raises as ``find_fields``."""
    missing = [name for name in sorted(names) if name not in table.schema.names]
    return attached(table, entry, find_fields(dataset, missing)) if missing else table
