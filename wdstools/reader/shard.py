"""One shard's samples, through its index: by row, by key or in order, each member checked against its digest."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.errors import IntegrityError, StoreError
from wdstools.foreign.window import CompressedReader
from wdstools.formats.digest import sha256_digest, xxh3_64_intdigest, xxh3_128_digest
from wdstools.joined.rows import ShardRows, shard_rows
from wdstools.reader.ranges import BLOCK_BYTES, OpenFiles
from wdstools.reader.replicas import Places
from wdstools.reader.sample import Sample, member_by_member
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.formats.manifest import ShardEntry
    from wdstools.stores.base import Store


class ShardReader:
    """Samples of one shard, with one range read per sample.

    What is damaged or cannot be read is read again, and then from the dataset's mirrors
    (``Dataset.read_again``). Opening compares the shard's size with
    the manifest and the index with the manifest's ``rows``; raises FormatError (``shard-size``, ``index-damaged``) or
    NotFoundError.
    A compressed shard is decompressed from its start up to the sample, and on from there: reading in order is one pass,
    random access one pass per sample.
    """

    def __init__(self, dataset: Dataset, entry: ShardEntry, *, check: bool = True) -> None:
        self.entry = entry
        self._check = check and bool(entry.xxh3_128)  # "": adopted without digests
        self._dataset = dataset
        self._store = home_of(dataset, entry)
        self._url = f"{self._store.url}/{entry.path}"
        self._hint = dataset.verify_command
        self._strict = dataset.strict
        self._digest_of, self._digest_bytes = (sha256_digest, 32) if self._strict else (xxh3_128_digest, 16)
        rows = shard_rows(dataset, entry, digest="sha256" if self._strict else "xxh3_128")
        #: Keys, in row order.
        self.keys = rows.keys
        self._extensions, self._groups = rows.extensions, rows.groups
        self.spans = _Spans(rows)
        # memoryviews return Python integers twice as fast as arrays
        self._first = _view(rows.bounds)
        self._offset, self._size, self._digest = _view(rows.offset), _view(rows.size), _view(rows.digest)
        self._start, self._stop = _view(rows.start), _view(rows.stop)
        self._length = _view(rows.stop - rows.start)
        self._rows: dict[str, int] | None = None
        #: The members of each row, if all rows have the same; else empty.
        self._members: tuple[str, ...] | None = None
        home = self._store
        plain = entry.encoding == "tar" and entry.bytes > 0
        self._path = home.locate(entry.path) if isinstance(home, LocalStore) and plain else None
        self._files = files_of(dataset)
        self._stream: CompressedReader | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def row_of(self, key: str) -> int:
        """The row of a key; raises KeyError."""
        if self._rows is None:
            # of a repeated key, the first row
            self._rows = {name: row for row, name in reversed(list(enumerate(self.keys)))}
        return self._rows[key]

    def sample(self, row: int) -> Sample:
        """One sample, each member checked; raises IntegrityError (``sample-damaged``) naming the damaged member."""
        if self._path is None:
            return Sample(self._checked(row, self._fetch(self._start[row], self._length[row])), self, row)
        data: bytes | memoryview = self._files.read(self._path, self._start[row], self._length[row])
        size = self._digest_bytes
        if not self._check or self._digest_of(data) != self._groups[size * row : size * row + size]:
            data = self._checked(row, memoryview(data))
        return Sample(data, self, row)

    def _checked(self, row: int, data: memoryview) -> memoryview:
        """A sample's bytes if they, or at least its members, are as packed; else those of another copy that are."""
        if not self._check:
            if len(data) < self._stop[row] - self._start[row]:
                raise self._cut(row, data)
            return data
        group = self._groups[self._digest_bytes * row :][: self._digest_bytes]
        if self._digest_of(data) == group:
            return data
        if self._strict:
            return self._whole_again(row, group, data)
        members = (
            (member, self._offset[member] - self._start[row], self._size[member], self._digest[member])
            for member in range(self._first[row], self._first[row + 1])
        )
        return member_by_member(data, members, partial(self._mended, row))

    def extensions(self, row: int) -> Sequence[str]:
        """The members of a row, in tar order."""
        if self._members is None:
            first, each = self._extensions[: self._first[1]], self._first[1]
            is_same = (
                len(set(first)) == each
                and self._extensions == first * len(self.keys)
                and self._first.tolist() == list(range(0, len(self._extensions) + 1, each))
            )
            self._members = tuple(first) if is_same else ()
        return self._members or list(dict.fromkeys(self._extensions[self._first[row] : self._first[row + 1]]))

    def _fetch(self, start: int, size: int) -> memoryview:
        if self.entry.encoding != "tar":
            if self._stream is None or self._stream.position > start:
                self._stream = CompressedReader(self._store, self.entry.path)  # from the start again
            return memoryview(self._stream.take(start, size))
        try:
            return memoryview(self._store.get(self.entry.path, start, size))
        except StoreError:
            for data in self._dataset.read_again(self.entry.path, start, size) if self._dataset.mirrors else ():
                if len(data) == size:
                    return memoryview(data)
            raise

    def _whole_again(self, row: int, group: bytes, data: memoryview) -> memoryview:
        """A sample that SHA-256 does not prove, from any place that still has it as packed."""
        start, length = self._start[row], self._stop[row] - self._start[row]
        for again in self._dataset.read_again(self.entry.path, start, length):
            if self._digest_of(again) == group:
                return memoryview(again)
        raise IntegrityError(
            "a sample differs from what was packed",
            code="sample-damaged",
            where=f"{self._url}, sample {self.keys[row]}, bytes {start}..{start + length}",
            expected=f"sha256:{group.hex()}",
            got=f"sha256:{self._digest_of(data).hex()}",
            hint=self._hint,
        )

    def _mended(self, row: int, member: int, view: memoryview) -> bytes:
        """A member that differs from what was packed, from any place that still has it as packed."""
        for data in self._dataset.read_again(self.entry.path, self._offset[member], self._size[member]):
            if xxh3_64_intdigest(data) == self._digest[member]:
                return data
        raise self._damaged(row, member, view)

    def __iter__(self) -> Iterator[Sample]:
        if self._path is None:
            for row in range(len(self.keys)):
                yield self.sample(row)
            return
        for first, last in self._blocks():
            begin = self._start[first]
            data = memoryview(self._files.read(self._path, begin, self._stop[last - 1] - begin))
            for row in range(first, last):
                yield Sample(self._checked(row, data[self._start[row] - begin : self._stop[row] - begin]), self, row)

    def _blocks(self) -> Iterator[tuple[int, int]]:
        """Contiguous rows, as many as are read in one go: first, and end."""
        first = 0
        for row in range(1, len(self.keys)):
            start = self._start[row]
            if start != self._stop[row - 1] or self._stop[row] - self._start[first] > BLOCK_BYTES:
                yield first, row
                first = row
        if self.keys:
            yield first, len(self.keys)

    def _cut(self, row: int, data: memoryview) -> IntegrityError:
        start, stop = self._start[row], self._stop[row]
        return IntegrityError(
            "the shard ends in the middle of a sample",
            code="sample-damaged",
            where=f"{self._url}, sample {self.keys[row]}",
            expected=f"{stop - start} bytes from {start}",
            got=f"{len(data)} bytes",
            hint=self._hint,
        )

    def _damaged(self, row: int, member: int, data: memoryview) -> IntegrityError:
        start = self._offset[member]
        return IntegrityError(
            "a sample is damaged",
            code="sample-damaged",
            where=f"{self._url}, sample {self.keys[row]}, member {self._extensions[member]}, "
            f"bytes {start}..{start + self._size[member]}",
            expected=f"xxh3:{self._digest[member]:016x}",
            got=f"xxh3:{xxh3_64_intdigest(data):016x}",
            hint=self._hint,
        )


def home_of(dataset: Dataset, entry: ShardEntry) -> Store:
    """The first place that has a shard in its recorded size, found once. Raises as ``Places.home``."""
    homes = dataset.readers.setdefault("\0homes", {})
    assert isinstance(homes, dict)
    found: Store | None = homes.get(entry.path)
    if found is None:
        found = homes[entry.path] = Places(dataset).home(entry)
    return found


def files_of(dataset: Dataset) -> OpenFiles:
    """The open files of a dataset, shared by the readers of its shards."""
    files = dataset.readers.setdefault("", OpenFiles())
    assert isinstance(files, OpenFiles)
    return files


_MAX_INT32 = (1 << 31) - 1


class _Spans(dict[str, tuple["memoryview[int]", "memoryview[int]"]]):
    """Where the members of a shard's rows lie in the bytes of their rows, by extension; computed on first use.

    A row without the member has 0 and -1; of two with the same name in a row, the last counts. Raises KeyError for an extension
    that no row has.
    """

    def __init__(self, rows: ShardRows) -> None:
        super().__init__()
        self._rows = rows
        self._there: frozenset[str] | None = None

    def __missing__(self, extension: str) -> tuple[memoryview[int], memoryview[int]]:
        rows = self._rows
        if self._there is None:
            self._there = frozenset(rows.extensions)
        if extension not in self._there:
            raise KeyError(extension)
        members = np.flatnonzero([name == extension for name in rows.extensions])
        row = np.searchsorted(rows.bounds, members, side="right") - 1
        first: NDArray[Any] = np.zeros(len(rows.keys), np.int64)
        end: NDArray[Any] = np.full(len(rows.keys), -1)
        first[row] = rows.offset[members] - rows.start[row]
        end[row] = first[row] + rows.size[members]
        if max(end.max(), -first.min()) <= _MAX_INT32:  # nearly always, and takes half the memory
            first, end = first.astype(np.int32), end.astype(np.int32)
        self[extension] = found = _view(first), _view(end)
        return found


def _view(array: NDArray[Any]) -> memoryview:
    return memoryview(np.ascontiguousarray(array))  # type: ignore[arg-type]  # an array is a buffer from Python 3.12 on
