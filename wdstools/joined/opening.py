"""Opens a dataset's joined index: from the cache, or made from its indexes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wdstools.dataset import as_dataset
from wdstools.formats.index import SCHEMA
from wdstools.joined import kept
from wdstools.joined.index_columns import Columns
from wdstools.joined.joined import Joined
from wdstools.joined.layout import Layout
from wdstools.joined.making import checked_index, make_columns
from wdstools.joined.tables import TABLE_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    import pyarrow as pa

    from wdstools.dataset import Dataset

#: The key under which a dataset keeps the opened rows for all its readers.
_KEY = "\0joined"
#: With more rows, the file is made before the first sample is read; else while samples are read.
_HELD_ROWS = 1 << 22


def open_joined(dataset: Dataset | str | os.PathLike[str]) -> Joined:
    """All rows of a dataset's indexes as mapped arrays.

    The first call reads every index, many at once, checks each against the manifest, and keeps the result in the
    user's cache folder (``$XDG_CACHE_HOME/wdstools/joined``, one file per dataset); later calls, in any process, map it. A
    damaged file is made again. Without a writable folder, or for a dataset whose root digest does not
    prove the values, rows are held in memory.

    Args:
        dataset: A dataset, its folder or URL.

    Returns:
        The rows.

    Raises:
        NotFoundError: There is no dataset, or an index is missing.
        FormatError: A manifest or an index is damaged.
        StoreError: Storage cannot be read.
    """
    dataset = as_dataset(dataset)
    found = joined_of(dataset)
    if found.is_kept or found.is_open():
        return found
    with kept.alone(dataset.root):
        columns = kept.open_kept(dataset)
        made = Joined(dataset, columns) if columns is not None else Joined(dataset, make_columns(dataset), filled=True)
    dataset.readers[_KEY] = (os.getpid(), made)
    return made


def joined_of(dataset: Dataset) -> Joined:
    """The rows of a dataset as far as known: those of its file, or none yet, to be opened shard by shard.

    All readers of a large dataset in a process share them; a forked process has its own.
    """
    held = dataset.readers.get(_KEY)
    if isinstance(held, tuple) and held[0] == os.getpid():
        found: Joined = held[1]
        return found
    columns = kept.open_kept(dataset)
    made = Joined(dataset, columns or Columns.in_memory(Layout.of(dataset), dataset))
    if columns is not None or made.is_large:
        dataset.readers[_KEY] = (os.getpid(), made)
    return made


def joined_for_reading(dataset: Dataset) -> Joined:
    """The rows for reading samples: all of them if they are too many for a process's memory, otherwise as far as known."""
    found = joined_of(dataset)
    if found.is_kept or len(found) <= _HELD_ROWS or not kept.is_keepable(dataset):
        return found
    return open_joined(dataset)


def index_tables(dataset: Dataset, split: str, names: Collection[str]) -> Iterator[pa.Table]:
    """Some columns of the indexes of a split, shard by shard; those of a large dataset come from its joined index.

    Raises as ``open_joined``.
    """
    shards = dataset.manifest.splits[split]
    found = joined_of(dataset)
    if not set(names) <= set(TABLE_COLUMNS) or not (found.is_kept or found.is_large):
        for entry in shards:
            yield checked_index(dataset, entry, SCHEMA.names)
        return
    joined = open_joined(dataset)
    for shard in joined.shards[split]:
        yield joined.table(shard, names)
