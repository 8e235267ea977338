"""Where the samples of a split lie, as arrays, for readers that take many samples at a time.

The rows are those of the dataset's joined index: mapped if the cache has it; else each shard's index is read when one of its
rows is first needed, and checked against the manifest.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wdstools.errors import FormatError, UsageError
from wdstools.formats.digest import sha256_digest, xxh3_128_digest
from wdstools.joined.opening import joined_for_reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.joined.members import Members

_MAX_SPAN = 1 << 31


class Extents:
    """Where some rows lie: row i is ``length[i]`` bytes of shard ``shard[i]`` from ``start[i]``.

    These bytes are the row's record group, with the i-th digest in ``groups`` (see ``RowTable.digest_of``). If a row has no
    group, or only some of the members are requested, they are these members and what lies between them, with a digest of
    zeros. ``members`` maps each extension to (offset from ``start``, size, XXH3-64) row by row; size -1 where a row has
    no such member.
    """

    def __init__(self, table: RowTable, rows: NDArray[np.int64]) -> None:
        self._taken = taken = table.take(rows)
        self._table = table
        self.shard: list[int] = taken.shard.tolist()
        self.start: list[int] = taken.start.tolist()
        self.length: list[int] = (taken.stop - taken.start).tolist()
        self.groups = table.groups_of(taken)
        self._together = (taken.shard[1:] == taken.shard[:-1]) & (taken.start[1:] == taken.stop[:-1])
        self._keys: list[str] | None = None
        #: Whether every row has every member.
        self._complete: bool | None = None
        self._members: dict[str, tuple[list[int], list[int], list[int]]] | None = None
        #: Where each member begins and ends in its row's bytes; computed on first use. Raises KeyError.
        self.spans = _Spans(table, taken)

    @property
    def keys(self) -> list[str]:
        """The keys of the rows; computed on first use."""
        if self._keys is None:
            self._keys = self._table.keys_of(self._taken)
        return self._keys

    @property
    def members(self) -> dict[str, tuple[list[int], list[int], list[int]]]:
        """See above; computed on first use, perhaps by several threads at once, with the same result."""
        if self._members is None:
            self._members = self._table.member_places(self._taken)
        return self._members

    def pieces(self, block_bytes: int, alone: int) -> Iterator[tuple[int, int, bool]]:
        """Rows that are best taken in one go: first, end, and whether they are contiguous.

        Neighbours that begin in one block of the shard are one piece; if most rows lie alone, ``alone`` of them are.
        """
        starts = self._taken.start
        count = len(starts)
        block = starts // block_bytes
        begin = np.flatnonzero(~self._together | (block[1:] != block[:-1])) + 1
        if 2 * len(begin) < count:
            return ((first, stop, True) for first, stop in pairwise([0, *begin.tolist(), count]))
        return ((first, min(first + alone, count), False) for first in range(0, count, alone))

    def extensions(self, row: int) -> Sequence[str]:
        """The members that a row has."""
        names, spans = self._table.members, self.spans
        if self._complete is None:
            self._complete = all(min(spans[name][1]) >= 0 for name in names)
        return names if self._complete else [name for name in names if spans[name][1][row] >= 0]


class _Spans(dict[str, tuple[list[int], list[int]]]):
    """The results of ``RowTable.spans_of`` for some rows, by extension."""

    def __init__(self, table: RowTable, taken: Taken) -> None:
        super().__init__()
        self._table, self._taken = table, taken

    def __missing__(self, extension: str) -> tuple[list[int], list[int]]:
        found = self[extension] = self._table.spans_of(self._taken, extension)
        return found


class Taken(NamedTuple):
    """Some rows: their shard in the split, first byte and end, and their records in the joined index."""

    shard: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    places: NDArray[np.void]
    members: list[Members] | None


class RowTable:
    """The rows of one split, numbered 0 to ``count - 1`` in shard order. Thread-safe."""

    def __init__(self, dataset: Dataset, split: str, members: tuple[str, ...]) -> None:
        if split not in dataset.manifest.splits:
            raise UsageError("no such split", code="split-missing", where=split, expected=", ".join(dataset.splits))
        self.dataset = dataset
        self.entries = dataset.manifest.splits[split]
        self.members = members
        #: Whether only the SHA-256 of its group proves a row, so that it is always read whole.
        self.strict = dataset.strict
        #: The digest function of a group, and the digest's length in bytes.
        self.digest_of = sha256_digest if self.strict else xxh3_128_digest
        self.digest_bytes = 32 if self.strict else 16
        #: Whether the rows of every shard have digests, of their groups or at least of their members.
        self.has_digests = all(entry.xxh3_128 for entry in self.entries)
        #: Whether rows are read whole, as their record groups.
        self.by_group = self.strict or set(members) == set(dataset.manifest.members)
        self._joined = joined_for_reading(dataset)
        self._shards = self._joined.shards[split]
        self._rows = self._joined.splits[split]
        self.count = len(self._rows)
        self._is_open = False

    @property
    def is_open(self) -> bool:
        """Whether every index has been read."""
        self._is_open = self._is_open or self._joined.is_open(self._shards)
        return self._is_open

    def missing(self, rows: NDArray[np.int64]) -> list[int]:
        """The shards of these rows whose index has not been read yet."""
        if self.is_open:
            return []
        first = self._shards.start
        return [shard - first for shard in self._joined.missing(rows + self._rows.start)]

    def opened(self, known: AbstractSet[int]) -> Iterator[tuple[int, int, int]]:
        """Shards whose index has been read, except the ``known`` ones: number, first row, end."""
        first = self._shards.start
        if len(known) < len(self.entries):
            for shard in self._joined.opened(self._shards, {number + first for number in known}):
                rows = self._joined.rows_of(shard)
                yield shard - first, rows.start - self._rows.start, rows.stop - self._rows.start

    def open(self, shard: int) -> None:
        """Open the rows of one shard. Raises FormatError (``index-damaged``) or NotFoundError (``index-missing``)."""
        if self.entries[shard].encoding != "tar":
            raise self._damaged(shard, "its offsets are those of a compressed tar")
        self._joined.open(shard + self._shards.start)

    def rows_of(self, shard: int) -> tuple[int, int]:
        """The first row of a shard, and its end."""
        rows = self._joined.rows_of(shard + self._shards.start)
        return rows.start - self._rows.start, rows.stop - self._rows.start

    def finish(self) -> None:
        """Keep the indexes read so far for the next reader, if nearly all of them were read and it is worth it."""
        self._joined.finish()

    def _damaged(self, shard: int, message: str) -> FormatError:
        return FormatError(
            f"an index cannot be used: {message}",
            code="index-damaged",
            where=self.entries[shard].index_path,
            hint=self.dataset.verify_command,
        )

    def take(self, rows: NDArray[np.int64]) -> Taken:
        """Some rows, whose shards have been opened."""
        mine = rows + self._rows.start
        shard = self._joined.shard_of(mine)
        places = self._joined.take(mine)
        members = None
        start, length = places["start"], places["length"]
        stop = start + length
        if not self.by_group or (length < 0).any() or (start < 0).any():
            members = self._joined.members_of(places, shard, self.members)
            start, stop = _around(members, None if not self.by_group else places)
        shard = shard - self._shards.start
        if ((stop - start) >= _MAX_SPAN).any():
            far = int(shard[int(np.argmax(stop - start))])
            raise self._damaged(far, "the members of a sample lie more than 2 GB apart")
        return Taken(shard, start, stop, places, members)

    def sides(self, rows: NDArray[np.int64]) -> NDArray[np.int32]:
        """Width and height of the images of these rows from the index, [N, 2]; -1 where it has none."""
        return np.maximum(self._joined.sides(rows + self._rows.start), -1)

    def keys_of(self, taken: Taken) -> list[str]:
        """The keys of some rows."""
        return self._joined.keys_of(taken.places, taken.shard + self._shards.start)

    def groups_of(self, taken: Taken) -> bytes:
        """The digests of some rows' record groups, concatenated; zeros where there is none."""
        if not self.by_group:
            return bytes(self.digest_bytes * len(taken.places))
        return bytes(taken.places["sha256" if self.strict else "xxh3_128"].tobytes())

    def member_places(self, taken: Taken) -> dict[str, tuple[list[int], list[int], list[int]]]:
        """The ``members`` of Extents."""
        members = taken.members
        if members is None:
            members = self._joined.members_of(taken.places, taken.shard + self._shards.start, self.members)
        return {
            extension: (
                np.where(found.size < 0, 0, found.offset - taken.start).tolist(),
                found.size.tolist(),
                found.xxh3_64.tolist(),
            )
            for extension, found in zip(self.members, members, strict=True)
        }

    def spans_of(self, taken: Taken, extension: str) -> tuple[list[int], list[int]]:
        """Where one member begins and ends in each row's bytes, 0 and -1 if a row has none. Raises KeyError if it was not requested."""
        if extension not in self.members:
            raise KeyError(extension)
        if taken.members is not None:
            found = taken.members[self.members.index(extension)]
        else:
            (found,) = self._joined.members_of(taken.places, taken.shard + self._shards.start, (extension,))
        first = np.where(found.size < 0, 0, found.offset - taken.start)
        return first.tolist(), np.where(found.size < 0, -1, first + found.size).tolist()

    def extents(self, rows: NDArray[np.int64]) -> Extents:
        """Where these rows lie; their shards have been opened."""
        return Extents(self, rows)

    def locate(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """The shard, first byte and end of each of these rows, as arrays."""
        return self.take(rows)[:3]


def _around(members: list[Members], places: NDArray[np.void] | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First byte and end of the members of some rows, or, of rows with a group in ``places``, of that group."""
    starts = np.stack([np.where(found.size < 0, np.iinfo(np.int64).max, found.offset) for found in members])
    stops = np.stack([np.where(found.size < 0, 0, found.offset + found.size) for found in members])
    there = np.stack([found.size >= 0 for found in members]).any(axis=0)
    start = np.where(there, starts.min(axis=0), 0)
    stop = np.maximum(stops.max(axis=0), start)
    if places is None:
        return start, stop
    grouped = (places["start"] >= 0) & (places["length"] >= 0)
    return np.where(grouped, places["start"], start), np.where(grouped, places["start"] + places["length"], stop)
