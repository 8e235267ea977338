"""Verified samples of a split, in an epoch's order, from any position."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.columns.sets import find_fields
from wdstools.errors import UsageError
from wdstools.reader.added import AddedFields
from wdstools.reader.cursor import Cursor
from wdstools.reader.options import Share, UndecodedOptions, choice_of, members_among, settled
from wdstools.reader.payloads import DamagedSampleError, Payloads, prepared
from wdstools.reader.ranges import open_ranges
from wdstools.reader.rows import RowTable
from wdstools.reader.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from typing import Unpack

    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.reader.order import Sharing
    from wdstools.reader.ranks import Role
    from wdstools.reader.rows import Extents
    from wdstools.results import Report

#: How many samples are looked up at a time, and how many at the beginning, so that the first one comes soon.
_PIECE, _FIRST_PIECE = 1024, 256
_HORIZON = 2048
#: In place of the position after a sample: it is the last one.
_LAST = -1


class Stream:
    """Samples of one split: ``for sample in stream`` is one epoch, and the next ``for`` the next one.

    Handing out the last sample ends the epoch; leaving a ``for`` early ends its epoch too. Only ``load_state_dict``
    continues in the middle of an epoch: ``state_dict()`` is the position, of constant size, which fits any Stream of the
    same dataset and options, whatever its number of ranks.
    """

    def __init__(
        self,
        cursor: Cursor,
        share: Share,
        on_damage: str = "raise",
        columns: Sequence[str] | None = None,
        members: Sequence[str] | None = None,
    ) -> None:
        self._cursor = cursor
        there = cursor.dataset.manifest.members
        wanted = there if members is None else members_among(members, there)
        self._members = tuple(name for name in there if name in wanted)
        self._columns = tuple(dict.fromkeys(columns or ()))
        self._added: AddedFields | None = None
        find_fields(cursor.dataset, self._columns)
        self._share = share
        self._skip = on_damage == "skip"
        self._inherited: Role | None = None
        self._kept: tuple[int, RowTable] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None, "_added": None}

    @property
    def epoch(self) -> int:
        """The current epoch, or the next one between two epochs."""
        return self._cursor.epoch

    @property
    def role(self) -> Role:
        """Which part of the samples this process reads."""
        return self._share.role(self._inherited)

    @property
    def count(self) -> int:
        """The number of samples of a whole epoch, over all ranks."""
        return self._cursor.count

    @property
    def is_restored(self) -> bool:
        """Whether the next ``for`` continues from a state."""
        return self._cursor.is_restored

    def inherit(self, role: Role | None) -> None:
        """Read a part of this role's samples if the process itself has no rank: for worker processes."""
        self._inherited = role

    def __len__(self) -> int:
        """The number of samples of a whole epoch for this reader, including damaged ones."""
        return self._samples_from(0)

    @property
    def remaining(self) -> int:
        """The number of samples left in this epoch."""
        return 0 if self._cursor.ended else self._samples_from(self._cursor.position)

    def _samples_from(self, position: int) -> int:
        sharing = self._share.now(self._inherited)
        batches = sharing.batches(position)
        if not batches:
            return 0
        part = sharing.part(position + (batches - 1) * sharing.stride)
        return (batches - 1) * sharing.batch_size + part.stop - part.start + part.padding

    def __iter__(self) -> Iterator[Sample]:
        sharing = self._share.now(self._inherited)
        return self._samples(sharing, self._cursor.begin(sharing), os.getpid())

    def _samples(self, sharing: Sharing, turn: object, pid: int) -> Generator[Sample]:
        cursor = self._cursor
        table = self._table()
        payloads = Payloads(table, open_ranges(table))
        horizon = _HORIZON // (sharing.world_size * sharing.workers)
        try:
            for piece in prepared(payloads, self._pieces(sharing), lambda piece: piece[0], horizon):
                if os.getpid() != pid or cursor.turn is not turn:
                    raise moved()
                rows, behind = piece
                places = iter(behind)
                values = self._values(rows) if self._columns else None
                for samples in payloads.samples(table.extents(rows), partial(self._looked_into, payloads)):
                    # this loop is a good part of the cost of a sample
                    for sample, position in zip(samples, places, strict=False):
                        if position == _LAST:
                            cursor.end(sharing)
                        else:
                            cursor.place = position
                        columns = None if values is None else next(values)
                        if sample is not None:
                            if columns is not None:
                                sample.columns = columns
                            cursor.samples_read += 1
                            yield sample
                            if cursor.turn is not turn:
                                if position == _LAST:
                                    return
                                raise moved()
        finally:
            payloads.ranges.close()
            table.finish()
        cursor.ended = False

    def _values(self, rows: NDArray[np.int64]) -> Iterator[dict[str, Any]]:
        """The values of added columns, row by row."""
        if self._added is None:
            self._added = AddedFields(self._cursor.dataset, self._cursor.choice.split, self._columns)
        found = self._added.take(rows)
        return (dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True))

    def _looked_into(self, payloads: Payloads, extents: Extents, row: int) -> Sample | None:
        """A sample that was not as packed at first sight; None if it is skipped."""
        try:
            return Sample(payloads.row(extents, row), extents, row)
        except DamagedSampleError as damage:
            if not self._skip:
                raise self._cursor.damage(damage.finding) from None
            self._cursor.check_not_replaced()
            self._cursor.pass_over([damage.finding])
            return None

    def _table(self) -> RowTable:
        """The indexes, kept from epoch to epoch; a forked process opens its own."""
        if self._kept is None or self._kept[0] != os.getpid():
            dataset = self._cursor.dataset
            self._kept = (os.getpid(), RowTable(dataset, self._cursor.choice.split, self._members))
        return self._kept[1]

    def _pieces(self, sharing: Sharing) -> Iterator[tuple[NDArray[np.int64], list[int]]]:
        """Row numbers of this reader's samples from here on, and the position after each of them."""
        cursor, position = self._cursor, self._cursor.position
        batches, size, stride = sharing.batches(position), sharing.batch_size, sharing.stride
        whole = max(0, batches - 1)
        least = max(1, _FIRST_PIECE // size)
        each = max(1, _PIECE // size)
        offset = sharing.worker * sharing.global_batch + sharing.rank * size
        for first in (*range(0, min(each, whole), least), *range(each, whole, each)):
            count = min(each if first >= each else min(least, each - first), whole - first)
            start = position + first * stride
            rows = cursor.ahead(start, start + count * stride)
            at = (np.arange(count) * stride)[:, np.newaxis] + offset + np.arange(size)
            behind = start + stride * (np.arange(count) + 1)
            # in the middle of a batch, a state points to the start of the batch
            after = np.repeat(behind - stride, size).reshape(count, size)
            after[:, -1] = behind
            yield rows[at.reshape(-1)], after.reshape(-1).tolist()
        if batches:
            here = position + whole * stride
            part = sharing.part(here)
            positions = np.array([*range(part.start, part.stop), *part.again], np.int64)
            rows = cursor.ahead(here, cursor.count)[positions - here]
            yield rows, [here] * (len(rows) - 1) + [_LAST]

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch."""
        self._cursor.go_to(epoch)

    def state_dict(self) -> dict[str, Any]:
        """The stream's position, in plain JSON values: what has been handed out to all ranks together."""
        return self._cursor.state()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state. Raises UsageError (``state-refused``) if it belongs to another dataset or other options."""
        self._cursor.restore(state)

    def report(self) -> Report:
        """What has been read so far, and what of it was damaged."""
        return self._cursor.report()

    def __repr__(self) -> str:
        return f"Stream({self._cursor}, {self.role})"


def moved() -> UsageError:
    """The error for an iterator whose reader has moved on, or that was copied by a fork."""
    return UsageError(
        "this iterator can no longer continue: its reader has moved on",
        code="reader-moved",
        hint="start a new for loop: a fork, set_epoch, load_state_dict or another for ends older iterators",
    )


def open_stream(
    dataset: Dataset | str | os.PathLike[str], split: str, options: UndecodedOptions, *, batch_size: int = 1
) -> Stream:
    """``stream`` by settled options, its samples dealt out in batches of ``batch_size``."""
    from wdstools.dataset import as_dataset

    cursor = Cursor(as_dataset(dataset), choice_of(split, options), options["seed"])
    share = Share.of(cursor.count, options, batch_size)
    return Stream(cursor, share, options["on_damage"], options["columns"], options["members"])


def stream(
    dataset: Dataset | str | os.PathLike[str], split: str = "train", **options: Unpack[UndecodedOptions]
) -> Stream:
    """Verified samples (``Sample``: extension -> bytes) of a split, dealt out to ranks one by one.

    ``options`` are those of ``wdstools.reader.options.UndecodedOptions``: shuffle, seed, rank and world_size, where, keys
    and limit, members, columns, on_damage, remainder. With ``members`` only these are read, each checked by its own
    digest. Raises UsageError, NotFoundError and FormatError before the first sample if options or shards are not as
    expected.
    """
    return open_stream(dataset, split, settled(UndecodedOptions, options, "wt.stream"))
