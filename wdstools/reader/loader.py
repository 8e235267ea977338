"""Batches of decoded, verified samples: threads decode straight into the arrays that are handed out."""

from __future__ import annotations

import os
import weakref
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from wdstools.errors import UsageError
from wdstools.executors.open import processors
from wdstools.reader.batch_maker import Chunk, Decoding, Maker, assemble
from wdstools.reader.cursor import Course, CourseOptions
from wdstools.reader.order import Sharing
from wdstools.reader.payloads import Payloads, prepared
from wdstools.reader.ranges import open_ranges
from wdstools.reader.rows import RowTable
from wdstools.reader.stream import is_skip, moved

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.reader.batch import Batch
    from wdstools.reader.order import Part
    from wdstools.results import Report

_CHUNK = 16
_AHEAD = 3
_HORIZON = 2048


class Loader:
    """Batches of one split in an epoch's order: ``for batch in loader`` goes on to the end of the epoch.

    The next ``for`` is the next epoch; one that was left in the middle goes on there. Threads run only while a ``for``
    does. ``state_dict()`` is where it is, of constant size: what has been handed out, however much has been decoded
    ahead; good for a loader of the same dataset and selection with any batch size and number of ranks. Pickles.
    """

    def __init__(self, course: Course, sharing: Sharing, decoding: Decoding, threads: int, on_damage: str) -> None:
        self._course = course
        self._sharing = sharing
        self._decoding = decoding
        self._threads = threads
        self._skip = is_skip(on_damage)
        self._chunk = max(1, min(_CHUNK, -(-sharing.batch_size // threads)))
        self._active: weakref.ref[Generator[Batch]] | None = None
        self._kept: tuple[int, RowTable, Maker] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_active": None, "_kept": None}

    @property
    def epoch(self) -> int:
        """The epoch that is being read or comes next."""
        return self._course.epoch

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return self._sharing.batches(0)

    def __iter__(self) -> Iterator[Batch]:
        self._stop()
        batches = self._batches()
        # not held here: leaving a loop early ends its threads
        self._active = weakref.ref(batches)
        return batches

    def _tables(self) -> tuple[RowTable, Maker]:
        """Indexes and buffers, kept from epoch to epoch; a forked process makes its own."""
        if self._kept is None or self._kept[0] != os.getpid():
            members = self._course.dataset.manifest.members
            table = RowTable(self._course.dataset, self._course.options.split, self._decoding.members(members))
            self._kept = (os.getpid(), table, Maker(self._decoding, self._course, table))
        return self._kept[1:]

    def _batches(self) -> Generator[Batch]:
        course, pid = self._course, os.getpid()
        table, maker = self._tables()
        ranges = open_ranges(table)
        payloads = Payloads(table, ranges)
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="wdstools-decode")
        ahead = max(_AHEAD, -(-2 * self._chunk * self._threads // self._sharing.batch_size))
        turn, epoch = course.begin(), course.epoch
        begun: deque[_Begun] = deque()
        plans = prepared(payloads, self._plans(), _rows_of, _HORIZON // self._sharing.world_size, pool)
        # the first batch does not wait for the indexes of those behind it
        room = ahead if table.is_open else 1
        try:
            while True:
                while len(begun) < room and (plan := next(plans, None)) is not None:
                    begun.append(self._begin(pool, maker, payloads, plan))
                if not begun:
                    break
                ready, room = begun.popleft(), ahead
                if course.turn is not turn or os.getpid() != pid:
                    raise moved()
                batch = self._finish(ready)
                course.position = ready.part.after
                del ready
                yield batch
                del batch
        finally:
            pool.shutdown(cancel_futures=True)
            ranges.close()
        course.go_to(epoch + 1)

    def _begin(self, pool: ThreadPoolExecutor, maker: Maker, payloads: Payloads, plan: _Planned) -> _Begun:
        place = maker.place(payloads, plan.rows, self._sharing.batch_size)
        tasks = []
        for first in range(0, len(plan.rows), self._chunk):
            at = slice(first, first + self._chunk)
            piece = None if place is None else place[at]
            tasks.append(pool.submit(maker.make, payloads, plan.rows[at], plan.positions[at], piece))
        return _Begun(plan.part, place, tasks)

    def _plans(self) -> Iterator[_Planned]:
        """This rank's batches from here to the end of the epoch."""
        course, sharing, position = self._course, self._sharing, self._course.position
        for _ in range(sharing.batches(position)):
            part = sharing.part(position)
            # from where the global batch begins, so that the order is asked for in ascending steps
            rows = course.ahead(position, part.after)
            positions = np.array([*range(part.start, part.stop), *part.again], np.int64)
            yield _Planned(part, rows[positions - position], positions)
            position = part.after

    def _finish(self, ready: _Begun) -> Batch:
        chunks = [task.result() for task in ready.tasks]
        batch, findings = assemble(chunks, ready.place, ready.part.padding)
        if findings and not self._skip:
            raise self._course.damage(findings[0])
        if findings:
            self._course.check_not_replaced()
        self._course.pass_over(findings)
        self._course.samples_read += int(batch.mask.sum())
        return batch

    def close(self) -> None:
        """End the ``for`` that is going on, if any, with its threads and files; a new one may be begun."""
        self._stop()
        self._kept = None

    def _stop(self) -> None:
        active = self._active() if self._active is not None else None
        self._active = None
        if active is not None:
            active.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def set_epoch(self, epoch: int) -> None:
        """Go to the beginning of an epoch."""
        self._stop()
        self._course.go_to(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Where this loader is, in plain JSON values: what has been handed out, to all ranks together."""
        return self._course.state()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go where a state says. Raises UsageError (``state-refused``) if it is of another dataset or other options."""
        self._stop()
        self._course.restore(state)

    def report(self) -> Report:
        """What was read so far, and what of it was damaged."""
        return self._course.report()


@dataclass(slots=True)
class _Planned:
    """A batch to come: its rows and their positions in the epoch."""

    part: Part
    rows: NDArray[np.int64]
    positions: NDArray[np.int64]


@dataclass(slots=True)
class _Begun:
    """A batch that is being made."""

    part: Part
    place: NDArray[Any] | None
    tasks: list[Future[Chunk]]


def _rows_of(plan: _Planned) -> NDArray[np.int64]:
    return plan.rows


def loader(
    dataset: Dataset | str,
    split: str = "train",
    *,
    batch_size: int,
    shuffle: str | None = "full",
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
    where: str | None = None,
    keys: Iterable[str] | None = None,
    limit: int | None = None,
    decode: str = "rgb",
    image_size: int | tuple[int, int] | None = None,
    fit: str = "stretch",
    transform: Callable[[NDArray[np.uint8], np.random.Generator], NDArray[Any]] | None = None,
    threads: int | None = None,
    on_damage: str = "raise",
    remainder: str = "pad",
    block_samples: int = 64,
    window_blocks: int = 32,
) -> Loader:
    """Batches (``Batch``) of decoded samples of a split; every byte is checked before it is decoded.

    ``shuffle``: "full" (a permutation), "block" (blocks of ``block_samples``, mixed within ``window_blocks`` of them)
    or None. ``where``, ``keys``, ``limit`` choose samples, see ``wdstools.reader.select``. ``decode``: "rgb", "gray" or
    "bytes". ``image_size``: a side or (height, width), to which ``fit`` brings other sizes: "stretch", "crop" the
    middle, "pad" with black; without it all images must be of one size; ``fit="list"``: each at its own. ``transform``
    gets an image and a random generator that depends on seed, epoch and position alone, in a thread. ``threads``: None
    is one a core. ``on_damage``: "raise" IntegrityError, or "skip", see Batch. ``remainder``: what becomes of the last
    global batch, see ``wdstools.reader.order.Sharing``. Raises UsageError, NotFoundError and FormatError before the
    first batch if options or shards are not as they should be.
    """
    from wdstools.dataset import as_dataset

    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    decoding = Decoding(decode, size, fit, transform)
    options = CourseOptions(
        split, shuffle, where, None if keys is None else frozenset(keys), limit, block_samples, window_blocks
    )
    if threads is not None and threads < 1:
        raise UsageError("out of range", where="threads", expected="1 or more", got=str(threads))
    course = Course(as_dataset(dataset), options, seed)
    sharing = Sharing(course.count, batch_size, rank, world_size, remainder)
    if not sharing.batches(0):
        raise UsageError(
            "an epoch has no batch",
            code="epoch-empty",
            where=f"{course.count} samples, batch_size {batch_size}, world_size {world_size}, rank {rank}",
            hint='a smaller batch_size, or remainder="pad"',
        )
    decoding.members(course.dataset.manifest.members)
    return Loader(course, sharing, decoding, threads or processors(), on_damage)
