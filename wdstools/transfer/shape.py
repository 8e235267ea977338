"""The shape of a shard to be: which sample's bytes lie where, known from the index before any of them is there.

A shard of selected samples is made of the same bytes as theirs in the whole shard: headers carry no position, so
only offsets change. Law: ``shape_of(select_rows(table, rows))`` and ``shape_of(table, rows)`` agree but for ``source``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.formats.arrow import fixed_bytes, one_chunk, to_list, to_numpy
from wdstools.formats.digest import sha256_digest, xxh3_128_digest
from wdstools.formats.index import SCHEMA, build_index
from wdstools.formats.tar import trailer_bytes

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

_XXH3_BYTES = 16
_SHA256_BYTES = 32


@dataclass(frozen=True, slots=True)
class Shape:
    """Where each group lies and what it must be. ``source``, ``target``, ``length`` are bytes, one a sample, in order.

    Groups follow one another without a hole from 0; ``end`` is where the last ends, ``size`` includes the trailer.
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
        """Whether these are the bytes of a group: by its SHA-256 too where the index has it."""
        if len(group) != self.length[row] or xxh3_128_digest(group) != self.digest(row):
            return False
        wanted = self.sha256[row * _SHA256_BYTES : (row + 1) * _SHA256_BYTES]
        return not wanted or sha256_digest(group) == wanted


def shape_of(table: pa.Table, rows: NDArray[np.int64] | None = None) -> Shape:
    """The shape of the shard with these rows (all without ``rows``) of a canonical shard whose index is ``table``."""
    source, length = to_numpy(table.column("offset")), to_numpy(table.column("length"))
    xxh3 = np.frombuffer(fixed_bytes(table.column("xxh3_128")), np.uint8).reshape(-1, _XXH3_BYTES)
    keys = to_list(table.column("key"))
    whole = table.column("sha256").null_count == 0 and table.num_rows > 0
    sha256 = np.frombuffer(fixed_bytes(table.column("sha256")) if whole else b"", np.uint8).reshape(-1, _SHA256_BYTES)
    if rows is not None:
        source, length, xxh3 = source[rows], length[rows], xxh3[rows]
        sha256 = sha256[rows] if whole else sha256
        keys = [keys[row] for row in rows.tolist()]
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


def select_rows(table: pa.Table, rows: NDArray[np.int64]) -> pa.Table:
    """The index of the shard that holds only these rows, one behind the other from 0."""
    taken = table.take(rows)
    offset, length = to_numpy(taken.column("offset")), to_numpy(taken.column("length"))
    target = np.cumsum(length, dtype=np.int64) - length
    members = one_chunk(taken.column("members"))
    counts, values = to_numpy(members.value_lengths()), members.flatten()
    columns: dict[str, Any] = {
        name: to_list(taken.column(name)) for name in SCHEMA.names if name not in ("row", "offset", "length", "members")
    }
    columns |= {"offset": target, "length": length}
    described: dict[str, Any] = {
        "ext": to_list(values.field("ext")),
        "offset": to_numpy(values.field("offset")) + np.repeat(target - offset, counts),
        "size": to_numpy(values.field("size")),
        "xxh3_64": to_numpy(values.field("xxh3_64")),
        "count": counts,
    }
    return build_index(columns, described)
