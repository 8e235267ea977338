"""Which executor a name means."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from wdstools.errors import UsageError, option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wdstools.executors.base import Executor

ExecutorKind = Literal["serial", "threads", "processes"]


def processors() -> int:
    """Processors that this process may use; all of the machine's where the system does not say (macOS)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def open_executor(kind: ExecutorKind = "processes", jobs: int = 1, preload: tuple[str, ...] = ()) -> Executor:
    """Workers on this machine; whoever opens them ends them with ``close``.

    Args:
        kind: ``serial`` works in the caller's thread, one item after the other. ``threads`` serve work that waits for
            storage or network, ``processes`` work that computes.
        jobs: How many workers; with one there is no need for any, and the work is serial.
        preload: Modules that worker processes will need: each imports them at its start, while the caller goes on.

    Returns:
        The executor, for any number of calls.

    Raises:
        UsageError: There is no such kind, or ``jobs`` is less than 1.
        StoreError: A worker process cannot be started (``no-worker``).
    """
    from wdstools.executors import local

    if jobs < 1:
        raise UsageError("out of range", where=option("jobs"), expected="at least 1", got=str(jobs))
    if kind == "serial" or (jobs == 1 and kind in ("threads", "processes")):
        return local.Serial()
    if kind == "threads":
        return local.Threads(jobs)
    if kind == "processes":
        return local.Processes(jobs, preload)
    raise UsageError("no such executor", where=option("executor"), expected="serial, threads or processes", got=kind)


@contextmanager
def workers(
    executor: Executor | None, kind: ExecutorKind, jobs: int, preload: tuple[str, ...] = ()
) -> Iterator[Executor]:
    """The caller's executor, which the caller ends; without one, workers of ``kind`` that end with the block."""
    if executor is not None:
        yield executor
        return
    made = open_executor(kind, jobs, preload)
    try:
        yield made
    finally:
        made.close()
