"""The index: one row per sample, columns in Parquet, authenticated by a digest that no library version changes.

A shard's index can be recomputed from the shard (all columns but ``source``). ``rows_digest`` covers the columns that
follow from the tar alone, in the canonical binary encoding of FORMAT.md, "Rows digest", so the manifest proves an index
whatever wrote its Parquet. ``values_digest`` covers the columns that come from payloads. Law:
``read_index(write_index(table))`` equals ``table``.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from wdstools.errors import FormatError
from wdstools.formats.arrow import (
    fixed_bytes,
    flat,
    list_lengths,
    one_chunk,
    text_bytes,
    to_array,
    to_list,
    to_numpy,
    valid,
)
from wdstools.formats.digest import xxh3_64_intdigest
from wdstools.formats.manifest import ShardEntry
from wdstools.formats.parquet_files import read_whole
from wdstools.formats.tar import BLOCK, NAME_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pyarrow.parquet as pq
    from numpy.typing import NDArray

    from wdstools.formats.digest import ShardDigests
    from wdstools.formats.parquet_pages import Group

_MEMBER = pa.struct(
    [
        pa.field("ext", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("xxh3_64", pa.uint64(), nullable=False),
    ]
)

SCHEMA = pa.schema(
    [
        pa.field("row", pa.int32(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("key", pa.string(), nullable=False),
        pa.field("label", pa.string()),
        pa.field("cls", pa.int32()),
        pa.field("offset", pa.int64()),
        pa.field("length", pa.int64()),
        pa.field("xxh3_128", pa.binary(16)),
        pa.field("sha256", pa.binary(32)),
        pa.field("members", pa.list_(pa.field("element", _MEMBER, nullable=False)), nullable=False),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("format", pa.string()),
        pa.field("caption", pa.string()),
        pa.field("source", pa.string()),
    ]
)
"""Columns of an index file.

``offset`` and ``length`` bound the sample's record group (headers, payloads, padding) in bytes, ``xxh3_128`` is the
digest of those bytes, ``sha256`` one that withstands forgery (null unless the dataset has authenticated ranges);
``members`` lists, in tar order, extension, payload offset, payload size and XXH3-64.
``source`` is the image's path below the source's root, null if it follows from the path template and the key.
"""

#: The columns that follow from the tar alone: the manifest's ``rows`` is their digest.
ROW_COLUMNS = ("key", "offset", "length", "xxh3_128", "sha256", "members")
#: The columns that come from payloads and the shard's labels: the manifest's ``values`` is their digest.
VALUE_COLUMNS = ("label", "cls", "width", "height", "format", "caption")
_ROWS_MAGIC = b"wdsrows1"
_VALUES_MAGIC = b"wdsvals1"
_MAX_UNPACKED_BYTES = 2 << 30
_MAX_ROWS_PER_BYTE = 32
_LARGE_BYTES = 4 << 20
_DICTIONARY = ["split", "label", "cls", "format", "members.list.element.ext"]
_DELTA = dict.fromkeys(
    ("row", "offset", "length", "width", "height", "members.list.element.offset", "members.list.element.size"),
    "DELTA_BINARY_PACKED",
)


def build_index(columns: Mapping[str, Sequence[Any]], members: Mapping[str, Sequence[Any]]) -> pa.Table:
    """Make an index table from plain columns; a missing column is null.

    ``members`` holds the flattened member columns ``ext``, ``offset``, ``size``, ``xxh3_64`` and, under ``count``,
    the number of members of each sample. ``row`` is numbered here.
    """
    counts = np.asarray(members["count"], dtype=np.int32)
    offsets = np.concatenate((np.zeros(1, np.int32), np.cumsum(counts, dtype=np.int32)))
    struct = pa.StructArray.from_arrays(
        [
            to_array(members["ext"], pa.string()),
            to_array(members["offset"], pa.int64()),
            to_array(members["size"], pa.int64()),
            to_array(members["xxh3_64"], pa.uint64()),
        ],
        fields=list(_MEMBER),
    )
    arrays = {
        "row": to_array(np.arange(len(counts), dtype=np.int32), pa.int32()),
        "members": pa.ListArray.from_arrays(to_array(offsets, pa.int32()), struct, type=SCHEMA.field("members").type),
    }
    return pa.Table.from_arrays(
        [arrays[f.name] if f.name in arrays else _plain_column(columns, f, len(counts)) for f in SCHEMA], schema=SCHEMA
    )


def _plain_column(columns: Mapping[str, Sequence[Any]], field: pa.Field, rows: int) -> pa.Array:
    return to_array(columns[field.name], field.type) if field.name in columns else pa.nulls(rows, field.type)


def write_index(table: pa.Table) -> bytes:
    """Parquet bytes of an index: zstd, page checksums, integers delta-encoded, statistics on the key only."""
    import pyarrow.parquet as pq  # late: it loads file systems and TLS, which only listing a source does not need

    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression="zstd",
        compression_level=3,
        use_dictionary=_DICTIONARY,
        column_encoding=_DELTA,
        write_statistics=["key"],
        write_page_checksum=True,
        store_schema=False,
        row_group_size=1 << 20,
    )
    return bytes(sink.getvalue())


def read_index(data: bytes | memoryview, *, where: str = "", columns: Sequence[str] = SCHEMA.names) -> pa.Table:
    """Read index bytes back (some columns or all), checking page checksums, the schema, and that text is UTF-8.

    Raises FormatError (``index-damaged``) if the bytes are not an index file.
    """

    def check(file: pq.ParquetFile, _: Sequence[Group]) -> None:
        _check_claims(file.metadata, len(data))
        names = file.schema_arrow.names
        if wrong := [name for name in SCHEMA.names if names.count(name) != 1]:
            raise ValueError(f"it has column {wrong[0]} {'twice' if wrong[0] in names else 'not at all'}")

    try:
        # for a small index, Arrow's threads cost more than they gain
        table = read_whole(data, columns, _MAX_UNPACKED_BYTES, check, use_threads=len(data) > _LARGE_BYTES)
        table, wanted = table.select(columns), pa.schema([SCHEMA.field(name) for name in columns])
        table = table if table.schema == wanted else table.cast(wanted)  # cast imports pyarrow.compute
        table.validate(full=True)
    except (pa.ArrowException, OSError, KeyError, ValueError, MemoryError) as error:
        raise FormatError(
            f"an index file cannot be read ({str(error).partition(chr(10))[0]})", code="index-damaged", where=where
        ) from None
    return table


def misplaced(table: pa.Table, split: str) -> str | None:
    """The first wrong column among those that follow from a shard's place and that no digest covers; None if none is."""
    names = table.column_names
    if "row" in names:
        column = table.column("row")
        if column.null_count or not np.array_equal(to_numpy(column), np.arange(table.num_rows)):
            return "row"
    if "split" in names:
        lengths, data = text_bytes(one_chunk(table.column("split")))
        if bool(np.any(lengths != len(split.encode()))) or data != split.encode() * table.num_rows:
            return "split"
    return None


def _check_claims(metadata: Any, size: int) -> None:
    """Refuse a file that claims more rows or bytes than an index of its size can have: Arrow allocates what is claimed.

    The densest possible index, of empty members under consecutive numbers, has two rows per byte.
    """
    # not the columns' metadata: pyarrow crashes the process if a column's size histogram is damaged
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    rows, unpacked = sum(group.num_rows for group in groups), sum(group.total_byte_size for group in groups)
    sound = rows == metadata.num_rows and all(group.num_rows >= 0 <= group.total_byte_size for group in groups)
    if not sound or rows > _MAX_ROWS_PER_BYTE * size or unpacked > _MAX_UNPACKED_BYTES:
        raise ValueError(f"it claims {rows:,} rows and {unpacked:,} bytes")


def check_bounds(table: pa.Table, samples: int, shard_bytes: int, *, where: str) -> None:
    """Refuse an index of a canonical shard whose rows are not inside it, one after another.

    Raises FormatError (``index-damaged``): whatever digest agrees with it, such an index is of no use for reading.
    """
    members = one_chunk(table.column("members"))
    values = flat(members)
    offset, length = to_numpy(table.column("offset"), null=-1), to_numpy(table.column("length"), null=-1)
    counts = list_lengths(members)
    start, size = to_numpy(values.field("offset")), to_numpy(values.field("size"))
    sound = table.num_rows == samples and bool(np.all(counts > 0)) and table.column("xxh3_128").null_count == 0
    if sound and samples:
        first, last = np.repeat(offset, counts), np.repeat(offset + length, counts)
        edges = np.concatenate((np.zeros(1, np.int64), offset + length))
        sound = bool(
            np.all(edges[:-1] == offset)
            and edges[-1] <= shard_bytes
            and np.all(size >= 0)
            and np.all(start - BLOCK >= first)
            and np.all(size <= last - start)
        )
    key_bytes, _ = text_bytes(one_chunk(table.column("key")))
    ext_bytes, _ = text_bytes(values.field("ext"))
    if not sound or bool(np.any(np.repeat(key_bytes, counts) + ext_bytes >= NAME_BYTES)):
        raise FormatError("an index points outside its shard", code="index-damaged", where=where)


def check_foreign_bounds(table: pa.Table, samples: int, shard_bytes: int, *, where: str) -> None:
    """Refuse an index of a foreign shard whose members are not inside it; ``shard_bytes`` is 0 if it is compressed.

    Raises FormatError (``index-damaged``).
    """
    members = one_chunk(table.column("members"))
    values = flat(members)
    start, size = to_numpy(values.field("offset")), to_numpy(values.field("size"))
    limit = shard_bytes or 2**62
    sound = (
        table.num_rows == samples
        and bool(np.all(list_lengths(members) > 0))
        and bool(
            np.all(start >= BLOCK) and np.all(size >= 0) and np.all(start <= limit) and np.all(size <= limit - start)
        )
    )
    if not sound:
        raise FormatError("an index points outside its shard", code="index-damaged", where=where)


def hashes_of(keys: Iterable[str]) -> NDArray[np.uint64]:
    """XXH3-64 of each key: eight bytes, however long the key. A match still has to be confirmed by comparing keys."""
    return np.fromiter((xxh3_64_intdigest(key.encode("utf-8", "surrogatepass")) for key in keys), np.uint64)


def rows_digest(table: pa.Table) -> str:
    """SHA-256 of an index's rows (its ROW_COLUMNS, which follow from the tar alone) in the canonical encoding.

    The encoding does not depend on Parquet. All integers are little-endian: ``wdsrows1``; u64 number of rows, u64
    number of members, u64 flags (1: group SHA-256 follow); u32 length of each key, then the keys; u64 offsets; u64
    lengths; the 16-byte group digests; if flagged, the 32-byte group SHA-256; u32 member counts; u32 length of each
    extension, then the extensions; u64 payload offsets; u64 sizes; u64 XXH3-64. A null offset or length is 2**64 - 1, a
    null digest sixteen zero bytes.
    """
    members = one_chunk(table.column("members"))
    values = flat(members)
    digest = hashlib.sha256(_ROWS_MAGIC)
    sha256 = one_chunk(table.column("sha256"))
    authenticated = len(sha256) > 0 and sha256.null_count == 0
    digest.update(np.array([table.num_rows, len(values), authenticated], "<u8").tobytes())
    _update_strings(digest, one_chunk(table.column("key")))
    for name in ("offset", "length"):
        digest.update(to_numpy(table.column(name), null=-1).astype("<i8", copy=False).tobytes())
    digest.update(fixed_bytes(table.column("xxh3_128")))
    if authenticated:
        digest.update(fixed_bytes(sha256))
    digest.update(list_lengths(members).astype("<u4").tobytes())
    _update_strings(digest, values.field("ext"))
    for name in ("offset", "size", "xxh3_64"):
        digest.update(to_numpy(values.field(name)).astype("<u8", copy=False).tobytes())
    return digest.hexdigest()


def values_digest(table: pa.Table) -> str:
    """SHA-256 of an index's VALUE_COLUMNS in the canonical encoding, independent of Parquet.

    All integers are little-endian: ``wdsvals1``; u64 number of rows n; then for each column n bytes, 1 for a value and
    0 for a null, and the values: integers as i64, null as 0; texts as u32 lengths, then UTF-8, null
    as an empty text.
    """
    digest = hashlib.sha256(_VALUES_MAGIC)
    digest.update(np.array([table.num_rows], "<u8").tobytes())
    for name in VALUE_COLUMNS:
        column = one_chunk(table.column(name))
        there = valid(column)
        digest.update(there.astype(np.uint8).tobytes())
        if pa.types.is_integer(column.type):
            digest.update(to_numpy(column).astype("<i8").tobytes())
            continue
        lengths, data = text_bytes(column)
        if lengths[~there].any():  # the bytes of a null are not a value
            lengths, data = text_bytes(to_array(to_list(column), column.type))
        digest.update(lengths.astype("<u4").tobytes())
        digest.update(data)
    return digest.hexdigest()


def unlike(table: pa.Table, entry: ShardEntry) -> tuple[str, str, str] | None:
    """How an index differs from its manifest line: ``rows`` or ``values``, expected, got; None if it does not.

    Without ``values`` in the manifest nothing proves VALUE_COLUMNS; unless the table has all of them, they are not
    used.
    """
    rows = rows_digest(table)
    if rows != entry.rows:
        return "rows", entry.rows, rows
    if entry.values and set(VALUE_COLUMNS).issubset(table.column_names):
        values = values_digest(table)
        if values != entry.values:
            return "values", entry.values, values
    return None


def shard_entry(
    path: str, digests: ShardDigests, table: pa.Table, *, values: bool = True, extra: Mapping[str, Any] | None = None
) -> ShardEntry:
    """The line of a canonical shard in the manifest, from its digests and its index; ``values``: include that digest."""
    return ShardEntry(
        path=path,
        bytes=digests.bytes,
        samples=table.num_rows,
        sha256=digests.sha256,
        xxh3_128=digests.xxh3_128,
        crc32c=digests.crc32c,
        crc64nvme=digests.crc64nvme,
        rows=rows_digest(table),
        values=values_digest(table) if values else "",
        extra=dict(extra or {}),
    )


def _update_strings(digest: Any, strings: pa.Array) -> None:
    lengths, data = text_bytes(strings)
    digest.update(lengths.astype("<u4").tobytes())
    digest.update(data)
