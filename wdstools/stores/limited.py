"""A store with a rate limit: so many bytes a second on average, for all threads together."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wdstools.stores.base import ANYTHING, Body
from wdstools.stores.wrapper import Wrapper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from wdstools.stores.base import ObjectInfo, RemoteStore

#: The unit of waiting: a pause is at most a second at 256 KiB a second.
_STEP = 256 << 10


class Rate:
    """A limit in bytes a second, shared by all who hold it in one process; the wait for a burst comes after it."""

    def __init__(
        self, per_second: int, now: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.per_second = per_second
        self._now, self._sleep = now, sleep
        self._lock = threading.Lock()
        self._free = now()

    def __reduce__(self) -> tuple[Any, ...]:
        return Rate, (self.per_second,)

    def spend(self, count: int) -> None:
        """Count bytes that have moved, and wait until the rate allows them."""
        with self._lock:
            now = self._now()
            self._free = max(now, self._free) + count / self.per_second
            pause = self._free - now
        if pause > 0:
            self._sleep(pause)


class Limited(Wrapper):
    """Reads in steps, each waited for; an upload runs at full speed, and the wait follows it."""

    def __init__(self, store: RemoteStore, rate: Rate) -> None:
        super().__init__(store)
        self._rate = rate

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Bytes of an object from ``start``."""
        data = super().get(key, start, length)
        self._rate.spend(len(data))
        return data

    def fetch(self, key: str, start: int, length: int, *, etag: str = "") -> bytes:
        """Exactly ``length`` bytes of one version."""
        data = super().fetch(key, start, length, etag=etag)
        self._rate.spend(length)
        return data

    def open_body(self, key: str, start: int = 0, length: int | None = None, *, etag: str = "") -> Body:
        """Bytes of one version as they come, within the rate."""
        body = super().open_body(key, start, length, etag=etag)
        return replace(body, blocks=self._slowed(body.blocks))

    def _slowed(self, blocks: Iterator[memoryview]) -> Iterator[memoryview]:
        for block in blocks:
            for at in range(0, len(block), _STEP):
                part = block[at : at + _STEP]
                self._rate.spend(len(part))
                yield part

    def put_data(self, key: str, data: bytes, *, only_if: str = ANYTHING) -> ObjectInfo:
        """Store bytes by one PUT."""
        stored = super().put_data(key, data, only_if=only_if)
        self._rate.spend(len(data))
        return stored

    def put_file(self, key: str, path: str, digests: Mapping[str, str], *, only_if: str = ANYTHING) -> ObjectInfo:
        """Store a local file by one PUT."""
        stored = super().put_file(key, path, digests, only_if=only_if)
        self._rate.spend(stored.bytes)
        return stored
