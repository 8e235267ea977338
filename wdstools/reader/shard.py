"""One shard's samples, through its index: by row, by key, in order; each member checked against its digest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.errors import FormatError, IntegrityError, StoreError
from wdstools.foreign.window import CompressedReader
from wdstools.formats.arrow import one_chunk, to_list, to_numpy
from wdstools.formats.digest import xxh3_64_intdigest
from wdstools.reader.ahead import fetched_ahead, joined
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.formats.manifest import ShardEntry
    from wdstools.stores.base import Store


class Sample(Mapping[str, bytes]):
    """A sample: extension -> payload, in tar order; ``key`` is its key. Everything in it has been checked.

    ``sample["jpg"]`` is a copy, made when it is asked for; ``sample.view("jpg")`` is the payload where it lies.
    """

    __slots__ = ("_views", "key")

    def __init__(self, key: str, views: dict[str, memoryview]) -> None:
        self.key = key
        self._views = views

    def __getitem__(self, extension: str) -> bytes:
        return bytes(self._views[extension])

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def view(self, extension: str) -> memoryview:
        """A payload without a copy: read-only, good as long as it is held; decoders take it as it is."""
        return self._views[extension]

    def __reduce__(self) -> tuple[Any, ...]:
        return _sample_of, (self.key, dict(self))

    def __repr__(self) -> str:
        members = ", ".join(f"{extension}: {len(view)} bytes" for extension, view in self._views.items())
        return f"Sample({self.key!r}, {members})"


def _sample_of(key: str, members: dict[str, bytes]) -> Sample:
    return Sample(key, {extension: memoryview(payload) for extension, payload in members.items()})


class ShardReader:
    """Samples of one shard. Local shards are memory-mapped; of others, one range is fetched a sample.

    Reading on and on from afar fetches blocks of samples, a few ahead. What is damaged or cannot be read is asked for
    again and then looked for in the dataset's mirrors (``Dataset.read_again``). Opening compares the shard's size with
    the manifest and the index with the manifest's ``rows``; raises FormatError (``shard-size``, ``index-damaged``) or
    NotFoundError.
    A compressed shard is unpacked from its front up to the sample, and on from there: in order that is one pass, at random
    a pass a sample.
    """

    def __init__(self, dataset: Dataset, entry: ShardEntry, *, check: bool = True) -> None:
        self.entry = entry
        self._check = check and bool(entry.xxh3_128)  # "": adopted without digests
        self._dataset = dataset
        self._store = _home(dataset, entry)
        self._url = f"{self._store.url}/{entry.path}"
        self._hint = _hint(dataset)
        table = dataset.index(entry)
        members = one_chunk(table.column("members"))
        values = members.flatten()
        self._keys: list[str] = to_list(table.column("key"))
        self._extensions: list[str] = to_list(values.field("ext"))
        bounds = np.concatenate((np.zeros(1, np.int64), np.cumsum(to_numpy(members.value_lengths()))))
        # memoryviews give Python integers twice as fast as arrays do
        self._first = _view(bounds)
        self._offset = _view(to_numpy(values.field("offset")))
        self._size = _view(to_numpy(values.field("size")))
        self._digest = _view(to_numpy(values.field("xxh3_64")))
        self._rows: dict[str, int] | None = None
        home = self._store
        plain = entry.encoding == "tar" and entry.bytes > 0
        self._bytes = memoryview(home.map(entry.path)) if isinstance(home, LocalStore) and plain else None
        # one behind the other, and read by ranges: what a compressed shard is not, nor one whose members lie apart
        self._by_spans = plain and table.column("offset").null_count == 0
        self._stream: CompressedReader | None = None

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def keys(self) -> list[str]:
        """Keys, in row order."""
        return self._keys

    def row_of(self, key: str) -> int:
        """The row of a key; raises KeyError."""
        if self._rows is None:
            # of a key that is there twice, the first
            self._rows = {name: row for row, name in reversed(list(enumerate(self._keys)))}
        return self._rows[key]

    def sample(self, row: int) -> Sample:
        """One sample, each member checked; raises IntegrityError (``sample-damaged``) naming the damaged member."""
        if self._bytes is not None:
            return self._sample(row, self._bytes, 0)
        start, stop = self._span(row)
        return self._sample(row, self._fetch(start, stop - start), start)

    def _sample(self, row: int, data: memoryview, base: int) -> Sample:
        """One sample out of bytes that begin at ``base`` of the shard."""
        views: dict[str, memoryview] = {}
        for member in range(self._first[row], self._first[row + 1]):
            start = self._offset[member] - base
            view = data[start : start + self._size[member]]
            if self._check and xxh3_64_intdigest(view) != self._digest[member]:
                view = self._mended(row, member, view)
            views[self._extensions[member]] = view
        return Sample(self._keys[row], views)

    def _span(self, row: int) -> tuple[int, int]:
        """Where the members of a row begin and end, headers between them included."""
        members = range(self._first[row], self._first[row + 1])
        starts = [self._offset[member] for member in members]
        return min(starts), max(start + self._size[member] for start, member in zip(starts, members, strict=True))

    def _fetch(self, start: int, size: int) -> memoryview:
        if self.entry.encoding != "tar":
            if self._stream is None or self._stream.position > start:
                self._stream = CompressedReader(self._store, self.entry.path)  # from the front again
            return memoryview(self._stream.take(start, size))
        try:
            return memoryview(self._store.get(self.entry.path, start, size))
        except StoreError:
            for data in self._dataset.read_again(self.entry.path, start, size) if self._dataset.mirrors else ():
                if len(data) == size:
                    return memoryview(data)
            raise

    def _mended(self, row: int, member: int, view: memoryview) -> memoryview:
        """A member that is not what was packed, from wherever it still is."""
        for data in self._dataset.read_again(self.entry.path, self._offset[member], self._size[member]):
            if xxh3_64_intdigest(data) == self._digest[member]:
                return memoryview(data)
        raise self._damaged(row, member, view)

    def __iter__(self) -> Iterator[Sample]:
        if self._bytes is None and self._by_spans:
            spans = list(joined([self._span(row) for row in range(len(self._keys))]))
            for span, data in fetched_ahead(spans, lambda span: self._fetch(span.start, span.stop - span.start)):
                for row in range(span.first, span.last):
                    yield self._sample(row, data, span.start)
            return
        for row in range(len(self._keys)):
            yield self.sample(row)

    def _damaged(self, row: int, member: int, data: memoryview) -> IntegrityError:
        start = self._offset[member]
        return IntegrityError(
            "a sample is damaged",
            code="sample-damaged",
            where=f"{self._url}, sample {self._keys[row]}, member {self._extensions[member]}, "
            f"bytes {start}..{start + self._size[member]}",
            expected=f"xxh3:{self._digest[member]:016x}",
            got=f"xxh3:{xxh3_64_intdigest(data):016x}",
            hint=self._hint,
        )


def _hint(dataset: Dataset) -> str:
    return f"wdstools verify {dataset.metadata.url}"


def _home(dataset: Dataset, entry: ShardEntry) -> Store:
    """The first place that has this shard in its right size; raises what is wrong with the first where none has."""
    failure: StoreError | FormatError | None = None
    for store in (dataset.shards, *dataset.mirrors):
        try:
            size = store.head(entry.path).bytes
        except StoreError as error:
            failure = failure or error
            continue
        if size == entry.bytes:
            return store
        failure = failure or FormatError(
            "a shard is not of its recorded size",
            code="shard-size",
            where=f"{store.url}/{entry.path}",
            expected=f"{entry.bytes} bytes",
            got=f"{size} bytes",
            hint=_hint(dataset),
        )
    assert failure is not None
    raise failure


def _view(array: NDArray[np.int64] | NDArray[np.uint64]) -> memoryview:
    return memoryview(np.ascontiguousarray(array))  # type: ignore[arg-type]  # an array is a buffer from Python 3.12 on
