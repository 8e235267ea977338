"""Selects samples by splits, keys, and a condition on columns of the index and on added columns."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Unpack

import numpy as np

from wdstools.columns.sets import fields_of, find_fields
from wdstools.columns.values import with_columns
from wdstools.errors import UsageError
from wdstools.formats.arrow import to_array, to_list
from wdstools.options.declare import settle
from wdstools.options.read import SelectChoices
from wdstools.reader.keys import parse_keys
from wdstools.reader.operand import no_such_column
from wdstools.reader.where import Where, empty_table, parse_where
from wdstools.results import Proved
from wdstools.stores.local import read_file

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa
    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.formats.manifest import ShardEntry

__all__ = ["Selection", "Where", "parse_where", "select"]


@dataclass(frozen=True, slots=True)
class Selection:
    """Some samples of a dataset: those of ``splits``, with a key in ``keys``, for which ``where`` holds; None is all.

    Raises UsageError for values of another type: any collection of keys will do, but not a single text.
    """

    #: A takedown list may be long, and every task needs it: see ``executors.shared``.
    travels_once: ClassVar[bool] = True

    splits: tuple[str, ...] | None = None
    keys: frozenset[str] | None = None
    where: Where | None = None

    def __post_init__(self) -> None:
        splits, keys = _texts("splits", self.splits), _texts("keys", self.keys)
        if self.where is not None and not isinstance(self.where, Where):
            raise _not_so("where", "a condition from wdstools.parse_where, or wdstools.select(where=...)", self.where)
        object.__setattr__(self, "splits", None if splits is None else tuple(splits))
        object.__setattr__(self, "keys", None if keys is None else frozenset(keys))

    @property
    def is_everything(self) -> bool:
        """Whether all samples are selected."""
        return self.splits is None and self.keys is None and self.where is None

    def check(self, dataset: Dataset, *, by_members: bool = False) -> None:
        """Raise UsageError for a split or column that the dataset does not have, and (``values-unproved``) for unproved values.

        With ``by_members`` the caller reads the members if only these prove the values in the condition. An added column
        may belong to another version (``columns-stale``).
        """
        if self.where is not None and self.added:
            self._check_added(self.where, dataset)
        if not by_members and self.needs_members(dataset):
            raise UsageError(
                "only the samples themselves prove the labels, captions and sizes of this dataset",
                code="values-unproved",
                where=dataset.metadata.url,
                expected="a dataset whose manifest has values, or a selection by key",
                hint="wdstools pull URL DIR --root DIGEST --where EXPR    reads the samples, and selects by their own values",
            )
        for split in self.splits or ():
            if split not in dataset.manifest.splits:
                raise UsageError(
                    "no such split", code="split-missing", where=split, expected=", ".join(dataset.manifest.splits)
                )

    def _check_added(self, where: Where, dataset: Dataset) -> None:
        try:
            fields = find_fields(dataset, self.added)
        except UsageError as error:
            if error.code != "column-missing":
                raise
            raise no_such_column(error.where, list(fields_of(dataset))) from None
        where.mask(empty_table(fields))  # raises UsageError for a value that a column cannot have

    @property
    def columns(self) -> frozenset[str]:
        """The columns of an index that ``mask`` needs; at least ``key``, to count rows."""
        return frozenset({"key"}) | (self.where.columns - self.added if self.where is not None else frozenset())

    @property
    def added(self) -> frozenset[str]:
        """The added columns that ``mask`` needs."""
        return self.where.added if self.where is not None else frozenset()

    def rows(self, dataset: Dataset, split: str, entry: ShardEntry, table: pa.Table) -> NDArray[np.bool_]:
        """``mask`` of a shard of a dataset, whose index is ``table``; added columns are looked up if needed.

        Raises FormatError (``columns-damaged``) and StoreError.
        """
        if self.added and (self.splits is None or split in self.splits):
            table = with_columns(dataset, entry, table, self.added)
        return self.mask(split, table)

    def mask(self, split: str, table: pa.Table) -> NDArray[np.bool_]:
        """Which rows of the index of one of the split's shards are selected."""
        rows = table.num_rows
        if self.splits is not None and split not in self.splits:
            return np.zeros(rows, np.bool_)
        chosen = np.ones(rows, np.bool_)
        if self.keys is not None:
            chosen &= np.fromiter(map(self.keys.__contains__, to_list(table.column("key"))), np.bool_, rows)
        if self.where is not None:
            # the manifest says which split a shard belongs to: nothing proves this column
            if "split" in self.where.columns:
                same = to_array([split] * rows, table.schema.field("split").type)
                table = table.set_column(table.schema.get_field_index("split"), "split", same)
            chosen &= self.where.mask(table)
        return chosen

    def needs_members(self, dataset: Dataset) -> bool:
        """Whether only the members prove the values in the condition: in an anchored dataset without ``values``."""
        from wdstools.formats.index import VALUE_COLUMNS

        named = self.where.columns if self.where is not None else frozenset()
        return dataset.anchored and not dataset.manifest.has_values and not named.isdisjoint(VALUE_COLUMNS)

    def proved_by(self, dataset: Dataset) -> Proved:
        """Against what the selection is proved to be the requested samples, and no others.

        ``rows`` proves keys and lengths, ``values`` or the members prove labels, captions and sizes; nothing proves ``source``
        or added columns, which the root digest does not cover.
        """
        if not dataset.anchored or self.added or (self.where is not None and "source" in self.where.columns):
            return Proved.ACCIDENT
        return Proved.FORGER


def _texts(name: str, values: object) -> Iterable[str] | None:
    if values is None:
        return None
    if isinstance(values, Collection) and not isinstance(values, str | bytes | Mapping):
        if all(isinstance(value, str) for value in values):
            return values
        values = next(value for value in values if not isinstance(value, str))
    raise _not_so(name, f"a collection of {name}, each a text", values)


def _not_so(name: str, expected: str, got: object) -> UsageError:
    return UsageError("not a valid value", where=name, expected=expected, got=repr(got)[:_SHOWN_CHARS])


#: How much of a wrong value an error shows.
_SHOWN_CHARS = 80


def select(**choices: Unpack[SelectChoices]) -> Selection:
    """Select samples by splits, a file of keys, or a condition.

    Keys that Python holds need no file: ``Selection(keys=frozenset(keys))``.

    Args:
        **choices: Splits, a file of keys, a condition; see ``SelectChoices``. Without any, all samples.

    Returns:
        The selection, for ``pull``, ``remove`` and ``extract``.

    Raises:
        UsageError: The condition cannot be understood (``where-not-understood``).
        StoreError: The file of keys cannot be read.
        FormatError: The file of keys is not text.
    """
    chosen = settle(SelectChoices, choices)
    splits = [chosen["splits"]] if isinstance(chosen["splits"], str) else chosen["splits"]
    path = None if chosen["keys"] is None else os.fspath(chosen["keys"])
    return Selection(
        splits=tuple(splits) if splits else None,
        keys=None if path is None else parse_keys(read_file(path), where=path),
        where=None if chosen["where"] is None else parse_where(chosen["where"]),
    )
