"""Values of added columns, row by row, for readers that take samples in any order.

A shard's values are read when one of its rows is first needed, and checked against the digests of their set. If the
split has few, they are held in memory: 4 or 8 bytes a sample for a number, 1 for a bool, 4 or 8 times N for a list of
N. Otherwise they are kept as files in the cache, which all processes of this machine read row by row.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.columns.kept import KeptValues, Place, bytes_of, has_room
from wdstools.columns.sets import find_fields
from wdstools.columns.values import by_set, shard_values
from wdstools.formats.arrow import one_chunk, release_memory, to_list, to_numpy, valid

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from wdstools.columns.sets import Field
    from wdstools.dataset import Dataset

Values = Any
#: How many bytes of a split's values a process holds in memory; more is kept in files.
HELD_BYTES = 64 << 20
#: About how many bytes of memory a text takes for each byte in the files of its set.
_OF_TEXT = 4
_WHOLE = {"bool": np.bool_, "int64": np.int64}


class AddedFields:
    """Some added columns of one split. Thread-safe.

    Raises UsageError (``column-missing``, ``columns-stale``) if a column is missing or belongs to another version.
    """

    def __init__(self, dataset: Dataset, split: str, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._fields = find_fields(dataset, self.names)
        self._root = dataset.root
        self._entries = dataset.manifest.splits[split]
        self._starts = np.cumsum([0, *(entry.samples for entry in self._entries)])
        self._shards: dict[int, dict[str, Values]] = {}
        self._locks = [threading.Lock() for _ in range(min(64, max(1, len(self._entries))))]
        size = self._size()
        places = [place for shard in range(len(self._entries)) for place in self._places(shard).values()]
        self._in_files = size > HELD_BYTES and has_room(size, places)
        self._room, self._room_lock = size, threading.Lock()

    def _size(self) -> int:
        """About how many bytes all the values take."""
        rows, size = int(self._starts[-1]), 0
        for field in self._fields.values():
            if field.kind == "string":
                size += _OF_TEXT * sum(field.columns.shard(entry.path).bytes for entry in self._entries)
                continue
            kind, width = _form_of(field)
            assert kind is not None
            size += rows * max(1, width) * kind.itemsize
        return size

    def take(self, rows: NDArray[np.int64]) -> dict[str, list[Any]]:
        """The values of some rows of the split, by column; raises FormatError (``columns-damaged``) and StoreError."""
        shards = np.searchsorted(self._starts[1:], rows, side="right")
        within = rows - self._starts[shards]
        found: dict[str, list[Any]] = {name: [None] * len(rows) for name in self.names}
        for shard in dict.fromkeys(shards.tolist()):
            at = np.flatnonzero(shards == shard)
            for name, values in self._taken(shard, within[at]).items():
                for place, value in zip(at.tolist(), values, strict=True):
                    found[name][place] = value
        return found

    def _taken(self, shard: int, rows: NDArray[np.int64]) -> dict[str, list[Any]]:
        """The values of some rows of a shard."""
        held = self._shards.get(shard) or self._opened(shard)
        found = {name: _of(values, rows) for name, values in held.items()}
        if any(values is None for values in found.values()):  # a file was evicted from the cache
            with self._locks[shard % len(self._locks)]:
                if self._shards.get(shard) is held:
                    self._shards[shard] = self._kept(shard)
                held = self._shards[shard]
            found = {name: _of(values, rows) for name, values in held.items()}
            gone = [name for name, values in found.items() if values is None]
            if gone:  # evicted again in the meantime
                found |= {name: _of(values, rows) for name, values in self._read(shard, gone).items()}
        return {name: values or [] for name, values in found.items()}

    def _opened(self, shard: int) -> dict[str, Values]:
        with self._locks[shard % len(self._locks)]:
            if shard not in self._shards:
                self._shards[shard] = self._kept(shard) if self._in_files else self._read(shard)
            return self._shards[shard]

    def _kept(self, shard: int) -> dict[str, Values]:
        """A shard's values from files of the cache; missing files are written first."""
        entry, places = self._entries[shard], self._places(shard)
        held: dict[str, Values] = {
            name: KeptValues.opened(place, entry.samples, *_form_of(self._fields[name]))
            for name, place in places.items()
        }
        missing = [name for name, values in held.items() if values is None]
        for name, values in (self._read(shard, missing) if missing else {}).items():
            kept = KeptValues.kept(places[name], values) if self._may_keep(bytes_of(values)) else None
            held[name] = values if kept is None else kept
        if missing:
            release_memory()
        return held

    def _places(self, shard: int) -> dict[str, Place]:
        """Where the values of a shard are kept in the cache."""
        path = self._entries[shard].path
        return {name: Place(self._root, field.columns.shard(path).sha256, name) for name, field in self._fields.items()}

    def _may_keep(self, size: int) -> bool:
        """Whether a file may be written: it fits into the room reserved at first, or into the room there is now."""
        with self._room_lock:
            if size <= self._room:
                self._room -= size
                return True
        return has_room(size)

    def _read(self, shard: int, names: Sequence[str] | None = None) -> dict[str, Values]:
        """A shard's values from the files of their sets."""
        path = self._entries[shard].path
        held: dict[str, Values] = {}
        for store, columns, mine in by_set(self._fields[name] for name in (self.names if names is None else names)):
            table = shard_values(store, columns, path, mine)
            held |= {name: _values(table.column(name), self._fields[name]) for name in mine}
        return held


def _of(values: Values, rows: NDArray[np.int64]) -> list[Any] | None:
    """Some of a shard's values, as copies; None if their file is gone."""
    if isinstance(values, KeptValues):
        return values.take(rows.tolist())
    return [values[row] for row in rows.tolist()] if isinstance(values, list) else list(values[rows])


def _form_of(field: Field) -> tuple[np.dtype[Any] | None, int]:
    """The dtype of a column's values, None for texts, and how many numbers each value has: see ``_values``."""
    if field.kind == "string":
        return None, 0
    width = field.columns.field(field.name).width
    if field.kind in _WHOLE and field.columns.nulls(field.name):
        return np.dtype(np.float64), width
    return np.dtype(_WHOLE.get(field.kind) or field.kind.partition("[")[0]), width


def _values(column: pa.ChunkedArray, field: Field) -> Values:
    """A column's values: an array of numbers or lists, or a list of texts.

    A missing float is NaN, a missing text None. Integers and bools of a column in which any is missing become float64,
    so that all batches are of one type.
    """
    array = one_chunk(column)
    kind, rows = field.kind, len(array)
    if kind == "string":
        return to_list(array)
    there = valid(array)
    if width := field.columns.field(field.name).width:
        inner = to_numpy(array.values)[array.offset * width : (array.offset + rows) * width].reshape(rows, width)
        return inner if there.all() else np.where(there[:, np.newaxis], inner, np.nan).astype(inner.dtype)
    if kind == "bool":
        numbers: Any = np.fromiter((bool(value) for value in to_list(array)), np.bool_, rows)
    else:
        numbers = to_numpy(array)
    if not field.columns.nulls(field.name):
        return numbers
    floats = numbers.astype(np.float64, copy=False) if kind in _WHOLE else numbers
    return np.where(there, floats, floats.dtype.type(np.nan))
