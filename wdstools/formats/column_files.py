"""The files of a column set: Parquet, one row per sample, in the order of the shard.

Law: ``read_columns`` returns what ``write_columns`` was given. A file may come from anywhere, so reading it takes no
more memory than its number of rows justifies.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from wdstools.errors import UsageError, option
from wdstools.formats.arrow import one_chunk, to_numpy, valid
from wdstools.formats.columns import ColumnShard, damaged
from wdstools.formats.digest import sha256_hex
from wdstools.formats.parquet_files import read_whole
from wdstools.units import size as shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow.parquet as pq

    from wdstools.formats.columns import ColumnField, ColumnSet
    from wdstools.formats.parquet_pages import Group

#: The limit for a file of a set, and for all its values when it is written. The limit for reading is a little higher,
#: because Parquet adds some bytes: whatever is written can be read.
MAX_COLUMNS_BYTES = 1 << 31
_KEY = pa.field("key", pa.string(), nullable=False)


def schema_of(fields: Sequence[ColumnField]) -> pa.Schema:
    """The schema of a file with these fields: ``key``, and each of them."""
    return pa.schema([_KEY, *(pa.field(field.name, field.arrow) for field in fields)])


def write_columns(table: pa.Table, fields: Sequence[ColumnField]) -> bytes:
    """Parquet bytes of one shard's rows: zstd, page checksums, dictionaries for texts; the same table gives the same bytes.

    Raises UsageError (``columns-too-large``).
    """
    refuse_too_large(table.nbytes)
    sink = pa.BufferOutputStream()
    import pyarrow.parquet as pq  # late: it loads file systems and TLS

    pq.write_table(
        _written(table.select(["key", *(field.name for field in fields)])),
        sink,
        compression="zstd",
        compression_level=3,
        use_dictionary=[field.name for field in fields if field.kind == "string"],
        write_statistics=False,
        write_page_checksum=True,
        store_schema=False,
        row_group_size=1 << 20,
    )
    return bytes(sink.getvalue())


def _written(table: pa.Table) -> pa.Table:
    """A table with vectors with gaps as lists of any length, which every pyarrow can write; the bytes are the same."""
    for number, field in enumerate(table.schema):
        column = table.column(number)
        if pa.types.is_fixed_size_list(field.type) and column.null_count:
            chunks = [_of_any_length(chunk) for chunk in column.chunks]
            table = table.set_column(number, field.name, pa.chunked_array(chunks))
    return table


def _of_any_length(array: pa.FixedSizeListArray) -> pa.ListArray:
    there = valid(array)
    ends = np.append(0, np.cumsum(there * array.type.list_size)).astype(np.int32)
    buffers = [pa.py_buffer(np.packbits(there, bitorder="little")), pa.py_buffer(ends)]
    kind = pa.list_(array.type.value_field)
    return pa.Array.from_buffers(kind, len(array), buffers, children=[array.drop_null().flatten()])


def refuse_too_large(size: int) -> None:
    """Refuse more values for a shard than could be read back; raises UsageError (``columns-too-large``)."""
    if size > MAX_COLUMNS_BYTES:
        raise UsageError(
            "the values for the samples of one shard are too large for one file of columns",
            code="columns-too-large",
            expected=f"at most {shown(MAX_COLUMNS_BYTES)}",
            got=shown(size),
            hint=f"add fewer columns at a time ({option('fields')}, each part with a {option('name')}), or pack shards with fewer samples",
        )


def size_of(rows: int, fields: Sequence[ColumnField]) -> int:
    """How many bytes the values of ``rows`` rows take at least; texts count as 0, because their length is unknown."""
    widths = {"float64": 8, "float32": 4, "int64": 8}
    return rows * sum(widths.get(field.kind.partition("[")[0], 0) * max(1, field.width) for field in fields)


def described(path: str, table: pa.Table, data: bytes, fields: Sequence[ColumnField]) -> ColumnShard:
    """The document's entry for the file ``data`` of a shard, whose rows are ``table``."""
    nulls = tuple(table.column(field.name).null_count for field in fields)
    return ColumnShard(path, len(data), sha256_hex(data), table.num_rows, nulls)


def read_columns(
    data: bytes, columns: ColumnSet, shard: ColumnShard, names: Sequence[str], *, where: str = ""
) -> pa.Table:
    """Some columns of a file (fields of the set, and ``key``), proved by the SHA-256 in the document.

    Raises FormatError (``columns-damaged``).
    """
    got = sha256_hex(data)
    if got != shard.sha256:
        raise damaged(where, "its bytes are not those that were written", expected=shard.sha256, got=got)
    wanted = schema_of(columns.fields)

    def check(file: pq.ParquetFile, groups: Sequence[Group]) -> None:
        _check_rows(file, shard.rows, wanted.names)
        _check_lists(groups, wanted, shard.rows)

    try:
        table = read_whole(data, names, MAX_COLUMNS_BYTES + MAX_COLUMNS_BYTES // 8, check).select(list(names))
        arrays = [aligned(table.column(name), wanted.field(name).type) for name in names]
        table = pa.Table.from_arrays(arrays, schema=pa.schema([wanted.field(name) for name in names]))
        table.validate(full=True)
    except (pa.ArrowException, OSError, KeyError, ValueError, MemoryError) as error:
        raise damaged(where, str(error).partition("\n")[0]) from None
    return table


def _check_rows(file: pq.ParquetFile, wanted: int, names: Sequence[str]) -> None:
    """Refuse a file that claims other rows or columns."""
    groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
    rows = sum(group.num_rows for group in groups)
    if {file.metadata.num_rows, rows} != {wanted}:
        raise ValueError(f"it claims {rows:,} rows, not {wanted:,}")
    if file.schema_arrow.names != names:
        raise ValueError(f"it has the columns {', '.join(file.schema_arrow.names)[:200]}")


def _check_lists(groups: Sequence[Group], wanted: pa.Schema, rows: int) -> None:
    """Refuse columns of lists that claim more values than their rows have."""
    values: Counter[str] = Counter()
    for claim in (claim for group in groups for claim in group.claims):
        values[claim.name] += claim.values
    for name, count in values.items():
        kind = wanted.field(name).type
        most = rows * (kind.list_size if pa.types.is_fixed_size_list(kind) else 1)
        if count > most:
            raise ValueError(f"column {name} claims {count:,} values, not {most:,}")


def aligned(column: pa.ChunkedArray | pa.Array, kind: pa.DataType) -> pa.Array:
    """A column as an array of a field's type; raises ValueError for another type of value or length of list."""
    array = one_chunk(column)
    if not pa.types.is_fixed_size_list(kind):
        return array if array.type.equals(kind) else _narrowed(array, array.cast(kind))
    width, value = kind.list_size, kind.value_type
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), kind)
    if not (
        pa.types.is_list(array.type) or pa.types.is_large_list(array.type) or pa.types.is_fixed_size_list(array.type)
    ):
        raise ValueError(f"{array.type} is not a list of {width} numbers")
    there = valid(array)
    lengths = to_numpy(array.value_lengths())
    if (lengths[there] != width).any():
        raise ValueError(f"a list has {int(lengths[there][lengths[there] != width][0])} numbers, not {width}")
    inner = array.drop_null().flatten()
    if inner.null_count:
        raise ValueError("a number in a list is missing")
    flat = to_numpy(_narrowed(inner, inner.cast(value)))
    values = np.zeros((len(array), width), flat.dtype)
    values[there] = flat.reshape(-1, width)
    validity = None if there.all() else pa.py_buffer(np.packbits(there, bitorder="little"))
    child = pa.Array.from_buffers(value, values.size, [None, pa.py_buffer(values.reshape(-1))])
    return pa.Array.from_buffers(kind, len(array), [validity], children=[child])


def _narrowed(before: pa.Array, after: pa.Array) -> pa.Array:
    """Numbers converted to another type; raises ValueError if one is too large for it."""
    if pa.types.is_float32(after.type) and pa.types.is_float64(before.type):
        new, old = (to_numpy(one) for one in (after, before))
        if (large := np.isinf(new) & np.isfinite(old)).any():
            raise ValueError(f"{old[large][0]} is too large for a float32")
    return after
