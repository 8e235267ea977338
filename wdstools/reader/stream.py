"""Verified samples of a split, in an epoch's order, from where the last reading stopped."""

from __future__ import annotations

import os
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from wdstools.errors import UsageError
from wdstools.reader.cursor import Course, CourseOptions
from wdstools.reader.order import Sharing
from wdstools.reader.payloads import DamagedSampleError, Payloads, prepared
from wdstools.reader.ranges import open_ranges
from wdstools.reader.rows import RowTable
from wdstools.reader.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.reader.rows import Extents
    from wdstools.results import Report

_PIECE = 256
_HORIZON = 2048


class Stream:
    """Samples of one split in an epoch's order: ``for sample in stream`` goes on to the end of the epoch.

    The next ``for`` is the next epoch; one that was left in the middle goes on there. ``state_dict()`` is where it is:
    of constant size, good for another Stream of the same dataset and options, whatever its number of ranks.
    """

    def __init__(self, course: Course, sharing: Sharing, on_damage: str) -> None:
        self._course = course
        self._sharing = sharing
        self._skip = is_skip(on_damage)
        self._kept: tuple[int, RowTable] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}

    @property
    def epoch(self) -> int:
        """The epoch that is being read or comes next."""
        return self._course.epoch

    def __len__(self) -> int:
        """Samples of a whole epoch for this rank, damaged ones counted."""
        return self._sharing.batches(0)

    def __iter__(self) -> Iterator[Sample]:
        course, world_size = self._course, self._sharing.world_size
        turn, epoch, pid = course.begin(), course.epoch, os.getpid()
        table = self._table()
        payloads = Payloads(table, open_ranges(table))
        try:
            for rows in prepared(payloads, self._pieces(course.position), lambda rows: rows, _HORIZON // world_size):
                if os.getpid() != pid:
                    raise moved()
                for samples in payloads.samples(table.extents(rows), partial(self._looked_into, payloads)):
                    # this loop is a good part of what a sample costs
                    for sample, position in zip(samples, count(course.position + world_size, world_size), strict=False):
                        course.position = position
                        if sample is not None:
                            course.samples_read += 1
                            yield sample
                            if course.turn is not turn:
                                raise moved()
        finally:
            payloads.ranges.close()
        course.go_to(epoch + 1)

    def _looked_into(self, payloads: Payloads, extents: Extents, row: int) -> Sample | None:
        """A sample that was not as it was packed at first sight; None if it is passed over."""
        try:
            return Sample(extents.keys[row], payloads.row(extents, row), extents, row)
        except DamagedSampleError as damage:
            if not self._skip:
                raise self._course.damage(damage.finding) from None
            self._course.check_not_replaced()
            self._course.pass_over([damage.finding])
            return None

    def _table(self) -> RowTable:
        """The indexes, kept from epoch to epoch; a forked process reads its own."""
        if self._kept is None or self._kept[0] != os.getpid():
            dataset = self._course.dataset
            self._kept = (os.getpid(), RowTable(dataset, self._course.options.split, dataset.manifest.members))
        return self._kept[1]

    def _pieces(self, position: int) -> Iterator[NDArray[np.int64]]:
        """Row numbers of this rank's samples from a position on."""
        course, sharing = self._course, self._sharing
        rank, world_size, piece = sharing.rank, sharing.world_size, _PIECE * sharing.world_size
        tail = (course.count - position) % world_size
        end = course.count - tail if sharing.remainder == "drop" else course.count
        for first in range(position, end, piece):
            yield course.ahead(first, min(first + piece, end))[rank::world_size]
        if sharing.remainder == "pad" and tail and rank >= tail:
            yield course.ahead(course.count - tail, course.count)[rank % tail : rank % tail + 1]

    def set_epoch(self, epoch: int) -> None:
        """Go to the beginning of an epoch."""
        self._course.go_to(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Where this stream is, in plain JSON values: what has been handed out, to all ranks together."""
        return self._course.state()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go where a state says. Raises UsageError (``state-refused``) if it is of another dataset or other options."""
        self._course.restore(state)

    def report(self) -> Report:
        """What was read so far, and what of it was damaged."""
        return self._course.report()


def is_skip(on_damage: str) -> bool:
    """Whether damaged samples are passed over; raises UsageError for an unknown policy."""
    if on_damage not in ("raise", "skip"):
        raise UsageError("no such policy", where="on_damage", expected="raise or skip", got=str(on_damage))
    return on_damage == "skip"


def moved() -> UsageError:
    """The error for going on with an iterator whose reader has been moved, or that was copied by a fork."""
    return UsageError(
        "this iterator is no longer where its reader is",
        code="reader-moved",
        hint="begin a new for loop: after a fork, set_epoch, load_state_dict or another for, iterators do not go on",
    )


def stream(
    dataset: Dataset | str,
    split: str = "train",
    *,
    shuffle: str | None = None,
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
    where: str | None = None,
    keys: Iterable[str] | None = None,
    limit: int | None = None,
    on_damage: str = "raise",
    remainder: str = "keep",
    block_samples: int = 64,
    window_blocks: int = 32,
) -> Stream:
    """Verified samples (``Sample``: extension -> bytes) of a split, dealt out to ranks one by one.

    ``shuffle``: "full" (a permutation), "block" (blocks of ``block_samples``, mixed within ``window_blocks`` of them)
    or None. ``where``, ``keys``, ``limit`` choose samples, see ``wdstools.reader.select``. ``on_damage``: "raise"
    IntegrityError at the first damaged sample, or "skip" it, which ``report()`` and the state tell. ``remainder``:
    "keep" (ranks differ by one sample at most), "pad" (the last sample may come twice), "drop". Raises UsageError,
    NotFoundError and FormatError before the first sample if options or shards are not as they should be.
    """
    from wdstools.dataset import as_dataset

    options = CourseOptions(
        split, shuffle, where, None if keys is None else frozenset(keys), limit, block_samples, window_blocks
    )
    course = Course(as_dataset(dataset), options, seed)
    return Stream(course, Sharing(course.count, 1, rank, world_size, remainder), on_damage)
