"""columns ls: which columns were added to a dataset. Nothing of their values is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wdstools.columns.sets import each_set, fits, read_sums, store_of
from wdstools.dataset import as_dataset
from wdstools.errors import FormatError, NotFoundError, StoreError
from wdstools.ops.columns.result import ColumnsInfo

if TYPE_CHECKING:
    from wdstools.dataset import Dataset
    from wdstools.options.declare import StrPath


def list_columns(dataset: Dataset | StrPath) -> tuple[ColumnsInfo, ...]:
    """The sets of columns that were added to a dataset, by name.

    Args:
        dataset: A dataset, its folder or URL.

    Returns:
        Each set: its fields and their types, how many samples have a value, and whether it is of this version.

    Raises:
        NotFoundError: There is no dataset.
        FormatError: The manifest, or the list of sets, is damaged.
        StoreError: Storage could not be read.
    """
    opened = as_dataset(dataset)
    store = store_of(opened)
    found = []
    for name, columns in each_set(store, read_sums(store)):
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
    return tuple(found)
