"""Values of fields that were added to a dataset, row by row, for whoever reads samples in any order.

A shard's values are read when one of its rows is first wanted, proved by their set, and held: 4 or 8 bytes a sample for a
number, 1 for truth, 4 or 8 times N for a list of N.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.columns.sets import find_fields
from wdstools.columns.values import by_set, shard_values
from wdstools.formats.arrow import one_chunk, to_list, to_numpy, valid

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from wdstools.columns.sets import Field
    from wdstools.dataset import Dataset

Values = Any


class AddedFields:
    """Some fields of one split. Safe to use from many threads.

    Raises UsageError (``column-missing``, ``columns-stale``) where there are no such fields.
    """

    def __init__(self, dataset: Dataset, split: str, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._fields = find_fields(dataset, self.names)
        self._entries = dataset.manifest.splits[split]
        self._starts = np.cumsum([0, *(entry.samples for entry in self._entries)])
        self._shards: dict[int, dict[str, Values]] = {}
        self._locks = [threading.Lock() for _ in range(min(64, max(1, len(self._entries))))]

    def take(self, rows: NDArray[np.int64]) -> dict[str, list[Any]]:
        """The values of some rows of the split, field by field; raises FormatError (``columns-damaged``) and StoreError."""
        shards = np.searchsorted(self._starts[1:], rows, side="right").tolist()
        within = (rows - self._starts[shards]).tolist() if shards else []
        found: dict[str, list[Any]] = {name: [] for name in self.names}
        for shard, row in zip(shards, within, strict=True):
            held = self._shards.get(shard) or self._opened(shard)
            for name, values in found.items():
                values.append(held[name][row])
        return found

    def _opened(self, shard: int) -> dict[str, Values]:
        with self._locks[shard % len(self._locks)]:
            if shard not in self._shards:
                path = self._entries[shard].path
                held: dict[str, Values] = {}
                for store, columns, names in by_set(self._fields.values()):
                    table = shard_values(store, columns, path, names)
                    held |= {name: _values(table.column(name), self._fields[name]) for name in names}
                self._shards[shard] = held
            return self._shards[shard]


def _values(column: pa.ChunkedArray, field: Field) -> Values:
    """A field's values: an array of numbers or lists, a list of texts.

    A float that is not there is NaN, a text None. Whole numbers and truth of a field in which any is missing are float64,
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
    floats = numbers.astype(np.float64, copy=False) if kind in ("bool", "int64") else numbers
    return np.where(there, floats, floats.dtype.type(np.nan))
