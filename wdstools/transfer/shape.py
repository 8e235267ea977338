"""The shape of a future shard: where each sample's bytes go, known from the index before any of them are there.

In a shard of selected samples, each has the same bytes as in the whole shard: headers contain no position, so only
offsets change. Law: ``shape_of(keep_rows(table, kept))`` and ``shape_of(table, kept)`` agree except for ``source``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from wdstools.formats.arrow import fixed_bytes, list_lengths, one_chunk, to_array, to_list, to_numpy
from wdstools.formats.digest import sha256_digest, xxh3_128_digest
from wdstools.formats.index import SCHEMA
from wdstools.formats.tar import trailer_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

_XXH3_BYTES = 16
_SHA256_BYTES = 32


@dataclass(frozen=True, slots=True)
class Shape:
    """Where each group goes and what it must be. ``source``, ``target`` and ``length`` are in bytes, one per sample.

    Groups follow one another without holes from 0; ``end`` is where the last ends, ``size`` includes the trailer.
    ``sha256`` is empty unless the dataset has authenticated ranges.
    """

    keys: list[str]
    source: list[int]
    target: list[int]
    length: list[int]
    xxh3: bytes
    sha256: bytes
    end: int

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def size(self) -> int:
        """Size of the shard."""
        return self.end + trailer_bytes(self.end)

    def digest(self, row: int) -> bytes:
        """XXH3-128 of a group."""
        return self.xxh3[row * _XXH3_BYTES : (row + 1) * _XXH3_BYTES]

    def holds(self, row: int, group: bytes | memoryview) -> bool:
        """Whether these are the bytes of a group, by its SHA-256 too if the index has it."""
        if len(group) != self.length[row] or xxh3_128_digest(group) != self.digest(row):
            return False
        wanted = self.sha256[row * _SHA256_BYTES : (row + 1) * _SHA256_BYTES]
        return not wanted or sha256_digest(group) == wanted


def shape_of(table: pa.Table, kept: NDArray[np.bool_] | None = None) -> Shape:
    """The shape of a shard with the rows ``kept`` (default: all) of a canonical shard whose index is ``table``."""
    source, length = to_numpy(table.column("offset")), to_numpy(table.column("length"))
    xxh3 = np.frombuffer(fixed_bytes(table.column("xxh3_128")), np.uint8).reshape(-1, _XXH3_BYTES)
    keys = to_list(table.column("key"))
    whole = table.column("sha256").null_count == 0 and table.num_rows > 0
    sha256 = np.frombuffer(fixed_bytes(table.column("sha256")) if whole else b"", np.uint8).reshape(-1, _SHA256_BYTES)
    if kept is not None:
        source, length, xxh3 = source[kept], length[kept], xxh3[kept]
        sha256 = sha256[kept] if whole else sha256
        keys = [key for key, stays in zip(keys, kept.tolist(), strict=True) if stays]
    ends = np.cumsum(length, dtype=np.int64)
    return Shape(
        keys=keys,
        source=source.tolist(),
        target=(ends - length).tolist(),
        length=length.tolist(),
        xxh3=xxh3.tobytes(),
        sha256=sha256.tobytes(),
        end=int(ends[-1]) if len(ends) else 0,
    )


def keep_rows(table: pa.Table, kept: NDArray[np.bool_]) -> pa.Table:
    """The index of a canonical shard reduced to the samples ``kept``: they move up, and nothing else changes."""
    return lay_out(table.filter(to_array(kept, pa.bool_())))


def lay_out(rows: pa.Table) -> pa.Table:
    """The index of a shard of these rows, in this order: only offsets and row numbers change."""
    old, lengths = to_numpy(rows.column("offset")), to_numpy(rows.column("length"))
    new = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))[: rows.num_rows].astype(np.int64)
    members = one_chunk(rows.column("members"))
    counts = list_lengths(members)
    values = members.flatten()
    shifted = to_numpy(values.field("offset")) - np.repeat(old - new, counts)
    bounds = np.concatenate((np.zeros(1, np.int32), np.cumsum(counts, dtype=np.int32)))
    struct = pa.StructArray.from_arrays(
        [values.field("ext"), to_array(shifted, pa.int64()), values.field("size"), values.field("xxh3_64")],
        fields=list(SCHEMA.field("members").type.value_type),
    )
    moved = {
        "row": to_array(np.arange(rows.num_rows, dtype=np.int32), pa.int32()),
        "offset": to_array(new, pa.int64()),
        "members": pa.ListArray.from_arrays(to_array(bounds, pa.int32()), struct, type=SCHEMA.field("members").type),
    }
    arrays = [moved.get(name, rows.column(name)) for name in SCHEMA.names]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)
