"""What runs on the hosts of a Ray cluster: the task, which is one parcel, and the actor that collects progress."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from wdstools.executors.afar import work_on
from wdstools.executors.shared import is_here
from wdstools.executors.versions import this_host

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wdstools.executors.afar import Answer, Parcel

#: How often the driver reads progress, and a worker reports it, in seconds.
TELL_SECONDS = 1.0


class Board:
    """A Ray actor that knows the progress of the items of each run, and which host began them."""

    def __init__(self) -> None:
        self._ticks: dict[str, dict[int, int]] = {}
        self._hosts: dict[tuple[str, int], str] = {}

    def begin(self, run: str, number: int, host: str) -> None:
        """Note that an item has begun on a host."""
        self._hosts[run, number] = host
        if len(self._hosts) > 10_000:
            del self._hosts[next(iter(self._hosts))]

    def tell(self, run: str, number: int, ticks: int) -> None:
        """Note the progress of an item."""
        self._ticks.setdefault(run, {})[number] = ticks

    def take(self, run: str) -> dict[int, int]:
        """The progress reported for a run since the last call."""
        return self._ticks.pop(run, {})

    def where(self, run: str, number: int) -> str:
        """The host that began an item."""
        return self._hosts.get((run, number), "")


def serve(parcel: Parcel, values: Mapping[str, Any], board: Any, run: str) -> Answer:
    """Work on one parcel, in a Ray worker. Shared values that are missing here are fetched."""
    import ray

    board.begin.remote(run, parcel.number, f"process {os.getpid()} on {this_host().name}")
    missing = {digest: ray.get(ref) for digest, ref in values.items() if not is_here(digest)}
    last, total = time.monotonic(), 0

    def tell(ticks: int) -> None:
        nonlocal last, total
        total += ticks
        if time.monotonic() - last >= TELL_SECONDS:
            last = time.monotonic()
            board.tell.remote(run, parcel.number, total)

    return work_on(parcel, missing, tell)


def ask_host(ask: Callable[[], Any] | None = None) -> Any:
    """What a function returns on this host; without one, which host this is."""
    return this_host() if ask is None else ask()
