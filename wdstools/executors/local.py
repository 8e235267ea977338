"""Executors on this machine."""

from __future__ import annotations

import queue
import threading
import traceback
from typing import TYPE_CHECKING, Generic

from wdstools.errors import StoreError, WdsError, WorkerError, WorkerLostError, option
from wdstools.executors.base import ATTEMPTS, Item, Outcome, Tick, Value, Work
from wdstools.executors.shared import Ref, SharedValues
from wdstools.log import Clock, tell
from wdstools.shortage import HINT, is_short_of_memory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_TICK_SECONDS = 0.2
_PARENT_GONE = 1


def attempt(work: Work[Item, Value], index: int, item: Item, tick: Tick) -> Outcome[Value]:
    """Work on one item, whatever the outcome: a value, an error of ours, or a bug, reported with its traceback."""
    clock, task = Clock(), type(item).__name__.removesuffix("Task")
    try:
        done = Outcome(index, work(item, tick))
        tell("work", "done", task=task, of=named(done.value) or named(item), item=index, seconds=clock)
        return done  # noqa: TRY300  logging is part of the attempt
    except WdsError as error:
        tell("work", "failed", task=task, of=named(item), item=index, seconds=clock, code=error.code, where=error.where)
        return Outcome(index, error=error)
    except Exception as error:  # noqa: BLE001  the boundary: a bug in one item must not end the others
        if is_short_of_memory(error):
            error = StoreError("a worker has run out of memory", code="no-memory", got=str(error), hint=HINT)
            return Outcome(index, error=error)
        bug = WorkerError(f"{type(error).__name__}: {error}", where=f"item {index}", traceback=traceback.format_exc())
        return Outcome(index, error=bug)


def named(item: object) -> str | None:
    """What an item is about, if it says: its own path, or that of its shard."""
    entry = getattr(item, "entry", None) or getattr(item, "shard", None)
    for owner in (entry, item):
        for name in ("path", "dest", "key", "name", "target"):
            value = getattr(owner, name, None)
            if isinstance(value, str):
                return value
    return None


def lost_worker(index: int, about: str | None, host: str, reason: str, attempts: int) -> WorkerLostError:
    """The error for an item that no worker finished, by its number and what it is about."""
    return WorkerLostError(
        "the worker of this item was lost",
        where=f"item {index}" + (f" ({about})" if about else "") + (f", {host}" if host else ""),
        got=f"{reason} (attempt {attempts} of {ATTEMPTS})",
        hint="when the system kills a worker, it has usually run out of memory: "
        f"use fewer {option('jobs')}, or smaller shards; the same command continues after what is finished",
    )


def tell_of_loss(index: int, about: str | None, host: str, reason: str, attempts: int) -> None:
    """Log that a worker was lost, whether or not its item is tried again."""
    tell("work", "lost", of=about, item=index, host=host or None, reason=reason, attempt=f"{attempts} of {ATTEMPTS}")


def ignore(count: int) -> None:
    """Take a tick and do nothing."""


class _Here:
    """An executor whose workers share this process's memory, so that shared values stay where they are."""

    shared_disk = True

    def __init__(self) -> None:
        self._shared = SharedValues()

    def share(self, value: Value) -> Ref[Value]:
        """A reference to a value, until ``close``."""
        return self._shared.share(value)

    def close(self) -> None:
        """Release what was shared. There are no workers to stop: the threads of a map end with it."""
        self._shared.close()


class Serial(_Here):
    """One item after the other, in this thread."""

    jobs = 1

    def map(self, work: Work[Item, Value], items: Iterable[Item], tick: Tick | None = None) -> Iterator[Outcome[Value]]:
        """Run ``work`` on each item in turn."""
        for index, item in enumerate(items):
            yield attempt(work, index, item, tick or ignore)


class Threads(_Here):
    """A few threads: for work that releases the GIL."""

    def __init__(self, jobs: int) -> None:
        super().__init__()
        self.jobs = jobs

    def map(self, work: Work[Item, Value], items: Iterable[Item], tick: Tick | None = None) -> Iterator[Outcome[Value]]:
        """Run ``work`` in threads; ``tick`` is called in the caller's thread."""
        crew = _Crew(work, items)
        threads = [threading.Thread(target=crew.serve, daemon=True) for _ in range(self.jobs)]
        for thread in threads:
            thread.start()
        try:
            running = self.jobs
            while running:
                match crew.results.get():
                    case None:
                        running -= 1
                    case int() as count:
                        (tick or ignore)(count)
                    case BaseException() as error:
                        raise error
                    case outcome:
                        yield outcome
        finally:
            crew.stopping = True
            for thread in threads:
                thread.join()


class _Crew(Generic[Item, Value]):
    """What the threads of one map share."""

    def __init__(self, work: Work[Item, Value], items: Iterable[Item]) -> None:
        self.results: queue.SimpleQueue[Outcome[Value] | int | BaseException | None] = queue.SimpleQueue()
        self.stopping = False
        self._work = work
        self._feed = enumerate(items)
        self._lock = threading.Lock()

    def serve(self) -> None:
        """Work on items until there are none left; put None at the end."""
        try:
            while not self.stopping:
                with self._lock:
                    entry = next(self._feed, None)
                if entry is None:
                    break
                self.results.put(attempt(self._work, *entry, self.results.put))
        except BaseException as error:  # noqa: BLE001  the iterator of items failed: raised in the caller's thread
            self.results.put(error)
        finally:
            self.results.put(None)
