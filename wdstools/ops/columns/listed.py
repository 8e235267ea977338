"""columns ls: list the columns that were added to a dataset, without reading their values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wdstools.columns.sets import each_set, fits, names_in, read_sums, store_of
from wdstools.columns.waiting import begun_sets
from wdstools.dataset import as_dataset
from wdstools.errors import FormatError, NotFoundError, StoreError
from wdstools.ops.columns.result import ColumnsInfo
from wdstools.stores.open import is_bucket
from wdstools.units import counted

if TYPE_CHECKING:
    from wdstools.dataset import Dataset
    from wdstools.options.declare import StrPath


def list_columns(dataset: Dataset | StrPath) -> tuple[ColumnsInfo, ...]:
    """The sets of columns that were added to a dataset, by name.

    Args:
        dataset: A dataset, its folder or URL.

    Returns:
        Each set: its fields and their types, how many samples have a value, and whether it was made for this version.

    Raises:
        NotFoundError: There is no dataset.
        FormatError: The manifest, or the list of sets, is damaged.
        StoreError: Storage could not be read.
    """
    opened = as_dataset(dataset)
    store = store_of(opened)
    found = []
    sums = read_sums(store)
    for name, columns in each_set(store, sums):
        if isinstance(columns, FormatError | NotFoundError):
            found.append(ColumnsInfo(name, "damaged", detail=str(columns)))
            continue
        if isinstance(columns, StoreError):
            raise columns
        found.append(
            ColumnsInfo(
                name,
                "ok" if fits(columns, opened) else "stale",
                columns.root,
                {field.name: field.kind for field in columns.fields},
                {field.name: columns.samples - columns.nulls(field.name) for field in columns.fields},
                columns.samples,
                columns.bytes,
            )
        )
    begun = begun_sets(store, names_in(sums)) if is_bucket(store.url) else {}
    for name, files in begun.items():
        detail = f"{counted(files, 'file')} of a set that was begun and not finished"
        found.append(ColumnsInfo(name, "begun", detail=detail))
    return tuple(sorted(found, key=lambda one: one.name))
