"""All rows of a dataset, numbered through its shards as the manifest lists them.

Rows are available once their shard is open: read from the dataset's index and checked against the manifest; or, if a file of the
cache has them, checked against the digests stored in the file when it was made from such indexes.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.errors import WdsError
from wdstools.joined import kept
from wdstools.joined.index_columns import Columns, NotInlineError
from wdstools.joined.kept import Kept
from wdstools.joined.layout import Layout
from wdstools.joined.making import checked_index, keep, make_columns
from wdstools.joined.members import Members, members_of
from wdstools.joined.tables import shard_table
from wdstools.stores.kept_files import forget

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.formats.manifest import ShardEntry

#: From so many shards or rows on, readers keep opened indexes in the cache; with fewer, opening them takes only a moment.
_MANY_SHARDS, _MANY_ROWS = 64, 100_000


class Joined:
    """The rows of a dataset as arrays: ``places`` and the value columns, one value per row. Thread-safe.

    ``splits`` maps each split to its rows, ``starts[s]`` is the first row of shard s (and ``starts[-1]`` the total number).
    ``label`` and ``format`` are indices into ``labels`` and ``formats``, -1 for none; ``cls``, ``width`` and ``height`` are
    ``NULL`` if there is none. Access to a column opens every shard.
    """

    def __init__(self, dataset: Dataset, columns: Columns, *, filled: bool = False) -> None:
        self.dataset = dataset
        self.entries = [entry for _, entry in dataset.manifest.shards]
        counts = np.array([entry.samples for entry in self.entries], np.int64)
        self.starts: NDArray[np.int64] = np.concatenate((np.zeros(1, np.int64), np.cumsum(counts)))
        edges = accumulate((len(shards) for shards in dataset.manifest.splits.values()), initial=0)
        #: The shards of each split, by number.
        self.shards = {
            name: range(first, last)
            for name, (first, last) in zip(dataset.manifest.splits, pairwise(edges), strict=True)
        }
        self.columns = columns
        # which parts of each shard are open: places and values, and captions
        self._open, self._captions = (np.full(len(self.entries), filled) for _ in range(2))
        self._lock = threading.RLock()
        self._is_tried = False
        self._numbers: dict[str, int] | None = None
        self._pid = os.getpid()

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def splits(self) -> dict[str, range]:
        """The rows of each split."""
        return {
            name: range(int(self.starts[shards.start]), int(self.starts[shards.stop]))
            for name, shards in self.shards.items()
        }

    @property
    def is_kept(self) -> bool:
        """Whether the rows are in a file of the cache, not in this process's memory."""
        return isinstance(self.columns, Kept)

    @property
    def is_large(self) -> bool:
        """Whether opening all shards takes noticeable time."""
        return len(self.entries) >= _MANY_SHARDS or len(self) >= _MANY_ROWS

    def is_open(self, shards: range | None = None) -> bool:
        """Whether all of these shards are open; by default, all shards."""
        return bool((self._open if shards is None else self._open[shards.start : shards.stop]).all())

    def missing(self, rows: NDArray[np.int64]) -> list[int]:
        """The shards of these rows that are not open yet."""
        shards = np.unique(self.shard_of(rows))
        return [int(shard) for shard in shards[~self._open[shards]]]

    def opened(self, shards: range, known: Collection[int]) -> list[int]:
        """The open ones among some shards, except the known ones."""
        there = np.flatnonzero(self._open[shards.start : shards.stop]) + shards.start
        return [] if len(there) == len(known) else sorted(set(there.tolist()).difference(known))

    def shard_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The shard of each row."""
        return np.searchsorted(self.starts[1:], rows, side="right")

    def number_of(self, entry: ShardEntry) -> int:
        """The number of a shard."""
        if self._numbers is None:
            self._numbers = {one.path: number for number, one in enumerate(self.entries)}
        return self._numbers[entry.path]

    def rows_of(self, shard: int) -> slice:
        """The rows of a shard."""
        return slice(int(self.starts[shard]), int(self.starts[shard + 1]))

    def open(self, shard: int, *, captions: bool = False) -> None:
        """Make the rows of a shard usable.

        Raises FormatError (``index-damaged``), NotFoundError (``index-missing``) or StoreError.
        """
        if self._open[shard] and (self._captions[shard] or not captions):
            return
        columns = self.columns
        if not isinstance(columns, Kept):
            self._put(shard, checked_index(self.dataset, self.entries[shard]))
        elif not self._check(columns, shard, captions=captions):
            with self._lock:
                if columns is self.columns:  # else another thread has already replaced it
                    self._make_anew()

    def _put(self, shard: int, table: pa.Table) -> None:
        """Fill in a shard's rows from its index, unless they are already there."""
        with self._lock:
            if self._open[shard]:
                return
            try:
                self.columns.fill(shard, self.rows_of(shard), table)
            except NotInlineError:
                self._make_loose()
                self.columns.fill(shard, self.rows_of(shard), table)
            self._open[shard] = self._captions[shard] = True

    def _make_loose(self) -> None:
        """Switch to records with arbitrary members, because a row does not have exactly the dataset's."""
        columns = Columns.in_memory(Layout.of(self.dataset, inline=False), self.dataset)
        for shard in np.flatnonzero(self._open).tolist():
            rows = self.rows_of(shard)
            columns.fill(shard, rows, checked_index(self.dataset, self.entries[shard]))
        self.columns = columns

    def _check(self, columns: Kept, shard: int, *, captions: bool) -> bool:
        """Whether a shard's part of the file is as written."""
        found = columns.digests(shard, self.rows_of(shard), captions=captions)
        wanted = columns.table[shard].item()[4:]
        if found != wanted[: len(found)]:
            return False
        self._open[shard] = True
        self._captions[shard] |= captions
        return True

    def _make_anew(self) -> None:
        """Replace a damaged file, all rows at once, so that data that others have opened stays valid."""
        forget(kept.path_of(self.dataset.root))
        self.columns = make_columns(self.dataset)
        self._open[:] = self._captions[:] = True

    def open_all(self, *, captions: bool = True) -> None:
        """Make all rows usable."""
        done = self._open & self._captions if captions else self._open
        for shard in np.flatnonzero(~done).tolist():
            self.open(shard, captions=captions)

    def keep(self) -> bool:
        """Write the rows, if all are open, to the cache, and use them from there; returns whether that was possible."""
        if self.is_kept or not self.is_open() or not kept.is_keepable(self.dataset):
            return self.is_kept
        found = keep(self.dataset, self.columns)
        if found is None:
            return False
        self.columns = found  # just written, so it need not be checked again
        return True

    def finish(self) -> None:
        """Keep the rows if most of them have been opened, and if opening them again would take noticeable time."""
        if self._is_tried or self.is_kept or os.getpid() != self._pid or sys.is_finalizing():
            return
        if (
            not self.is_large
            or 2 * np.count_nonzero(self._open) < len(self.entries)
            or not kept.is_keepable(self.dataset)
        ):
            return
        self._is_tried = True
        with contextlib.suppress(WdsError):  # code that needs those rows will get the error
            self.open_all()
            self.keep()

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.void]:
        """A copy of the records of these rows, whose shards are open."""
        return self.columns.take(rows)

    def column(self, name: str) -> NDArray[Any]:
        """A read-only view of a value column (``label``, ``cls``, ``width``, ``height`` or ``format``) for all rows."""
        self.open_all(captions=False)
        return _view(self.columns.arrays[name])

    @property
    def places(self) -> NDArray[np.void]:
        """The records of all rows: see ``layout.Layout.place``."""
        self.open_all(captions=False)
        return _view(self.columns.places)

    @property
    def label(self) -> NDArray[np.int32]:
        """The index of each row's label in ``labels``, -1 for none."""
        return self.column("label")

    @property
    def cls(self) -> NDArray[np.int32]:
        """The class of each row, ``NULL`` for none."""
        return self.column("cls")

    @property
    def width(self) -> NDArray[np.int32]:
        """The width of each row's image in pixels, ``NULL`` if unknown."""
        return self.column("width")

    @property
    def height(self) -> NDArray[np.int32]:
        """The height of each row's image in pixels, ``NULL`` if unknown."""
        return self.column("height")

    @property
    def format(self) -> NDArray[np.int32]:
        """The index of each image's format in ``formats``, -1 for none."""
        return self.column("format")

    @property
    def labels(self) -> list[str]:
        """The labels that rows have, those of the manifest first."""
        return self.columns.labels.names

    @property
    def formats(self) -> list[str]:
        """The formats that images have."""
        return self.columns.formats.names

    @property
    def extensions(self) -> list[str]:
        """The members that rows have, those of the manifest first."""
        return self.columns.extensions.names

    def keys(self, rows: Sequence[int] | NDArray[np.int64]) -> list[str]:
        """The keys of some rows."""
        return self._texts(np.asarray(rows, np.int64), "key")

    def captions(self, rows: Sequence[int] | NDArray[np.int64]) -> list[str | None]:
        """The captions of some rows, None if there is none."""
        return self._texts(np.asarray(rows, np.int64), "caption")

    def _texts(self, rows: NDArray[np.int64], name: str) -> list[Any]:
        shards = self.shard_of(rows)
        for shard in np.unique(shards).tolist():
            self.open(shard, captions=name == "caption")
        columns = self.columns
        if name == "key":
            return self.keys_of(columns.take(rows), shards)
        sizes = columns.values_at("caption_size", rows)
        texts = columns.captions_at(shards, columns.values_at("caption_start", rows), np.maximum(sizes, 0))
        return [text if there else None for text, there in zip(texts, (sizes >= 0).tolist(), strict=True)]

    def keys_of(self, places: NDArray[np.void], shards: NDArray[np.int64]) -> list[str]:
        """The keys of rows, given their records."""
        return self.columns.keys_at(shards, places["key_start"], places["key_size"])

    def sides(self, rows: NDArray[np.int64]) -> NDArray[np.int32]:
        """Width and height of rows whose shards are open, [N, 2]."""
        columns = self.columns
        return np.stack([columns.values_at(name, rows) for name in ("width", "height")], axis=1)

    def members(self, rows: Sequence[int] | NDArray[np.int64], extension: str) -> Members:
        """The places of a member of some rows in their shards; size -1 if a row has none."""
        rows = np.asarray(rows, np.int64)
        for shard in self.missing(rows):
            self.open(shard)
        return self.members_of(self.take(rows), self.shard_of(rows), (extension,))[0]

    def members_of(
        self, places: NDArray[np.void], shards: NDArray[np.int64], extensions: Sequence[str]
    ) -> list[Members]:
        """The named members of rows, given their records; of two members with one name, the last."""
        return members_of(self.columns, places, shards, extensions)

    def table(self, shard: int, names: Iterable[str]) -> pa.Table:
        """Columns of a shard as in its index: key, label, cls, split, width, height, format, caption, offset, length."""
        wanted = list(names)
        self.open(shard, captions="caption" in wanted)
        return shard_table(self.columns, shard, self.rows_of(shard), wanted, split=self._split_of(shard))

    def _split_of(self, shard: int) -> str:
        return next(name for name, shards in self.shards.items() if shard in shards)


def _view(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view
