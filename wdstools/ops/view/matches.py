"""Background work for a page that is already shown: finding the samples that match filters, shard by shard."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from wdstools.errors import WdsError
from wdstools.executors.open import open_executor
from wdstools.results import to_dict
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from wdstools.executors.base import Tick
    from wdstools.ops.view.catalogue import Catalogue

Result = TypeVar("Result")
#: How many indexes are read at once, on this machine and elsewhere.
_NEAR, _FAR = 2, 8


@dataclass(slots=True)
class Unread:
    """A shard whose samples are not shown because its index cannot be read, and why."""

    shard: str
    samples: int
    code: str
    message: str


@dataclass(slots=True)
class Found:
    """What a search has found so far: ``numbers`` of samples, a slice of which is an array.

    ``scanned`` of ``shards`` shards are done; a search that is ``finished`` with fewer was stopped.
    """

    numbers: NDArray[np.int64] | range
    scanned: int
    shards: int
    finished: bool
    unread: tuple[Unread, ...] = ()


@dataclass(slots=True)
class _Parts:
    numbers: list[NDArray[np.int64]] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    count: int = 0
    scanned: int = 0


class Matches:
    """The numbers of samples selected by a mask, in order; a thread of its own searches until it is stopped.

    ``mask`` is called with the number of each shard in ``shards`` and returns a value per row. Shards that cannot be read
    are counted and left out.
    """

    def __init__(self, catalogue: Catalogue, shards: Sequence[int], mask: Callable[[int], NDArray[np.bool_]]) -> None:
        self._catalogue = catalogue
        self._shards = shards
        self._mask = mask
        self._parts = _Parts()
        self._joined: NDArray[np.int64] | None = None
        self._news = threading.Condition()
        self._stopped = self._ended = False
        threading.Thread(target=self._run, name="wdstools-view-search", daemon=True).start()

    def wait(self, wanted: int, seconds: float) -> Found:
        """What has been found so far: after ``seconds`` at the latest, or once ``wanted`` are known or all is done."""
        with self._news:
            self._news.wait_for(lambda: self._parts.count >= wanted or self._ended, seconds)
            if self._joined is None:
                self._joined = np.concatenate([np.zeros(0, np.int64), *self._parts.numbers])
                self._parts.numbers = [self._joined]
            parts = self._parts
            return Found(self._joined, parts.scanned, len(self._shards), self._ended, tuple(parts.unread))

    def stop(self) -> None:
        """Stop searching."""
        self._stopped = True

    def _run(self) -> None:
        try:
            for shard, rows, unread in in_order(self._catalogue, self._shards, self._rows, lambda: self._stopped):
                with self._news:
                    if rows is not None and len(rows):
                        self._parts.numbers.append(rows + self._catalogue.starts[shard])
                        self._parts.count += len(rows)
                        self._joined = None
                    if unread is not None:
                        self._parts.unread.append(unread)
                    self._parts.scanned += 1
                    self._news.notify_all()
        finally:
            with self._news:
                self._ended = True
                self._news.notify_all()
        self._catalogue.keep()

    def _rows(self, shard: int) -> NDArray[np.int64]:
        return np.flatnonzero(self._mask(shard)).astype(np.int64)


def in_order(
    catalogue: Catalogue, shards: Sequence[int], work: Callable[[int], Result], stopped: Callable[[], bool]
) -> Iterator[tuple[int, Result | None, Unread | None]]:
    """What ``work`` returns for each shard, in order, a few at once; or why there is nothing.

    The process does not wait for the threads when it ends or is interrupted.
    """
    at_once = _NEAR if isinstance(catalogue.dataset.metadata, LocalStore) else _FAR

    def attempt(shard: int, tick: Tick) -> tuple[Result | None, Unread | None]:
        del tick
        if stopped():
            return None, None
        try:
            return work(shard), None
        except WdsError as error:
            entry = catalogue.shards[shard][1]
            return None, Unread(entry.path, entry.samples, error.code, error.message)

    early: dict[int, tuple[Result | None, Unread | None]] = {}
    number = 0
    for outcome in open_executor("threads", at_once).map(attempt, shards):
        early[outcome.index] = outcome.result()
        while number in early and not stopped():
            yield shards[number], *early.pop(number)
            number += 1
        if stopped():
            return


def progress_of(found: Found) -> dict[str, Any]:
    """How far a search is, for the page."""
    return {
        "finished": found.finished,
        "scanned": found.scanned,
        "shards": found.shards,
        "unread": [to_dict(one) for one in found.unread],
    }
