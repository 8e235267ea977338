"""Parquet files from anywhere, read without taking more memory than a file of their size justifies.

A few bytes may stand for any number of bytes: a page compresses zeros, a dictionary holds one long text that a million
rows refer to. So sizes are added up from the page headers before any page is decoded, and texts stay dictionary codes
until their total size is known.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pyarrow as pa

from wdstools.formats.arrow import reader_over, text_lengths, to_numpy, valid
from wdstools.formats.parquet_pages import TooMuchError, groups_of
from wdstools.units import size as shown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    import pyarrow.parquet as pq

    from wdstools.formats.parquet_pages import Claim, Group

#: How much the values of any file may take; those of a larger file may take sixteen times its size.
FLOOR_BYTES = 2 << 30
_TIMES = 16
#: How much the largest pages of all columns may take, each of which is in memory whole; or eight times the file's size.
_PAGES_BYTES, _PAGES_TIMES = 512 << 20, 8
#: How many rows a table may have; or four for each of its bytes.
_ROWS, _ROWS_TIMES = 1 << 20, 4
#: How much a batch of rows should take, and what a value takes in addition to its bytes.
_BATCH_BYTES = 32 << 20
_VALUE_BYTES = 64


#: The first version of pyarrow that reads lists of one length if some are missing.
GAPS_SINCE = 26


class TooOldArrowError(ValueError):
    """A column that the installed pyarrow cannot read, and a newer one may be able to."""

    def __init__(self, column: str, kind: pa.DataType, why: str) -> None:
        super().__init__(why)
        self.column, self.kind = column, str(kind)


def bound_of(size: int) -> int:
    """How many bytes the values of a file of ``size`` bytes may take."""
    return max(FLOOR_BYTES, _TIMES * size)


def read_whole(
    data: bytes | memoryview,
    names: Sequence[str],
    most: int,
    check: Callable[[pq.ParquetFile, Sequence[Group]], None] | None = None,
    *,
    use_threads: bool = True,
) -> pa.Table:
    """Some columns of a file of ours, with page checksums verified; ``check`` may refuse what the file claims.

    Raises ValueError (TooMuchError if the values would take more than ``most`` bytes) and whatever Arrow raises.
    """
    import pyarrow.parquet as pq  # late: it loads file systems and TLS

    groups = groups_of(data, len(data), names)
    file = pq.ParquetFile(reader_over(data), page_checksum_verification=True)
    if check is not None:
        check(file, groups)
    came = _come_to(data, groups, most)
    if came > most:
        raise _too_much(came, most)
    # not read_table: it imports pyarrow.dataset and, with it, pandas
    return file.read(columns=list(names), use_threads=use_threads)


def _come_to(data: bytes | memoryview, groups: Sequence[Group], most: int) -> int:
    """How many bytes the values take; if dictionary texts could exceed ``most``, their codes are counted."""
    claims = [claim for group in groups for claim in group.claims]
    coded = [claim for claim in claims if claim.dictionary and not claim.width]
    sure = sum(claim.most for claim in claims if claim not in coded)
    if sure > most or sure + sum(claim.most for claim in coded) <= most:
        return sure
    if risky := sum(claim.most for claim in coded if claim.prefixed):
        return sure + risky
    file, _ = _with_codes(reader_over(data), {claim.leaf for claim in coded})
    tops = list(dict.fromkeys(claim.name for claim in coded))
    came = sum(claim.most for claim in claims if claim.name not in tops)
    for number in range(len(groups)):  # one at a time: Arrow has nested columns as codes only in one piece
        part = file.read_row_group(number, columns=tops)
        came += sum(_weight(chunk) for column in part.columns for chunk in column.chunks)
    return came


def batches_of(
    file: BinaryIO, rows: int, names: Sequence[str] | None = None, *, held: bool = True
) -> Iterator[pa.RecordBatch]:
    """A table's rows, at most ``rows`` at once and few enough to take little memory; lists and structures may hold codes.

    ``held`` says that the caller keeps all rows in memory. Raises ValueError (TooMuchError if the table takes more
    memory than one of its size may, TooOldArrowError) and whatever Arrow raises.
    """
    came, most = 0, bound_of(_size_of(file))
    for batch in _coded_batches(file, rows, names):
        for part, weight in _parts(batch):
            came += weight
            if held and came > most:
                raise _too_much(came, most)
            yield _without_codes(part)


def rows_of(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """The rows of a batch as Python values.

    A time that Python cannot represent is null, and nanoseconds are truncated to microseconds.
    """
    names = batch.schema.names
    if len(set(names)) != len(names):
        raise ValueError("a column appears twice")
    if not names:
        return [{} for _ in range(batch.num_rows)]
    return [dict(zip(names, row, strict=True)) for row in zip(*map(_values_of, batch.columns), strict=True)]


def _values_of(array: pa.Array) -> list[Any]:
    if _has_views(array.type):
        return _values_of_views(array)
    kind = _as_python_has_it(array.type)
    if kind != array.type:
        array = array.cast(kind, safe=False)
    try:
        return list(array.to_pylist())
    except (OverflowError, ValueError):
        return [_value_of(scalar) for scalar in array]


def _has_views(kind: pa.DataType) -> bool:
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        return True
    return any(_has_views(kind.field(number).type) for number in range(kind.num_fields))


def _values_of_views(array: pa.Array) -> list[Any]:
    """The values of list views, or of types that contain them, row by row: Arrow does not cast them correctly."""
    kind = array.type
    if pa.types.is_struct(kind):
        names = [field.name for field in kind]
        rows = zip(*map(_values_of, array.flatten()), strict=True)
        return [
            dict(zip(names, row, strict=True)) if there else None for there, row in zip(valid(array), rows, strict=True)
        ]
    values = [_values_of(row.values) if row.is_valid else None for row in array]
    if pa.types.is_map(kind):
        return [row if row is None else [tuple(pair.values()) for pair in row] for row in values]
    return values


def _value_of(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except (OverflowError, ValueError):  # a date beyond the year 9999, an unknown time zone
        return None


def _as_python_has_it(kind: pa.DataType) -> pa.DataType:
    """A type with microseconds in place of nanoseconds, for which Arrow would look for pandas."""
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return pa.timestamp("us", kind.tz)
    if pa.types.is_duration(kind) and kind.unit == "ns":
        return pa.duration("us")
    if pa.types.is_time64(kind) and kind.unit == "ns":
        return pa.time64("us")
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_as_python_has_it(field.type)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(_as_python_has_it(kind.key_type), _as_python_has_it(kind.item_type), kind.keys_sorted)
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_inner(kind), kind.list_size)
    if pa.types.is_list(kind):
        return pa.list_(_inner(kind))
    if pa.types.is_large_list(kind):
        return pa.large_list(_inner(kind))
    return kind


def _inner(kind: pa.DataType) -> pa.Field:
    return kind.value_field.with_type(_as_python_has_it(kind.value_type))


def weight_of(file: BinaryIO, rows: int, names: Sequence[str]) -> int:
    """How many bytes the values of some columns take, found without decoding texts; raises as ``batches_of`` does."""
    return sum(_weight(column) for batch in _coded_batches(file, rows, names) for column in batch.columns)


def _coded_batches(file: BinaryIO, rows: int, names: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """A table's rows, with texts as codes if their size is not known; raises as ``batches_of`` does."""
    size = _size_of(file)
    groups = groups_of(file, size, names, small=False)
    _check_table(groups, size)
    coded: set[int] = set()
    batch_rows = []
    for group in groups:
        count = max(
            1, min(rows, group.rows, _BATCH_BYTES // max(1, sum(_width_of(c, group.rows) for c in group.claims)))
        )
        batch_rows.append(count)
        coded |= {
            claim.leaf
            for claim in group.claims
            if not claim.width and (claim.values if claim.lists else count) * claim.dictionary > _BATCH_BYTES
        }
    table, schema = _with_codes(file, coded)
    for number, count in enumerate(batch_rows):
        batches = table.iter_batches(count, row_groups=[number], columns=None if names is None else list(names))
        try:
            yield from (_as_declared(batch, schema) for batch in batches)
        except pa.ArrowException:
            _refuse_gaps(table, number, count, [f for f in schema if names is None or f.name in names])
            raise


def _refuse_gaps(table: pq.ParquetFile, number: int, count: int, fields: Sequence[pa.Field]) -> None:
    """Name the column that a newer pyarrow may be able to read, if there is one, after a row group could not be read."""
    if int(pa.__version__.partition(".")[0]) >= GAPS_SINCE:
        return
    for field in fields:
        if _holds(field.type, pa.types.is_fixed_size_list):
            try:
                for _ in table.iter_batches(count, row_groups=[number], columns=[field.name]):
                    pass
            except pa.ArrowException as error:
                raise TooOldArrowError(field.name, field.type, str(error).partition("\n")[0]) from None


def _holds(kind: pa.DataType, is_wanted: Callable[[pa.DataType], bool]) -> bool:
    """Whether a type, or one inside it however deep, is wanted."""
    return is_wanted(kind) or any(_holds(kind.field(number).type, is_wanted) for number in range(kind.num_fields))


def _with_codes(source: BinaryIO | pa.NativeFile, leaves: Collection[int]) -> tuple[pq.ParquetFile, pa.Schema]:
    """A file that is read with some leaves as codes, and the schema that it declares."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(source, read_dictionary=sorted(leaves))
    schema = file.schema_arrow
    if any(_holds(field.type, _is_json) for field in schema):  # whose codes Arrow would decode
        with contextlib.suppress(TypeError):  # before pyarrow 21 they stay codes
            file = pq.ParquetFile(source, read_dictionary=sorted(leaves), arrow_extensions_enabled=False)
    return file, schema


def _is_json(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.BaseExtensionType) and bool(kind.extension_name == "arrow.json")


def _as_declared(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """A batch with the types that Arrow has for some values, like UUIDs, where they were read without them."""
    for number, field in enumerate(batch.schema):
        at = schema.get_field_index(field.name)
        kind = schema.field(at).type if at >= 0 else None
        if isinstance(kind, pa.BaseExtensionType) and kind.storage_type == field.type:
            batch = batch.set_column(number, field.name, kind.wrap_array(batch.column(number)))
    return batch


def _size_of(file: BinaryIO) -> int:
    file.seek(0, 2)
    return file.tell()


def _width_of(claim: Claim, rows: int) -> int:
    """How many bytes a column takes in a row on average, with dictionary texts as codes."""
    each = _VALUE_BYTES + (claim.width or claim.dense) + (claim.largest if claim.prefixed else 0)
    return each * max(1, claim.values // max(1, rows)) if claim.lists else each


def _check_table(groups: Sequence[Group], size: int) -> None:
    """Refuse a table that claims more memory than one of its size may."""
    rows, most = sum(group.rows for group in groups), bound_of(size)
    if any(group.rows < 0 for group in groups) or rows > max(_ROWS, _ROWS_TIMES * size):
        raise TooMuchError(f"it claims {rows:,} rows in {size:,} bytes")
    plain = sum(claim.bytes + 8 * claim.values for group in groups for claim in group.claims)
    lists = max((sum(map(_of_lists, group.claims)) for group in groups), default=0)
    if max(plain, lists) > most:
        raise _too_much(max(plain, lists), most)
    at_once = max((sum(c.largest + c.dictionary + c.width for c in group.claims) for group in groups), default=0)
    if at_once > max(_PAGES_BYTES, _PAGES_TIMES * size):
        raise _too_much(at_once, max(_PAGES_BYTES, _PAGES_TIMES * size))


def _of_lists(claim: Claim) -> int:
    """How much a column of lists may take while its texts are codes: one row may have all values of its group."""
    if not claim.lists:
        return 0
    return claim.bytes + claim.values * (16 + claim.width + (claim.largest if claim.prefixed else 0))


def _too_much(came: int, most: int) -> TooMuchError:
    return TooMuchError(f"it takes {shown(came)} unpacked, and the limit is {shown(most)}")


def _parts(batch: pa.RecordBatch) -> Iterator[tuple[pa.RecordBatch, int]]:
    """A batch in parts that take little memory, and the size of each; a large row is a part of its own."""
    weight = sum(map(_weight, batch.columns))
    if weight <= _BATCH_BYTES or batch.num_rows <= 1:
        yield batch, weight
        return
    half = batch.num_rows // 2
    yield from _parts(batch.slice(0, half))
    yield from _parts(batch.slice(half))


def _weight(array: pa.Array) -> int:
    """How many bytes the values of an array take, counting codes as the texts that they stand for."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _weight_of_codes(array)
    if pa.types.is_struct(kind):
        return sum(map(_weight, array.flatten()))
    if pa.types.is_map(kind):
        first, last = array.offsets[0].as_py(), array.offsets[-1].as_py()
        return sum(_weight(part.slice(first, last - first)) for part in (array.keys, array.items)) + 8 * len(array)
    if pa.types.is_nested(kind):
        return _weight(array.flatten()) + 8 * len(array)
    return int(array.nbytes)


def _weight_of_codes(array: pa.DictionaryArray) -> int:
    words = array.dictionary  # texts or bytes: Arrow reads nothing else as codes
    lengths = np.append(text_lengths(words), 0)  # the last is that of a null
    codes = to_numpy(array.indices).astype(np.int64)  # codes of one or two bytes might not reach the entry for null
    return int(lengths[np.where(valid(array.indices), codes, len(words))].sum())


def _without_codes(batch: pa.RecordBatch) -> pa.RecordBatch:
    for number, field in enumerate(batch.schema):
        if pa.types.is_dictionary(field.type):
            batch = batch.set_column(number, field.name, batch.column(number).dictionary_decode())
    return batch
