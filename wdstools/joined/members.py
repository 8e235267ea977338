"""The places of members of rows, from the records or from the loose members of their shards."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wdstools.joined.layout import LOOSE_MEMBER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from wdstools.joined.index_columns import Columns


class Members(NamedTuple):
    """One member of some rows: offset in the shard, size (-1 for none) and XXH3-64."""

    offset: NDArray[np.int64]
    size: NDArray[np.int64]
    xxh3_64: NDArray[np.uint64]

    @classmethod
    def none(cls, rows: int) -> Members:
        """For rows that do not have the member."""
        return cls(np.zeros(rows, np.int64), np.full(rows, -1, np.int64), np.zeros(rows, np.uint64))


def members_of(
    columns: Columns, places: NDArray[np.void], shards: NDArray[np.int64], extensions: Sequence[str]
) -> list[Members]:
    """The named members of rows, given their records; of two members with one name, the last."""
    names = columns.extensions.names
    if "members" in (places.dtype.names or ()):
        mine = names[: columns.layout.members]
        inside = places["members"]
        return [_inline(inside, mine.index(name) if name in mine else -1) for name in extensions]
    loose = _loose(columns, places, shards)
    numbers = {name: number for number, name in enumerate(names)}
    row = np.repeat(np.arange(len(places)), places["loose_count"])
    found = []
    for name in extensions:
        those = np.flatnonzero(loose["ext"] == numbers.get(name, -1))
        made = Members.none(len(places))
        made.offset[row[those]], made.size[row[those]] = loose["offset"][those], loose["size"][those]
        made.xxh3_64[row[those]] = loose["xxh3_64"][those]
        found.append(made)
    return found


def _inline(inside: NDArray[np.void], number: int) -> Members:
    if number < 0:
        return Members.none(len(inside))
    mine = inside[:, number]
    return Members(mine["offset"], mine["size"], mine["xxh3_64"])


def _loose(columns: Columns, places: NDArray[np.void], shards: NDArray[np.int64]) -> NDArray[np.void]:
    """The loose members of some rows, row by row."""
    first, counts = places["loose"].tolist(), places["loose_count"].tolist()
    parts = [
        columns.text_of(shard).loose[start : start + count]
        for shard, start, count in zip(shards.tolist(), first, counts, strict=True)
    ]
    return np.concatenate(parts) if parts else np.zeros(0, LOOSE_MEMBER)
