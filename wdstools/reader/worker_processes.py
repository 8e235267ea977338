"""Worker processes that make batches, for user functions that hold Python's lock (the GIL).

Each process reads, checks, decodes and transforms whole batches. A batch comes back in memory of its own that both
processes map: arrays and tensors lie there, and the rest goes through a pipe. That memory has no name: it is freed when
nothing refers to it any more, however the processes end.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import queue
import signal
import sys
import threading
import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from multiprocessing.reduction import recv_handle, send_handle
from typing import TYPE_CHECKING, Any

from wdstools.errors import UsageError, WorkerError, WorkerLostError
from wdstools.executors.processes import die_with_parent
from wdstools.memory import mapped, nameless_file, page_aligned
from wdstools.reader.course import Course
from wdstools.reader.making import Making, Resources
from wdstools.reader.metrics import Meter
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from wdstools.reader.batch_maker import Maker
    from wdstools.reader.making import Planned
    from wdstools.reader.transforms import Draws
    from wdstools.results import Finding

    Result = tuple[dict[str, Any], list[tuple[int, Finding]]]
    #: A batch, whether its images are tensors, and the time spent on each stage.
    Answer = tuple[Result, bool, dict[str, float]]

#: The alignment of arrays in the shared memory.
_ALIGNED = 64
_END_SECONDS, _LOST_SECONDS = 0.5, 10.0
_AT_THE_TOP = "define functions at the top level of a module, not in a function or an if; or use workers='threads'"


def check_local(course: Course) -> None:
    """Raise UsageError for remote shards: each process would fetch them for itself."""
    for feed in course.feeds:
        if not isinstance(feed.cursor.dataset.shards, LocalStore):
            raise UsageError(
                "worker processes need local shards",
                where="workers",
                got=feed.cursor.dataset.shards.url,
                hint="copy them here with wdstools pull, or use workers='threads', which fetches ahead",
            )


class WorkerPool:
    """The worker processes of a loader. They start with its first ``for``, and end with the loader or with their parent."""

    def __init__(self, course: Course, count: int, meter: Meter | None) -> None:
        self.count = count
        self._meter = meter
        #: The size of the arrays of the last batch.
        self.batch_bytes = 0
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._pid = os.getpid()
        feeds = tuple(replace(feed, recipe=replace(feed.recipe, allocate=page_aligned)) for feed in course.feeds)
        own = Course(feeds, course.seed, None, course.buckets)
        workers: list[_Worker] = []
        self.close = weakref.finalize(self, _end, workers, self._pid)
        lifeline, ours = multiprocessing.Pipe(duplex=False)
        try:
            for _ in range(count):
                workers.append(_Worker((own, lifeline, meter is not None), [ours, *(one.pipe for one in workers)]))
        except BaseException:
            self.close()
            raise
        finally:
            lifeline.close()
        self._lifeline = ours
        for worker in workers:
            self._idle.put(worker)

    @property
    def is_whole(self) -> bool:
        """Whether it can be used: in the process that started it, with every worker alive."""
        return self.close.alive and self._pid == os.getpid()

    def ask(self, plan: Planned, batch_size: int, draws: Draws) -> Answer:
        """A batch, made by an idle worker; raises what was raised there."""
        worker = self._idle.get()
        try:
            made = worker.ask((plan, batch_size, draws))
        except WorkerError:
            self.close()  # a worker was lost: the next ``for`` starts new ones
            raise
        finally:
            self._idle.put(worker)
        self.batch_bytes = sum(getattr(value, "nbytes", 0) for value in made[0][0].values())
        for stage, seconds in made[2].items():
            assert self._meter is not None
            self._meter.add(stage, seconds)
        return made


class ProcessMaking:
    """Makes batches in worker processes, one process per batch, as ``Making`` does in threads."""

    far = False

    def __init__(self, resources: Resources, workers: WorkerPool, draws: Draws) -> None:
        self._resources = resources
        self._workers = workers
        self._draws = draws
        self._pool = ThreadPoolExecutor(workers.count, thread_name_prefix="wdstools-worker")

    def begin(self, plan: Planned, batch_size: int, chunk: int) -> Asked:  # noqa: ARG002
        """Start making a batch."""
        asked = self._pool.submit(self._workers.ask, plan, batch_size, self._draws)
        return Asked(plan, self._resources.maker(plan.shares[0].feed, plan.step.lane), asked)

    def batch_bytes(self) -> int:
        """The size of a batch as last reported by a worker; 0 if not known yet."""
        return self._workers.batch_bytes

    def close(self) -> None:
        """Wait for batches that were started."""
        self._pool.shutdown(cancel_futures=True)


class Asked:
    """A batch that a worker is making."""

    def __init__(self, plan: Planned, maker: Maker, asked: Future[Answer]) -> None:
        self.plan = plan
        self.maker = maker
        self._asked = asked

    def is_made(self) -> bool:
        """Whether it is finished."""
        return self._asked.done()

    def result(self) -> Result:
        """Wait for the batch; its fields, and the damage found. Raises what the worker raised."""
        made, self.maker.tensors, _ = self._asked.result()
        return made


class _Worker:
    """One process and the pipe to it."""

    def __init__(self, given: tuple[Course, Connection, bool], inherited: Sequence[Connection]) -> None:
        context = multiprocessing.get_context()
        self._begun = False
        self._ending = threading.Lock()
        self.pipe, theirs = context.Pipe()
        # a forked child has the parent's ends too, and would keep them open
        inherited = [*inherited, self.pipe] if context.get_start_method() == "fork" else []
        self.process: BaseProcess = context.Process(target=_serve, args=(theirs, *given, inherited), daemon=True)
        try:
            self.process.start()
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise UsageError(
                "a function cannot be sent to worker processes",
                code="not-picklable",
                where="workers",
                got=str(error),
                hint=_AT_THE_TOP,
            ) from error
        except AssertionError as error:  # raised in a process that may not have children
            raise UsageError("this process cannot start worker processes", where="workers", got=str(error)) from error
        finally:
            theirs.close()

    def ask(self, task: tuple[Planned, int, Draws]) -> Answer:
        try:
            self.pipe.send(task)
            found = _receive(self.pipe)
        except (EOFError, OSError) as error:
            code = self.end_code(_LOST_SECONDS)
            memory = "-9 often means that memory ran out: use fewer threads=, or a smaller batch_size"
            raise WorkerLostError(
                "a worker process of the loader was lost",
                where=f"process {self.process.pid}",
                got=f"exit code {code}",
                hint=memory if self._begun else f"it may have failed to import a function: {_AT_THE_TOP}",
            ) from error
        self._begun = True
        if isinstance(found, BaseException):
            raise found
        made: Answer = found
        return made

    def end_code(self, seconds: float) -> int | None:
        """Wait for the exit code of the process; None while it runs. If two threads waited for one process at once,
        one of them would not get the code.
        """  # noqa: D205
        with self._ending:
            self.process.join(seconds)
            return self.process.exitcode


def _end(workers: list[_Worker], pid: int) -> None:
    if pid != os.getpid():
        return  # a forked copy of the loader: the workers belong to its parent
    for worker in workers:
        with contextlib.suppress(OSError):
            worker.pipe.send(None)
    for worker in workers:
        if worker.end_code(_END_SECONDS) is None:
            worker.process.terminate()
        worker.pipe.close()


def _serve(
    pipe: Connection, course: Course, lifeline: Connection, metered: bool, inherited: Sequence[Connection]
) -> None:
    """The main function of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole process group: the parent decides
    for connection in inherited:
        connection.close()
    threading.Thread(target=die_with_parent, args=(lifeline,), daemon=True).start()
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)  # the worker processes already use all processors
    meter = Meter() if metered else None
    resources = Resources(course, meter)
    payloads = resources.payloads(None)
    with ThreadPoolExecutor(1) as pool, contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while (task := pipe.recv()) is not None:
            plan, batch_size, draws = task
            try:
                for share in plan.shares:
                    table = resources.tables[share.feed]
                    for shard in table.missing(share.rows):
                        table.open(shard)
                begun = Making(course, resources, payloads, pool, draws).begin(plan, batch_size, plan.size)
                answer: Any = (begun.result(), begun.maker.tensors, {} if meter is None else meter.taken())
            except Exception as error:  # noqa: BLE001  it is raised where the batch was requested
                answer = _sendable(error)
            _send(pipe, *_packed_or_said(answer))


def _sendable(error: Exception) -> Exception:
    """The error, or if it cannot be pickled, another one with the same text."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  our own bytes
    except Exception:  # noqa: BLE001  a user's class may raise anything
        found = RuntimeError(f"{type(error).__name__}: {error}")
        for note in getattr(error, "__notes__", ()):
            found.add_note(note)
        return found
    return error


class _Pickler(pickle.Pickler):
    """Pickles arrays, and tensors as arrays, out of band."""

    def reducer_override(self, value: Any) -> Any:
        torch: Any = sys.modules.get("torch")
        if torch is None or type(value) is not torch.Tensor or value.layout != torch.strided:
            return NotImplemented
        plain = value.detach().cpu().contiguous()
        dtype = str(plain.dtype).removeprefix("torch.")
        return _tensor, (plain.reshape(-1).view(torch.uint8).numpy(), dtype, tuple(plain.shape))


def _tensor(numbers: Any, dtype: str, shape: tuple[int, ...]) -> Any:
    import torch

    return torch.from_numpy(numbers).view(getattr(torch, dtype)).reshape(shape)


def _packed(value: object) -> tuple[memoryview, list[memoryview]]:
    """A value as pickle's bytes, and the bytes of its arrays separately."""
    buffers: list[pickle.PickleBuffer] = []
    sink = BytesIO()
    _Pickler(sink, protocol=5, buffer_callback=buffers.append).dump(value)
    return sink.getbuffer(), [buffer.raw() for buffer in buffers]


def _packed_or_said(answer: Any) -> tuple[memoryview, list[memoryview]]:
    """An answer, packed; if a user's function put something into the batch that cannot be sent, an error that names it."""
    try:
        return _packed(answer)
    except Exception as error:  # noqa: BLE001  a user's class may raise anything
        return _packed(
            UsageError(
                "a worker process cannot send back a field of a batch",
                code="not-picklable",
                where=next((name for name, value in answer[0][0].items() if not _packs(value)), "batch"),
                got=f"{type(error).__name__}: {error}",
                hint="let the function return arrays, tensors, numbers and strings; or use workers='threads'",
            )
        )


def _packs(value: object) -> bool:
    try:
        _packed(value)
    except Exception:  # noqa: BLE001  a user's class may raise anything
        return False
    return True


def _send(pipe: Connection, data: memoryview, views: list[memoryview]) -> None:
    starts, size = [], 0
    for view in views:
        starts.append(size)
        size += view.nbytes + -view.nbytes % _ALIGNED
    pipe.send([(start, view.nbytes) for start, view in zip(starts, views, strict=True)])
    pipe.send_bytes(data)
    if size:
        with nameless_file(size) as fd:
            memory = mapped(fd)
            for start, view in zip(starts, views, strict=True):
                memory[start : start + view.nbytes] = view
            send_handle(pipe, fd, None)


def _receive(pipe: Connection) -> Any:
    places = pipe.recv()
    data = pipe.recv_bytes()
    if not sum(size for _, size in places):
        return pickle.loads(data, buffers=[bytearray() for _ in places])  # noqa: S301  our own worker's
    fd = recv_handle(pipe)
    try:
        memory = memoryview(mapped(fd))
    finally:
        os.close(fd)
    return pickle.loads(data, buffers=[memory[start : start + size] for start, size in places])  # noqa: S301
