"""One shard's samples, through its index: by row, by key, in order; each member checked against its digest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.errors import FormatError, IntegrityError
from wdstools.formats.arrow import one_chunk, to_list, to_numpy
from wdstools.formats.digest import xxh3_64_intdigest
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.formats.manifest import ShardEntry


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

    Opening compares the shard's size with the manifest and the index with the manifest's ``rows``; raises FormatError
    (``shard-size``, ``index-damaged``) or NotFoundError.
    """

    def __init__(self, dataset: Dataset, entry: ShardEntry, *, check: bool = True) -> None:
        self.entry = entry
        self._check = check
        self._url = f"{dataset.shards.url}/{entry.path}"
        self._hint = f"wdstools verify {dataset.metadata.url}"
        size = dataset.shards.head(entry.path).bytes
        if size != entry.bytes:
            raise FormatError(
                "a shard is not of its recorded size",
                code="shard-size",
                where=self._url,
                expected=f"{entry.bytes} bytes",
                got=f"{size} bytes",
                hint=self._hint,
            )
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
        self._store = dataset.shards
        shards = dataset.shards
        self._bytes = memoryview(shards.map(entry.path)) if isinstance(shards, LocalStore) else None

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def keys(self) -> list[str]:
        """Keys, in row order."""
        return self._keys

    def row_of(self, key: str) -> int:
        """The row of a key; raises KeyError."""
        if self._rows is None:
            self._rows = {name: row for row, name in enumerate(self._keys)}
        return self._rows[key]

    def sample(self, row: int) -> Sample:
        """One sample, each member checked; raises IntegrityError (``sample-damaged``) naming the damaged member."""
        views: dict[str, memoryview] = {}
        for member in range(self._first[row], self._first[row + 1]):
            start = self._offset[member]
            size = self._size[member]
            view = self._bytes[start : start + size] if self._bytes is not None else self._fetch(start, size)
            if self._check and xxh3_64_intdigest(view) != self._digest[member]:
                self._raise_damaged(row, member, view)
            views[self._extensions[member]] = view
        return Sample(self._keys[row], views)

    def _fetch(self, start: int, size: int) -> memoryview:
        return memoryview(self._store.get(self.entry.path, start, size))

    def __iter__(self) -> Iterator[Sample]:
        for row in range(len(self._keys)):
            yield self.sample(row)

    def _raise_damaged(self, row: int, member: int, data: memoryview) -> None:
        start = self._offset[member]
        raise IntegrityError(
            "a sample is damaged",
            code="sample-damaged",
            where=f"{self._url}, sample {self._keys[row]}, member {self._extensions[member]}, "
            f"bytes {start}..{start + self._size[member]}",
            expected=f"xxh3:{self._digest[member]:016x}",
            got=f"xxh3:{xxh3_64_intdigest(data):016x}",
            hint=self._hint,
        )


def _view(array: NDArray[np.int64] | NDArray[np.uint64]) -> memoryview:
    return memoryview(np.ascontiguousarray(array))  # type: ignore[arg-type]  # an array is a buffer from Python 3.12 on
