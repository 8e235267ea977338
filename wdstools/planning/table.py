"""The samples that a pack is planned from: a table, and the few ways in which planning reads its columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from wdstools.formats.arrow import kept, one_chunk, taken, to_array, to_ipc, to_list, to_numpy, valid
from wdstools.results import Skip
from wdstools.sources.base import image_paths, text_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

_PART_ROWS = 1 << 16


@dataclass(frozen=True, slots=True)
class Samples:
    """Rows of ``table``, which has the columns of ``SamplesBuilder``, and ``key`` and ``order_hash`` once they are made.

    Only the table is kept: a million samples as Python objects would take another 100 MB.
    """

    table: pa.Table

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def texts(self, name: str) -> list[Any]:
        """A column as Python values; all None if the table has no such column."""
        return text_columns(self.table, (name,))[0]

    def numbers(self, name: str) -> NDArray[Any]:
        """A column of numbers without nulls."""
        return to_numpy(self.table.column(name))

    def named(self, name: str) -> tuple[NDArray[np.int64], list[str]]:
        """A column of names as codes (-1 for none), and the names that they stand for."""
        column = one_chunk(self.table.column(name))
        return to_numpy(column.indices, null=-1).astype(np.int64), to_list(column.dictionary)

    def there(self, name: str) -> NDArray[np.bool_]:
        """Which rows have a value in a column; none if the table has no such column."""
        if name not in self.table.column_names:
            return np.zeros(len(self), bool)
        return valid(one_chunk(self.table.column(name)))

    def paths(self) -> list[str]:
        """The path of each sample's image below the source's root."""
        return image_paths(self.table)

    def parts(self) -> Iterator[Samples]:
        """The samples in slices, so that only a few of their values are Python objects at a time."""
        for start in range(0, len(self), _PART_ROWS):
            yield Samples(self.table.slice(start, _PART_ROWS))

    def keep(self, mask: Sequence[bool] | NDArray[np.bool_]) -> Samples:
        """The samples for which a mask is true."""
        return Samples(kept(self.table, mask))

    def take(self, rows: NDArray[np.int64] | Sequence[int]) -> Samples:
        """The samples at these row numbers, in this order."""
        return Samples(taken(self.table, rows))

    def with_column(self, name: str, parts: Sequence[Sequence[Any] | NDArray[Any]], kind: pa.DataType) -> Samples:
        """The samples with a column, given in parts, replacing any of the same name."""
        # One array: of several, taking some rows would copy all of them each time.
        column = one_chunk(pa.chunked_array([to_array(part, kind) for part in parts], kind))
        table = self.table.drop_columns([name]) if name in self.table.column_names else self.table
        return Samples(table.append_column(name, column))

    def with_splits(self, names: Sequence[str | None]) -> Samples:
        """The samples with these splits."""
        column = to_array(names, pa.dictionary(pa.int32(), pa.string()))
        return Samples(self.table.set_column(self.table.schema.get_field_index("split"), "split", column))

    def with_split_of_the_rest(self, name: str) -> Samples:
        """The samples, with this split for those that have none; names of splits without samples are kept."""
        codes, known = self.named("split")
        names = list(dict.fromkeys([*known, name]))
        numbers = np.where(codes < 0, names.index(name), codes)
        column = pa.DictionaryArray.from_arrays(to_array(numbers, pa.int32()), to_array(names, pa.string()))
        return Samples(self.table.set_column(self.table.schema.get_field_index("split"), "split", column))

    def skips(
        self, rows: NDArray[np.int64] | Sequence[int], reason: str, details: Sequence[str | None] | None = None
    ) -> list[Skip]:
        """Skips for some of the samples, with the reason."""
        chosen = self.take(rows)
        columns = (chosen.paths(), chosen.texts("split"), chosen.texts("key"), details or [None] * len(rows))
        return [
            Skip(reason, path, split, key.decode(), detail) for path, split, key, detail in zip(*columns, strict=True)
        ]

    def message(self) -> bytes:
        """The samples as Arrow IPC bytes, which travel to a worker."""
        return to_ipc(self.table)
