"""Which executor a name means."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, get_args

from wdstools.errors import UsageError, option
from wdstools.options.run import ExecutorKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wdstools.executors.base import Executor


#: How many workers any machine may have; a larger one may have four per core.
_MOST = {"processes": 64, "threads": 256}


def processors() -> int:
    """The number of processors that this process may use; all of the machine's if the system does not say (macOS)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def open_executor(
    kind: ExecutorKind = "processes",
    jobs: int | None = None,
    preload: tuple[str, ...] = (),
    *,
    ray_address: str | None = None,
) -> Executor:
    """Workers on this machine or on a Ray cluster; whoever opens them stops them with ``close``.

    Args:
        kind: ``serial`` works in the caller's thread, one item after another. ``threads`` are for work that waits for
            storage or network, ``processes`` for work that computes. ``ray`` is a cluster: see ``RayExecutor``.
        jobs: How many workers. One worker on this machine means serial work. Default: one, and on a cluster as
            many as it has room for.
        preload: Modules that worker processes will need: each imports them at its start, while the caller continues.
        ray_address: The cluster for ``ray``. Default: the one that runs on this machine, or one that is started here.

    Returns:
        The executor, for any number of calls.

    Raises:
        UsageError: The kind is unknown, or ``jobs`` is less than 1; for ``ray``, as ``RayExecutor`` raises it.
        StoreError: A worker process cannot be started (``no-worker``), or the cluster cannot be reached
            (``no-cluster``).
    """
    from wdstools.executors import local

    if kind not in get_args(ExecutorKind):
        expected = ", ".join(get_args(ExecutorKind)[:-1]) + f" or {get_args(ExecutorKind)[-1]}"
        raise UsageError("no such executor", where=option("executor"), expected=expected, got=kind)
    if jobs is not None and jobs < 1:
        raise UsageError("out of range", where=option("jobs"), expected="at least 1", got=str(jobs))
    if kind == "ray":
        from wdstools.executors.ray import RayExecutor

        return RayExecutor(ray_address, jobs=jobs)
    if kind == "serial" or (jobs or 1) == 1:
        return local.Serial()
    assert jobs is not None
    most = max(_MOST[kind], 4 * processors())
    if jobs > most:
        raise UsageError(
            f"too many {kind} for this machine", where=option("jobs"), expected=f"at most {most:,}", got=str(jobs)
        )
    if kind == "threads":
        return local.Threads(jobs)
    from wdstools.executors.processes import Processes

    return Processes(jobs, preload)


def executor_or_here(executor: Executor | None) -> Executor:
    """The caller's executor, or a serial one. Raises UsageError for anything that is not an executor."""
    if executor is None:
        return open_executor("serial")
    if not callable(getattr(executor, "map", None)) or not hasattr(executor, "shared_disk"):
        raise UsageError(
            "not an executor",
            where=option("executor"),
            expected="the result of wdstools.open_executor, a RayExecutor or a FuturesExecutor",
            got=repr(executor)[:80],
            hint='executor=wdstools.open_executor("processes", jobs=8); wrap a pool of your own in FuturesExecutor(pool)',
        )
    return executor


def in_threads(executor: Executor) -> Executor:
    """As many threads in place of local processes, for compiled loops over much memory; any other executor itself."""
    from wdstools.executors import local
    from wdstools.executors.processes import Processes

    return local.Threads(executor.jobs) if isinstance(executor, Processes) else executor


@contextmanager
def workers(
    executor: Executor | None, kind: ExecutorKind, jobs: int, preload: tuple[str, ...] = ()
) -> Iterator[Executor]:
    """The caller's executor, which the caller closes; without one, workers of ``kind`` that end with the block."""
    if executor is not None:
        yield executor_or_here(executor)
        return
    made = open_executor(kind, jobs, preload)
    try:
        yield made
    finally:
        made.close()
