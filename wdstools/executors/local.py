"""Executors on this machine."""

from __future__ import annotations

import contextlib
import errno
import gc
import importlib
import multiprocessing
import os
import platform
import queue
import signal
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Generic

from wdstools.errors import StoreError, WdsError, WorkerError, option
from wdstools.executors.base import ATTEMPTS, COLLECT_AFTER, Item, Outcome, Tick, Value, Work
from wdstools.executors.shared import Received, Ref, SharedValues

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from multiprocessing.context import ForkContext, SpawnContext
    from multiprocessing.process import BaseProcess

_TICK_SECONDS = 0.2
_PARENT_GONE = 1


def attempt(work: Work[Item, Value], index: int, item: Item, tick: Tick) -> Outcome[Value]:
    """One item worked on, whatever comes of it: a value, an error of ours, or a bug, told with its traceback."""
    try:
        return Outcome(index, work(item, tick))
    except WdsError as error:
        return Outcome(index, error=error)
    except Exception as error:  # noqa: BLE001  the boundary: a bug in one item must not end the others
        if isinstance(error, MemoryError | ImportError) or getattr(error, "errno", None) == errno.ENOMEM:
            hint = f"is there enough memory? Use fewer {option('jobs')}, or raise the limit (ulimit -v)"
            return Outcome(
                index, error=StoreError("a worker has run out of memory", code="no-memory", got=str(error), hint=hint)
            )
        bug = WorkerError(f"{type(error).__name__}: {error}", where=f"item {index}", traceback=traceback.format_exc())
        return Outcome(index, error=bug)


def lost_worker(index: int, host: str, reason: str, attempts: int) -> WorkerError:
    """The outcome of an item that no worker finished."""
    return WorkerError(
        "the worker of this item was lost",
        code="worker-lost",
        where=f"item {index}" + (f", {host}" if host else ""),
        got=f"{reason} (attempt {attempts} of {ATTEMPTS})",
        hint=f"exit code -9 often means that memory ran out: use fewer {option('jobs')}, or smaller shards",
    )


def ignore(count: int) -> None:
    """Take a tick and do nothing."""


class _Here:
    """An executor whose workers share this process's memory: what they share lies where it is."""

    shared_disk = True

    def __init__(self) -> None:
        self._shared = SharedValues()

    def share(self, value: Value) -> Ref[Value]:
        """A stand-in for a value, until ``close``."""
        return self._shared.share(value)

    def close(self) -> None:
        """Let go of what was shared; there are no workers to end: the threads of a map end with it."""
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
        """Take items until there are none; at the end put None."""
        try:
            while not self.stopping:
                with self._lock:
                    entry = next(self._feed, None)
                if entry is None:
                    break
                self.results.put(attempt(self._work, *entry, self.results.put))
        except BaseException as error:  # noqa: BLE001  the items ended badly: the caller's error, in the caller's thread
            self.results.put(error)
        finally:
            self.results.put(None)


@dataclass(slots=True)
class _Given(Generic[Item]):
    """An item that a worker has: for which time, and how much of it was ticked now and was told by all attempts."""

    index: int
    item: Item
    attempt: int = 1
    ticked: int = 0
    told: int = 0

    def news(self, count: int) -> int:
        """How much of a tick is to be told: what an attempt before this one had told is not told again."""
        self.ticked += count
        fresh = max(0, self.ticked - self.told)
        self.told += fresh
        return fresh


class Processes:
    """Worker processes, each with a pipe. They end with their parent, however it ends.

    Forked where that is safe (Linux, one thread), so that they start in a millisecond; spawned elsewhere.
    """

    shared_disk = True

    def __init__(self, jobs: int, preload: tuple[str, ...] = ()) -> None:
        self.jobs = jobs
        self._preload = preload
        self._workers: dict[Connection, BaseProcess] = {}
        self._shared = SharedValues()
        self._lifeline_end, self._lifeline = multiprocessing.Pipe(duplex=False)
        self._fill()

    def _fill(self) -> None:
        while len(self._workers) < self.jobs:
            self._start()

    def _start(self) -> Connection:
        try:
            return self._begin()
        except OSError as error:
            raise StoreError(
                "a worker process cannot be started",
                code="no-worker",
                got=error.strerror or "",
                hint=f"raise the limits of open files and processes (ulimit -n, ulimit -u), or give {option('jobs', 1)}",
            ) from error

    def _begin(self) -> Connection:
        context = _context()
        ours, theirs = context.Pipe()
        # A forked child inherits the parent's ends too; it must close them, or the pipes never end.
        inherited = (*self._workers, ours, self._lifeline) if context.get_start_method() == "fork" else ()
        arguments = (theirs, self._lifeline_end, inherited, self._preload)
        process = context.Process(target=_serve, args=arguments, daemon=True)
        process.start()
        theirs.close()
        self._workers[ours] = process
        return ours

    def share(self, value: Value) -> Ref[Value]:
        """A stand-in for a value, which travels to each worker once."""
        return self._shared.share(value)

    def map(self, work: Work[Item, Value], items: Iterable[Item], tick: Tick | None = None) -> Iterator[Outcome[Value]]:
        """Run ``work`` in the workers; one that dies is replaced, and its item given to another."""
        feed = (_Given(index, item) for index, item in enumerate(items))
        busy: dict[Connection, _Given[Item]] = {}
        self._fill()
        try:
            for pipe in list(self._workers):
                self._feed(pipe, work, next(feed, None), busy)
            while busy:
                for pipe in [pipe for pipe in wait(list(busy)) if isinstance(pipe, Connection)]:
                    given, free = busy[pipe], pipe
                    try:
                        message = pipe.recv()
                    except (EOFError, ConnectionResetError):
                        lost, free = self._bury(pipe, given), self._start()
                        if given.attempt < ATTEMPTS:
                            del busy[pipe]
                            again = _Given(given.index, given.item, given.attempt + 1, told=given.told)
                            self._feed(free, work, again, busy)
                            continue
                        message = Outcome(given.index, error=lost)
                    if isinstance(message, int):
                        if news := given.news(message):
                            (tick or ignore)(news)
                        continue
                    del busy[pipe]
                    self._feed(free, work, next(feed, None), busy)
                    yield message
        finally:
            for pipe in busy:  # the map was left: what these still answer must not be taken for the next map's
                self._end(pipe, seconds=0)

    def _feed(
        self,
        pipe: Connection,
        work: Work[Item, Value],
        given: _Given[Item] | None,
        busy: dict[Connection, _Given[Item]],
    ) -> None:
        if given is None:
            return
        busy[pipe] = given
        task, needed = self._shared.dumps((work, given.index, given.item))
        with contextlib.suppress(BrokenPipeError):  # a dead worker: its end of the pipe is seen in map()
            for value in self._shared.unsent(pipe, needed):
                pipe.send_bytes(value)
            pipe.send_bytes(task)

    def _bury(self, pipe: Connection, given: _Given[Item]) -> WorkerError:
        process = self._workers.pop(pipe)
        self._shared.forget(pipe)
        process.join()
        pipe.close()
        host = f"process {process.pid} on {platform.node()}"
        return lost_worker(given.index, host, f"exit code {process.exitcode}", given.attempt)

    def _end(self, pipe: Connection, seconds: float) -> None:
        process = self._workers.pop(pipe, None)
        if process is None:
            return
        self._shared.forget(pipe)
        with contextlib.suppress(OSError):
            pipe.send(None)
        pipe.close()
        process.join(timeout=seconds)
        if process.is_alive():
            process.terminate()
            process.join()

    def close(self) -> None:
        """End the workers at once; what they had not finished is abandoned."""
        for pipe in list(self._workers):
            self._end(pipe, seconds=0.5)
        self._shared.close()
        self._lifeline.close()
        self._lifeline_end.close()


def _context() -> ForkContext | SpawnContext:
    if sys.platform == "linux" and threading.active_count() == 1:
        return multiprocessing.get_context("fork")
    return multiprocessing.get_context("spawn")


def _import(modules: tuple[str, ...]) -> None:
    for module in modules:
        importlib.import_module(module)


def _serve(pipe: Connection, lifeline: Connection, inherited: tuple[Connection, ...], preload: tuple[str, ...]) -> None:
    """The life of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group: the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for connection in inherited:
        connection.close()
    threading.Thread(target=_die_with_parent, args=(lifeline,), daemon=True).start()
    _import(preload)
    gc.freeze()  # what was imported stays: the collector need not look at it again and again
    gc.set_threshold(COLLECT_AFTER, 20, 20)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while (message := pipe.recv()) is not None:
            if isinstance(message, Received):
                continue  # it is kept where the items that follow will look for it
            work, index, item = message
            ticker = _Ticker(pipe)
            outcome = attempt(work, index, item, ticker)
            ticker.flush()
            pipe.send(outcome)


def _die_with_parent(lifeline: Connection) -> None:
    """Wait for the end of a pipe that only the parent can write: the kernel closes it when the parent is gone."""
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os._exit(_PARENT_GONE)


class _Ticker:
    """Sends progress to the parent, but not too often."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._count = 0
        self._last = time.monotonic()

    def __call__(self, count: int) -> None:
        self._count += count
        now = time.monotonic()
        if now - self._last >= _TICK_SECONDS:
            self.flush()
            self._last = now

    def flush(self) -> None:
        """Send what has not been sent yet."""
        if self._count:
            self._pipe.send(self._count)
            self._count = 0
