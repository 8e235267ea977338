"""One shard's rows as plain arrays, from the joined index if the cache has it, else from the shard's own index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.formats.arrow import fixed_bytes, flat, list_lengths, one_chunk, to_list, to_numpy
from wdstools.joined.opening import joined_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.formats.manifest import ShardEntry
    from wdstools.joined.joined import Joined


@dataclass(frozen=True, slots=True)
class ShardRows:
    """The rows of one shard: ``bounds`` has the range of each row's members; ``groups`` are digests of record groups.

    ``start`` and ``stop`` are those of each row's record group, or of its members if there is none.
    """

    keys: list[str]
    extensions: list[str]
    bounds: NDArray[np.int64]
    offset: NDArray[np.int64]
    size: NDArray[np.int64]
    digest: NDArray[np.uint64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    groups: bytes


def shard_rows(dataset: Dataset, entry: ShardEntry, *, digest: str) -> ShardRows:
    """The rows of a shard; ``digest`` is the column of the requested digests. Raises as ``Dataset.index``."""
    joined = joined_of(dataset) if dataset.manifest.has_values else None
    if joined is not None and joined.is_kept:
        found = _of_joined(joined, joined.number_of(entry), digest)
        if found is not None:
            return found
    table = dataset.index(entry)
    members = one_chunk(table.column("members"))
    values = flat(members)
    bounds = np.concatenate((np.zeros(1, np.int64), np.cumsum(list_lengths(members))))
    length = to_numpy(table.column("length"), null=-1)
    return _spanned(
        to_list(table.column("key")),
        to_list(values.field("ext")),
        (bounds, *(to_numpy(values.field(name)) for name in ("offset", "size", "xxh3_64"))),
        (to_numpy(table.column("offset"), null=-1), length),
        fixed_bytes(table.column(digest)),
    )


def _of_joined(joined: Joined, shard: int, digest: str) -> ShardRows | None:
    joined.open(shard)
    rows = joined.rows_of(shard)
    places = joined.columns.places[rows]
    if "members" not in (places.dtype.names or ()):
        return None
    members = places["members"]
    each = members.shape[1]
    return _spanned(
        joined.keys_of(places, np.full(len(places), shard)),
        joined.extensions[:each] * len(places),
        (
            np.arange(0, each * len(places) + 1, each),
            *(np.ascontiguousarray(members[name]).reshape(-1) for name in ("offset", "size", "xxh3_64")),
        ),
        (np.ascontiguousarray(places["start"]), np.ascontiguousarray(places["length"])),
        places[digest].tobytes(),
    )


def _spanned(
    keys: list[str],
    extensions: list[str],
    members: tuple[NDArray[Any], ...],
    spans: tuple[NDArray[np.int64], NDArray[np.int64]],
    groups: bytes,
) -> ShardRows:
    bounds, offset, size, digest = members
    start, length = spans
    stop = start + length
    if len(start) and ((start < 0).any() or (length < 0).any()):
        start = np.minimum.reduceat(offset, bounds[:-1])
        stop = np.maximum.reduceat(offset + size, bounds[:-1])
    return ShardRows(keys, extensions, bounds, offset, size, digest, start, stop, groups)
