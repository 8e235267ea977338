"""What a pack will write: image type, members, splits, shards and order, decided before anything is written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa

from wdstools.formats.arrow import to_ipc
from wdstools.planning.alike import Pictures
from wdstools.planning.by_names import by_ranges, packable, refuse_too_many_compared, refuse_unlike
from wdstools.planning.duplicates import Division, divide
from wdstools.planning.place import place
from wdstools.planning.table import Samples
from wdstools.sources.account import files_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from wdstools.executors.base import Executor
    from wdstools.planning.options import PackOptions
    from wdstools.planning.ranges import RangedPlan
    from wdstools.progress import Progress
    from wdstools.results import Skip
    from wdstools.sources.base import Listing


@dataclass(frozen=True, slots=True)
class PackPlan:
    """Every sample in its place. ``order`` lists the rows of ``samples`` by split, shard, order hash and key.

    ``bounds`` lists, for each shard in manifest order, its split, number and half-open range of ``order``. The table is
    not sorted: that would make a second copy of it. ``leaks`` counts groups of identical images in both of two splits,
    if images were compared; ``split_in_key`` says that keys begin with their split.
    """

    samples: pa.Table
    order: NDArray[np.int64]
    bounds: tuple[tuple[str, int, int, int], ...]
    skips: tuple[Skip, ...]
    members: tuple[str, ...]
    leaks: Mapping[str, int] | None
    split_in_key: bool

    @property
    def count(self) -> int:
        """The number of samples."""
        return int(self.samples.num_rows)

    def rows(self, start: int, stop: int) -> pa.Table:
        """The samples of a range of the order."""
        return Samples(self.samples.drop_columns(["order_hash"])).take(self.order[start:stop]).table

    def first(self) -> pa.Table:
        """Samples that include those with the smallest order hashes, from which the size of all is estimated."""
        return self.samples

    def files(self, without: Collection[str] = ()) -> int:
        """The number of files that the samples are made of, ``without`` those of some keys."""
        return files_of(self.samples, without)

    def let_go(self) -> PackPlan:
        """The plan without its samples: a million take 200 MB."""
        return replace(self, samples=pa.table({}))


Planned: TypeAlias = "PackPlan | RangedPlan"


def make_plan(
    listing: Listing, options: PackOptions, executor: Executor, progress: Progress, scratch: str | None = None
) -> tuple[Planned, list[str]]:
    """Decide image type, splits, shards and order; only images are read, and only if they have to be compared.

    Very many samples are planned range by range, in an unnamed file in the folder ``scratch``.
    """
    if by_ranges(listing, options):
        from wdstools.planning.ranges import RangedPlanning  # late: few have so many

        return RangedPlanning(listing, options, executor, progress, scratch).plan()
    refuse_too_many_compared(listing, options)
    found = packable(listing, options)
    members, skips = found.members, [*found.skips]
    pictures = Pictures(listing.opener, options.images)
    division = Division(options.splits, options.duplicates, options.layout.seed, images=bool(found.image_extension))
    divided = divide(found.samples, pictures, division, executor, progress)
    skips += divided.skips
    refuse_unlike(listing, options, members)
    layout = options.layout
    if layout.shard_bytes is not None:
        from wdstools.planning.sizes import sample_bytes  # late: it knows how shards are written

        layout = layout.by_bytes(sample_bytes(divided.samples.table, listing.opener, members))
    order, bounds = place(divided.samples, layout)
    plan = PackPlan(
        divided.samples.table, order, bounds, tuple(skips), members, divided.leaks, split_in_key=found.split_in_key
    )
    return plan, [*found.notes, *divided.notes]


class Slices:
    """Each shard's split, number and samples, the latter as Arrow IPC bytes that travel to a worker.

    They are needed twice, to identify the plan and to write the shards; if they are few, they are made only once.
    """

    def __init__(self, plan: Planned) -> None:
        self._plan = plan
        self.samples, self.members = plan.count, plan.members
        self._held = list(self._made()) if plan.count <= _HELD_SAMPLES else None

    def __iter__(self) -> Iterator[tuple[str, int, bytes]]:
        return iter(self._held) if self._held is not None else self._made()

    def _made(self) -> Iterator[tuple[str, int, bytes]]:
        for split, number, start, stop in self._plan.bounds:
            samples = to_ipc(self._plan.rows(start, stop))
            pa.default_memory_pool().release_unused()  # workers write this shard before the next one is asked for
            yield split, number, samples


#: This many take about 20 MB.
_HELD_SAMPLES = 1 << 17
