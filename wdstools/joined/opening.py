"""Opens a dataset's joined index: from the cache, or made from its indexes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wdstools.dataset import as_dataset
from wdstools.joined import kept
from wdstools.joined.columns import Columns
from wdstools.joined.joined import Joined
from wdstools.joined.layout import Layout
from wdstools.joined.making import make_columns

if TYPE_CHECKING:
    from wdstools.dataset import Dataset

#: Where a dataset's readers find the rows that one of them has opened.
_KEY = "\0joined"


def open_joined(dataset: Dataset | str | os.PathLike[str]) -> Joined:
    """All rows of a dataset's indexes as arrays that are mapped.

    The first call reads every index, many at once, checks each against the manifest, and keeps what it made in the
    user's cache folder (``$XDG_CACHE_HOME/wdstools/joined``, one file a dataset); later ones, by whatever process, map it. A
    file that was damaged is made again. Without a folder that can be written, or for a dataset of which the root does not
    prove the values, rows are held in memory.

    Args:
        dataset: A dataset, its folder or URL.

    Returns:
        The rows.

    Raises:
        NotFoundError: There is no dataset, or an index is missing.
        FormatError: A manifest or an index is damaged.
        StoreError: Storage could not be read.
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
    """The rows of a dataset as far as they are known: those of its file, or none, to be opened shard by shard.

    One for all readers of a dataset in a process; a forked one has its own.
    """
    held = dataset.readers.get(_KEY)
    if isinstance(held, tuple) and held[0] == os.getpid():
        made: Joined = held[1]
        return made
    made = Joined(dataset, kept.open_kept(dataset) or Columns.in_memory(Layout.of(dataset), dataset))
    dataset.readers[_KEY] = (os.getpid(), made)
    return made
