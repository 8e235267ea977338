"""Which samples of a shard are wanted, and what fetching them takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wdstools.formats.arrow import to_list
from wdstools.formats.index import write_index
from wdstools.transfer.download import fetch_index
from wdstools.transfer.ranges import REQUEST_BYTES, coalesce
from wdstools.transfer.shape import shape_of
from wdstools.units import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.executors.base import Tick
    from wdstools.formats.manifest import ShardEntry
    from wdstools.reader.select import Selection


@dataclass(frozen=True, slots=True)
class ChooseTask:
    """One shard to choose from; ``gap`` is the widest hole that a request may span.

    ``read`` makes an index whose values are proved by the shard, if the manifest does not prove them.
    """

    dataset: Dataset
    split: str
    entry: ShardEntry
    selection: Selection
    gap: int
    read: Callable[[Dataset, str, ShardEntry], pa.Table] | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is wanted from a shard: ``moving`` bytes in ``requests``.

    ``rows`` is None for a whole shard; else ``index`` holds its index file, and ``keys`` the wanted keys found in it.
    """

    split: str
    entry: ShardEntry
    samples: int
    moving: int
    requests: int
    rows: NDArray[np.bool_] | None = None
    index: bytes = b""
    keys: tuple[str, ...] = ()
    chosen_bytes: int = 0

    @property
    def kept_bytes(self) -> int:
        """Bytes that are kept once the bytes of the holes are discarded."""
        return self.entry.bytes if self.rows is None else self.chosen_bytes

    @property
    def detail(self) -> str | None:
        """For people."""
        if self.rows is None:
            return None
        return f"{self.samples:,} of {counted(self.entry.samples, 'sample')} in {counted(self.requests, 'request')}"


def choose(task: ChooseTask, tick: Tick) -> Chosen:
    """Read a shard's index and choose."""
    data, table = fetch_index(task.dataset, task.entry, None)
    if task.read is not None:
        table = task.read(task.dataset, task.split, task.entry)
        data = write_index(table)
    rows = task.selection.rows(task.dataset, task.split, task.entry, table)
    shape = shape_of(table, rows)
    requests = list(coalesce(shape.source, shape.length, gap=task.gap, limit=REQUEST_BYTES))
    wanted = task.selection.keys
    keys = () if wanted is None else tuple(key for key in to_list(table.column("key")) if key in wanted)
    tick(1)
    return Chosen(
        split=task.split,
        entry=task.entry,
        samples=len(shape),
        moving=sum(request.bytes for request in requests),
        requests=len(requests),
        rows=rows,
        index=data,
        keys=keys,
        chosen_bytes=shape.end,
    )
