"""Statistics of the samples that a page shows, counted in the background."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from wdstools.formats.arrow import to_array
from wdstools.ops.ls import ChosenRows
from wdstools.ops.stats import Tallies, result_of, tally_rows
from wdstools.ops.view.matches import Found, Unread, in_order, progress_of
from wdstools.results import Proved, to_dict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from wdstools.ops.view.catalogue import Catalogue


class Counting:
    """Statistics of the rows that ``mask`` selects from each shard, counted shard by shard in a thread of their own."""

    def __init__(
        self, catalogue: Catalogue, shards: Sequence[int], mask: Callable[[int], NDArray[np.bool_]], where: str
    ) -> None:
        self.stopped = False
        self._catalogue, self._shards, self._mask, self._where = catalogue, shards, mask, where
        self._found = Tallies()
        self._scanned = 0
        self._ended = False
        self._unread: list[Unread] = []
        self._news = threading.Condition()
        threading.Thread(target=self._run, name="wdstools-view-counts", daemon=True).start()

    def document(self, seconds: float) -> dict[str, Any]:
        """The complete counts, or after ``seconds`` what has been counted by then."""
        with self._news:
            self._news.wait_for(lambda: self._ended, seconds)
            numbers = np.zeros(0, np.int64)
            found = Found(numbers, self._scanned, len(self._shards), self._ended, tuple(self._unread))
            stats = result_of(self._catalogue.dataset, self._found, self._where, Proved.ACCIDENT)
            return progress_of(found) | {"stats": to_dict(stats)}

    def _run(self) -> None:
        try:
            for _, found, unread in in_order(self._catalogue, self._shards, self._count, lambda: self.stopped):
                with self._news:
                    if found is not None:
                        self._found.add(found)
                    if unread is not None:
                        self._unread.append(unread)
                    self._scanned += 1
                    self._news.notify_all()
        finally:
            with self._news:
                self._ended = True
                self._news.notify_all()

    def _count(self, shard: int) -> Tallies:
        split, entry = self._catalogue.shards[shard]
        rows = np.flatnonzero(self._mask(shard)).astype(np.int64)
        index = self._catalogue.index(shard)
        table = index if len(rows) == index.num_rows else index.take(to_array(rows, pa.int64()))
        return tally_rows(ChosenRows(split, entry, table, rows))
