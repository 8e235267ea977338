"""The places that hold a dataset's shards, in the order in which they are worth asking."""

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
    """A dataset's shard store and its mirrors. One that does not answer is asked last from then on. Thread-safe."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._stores: list[Store] = [dataset.shards, *dataset.mirrors]
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Store]:
        with self._lock:
            return iter(list(self._stores))

    def failed(self, store: Store, error: StoreError) -> None:
        """A place did not give what it was asked for; whether it answered at all, the error says."""
        tell("reader", "a place failed, the next is asked", place=store.url, code=error.code, where=error.where)
        with self._lock:
            if isinstance(error, TransientError) and store is self._stores[0]:
                self._stores = [*self._stores[1:], store]

    def home(self, entry: ShardEntry) -> Store:
        """The first place that has this shard in its right size.

        Raises what was wrong at the first where none has: NotFoundError (``shard-missing``), FormatError
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
                "a shard is not of its recorded size",
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
