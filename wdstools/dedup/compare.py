"""Compares images that may be the same by their hashes: by hashes and small pictures, component by component."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.dedup import few
from wdstools.dedup.forest import flatten, row_type, unite
from wdstools.dedup.levels import COLOUR_SIDE, LUMA_SIDE, Level

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_PIXELS, _CELLS = LUMA_SIDE * LUMA_SIDE, COLOUR_SIDE * COLOUR_SIDE
#: The size of the data compared besides hashes: the luma, then the cells of the colour picture.
LOOK_BYTES = _PIXELS + 4 * _CELLS
#: How many members are compared in one task, unless one component has more: 34 MB of small pictures.
MEMBERS_AT_ONCE = 1 << 14


@dataclass(frozen=True, slots=True)
class Comparison:
    """Some whole components: the result of ``with_turned`` for their members, and the category of each.

    ``starts`` has the start of each component, and the end of the last. ``few``: all tasks together have so few pairs
    that nothing is compiled for them.
    """

    data: tuple[Any, ...]
    starts: NDArray[np.int64]
    own: NDArray[np.uint64]
    levels: tuple[Level, ...]
    few: bool = False


@dataclass(frozen=True, slots=True)
class Compared:
    """For each member: its leader and the first one linked with it, as numbers of members; ``near``, and ``how`` it equals its leader."""

    leader: NDArray[np.int64]
    root: NDArray[np.int64]
    near: NDArray[np.uint64]
    how: NDArray[np.uint8]

    @classmethod
    def nothing(cls, count: int) -> Compared:
        """Empty results for ``count`` members."""
        return cls(
            np.zeros(count, np.int64), np.zeros(count, np.int64), np.zeros(count, np.uint64), np.zeros(count, np.uint8)
        )


def compare(task: Comparison, tick: Callable[[int], None]) -> tuple[Compared, ...]:
    """The results at each level."""
    count = len(task.own)
    leader, found = np.arange(count), []
    for level in task.levels:
        leader, parent = leader.copy(), np.arange(count, dtype=row_type(count))
        how, near = (_few if task.few else _many)(task, limits_of(level), leader, parent)
        flatten(parent)
        found.append(Compared(leader, parent.astype(np.int64), near, how))
    tick(count)
    return tuple(found)


def _few(
    task: Comparison, limits: tuple[Any, ...], leader: NDArray[np.int64], parent: NDArray[Any]
) -> tuple[NDArray[np.uint8], NDArray[np.uint64]]:
    how, near, pairs = few.cluster(task.starts, task.data, limits, leader, task.own)
    unite(parent, *pairs)
    return how, near


def _many(
    task: Comparison, limits: tuple[Any, ...], leader: NDArray[np.int64], parent: NDArray[Any]
) -> tuple[NDArray[np.uint8], NDArray[np.uint64]]:
    from wdstools.dedup.pictures import cluster

    how, near = np.zeros(len(leader), np.uint8), task.own.copy()
    if len(task.starts):
        scratch = np.empty(len(leader), np.int64), pixels_apart()
        cluster(task.starts, task.data, limits, (leader, parent, near, how), task.own, scratch)
    return how, near


def pixels_apart() -> NDArray[np.int64]:
    """Scratch space for the pixel differences of two small pictures, which compiled loops need."""
    return np.empty(_PIXELS, np.int64)


def limits_of(level: Level) -> tuple[Any, ...]:
    """A level's limits in the form that the kernels take."""
    difference = round(level.difference * _PIXELS)
    return (level.phash, level.phash16, difference, level.correlation, level.flips, 4 * level.local, 3 * level.chroma)
