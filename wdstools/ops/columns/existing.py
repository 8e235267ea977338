"""An existing set of the same name: refused, replaced, or kept where there are no new values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow as pa

from wdstools.columns.sets import fits, names_in, read_set, read_sums, stale_set
from wdstools.columns.values import shard_values
from wdstools.errors import UsageError
from wdstools.formats.arrow import numbers_over, one_chunk, valid
from wdstools.formats.columns import set_path
from wdstools.ops.columns.land import lines_of, require_changeable, taken

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.formats.columns import ColumnField, ColumnSet
    from wdstools.options.columns import Existing
    from wdstools.stores.base import Store

_NUMBERS = ("int64", "float32", "float64")


@dataclass(frozen=True, slots=True)
class Earlier:
    """What exists under a name. ``seen`` are its lines in the list of sets; ``columns`` is the set whose values stay.

    ``only_missing``: every existing value stays; without it, only those for which no new value is given.
    """

    #: Every task that reads the set holds it: see ``executors.shared``.
    travels_once: ClassVar[bool] = True

    seen: Mapping[str, str] = field(default_factory=dict)
    columns: ColumnSet | None = None
    store: Store | None = None
    only_missing: bool = False

    @property
    def change(self) -> str:
        """What happens to it: a stable word."""
        if not self.seen:
            return "added"
        return "replaced" if self.columns is None else "updated"

    def fields(self, new: Sequence[ColumnField]) -> tuple[ColumnField, ...]:
        """The fields of the set once these are added."""
        kept = {} if self.columns is None else {one.name: one for one in self.columns.fields}
        return tuple(one for _, one in sorted(({one.name: one for one in new} | kept).items()))

    def grows(self, new: Sequence[ColumnField]) -> bool:
        """Whether every file is rewritten: these fields are new to the set, or none of its values stay."""
        return self.columns is None or self.fields(new) != self.columns.fields

    def kinds(
        self, new: Sequence[ColumnField], *, texts: bool = False, empty: Collection[str] = ()
    ) -> tuple[ColumnField, ...]:
        """New fields with the types that the set has for them; raises UsageError (``columns-unsupported``) if they do not fit.

        ``texts``: all values are written as text, so they also fit a field of text. ``empty``: columns without a value fit
        any type.
        """
        kept = {} if self.columns is None else {one.name: one for one in self.columns.fields}
        for one in new:
            old = kept.get(one.name, one)
            numbers = one.kind.partition("[")[0] in _NUMBERS and old.kind.partition("[")[0] in _NUMBERS
            if one.name in empty:
                continue
            if not (one.kind == old.kind or (numbers and one.width == old.width) or (texts and old.kind == "string")):
                raise UsageError(
                    "a column has another type than its existing values",
                    code="columns-unsupported",
                    where=one.name,
                    expected=old.kind,
                    got=one.kind,
                    hint="give values of that type, or replace the set; nothing was changed",
                )
        return tuple(kept.get(one.name, one) for one in new)

    def table(self, path: str) -> pa.Table | None:
        """The existing rows of a shard; None if none of them stay."""
        if self.columns is None or self.store is None:
            return None
        return shard_values(self.store, self.columns, path, ["key", *(one.name for one in self.columns.fields)])

    def wanted(self, table: pa.Table | None, new: Sequence[ColumnField], rows: int) -> NDArray[np.bool_]:
        """The rows of a shard in which a new field may get a value; ``table`` has the existing rows."""
        if table is None or not self.only_missing or not all(one.name in table.column_names for one in new):
            return np.ones(rows, np.bool_)
        wanted = np.zeros(rows, np.bool_)
        for one in new:
            wanted |= ~valid(table.column(one.name))
        return wanted

    def merged(self, old: pa.Table | None, new: pa.Table, there: NDArray[np.bool_]) -> pa.Table:
        """The rows of a shard: new values where they are ``there`` and allowed, and otherwise the old ones."""
        if old is None:
            return new
        arrays = [one_chunk(old.column("key"))]
        names = sorted({*old.column_names[1:], *new.column_names[1:]})
        for name in names:
            if name not in new.column_names:
                arrays.append(one_chunk(old.column(name)))
                continue
            values = one_chunk(new.column(name))
            before = one_chunk(old.column(name)) if name in old.column_names else pa.nulls(len(there), values.type)
            taken_from = there & ~valid(before) if self.only_missing else there
            rows = np.arange(len(there)) + np.where(taken_from, len(there), 0)
            arrays.append(pa.concat_arrays([before, values]).take(numbers_over(rows, rows >= 0, pa.int64())))
        kinds = [pa.field(name, array.type) for name, array in zip(names, arrays[1:], strict=True)]
        return pa.Table.from_arrays(arrays, schema=pa.schema([new.schema.field("key"), *kinds]))


def find_earlier(dataset: Dataset, name: str, existing: Existing) -> Earlier:
    """What exists under a name.

    Raises UsageError if it is to be refused (``columns-taken``), or if its values are to stay but are for another version
    of the dataset (``columns-stale``); and FormatError if they cannot be read.
    """
    store = require_changeable(dataset)
    sums = read_sums(store)
    if name not in names_in(sums):
        return Earlier()
    if existing == "refuse":
        raise taken(dataset.metadata.url, name)
    seen = lines_of(sums, name)
    if existing == "replace":
        return Earlier(seen)
    columns = read_set(store, name, sums[set_path(name)])
    if not fits(columns, dataset):
        raise stale_set(dataset, columns)
    return Earlier(seen, columns, store, existing == "fill")
