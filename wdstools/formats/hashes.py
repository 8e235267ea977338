"""Perceptual hashes of a shard's images as a file: a cache, valid for one shard and one set of library versions.

Neither the manifest nor the checksum list covers it: it can be made again from the shard at any time.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from wdstools.errors import FormatError
from wdstools.formats.arrow import fixed_bytes, one_chunk, to_array, valid
from wdstools.formats.parquet_files import batches_of, bound_of, read_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import IO

    import pyarrow.parquet as pq
    from numpy.typing import NDArray

    from wdstools.formats.parquet_pages import Group

_WIDTHS = {
    "phash": 8,
    "phash16": 32,
    "mirrored": 8,
    "mirrored16": 32,
    "luma": 1024,
    "colour": 1024,
    "turn": 1,
    "upright": 80,
}
_PACKED = ("luma", "colour", "turn", "upright")
SCHEMA = pa.schema(
    [*(pa.field(name, pa.binary(width)) for name, width in _WIDTHS.items()), pa.field("unreadable", pa.string())]
)
"""Columns, one row per image in the shard's order; null if an image cannot be decoded: ``unreadable`` says why.

``phash`` and ``phash16`` are the hashes of 8x8 and 16x16 bits, whose hexadecimal digits are those of imagehash;
``mirrored`` and ``mirrored16`` those of the mirror image; ``luma`` the image in gray, 32x32, one byte per pixel;
``colour`` 16x16 cells of red, green, blue (on white) and alpha. ``turn`` is the EXIF orientation; if it is above 1,
``upright`` holds the four hashes, in that order, of the image turned accordingly, otherwise zeros.
"""
_META_SHARD, _META_VERSIONS = b"wdstools.shard", b"wdstools.versions"


@dataclass(frozen=True, slots=True)
class ImageHashes:
    """The hashes of some images: uint8 arrays with one row per image, zeros where ``unreadable`` says why."""

    phash: NDArray[np.uint8]
    phash16: NDArray[np.uint8]
    mirrored: NDArray[np.uint8]
    mirrored16: NDArray[np.uint8]
    luma: NDArray[np.uint8]
    colour: NDArray[np.uint8]
    turn: NDArray[np.uint8]
    upright: NDArray[np.uint8]
    unreadable: tuple[str | None, ...]


def write_hashes(hashes: ImageHashes, shard: str, versions: Mapping[str, str]) -> bytes:
    """Parquet bytes; ``shard`` is the SHA-256 of the shard that the hashes were made from."""
    columns = columns_of({name: getattr(hashes, name) for name in _WIDTHS}, hashes.unreadable)
    metadata = {_META_SHARD: shard, _META_VERSIONS: json.dumps(dict(versions), sort_keys=True)}
    table = pa.table(columns, schema=SCHEMA.with_metadata(metadata))
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(
        table, sink, compression={**dict.fromkeys(_WIDTHS, "none"), **dict.fromkeys((*_PACKED, "unreadable"), "zstd")},
        use_dictionary=False, write_statistics=False, write_page_checksum=True,
    )  # fmt: skip
    return bytes(sink.getvalue())


def columns_of(hashes: Mapping[str, NDArray[np.uint8]], unreadable: Sequence[str | None]) -> dict[str, pa.Array]:
    """Hashes as columns, null where ``unreadable`` gives a reason."""
    columns = {}
    for name, width in _WIDTHS.items():
        rows = np.ascontiguousarray(hashes[name]).reshape(-1, width)
        values = [None if gone is not None else row.tobytes() for row, gone in zip(rows, unreadable, strict=True)]
        columns[name] = to_array(values, pa.binary(width))
    columns["unreadable"] = to_array(unreadable, pa.string())
    return columns


def read_hashes(data: bytes, shard: str, versions: Mapping[str, str], rows: int, columns: list[str]) -> pa.Table | None:
    """Some columns; None if the file is for another shard or other versions, is damaged, or is something else."""

    def check(file: pq.ParquetFile, _: Sequence[Group]) -> None:
        metadata = file.metadata.metadata or {}
        known = metadata.get(_META_SHARD, b"").decode(), json.loads(metadata.get(_META_VERSIONS, b"null"))
        if known != (shard, dict(versions)) or file.metadata.num_rows != rows:
            raise ValueError("hashes of something else")

    try:
        table = read_whole(data, columns, bound_of(len(data)), check)
        wanted = pa.schema([SCHEMA.field(name) for name in columns])
        return table if table.schema == wanted else table.cast(wanted)
    except (pa.ArrowException, OSError, KeyError, ValueError, RecursionError, MemoryError):
        return None


def column_of(table: pa.Table, name: str) -> NDArray[np.uint8]:
    """A column as a uint8 array [N, bytes], nulls as zeros."""
    if name not in _WIDTHS:
        raise FormatError("no such column", where=name)
    return np.frombuffer(fixed_bytes(table.column(name)), np.uint8).reshape(-1, _WIDTHS[name])


def present(table: pa.Table) -> NDArray[np.bool_]:
    """Which images have hashes."""
    return valid(one_chunk(table.column("phash")))


_META_HANDED_OUT = b"wdstools.handed-out"


def write_handed_out(tables: Iterable[pa.Table], versions: Mapping[str, str], file: IO[bytes]) -> None:
    """Write hashes of many shards with ``key``, ``split``, ``xxh3_64`` and ``bytes``, as one file in place of the images.

    Each table is released once it is written.
    """
    metadata = {_META_HANDED_OUT: json.dumps(dict(versions), sort_keys=True)}
    import pyarrow.parquet as pq

    with contextlib.ExitStack() as stack:
        writer = None
        for table in tables:
            if writer is None:
                schema = table.schema.with_metadata(metadata)
                writer = stack.enter_context(pq.ParquetWriter(file, schema, compression="zstd", write_statistics=False))
            writer.write_table(table.replace_schema_metadata(metadata))


def is_handed_out(path: str) -> bool:
    """Whether a file was written by ``write_handed_out``, and is not some other table."""
    import pyarrow.parquet as pq

    try:
        return _META_HANDED_OUT in (pq.read_metadata(path).metadata or {})
    except (pa.ArrowException, OSError):
        return False


def read_handed_out(path: str, version: str) -> pa.Table:
    """The table; raises FormatError if it is damaged, or has another version of the hashes."""
    import pyarrow.parquet as pq

    try:
        known = json.loads((pq.read_metadata(path).metadata or {}).get(_META_HANDED_OUT, b"null"))
        with pa.OSFile(path) as file:
            parts = [pa.Table.from_batches([batch]) for batch in batches_of(file, _HANDED_OUT_ROWS)]
        wanted = [*SCHEMA, *map(pa.field, *zip(*_HANDED_OUT, strict=True))]
        schema = pa.schema(wanted)
        table = pa.concat_tables([schema.empty_table(), *(part.select(schema.names).cast(schema) for part in parts)])
    except (pa.ArrowException, OSError, KeyError, ValueError, RecursionError, MemoryError):
        raise FormatError("stored hashes cannot be read", code="hashes-damaged", where=path) from None
    if not isinstance(known, dict) or known.get("hashes") != version:
        raise FormatError(
            "stored hashes have another version",
            code="hashes-version",
            where=path,
            expected=version,
            got=str(known.get("hashes") if isinstance(known, dict) else known),
            hint="ask for hashes that were made with this version of wdstools",
        )
    if any(table.column(name).null_count for name, _ in _HANDED_OUT):
        raise FormatError("stored hashes have no keys", code="hashes-damaged", where=path)
    return table


_HANDED_OUT_ROWS = 1 << 14
_HANDED_OUT = (("key", pa.string()), ("split", pa.string()), ("xxh3_64", pa.uint64()), ("bytes", pa.uint64()))
