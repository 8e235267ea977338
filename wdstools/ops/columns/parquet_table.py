"""Read users' Parquet tables batch by batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from wdstools.formats.parquet_files import batches_of, weight_of
from wdstools.sources.rows import reading_parquet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_BATCH_ROWS = 1 << 14


def schema_of_file(file: BinaryIO, path: str) -> pa.Schema:
    """The schema of a Parquet table; raises FormatError (``table-damaged``)."""
    with reading_parquet(path):
        return pq.ParquetFile(file).schema_arrow


def parquet_batches(file: BinaryIO, path: str, names: Sequence[str]) -> Iterator[pa.Table]:
    """Some columns of a table, in batches that take little memory however large the table is; raises FormatError."""
    if not names:
        return
    with reading_parquet(path):
        for batch in batches_of(file, _BATCH_ROWS, names, held=False):
            yield pa.Table.from_batches([batch]).select(list(names))


def text_size(file: BinaryIO, path: str, names: Sequence[str]) -> int:
    """The total size in bytes of the values of some text columns; raises FormatError."""
    with reading_parquet(path):
        return weight_of(file, _BATCH_ROWS, names) if names else 0


def is_text(kind: pa.DataType) -> bool:
    """Whether a type is text, or a dictionary of text."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view())
