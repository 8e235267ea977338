"""Which executor a name means."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from wdstools.errors import UsageError, option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wdstools.executors.base import Executor


def processors() -> int:
    """Processors that this process may use; all of the machine's where the system does not say (macOS)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def open_executor(kind: str = "processes", jobs: int = 1, preload: tuple[str, ...] = ()) -> Executor:
    """An executor of ``kind`` serial, threads or processes.

    ``preload`` names modules that worker processes will need. Each imports them at its start, while the caller goes on;
    what the caller has imported already, a forked worker has too.
    """
    from wdstools.executors import local

    if jobs < 1:
        raise UsageError("at least one job is needed", code="usage", where=option("jobs"), got=str(jobs))
    if kind == "serial" or (jobs == 1 and kind in ("threads", "processes")):
        return local.Serial()
    if kind == "threads":
        return local.Threads(jobs)
    if kind == "processes":
        return local.Processes(jobs, preload)
    raise UsageError("no such executor", where=option("executor"), expected="serial, threads or processes", got=kind)


@contextmanager
def workers(executor: Executor | None, kind: str, jobs: int, preload: tuple[str, ...] = ()) -> Iterator[Executor]:
    """The caller's executor, which the caller ends; without one, workers of ``kind`` that end with the block."""
    if executor is not None:
        yield executor
        return
    made = open_executor(kind, jobs, preload)
    try:
        yield made
    finally:
        made.close()
