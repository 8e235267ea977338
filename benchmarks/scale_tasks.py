"""The work of ``benchmarks.scale``: functions that a worker anywhere can import."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wdstools.executors.base import Tick
    from wdstools.formats.manifest import Manifest


@dataclass(frozen=True)
class Held:
    """An item of work that holds a manifest, as most do."""

    manifest: Manifest
    number: int


def nothing(number: int, tick: Tick) -> int:
    """An empty task."""
    del tick
    return number


def look(item: Held, tick: Tick) -> int:
    """A task that holds a manifest."""
    del tick
    return item.number


def wait(seconds: float, tick: Tick) -> None:
    """A task that takes so long, and no processor."""
    del tick
    time.sleep(seconds)
