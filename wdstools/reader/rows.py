"""Where the samples of a split lie, as arrays: for readers that take many samples at a time.

Each index is read when one of its rows is first wanted, and checked against the manifest; after that a row costs
about 40 bytes, its key and 20 a member.
"""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from wdstools.errors import FormatError, UsageError
from wdstools.formats.arrow import fixed_bytes, one_chunk, text_bytes, to_numpy
from wdstools.formats.digest import sha256_digest, xxh3_128_digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    import pyarrow as pa
    from numpy.typing import NDArray

    from wdstools.dataset import Dataset

_COLUMNS = ("key", "offset", "length", "xxh3_128", "sha256", "members", "width", "height")
_MAX_SPAN = 1 << 31


class Extents:
    """Where some rows lie: row i is ``length[i]`` bytes of shard ``shard[i]`` from ``start[i]``.

    These bytes are the row's record group, with the i-th digest in ``groups`` (see ``RowTable.digest_of``); or, where a row has no
    group or only some of the members are wanted, they are these members and what is between them, with a digest of
    zeros. ``members`` maps each extension to (offset from ``start``, size, XXH3-64) row by row; size -1 where a row has
    no such member.
    """

    def __init__(self, table: RowTable, rows: NDArray[np.int64]) -> None:
        self._table = table
        self._rows = rows
        shard, start, stop = table.locate(rows)
        self.keys = table.keys(shard, rows)
        self.shard: list[int] = shard.tolist()
        self.start: list[int] = start.tolist()
        self.length: list[int] = (stop - start).tolist()
        self.groups = table.groups(rows)
        self._together = (shard[1:] == shard[:-1]) & (start[1:] == stop[:-1])
        self._starts = start
        self._members: dict[str, tuple[list[int], list[int], list[int]]] | None = None

    @property
    def members(self) -> dict[str, tuple[list[int], list[int], list[int]]]:
        """See above; found out when it is first asked for, by several threads perhaps, and the same for all."""
        if self._members is None:
            self._members = self._table.member_places(self._rows)
        return self._members

    def pieces(self, block_bytes: int, alone: int) -> Iterator[tuple[int, int, bool]]:
        """Rows that are best taken at once: first, end, and whether they lie one behind the other.

        Neighbours that begin in one block of the shard are one piece; where most rows lie alone, ``alone`` of these are.
        """
        count = len(self._starts)
        block = self._starts // block_bytes
        begin = np.flatnonzero(~self._together | (block[1:] != block[:-1])) + 1
        if 2 * len(begin) < count:
            return ((first, stop, True) for first, stop in pairwise([0, *begin.tolist(), count]))
        return ((first, min(first + alone, count), False) for first in range(0, count, alone))

    def place(self, row: int, extension: str) -> slice:
        """Where a member lies in its row's bytes; raises KeyError."""
        offsets, sizes, _ = self.members[extension]
        first, size = offsets[row], sizes[row]
        if size < 0:
            raise KeyError(extension)
        return slice(first, first + size)

    def extensions(self, row: int) -> list[str]:
        """The members that a row has."""
        return [extension for extension, (_, sizes, _) in self.members.items() if sizes[row] >= 0]


class RowTable:
    """The rows of one split: numbers 0 to ``count - 1`` in shard order. Safe to use from many threads."""

    def __init__(self, dataset: Dataset, split: str, members: tuple[str, ...]) -> None:
        if split not in dataset.manifest.splits:
            raise UsageError("no such split", code="split-missing", where=split, expected=", ".join(dataset.splits))
        self.dataset = dataset
        self.entries = dataset.manifest.splits[split]
        self.members = members
        #: Whether a row is proved by the SHA-256 of its group and by nothing less, so that it is always read whole.
        self.strict = dataset.strict
        #: The digest of a group, and its length in bytes.
        self.digest_of = sha256_digest if self.strict else xxh3_128_digest
        self.digest_bytes = 32 if self.strict else 16
        self._by_group = self.strict or set(members) == set(dataset.manifest.members)
        self._ends = np.cumsum([entry.samples for entry in self.entries], dtype=np.int64)
        self.count = int(self._ends[-1]) if len(self._ends) else 0
        self._starts = self._ends - np.array([entry.samples for entry in self.entries], np.int64)
        self._opened = np.zeros(len(self.entries), np.bool_)
        self._lock = threading.Lock()
        # pages of these are touched, and so take memory, only as shards are opened
        self._start = np.empty(self.count, np.int64)
        self._length = np.empty(self.count, np.int32)
        self._sides = np.empty((self.count, 2), np.int32)
        self._offset, self._size = (np.empty((len(members), self.count), np.int32) for _ in range(2))
        self._digest = np.empty((len(members), self.count), np.uint64)
        self._group = np.empty((self.count if self._by_group else 0, self.digest_bytes // 8), np.uint64)
        # keys of a shard are one text; these count its characters
        self._key_start = np.empty(self.count, np.int32)
        self._key_size = np.empty(self.count, np.int32)
        self._keys = [""] * len(self.entries)

    @property
    def is_open(self) -> bool:
        """Whether every index has been read."""
        return bool(self._opened.all())

    def missing(self, rows: NDArray[np.int64]) -> list[int]:
        """Shards of these rows whose index has not been read yet."""
        if self.is_open:
            return []
        shards = np.unique(np.searchsorted(self._ends, rows, side="right"))
        return [int(shard) for shard in shards if not self._opened[shard]]

    def opened(self, known: AbstractSet[int]) -> Iterator[tuple[int, int, int]]:
        """Shards whose index has been read, but for those that are known: number, first row, end."""
        for shard in np.flatnonzero(self._opened).tolist() if len(known) < len(self.entries) else ():
            if shard not in known:
                yield shard, int(self._starts[shard]), int(self._ends[shard])

    def open(self, shard: int) -> None:
        """Read one shard's index. Raises FormatError (``index-damaged``) or NotFoundError (``index-missing``)."""
        entry = self.entries[shard]
        table = self.dataset.index(entry, _COLUMNS)
        first, last = int(self._starts[shard]), int(self._ends[shard])
        if table.num_rows != entry.samples:
            raise self._damaged(shard, "another number of rows than the manifest says")
        sizes, keys = _characters(one_chunk(table.column("key")))
        with self._lock:
            self._place_members(shard, table, slice(first, last))
            self._key_size[first:last] = sizes
            self._key_start[first:last] = np.cumsum(sizes) - sizes
            self._keys[shard] = keys
            for side, name in enumerate(("width", "height")):
                self._sides[first:last, side] = to_numpy(table.column(name), null=-1)
            self._opened[shard] = True

    def _place_members(self, shard: int, table: pa.Table, rows: slice) -> None:
        """Set start, length, offset, size and digest of the wanted members of one shard's rows."""
        members = one_chunk(table.column("members"))
        values = members.flatten()
        counts = to_numpy(members.value_lengths())
        row_of = np.repeat(np.arange(len(counts)), counts)
        offset, size, digest = (to_numpy(values.field(name)) for name in ("offset", "size", "xxh3_64"))
        if (offset < 0).any() or (size < 0).any() or (size > self.entries[shard].bytes - offset).any():
            raise self._damaged(shard, "a member lies outside the shard")
        starts = np.full((len(self.members), len(counts)), np.iinfo(np.int64).max)
        sizes = np.full((len(self.members), len(counts)), -1)
        for number, wanted in enumerate(_members_called(values.field("ext"), self.members)):
            starts[number, row_of[wanted]] = offset[wanted]
            sizes[number, row_of[wanted]] = size[wanted]
            self._digest[number, rows][row_of[wanted]] = digest[wanted]
        there = sizes >= 0
        start = np.where(there.any(axis=0), starts.min(axis=0, initial=np.iinfo(np.int64).max), 0)
        end = np.where(there, starts + sizes, 0).max(axis=0, initial=0)
        if self._by_group:
            first, length = (to_numpy(table.column(name), null=-1) for name in ("offset", "length"))
            grouped = (first >= 0) & (length >= 0)
            start, end = np.where(grouped, first, start), np.where(grouped, first + length, end)
            digests = fixed_bytes(table.column("sha256" if self.strict else "xxh3_128"))
            self._group[rows] = np.frombuffer(digests, np.uint64).reshape(len(start), -1)
        if ((end - start) >= _MAX_SPAN).any():
            raise self._damaged(shard, "the members of a sample lie more than 2 GB apart")
        self._start[rows] = start
        self._length[rows] = np.maximum(end - start, 0)
        self._offset[:, rows] = np.where(there, starts - start, 0)
        self._size[:, rows] = sizes

    def _damaged(self, shard: int, message: str) -> FormatError:
        return FormatError(
            f"an index cannot be used: {message}",
            code="index-damaged",
            where=self.entries[shard].index_path,
            hint=self.dataset.verify_command,
        )

    def sides(self, rows: NDArray[np.int64]) -> NDArray[np.int32]:
        """Width and height of the images of these rows as the index has them, [N, 2]; -1 where it has none."""
        return self._sides[rows]

    def keys(self, shard: NDArray[np.int64], rows: NDArray[np.int64]) -> list[str]:
        """The keys of these rows, which lie in these shards."""
        first = self._key_start[rows]
        spans = zip(shard.tolist(), first.tolist(), (first + self._key_size[rows]).tolist(), strict=True)
        texts = self._keys
        return [texts[at][start:end] for at, start, end in spans]

    def groups(self, rows: NDArray[np.int64]) -> bytes:
        """The digests of these rows' record groups, one behind the other; zeros where there is none."""
        return bytes(self._group[rows].tobytes() if self._by_group else bytes(self.digest_bytes * len(rows)))

    def member_places(self, rows: NDArray[np.int64]) -> dict[str, tuple[list[int], list[int], list[int]]]:
        """The ``members`` of Extents."""
        columns = (self._offset, self._size, self._digest)
        return {
            extension: (
                columns[0][number, rows].tolist(),
                columns[1][number, rows].tolist(),
                columns[2][number, rows].tolist(),
            )
            for number, extension in enumerate(self.members)
        }

    def extents(self, rows: NDArray[np.int64]) -> Extents:
        """Where these rows lie; their shards have been opened."""
        return Extents(self, rows)

    def locate(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Shard, first byte and end of each of these rows, as arrays."""
        start = self._start[rows]
        return np.searchsorted(self._ends, rows, side="right"), start, start + self._length[rows]


def _characters(texts: pa.Array) -> tuple[NDArray[np.int64], str]:
    """Length in characters of each text, and all of them as one."""
    lengths, raw = text_bytes(texts)
    if not raw.isascii():
        beginning = (np.frombuffer(raw, np.uint8) & 0xC0) != 0x80  # of a character in UTF-8
        before = np.concatenate((np.zeros(1, np.int64), np.cumsum(beginning)))
        ends = np.cumsum(lengths)
        lengths = before[ends] - before[ends - lengths]
    return lengths, raw.decode()


def _members_called(extensions: pa.Array, names: tuple[str, ...]) -> list[NDArray[np.int64]]:
    """For each name, which members have this extension: compared byte by byte, without a Python string each."""
    lengths, raw = text_bytes(extensions)
    data = np.frombuffer(raw, np.uint8)
    ends = np.cumsum(lengths)
    found = []
    for name in names:
        encoded = name.encode()
        those = np.flatnonzero(lengths == len(encoded))
        for place, byte in enumerate(encoded):
            those = those[data[ends[those] - len(encoded) + place] == byte]
        found.append(those)
    return found
