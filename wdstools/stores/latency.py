"""How far away a store is: what a request costs, and how wide a gap between two ranges is worth reading."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from wdstools.stores.base import Store

_SAMPLE_BYTES = 1 << 20
_TRIES = 3
_LEAST_GAP, _MOST_GAP = 64 << 10, 1 << 20


@dataclass(frozen=True, slots=True)
class Link:
    """A request takes ``latency`` seconds, then brings ``bandwidth`` bytes a second; ``requests`` of them run at once."""

    latency: float
    bandwidth: float
    requests: int = 1

    @property
    def gap_bytes(self) -> int:
        """Ranges closer than this are fetched as one: reading the bytes between them costs less than another request.

        Concurrent requests share the bandwidth but not the latency, so the more of them run, the less each one's
        latency costs. The gap is between 64 KiB (an answer costs the server something too) and 1 MiB.
        """
        return int(min(max(self.latency * self.bandwidth / self.requests, _LEAST_GAP), _MOST_GAP))


def measure_link(store: Store, key: str, *, requests: int = 1, clock: Callable[[], float] = time.monotonic) -> Link:
    """Measure the link to a store by three HEAD requests and one range of at most 1 MiB of an object."""
    latencies = []
    for _ in range(_TRIES):
        before = clock()
        store.head(key)
        latencies.append(clock() - before)
    latency = min(latencies)
    before = clock()
    count = len(store.get(key, 0, _SAMPLE_BYTES))
    return Link(latency, count / max(clock() - before - latency, 1e-6), requests)
