"""Worker processes on this machine."""

from __future__ import annotations

import contextlib
import gc
import importlib
import multiprocessing
import os
import platform
import signal
import sys
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import recv_handle, send_handle
from typing import TYPE_CHECKING, Any, Generic

from wdstools.errors import StoreError, WorkerError, option
from wdstools.executors.base import ATTEMPTS, COLLECT_AFTER, Item, Outcome, Tick, Value, Work
from wdstools.executors.local import attempt, ignore, lost_worker, named, tell_of_loss
from wdstools.executors.shared import Coming, Received, Ref, SharedValues

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from multiprocessing.context import ForkContext, SpawnContext
    from multiprocessing.process import BaseProcess

_TICK_SECONDS = 0.2
_PARENT_GONE = 1


@dataclass(slots=True)
class _Given(Generic[Item]):
    """An item that a worker has: the attempt, its ticks so far, and the ticks reported by all attempts."""

    index: int
    item: Item
    attempt: int = 1
    ticked: int = 0
    told: int = 0

    def news(self, count: int) -> int:
        """How much of a tick to report: what an earlier attempt reported is not reported again."""
        self.ticked += count
        fresh = max(0, self.ticked - self.told)
        self.told += fresh
        return fresh


class Processes:
    """Worker processes, each with a pipe. They end with their parent, however it ends.

    They are forked where that is safe (Linux, one thread), which takes a millisecond, and spawned elsewhere.
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
                "cannot start a worker process",
                code="no-worker",
                got=error.strerror or "",
                hint=f"raise the limits on open files and processes (ulimit -n, ulimit -u), or use {option('jobs', 1)}",
            ) from error

    def _begin(self) -> Connection:
        context = _context()
        ours, theirs = context.Pipe()
        # A forked child inherits the parent's ends too; it must close them, or the pipes never end.
        inherited = (*self._workers, ours, self._lifeline) if context.get_start_method() == "fork" else ()
        arguments = (theirs, self._lifeline_end, inherited, self._preload)
        process = context.Process(target=serve, args=arguments, daemon=True)
        process.start()
        theirs.close()
        self._workers[ours] = process
        return ours

    def share(self, value: Value) -> Ref[Value]:
        """A reference to a value, which travels to each worker once."""
        return self._shared.share(value)

    def map(self, work: Work[Item, Value], items: Iterable[Item], tick: Tick | None = None) -> Iterator[Outcome[Value]]:
        """Run ``work`` in the workers; a worker that dies is replaced, and its item given to another."""
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
            for pipe in busy:  # the map was abandoned: late answers must not be taken for the next map's
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
        with contextlib.suppress(BrokenPipeError):  # a dead worker: map() will see the end of its pipe
            for value, lent in self._shared.unsent(pipe, needed):
                pipe.send_bytes(value)
                if lent is not None:
                    send_handle(pipe, lent.fileno(), self._workers[pipe].pid)
            pipe.send_bytes(task)

    def _bury(self, pipe: Connection, given: _Given[Item]) -> WorkerError:
        process = self._workers.pop(pipe)
        self._shared.forget(pipe)
        process.join()
        pipe.close()
        host = f"process {process.pid} on {platform.node()}"
        about, reason = named(given.item), f"exit code {process.exitcode}"
        tell_of_loss(given.index, about, host, reason, given.attempt)
        return lost_worker(given.index, about, host, reason, given.attempt)

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
        """Stop the workers at once; unfinished work is abandoned."""
        for pipe in self._workers:  # tell all of them before waiting for any
            with contextlib.suppress(OSError):
                pipe.send(None)
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


def serve(pipe: Connection, lifeline: Connection, inherited: tuple[Connection, ...], preload: tuple[str, ...]) -> None:
    """The life of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group: the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for connection in inherited:
        connection.close()
    threading.Thread(target=die_with_parent, args=(lifeline,), daemon=True).start()
    _import(preload)
    gc.freeze()  # imports stay: keep the collector from scanning them again and again
    gc.set_threshold(COLLECT_AFTER, 20, 20)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while (message := _next(pipe)) is not None:
            if isinstance(message, Received):
                continue  # already kept where the items that follow look for it
            if isinstance(message, Coming):
                _receive(message, pipe)
                continue
            work, index, item = message
            ticker = _Ticker(pipe)
            outcome = attempt(work, index, item, ticker)
            ticker.flush()
            pipe.send(outcome)


def _next(pipe: Connection) -> Any:
    """The next message; None if the parent is gone, or was stopped while sending one."""
    try:
        return pipe.recv()
    except (EOFError, OSError):
        return None


def _receive(coming: Coming, pipe: Connection) -> None:
    fd = recv_handle(pipe)
    try:
        coming.receive(fd)
    finally:
        os.close(fd)


def die_with_parent(lifeline: Connection) -> None:
    """Wait for the end of a pipe that only the parent can write: the kernel closes it when the parent is gone."""
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os._exit(_PARENT_GONE)


class _Ticker:
    """Sends progress to the parent, at limited intervals."""

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
