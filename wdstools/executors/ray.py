"""A Ray cluster as an executor: one Ray Core task per item. Pixels never go through Ray's object store or Ray Data.

Ray places the tasks, starts hosts where it autoscales, and reports lost workers and hosts. Everything else is as with
any pool (``afar.py``). Shared values are Ray objects, kept once on each host; workers map the large arrays in them
(``packed.py``).
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, TypedDict, Unpack

from wdstools.errors import UsageError, option
from wdstools.executors.afar import Run, elsewhere
from wdstools.executors.ray_cluster import Cluster, RayPool
from wdstools.executors.shared import Ref, SharedValues

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from wdstools.executors.base import Item, Outcome, Tick, Value, Work

#: Memory requested for a task. Writing or checking a shard takes far less.
_MEMORY_BYTES = 1 << 30


class RayResources(TypedDict, total=False):
    """What each item of work requests from the cluster, as Ray's own task options: cores, bytes of memory, and others."""

    num_cpus: float
    memory: int
    resources: dict[str, float]


class RayExecutor:
    """Runs work on a Ray cluster: ``pip install "wdstools[ray]"``, in the same versions on every host.

    Args:
        address: The cluster, as ``auto``, ``HOST:6379`` or ``ray://HOST:10001``. Default: the one that this program has
            connected to with ``ray.init``, the one that ``RAY_ADDRESS`` names, the one that runs on this machine, or
            one that is started here and ends with ``close``.
        jobs: The most items to run at once. Default: as many as the cluster has room for, even as that changes.
        shared_disk: Whether all hosts see this machine's files under the same paths. Default: tested for each path.
        say: Called with messages for the user. Default: they become Python warnings.
        **resources: What each item requests: ``num_cpus`` (1), ``memory`` in bytes (1 GiB), further ``resources``.

    Raises:
        UsageError: Ray is not installed (``no-ray``), hosts have versions that could lead to other results
            (``mixed-versions``), or an argument is invalid.
        StoreError: The cluster cannot be reached (``no-cluster``).
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        jobs: int | None = None,
        shared_disk: bool | None = None,
        say: Callable[[str], None] | None = None,
        **resources: Unpack[RayResources],
    ) -> None:
        if jobs is not None and jobs < 1:
            raise UsageError("out of range", where=option("jobs"), expected="at least 1", got=str(jobs))
        self._most = jobs
        self._shared_disk = shared_disk
        self._cluster = Cluster(address, {"num_cpus": 1.0, "memory": _MEMORY_BYTES, **resources}, say or _warn)
        self._shared = SharedValues(self._elsewhere)

    @property
    def jobs(self) -> int:
        """How many items the cluster has room for now, at most the ``jobs`` requested and at least 1."""
        room = self._cluster.room
        return max(1, room if self._most is None else min(room, self._most))

    @property
    def shared_disk(self) -> bool:
        """Whether all hosts see this machine's files under the same paths."""
        return self._cluster.one_disk if self._shared_disk is None else self._shared_disk

    def map(self, work: Work[Item, Value], items: Iterable[Item], tick: Tick | None = None) -> Iterator[Outcome[Value]]:
        """Run ``work`` on every item, as Ray tasks; leaving the map cancels those in flight."""
        pool = RayPool(self._cluster, lambda: self.jobs, self._shared.packed)
        return Run(pool, self._shared, tick).outcomes(work, items)

    def share(self, value: Value) -> Ref[Value]:
        """A reference to a value, which travels to each worker once."""
        return self._shared.share(value)

    def close(self) -> None:
        """Release what was shared, and end a connection or a cluster that was opened here."""
        self._shared.close()
        self._cluster.close()

    def _elsewhere(self, path: str) -> str:
        return elsewhere(path, shared_disk=self.shared_disk, seen=self._cluster.sees)


def _warn(text: str) -> None:
    warnings.warn(text, UserWarning, stacklevel=4)
