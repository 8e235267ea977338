"""The places that have a dataset's shards, in the order in which they are tried."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from wdstools.errors import FormatError, NotFoundError, StoreError, TransientError
from wdstools.log import tell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wdstools.dataset import Dataset
    from wdstools.formats.manifest import ShardEntry
    from wdstools.stores.base import Store


class Places:
    """A dataset's shard store and its mirrors. A place that does not answer is tried last from then on. Thread-safe."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._stores: list[Store] = [dataset.shards, *dataset.mirrors]
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Store]:
        with self._lock:
            return iter(list(self._stores))

    def failed(self, store: Store, error: StoreError) -> None:
        """Record that a place failed; the error says whether it answered at all."""
        tell("reader", "a place failed, trying the next one", place=store.url, code=error.code, where=error.where)
        with self._lock:
            if isinstance(error, TransientError) and store is self._stores[0]:
                self._stores = [*self._stores[1:], store]

    def home(self, entry: ShardEntry) -> Store:
        """The first place that has this shard in its recorded size.

        If none has, raises the error of the first place: NotFoundError (``shard-missing``), FormatError
        (``shard-size``) or StoreError.
        """
        failure: StoreError | FormatError | None = None
        for store in self:
            try:
                size = store.head(entry.path).bytes
            except StoreError as error:
                self.failed(store, error)
                failure = failure or self._missing(store, entry, error)
                continue
            if size == entry.bytes:
                return store
            failure = failure or FormatError(
                "a shard does not have its recorded size",
                code="shard-size",
                where=f"{store.url}/{entry.path}",
                expected=f"{entry.bytes} bytes",
                got=f"{size} bytes",
                hint=self._dataset.verify_command,
            )
        assert failure is not None
        self._dataset.refuse_replaced()
        raise failure

    def _missing(self, store: Store, entry: ShardEntry, error: StoreError) -> StoreError:
        if not isinstance(error, NotFoundError):
            return error
        where = error.where or f"{store.url}/{entry.path}"
        return NotFoundError("a shard is missing", code="shard-missing", where=where, hint=self._dataset.verify_command)
