"""Executors on this machine."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import queue
import signal
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from wdstools.errors import WdsError, WorkerError
from wdstools.executors.base import Outcome, Tick, Work

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from multiprocessing.context import ForkContext, SpawnContext
    from multiprocessing.process import BaseProcess

_TICK_SECONDS = 0.2
_PARENT_GONE = 1


def _attempt(work: Work, index: int, item: object, tick: Tick) -> Outcome:
    try:
        return Outcome(index, work(item, tick))
    except WdsError as error:
        return Outcome(index, error=error)
    except Exception as error:  # noqa: BLE001  the boundary: a bug in one item must not end the others
        bug = WorkerError(f"{type(error).__name__}: {error}", where=f"item {index}", traceback=traceback.format_exc())
        return Outcome(index, error=bug)


def _ignore(count: int) -> None:
    """Take a tick and do nothing."""


class Serial:
    """One item after the other, in this thread."""

    jobs = 1

    def map(self, work: Work, items: Iterable[Any], tick: Tick | None = None) -> Iterator[Outcome]:
        """Run ``work`` on each item in turn."""
        for index, item in enumerate(items):
            yield _attempt(work, index, item, tick or _ignore)

    def close(self) -> None:
        """Nothing to end."""


class Threads:
    """A few threads: for work that releases the GIL."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self._stopping = False

    def map(self, work: Work, items: Iterable[Any], tick: Tick | None = None) -> Iterator[Outcome]:
        """Run ``work`` in threads; ``tick`` is called in the caller's thread."""
        feed = enumerate(items)
        feed_lock = threading.Lock()
        results: queue.SimpleQueue[Outcome | int | None] = queue.SimpleQueue()

        def loop() -> None:
            while not self._stopping:
                with feed_lock:
                    entry = next(feed, None)
                if entry is None:
                    break
                results.put(_attempt(work, *entry, results.put))
            results.put(None)

        threads = [threading.Thread(target=loop, daemon=True) for _ in range(self.jobs)]
        for thread in threads:
            thread.start()
        try:
            running = self.jobs
            while running:
                match results.get():
                    case None:
                        running -= 1
                    case int() as count:
                        (tick or _ignore)(count)
                    case outcome:
                        yield outcome
        finally:
            self._stopping = True
            for thread in threads:
                thread.join()
            self._stopping = False

    def close(self) -> None:
        """Nothing to end: the threads of a map end with it."""


class Processes:
    """Worker processes, each with a pipe. They end with their parent, however it ends.

    Forked where that is safe (Linux, one thread), so that they start in a millisecond; spawned elsewhere.
    """

    def __init__(self, jobs: int, preload: tuple[str, ...] = ()) -> None:
        self.jobs = jobs
        context = _context()
        lifeline, self._lifeline = context.Pipe(duplex=False)
        self._workers: dict[Connection, BaseProcess] = {}
        for _ in range(jobs):
            ours, theirs = context.Pipe()
            # A forked child inherits the parent's ends too; it must close them, or the pipes never end.
            inherited = (*self._workers, ours, self._lifeline) if context.get_start_method() == "fork" else ()
            process = context.Process(target=_serve, args=(theirs, lifeline, inherited, preload), daemon=True)
            process.start()
            theirs.close()
            self._workers[ours] = process
        lifeline.close()

    def map(self, work: Work, items: Iterable[Any], tick: Tick | None = None) -> Iterator[Outcome]:
        """Run ``work`` in the workers; a worker that dies is reported for the item that it had."""
        feed = enumerate(items)
        busy: dict[Connection, int] = {}
        for pipe in list(self._workers):
            self._feed(pipe, work, feed, busy)
        while busy:
            for pipe in [pipe for pipe in wait(list(busy)) if isinstance(pipe, Connection)]:
                try:
                    message = pipe.recv()
                except (EOFError, ConnectionResetError):
                    yield Outcome(busy.pop(pipe), error=self._bury(pipe))
                    continue
                if isinstance(message, int):
                    (tick or _ignore)(message)
                    continue
                del busy[pipe]
                self._feed(pipe, work, feed, busy)
                yield message

    def _feed(self, pipe: Connection, work: Work, feed: Iterator[tuple[int, Any]], busy: dict[Connection, int]) -> None:
        entry = next(feed, None)
        if entry is None:
            return
        busy[pipe] = entry[0]
        with contextlib.suppress(BrokenPipeError):  # a dead worker: its end of the pipe is seen in map()
            pipe.send((work, *entry))

    def _bury(self, pipe: Connection) -> WorkerError:
        process = self._workers.pop(pipe)
        process.join()
        pipe.close()
        return WorkerError(
            "a worker process died",
            where=f"process {process.pid}",
            got=f"exit code {process.exitcode}",
            hint="exit code -9 often means that memory ran out: use fewer --jobs",
        )

    def close(self) -> None:
        """End the workers at once; what they had not finished is abandoned."""
        for pipe, process in self._workers.items():
            with contextlib.suppress(OSError):
                pipe.send(None)
            pipe.close()
            process.join(timeout=0.5)
            if process.is_alive():
                process.terminate()
                process.join()
        self._workers = {}
        self._lifeline.close()


def _context() -> ForkContext | SpawnContext:
    if sys.platform == "linux" and threading.active_count() == 1:
        return multiprocessing.get_context("fork")
    return multiprocessing.get_context("spawn")


def _serve(pipe: Connection, lifeline: Connection, inherited: tuple[Connection, ...], preload: tuple[str, ...]) -> None:
    """The life of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group: the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for connection in inherited:
        connection.close()
    threading.Thread(target=_die_with_parent, args=(lifeline,), daemon=True).start()
    for module in preload:
        importlib.import_module(module)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while (message := pipe.recv()) is not None:
            work, index, item = message
            pipe.send(_attempt(work, index, item, _Ticker(pipe)))


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
            self._pipe.send(self._count)
            self._count, self._last = 0, now
