"""Parquet tables of people, batch by batch: texts stay codes of a dictionary until it is known how much they come to."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wdstools.errors import UsageError
from wdstools.formats.arrow import one_chunk, text_lengths, to_numpy
from wdstools.sources.rows import damaged

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

_BATCH_ROWS = 1 << 14
_BATCH_BYTES = 32 << 20


def schema_of_file(file: Any, path: str) -> pa.Schema:
    """The schema of a Parquet table; raises FormatError (``table-damaged``)."""
    try:
        return pq.ParquetFile(file).schema_arrow
    except (pa.ArrowException, OSError, ValueError) as error:
        raise damaged(path, str(error).splitlines()[0]) from None


def coded_batches(file: Any, path: str, names: Sequence[str]) -> Iterator[tuple[pa.RecordBatch, NDArray[np.int64]]]:
    """Some columns of a table, batch by batch, texts as codes; and how many bytes the texts of each row take.

    A text that is written once may be that of every row: a small file comes to any size.
    """
    if not names:
        return
    try:
        schema = pq.ParquetFile(file).schema_arrow
        texts = [name for name in names if is_text(schema.field(name).type)]
        table = pq.ParquetFile(file, read_dictionary=texts)
        groups = [table.metadata.row_group(number) for number in range(table.metadata.num_row_groups)]
        size, rows = sum(group.total_byte_size for group in groups), max(1, table.metadata.num_rows)
        at_once = max(1, min(_BATCH_ROWS, _BATCH_BYTES * rows // max(1, size)))
        for batch in table.iter_batches(at_once, columns=list(names)):
            sizes = np.zeros(batch.num_rows, np.int64)
            for name in texts:
                column = batch.column(name)
                if pa.types.is_dictionary(column.type):
                    lengths = np.append(text_lengths(column.dictionary), 0)  # the last is that of a null
                    sizes += lengths[to_numpy(column.indices, null=-1)]
                else:
                    sizes += text_lengths(column)
            yield batch, sizes
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise damaged(path, str(error).splitlines()[0]) from None


def parquet_batches(file: Any, path: str, names: Sequence[str]) -> Iterator[pa.Table]:
    """Some columns of a table, in parts that take little memory, whatever they come to; raises FormatError."""
    for batch, sizes in coded_batches(file, path, names):
        table = pa.Table.from_batches([batch]).select(list(names))
        fixed = sum(column.nbytes for column in batch.columns if not pa.types.is_dictionary(column.type))
        parts = np.cumsum(sizes + fixed // max(1, batch.num_rows)) // _BATCH_BYTES
        edges = [0, *(np.flatnonzero(np.diff(parts)) + 1).tolist(), batch.num_rows]
        for first, last in pairwise(edges):
            yield _without_codes(table.slice(first, last - first))


def _without_codes(table: pa.Table) -> pa.Table:
    for number, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            decoded = one_chunk(table.column(number)).dictionary_decode()
            table = table.set_column(number, field.name, decoded)
    return table


def is_text(kind: pa.DataType) -> bool:
    """Whether values are text, or codes of text."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view())
