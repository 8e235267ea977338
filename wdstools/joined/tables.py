"""Rows of a joined index as Arrow tables for conditions: each column as in an index."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from wdstools.formats.arrow import coded, numbers_over, text_over, to_array
from wdstools.formats.index import SCHEMA, VALUE_COLUMNS
from wdstools.joined.layout import NULL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wdstools.joined.index_columns import Columns, Names

#: The available columns; ``source`` is not among them.
TABLE_COLUMNS = ("key", "split", "offset", "length", *VALUE_COLUMNS)


def shard_table(columns: Columns, shard: int, rows: slice, names: Sequence[str], *, split: str) -> pa.Table:
    """Some columns of one shard's rows."""
    fields = [SCHEMA.field(name) for name in names]
    return pa.Table.from_arrays(
        [_column(columns, shard, rows, field, split) for field in fields], schema=pa.schema(fields)
    )


def _column(columns: Columns, shard: int, rows: slice, field: pa.Field, split: str) -> pa.Array:
    name, place, texts = field.name, columns.places[rows], columns.text_of(shard)
    if name == "key":
        return text_over(place["key_start"], texts.keys, np.ones(len(place), np.bool_))
    if name == "caption":
        sizes = columns.arrays["caption_size"][rows]
        return text_over(columns.arrays["caption_start"][rows], texts.captions, sizes >= 0)
    if name in ("label", "format"):
        return _named(columns.labels if name == "label" else columns.formats, columns, rows, name)
    if name == "split":
        return to_array([split] * len(place), pa.string())
    if name in ("offset", "length"):
        values = place["start" if name == "offset" else "length"]
        return numbers_over(values, values >= 0, field.type)
    values = columns.arrays[name][rows]
    return numbers_over(values, values != NULL, field.type)


def _named(names: Names, columns: Columns, rows: slice, name: str) -> pa.Array:
    codes = columns.arrays[name][rows]
    used = np.unique(codes[codes >= 0])
    place = np.full(len(codes), -1, np.int32)
    place[codes >= 0] = np.searchsorted(used, codes[codes >= 0])
    return coded(place, [names.names[number] for number in used.tolist()]).cast(pa.string())
