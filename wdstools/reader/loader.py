"""Batches of decoded, verified samples: threads decode straight into the arrays that are handed out."""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from wdstools.errors import UsageError
from wdstools.executors.open import processors
from wdstools.reader.assembly import assemble
from wdstools.reader.batch import Batch
from wdstools.reader.batch_maker import Maker
from wdstools.reader.cursor import Cursor
from wdstools.reader.members import is_tensor
from wdstools.reader.options import LoaderOptions, Share, choice_of, settled
from wdstools.reader.payloads import Payloads, prepared
from wdstools.reader.ranges import open_ranges
from wdstools.reader.ranks import refuse_samplers
from wdstools.reader.recipe import Recipe
from wdstools.reader.rows import RowTable
from wdstools.reader.stream import moved
from wdstools.reader.transforms import Draws

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Unpack

    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.reader.batch_maker import Chunk
    from wdstools.reader.order import Part, Sharing
    from wdstools.results import Finding, Report

_CHUNK = 16
_AHEAD = 3
_HORIZON = 2048


class Loader:
    """Batches of one split: ``for batch in loader`` is one epoch, and the next ``for`` the next one.

    Handing out the last batch ends the epoch, so a loop that stops after ``len(loader)`` batches has had all of it; a
    ``for`` that was left in the middle has had its epoch too. Only ``load_state_dict`` goes on in the middle:
    ``state_dict()`` is where this is, of constant size: what has been handed out, however much has been decoded ahead;
    good for a loader of the same dataset and selection with any batch size and number of ranks. One ``for`` at a time:
    an iterator that was overtaken by another raises. Threads run only while a ``for`` does. Pickles.
    """

    def __init__(self, cursor: Cursor, share: Share, recipe: Recipe, threads: int, on_damage: str) -> None:
        self._cursor = cursor
        self._share = share
        self._recipe = recipe
        self._threads = threads
        self._skip = on_damage == "skip"
        self._active: weakref.ref[Pass] | None = None
        self._kept: tuple[int, RowTable, Maker] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_active": None, "_kept": None}

    @property
    def epoch(self) -> int:
        """The epoch that is being read or comes next."""
        return self._cursor.epoch

    def __len__(self) -> int:
        """Batches of a whole epoch, wherever this is."""
        refuse_samplers(f"{type(self).__name__} in a DataLoader")
        return self._share.now().batches()

    @property
    def remaining(self) -> int:
        """Batches that are left of this epoch."""
        return 0 if self._cursor.ended else self._share.now().batches(self._cursor.position)

    def __iter__(self) -> Iterator[Any]:
        self._stop()
        sharing = self._share.now()
        begun = Pass(self, self._cursor, sharing)
        # not held here: leaving a loop early ends its threads
        self._active = weakref.ref(begun)
        return begun

    def _tables(self) -> tuple[RowTable, Maker]:
        """Indexes and buffers, kept from epoch to epoch; a forked process makes its own."""
        if self._kept is None or self._kept[0] != os.getpid():
            members = self._recipe.plan(self._cursor.dataset.manifest.members).read
            table = RowTable(self._cursor.dataset, self._cursor.choice.split, members)
            self._kept = (os.getpid(), table, Maker(self._recipe, self._cursor, table))
        return self._kept[1:]

    def batches(self, sharing: Sharing) -> Generator[tuple[Part, Any]]:
        """The batches of an epoch from where the cursor is, each with the part of it that it is."""
        table, maker = self._tables()
        ranges = open_ranges(table)
        payloads = Payloads(table, ranges)
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="wdstools-decode")
        making = _Making(maker, payloads, pool, self._recipe, Draws(self._cursor.seed, self._cursor.epoch))
        chunk = max(1, min(_CHUNK, -(-sharing.batch_size // self._threads)))
        ahead = max(_AHEAD, -(-2 * chunk * self._threads // sharing.batch_size))
        begun: deque[_Begun] = deque()
        horizon = _HORIZON // (sharing.world_size * sharing.workers)
        plans = prepared(payloads, self._plans(sharing), lambda plan: plan.rows, horizon, pool)
        # the first batch does not wait for the indexes of those behind it
        room = ahead if table.is_open else 1
        try:
            while True:
                while len(begun) < room and (plan := next(plans, None)) is not None:
                    begun.append(making.begin(plan, sharing.batch_size, chunk))
                if not begun:
                    break
                ready, room = begun.popleft(), ahead
                fields, findings = ready.result()
                self._note(findings, fields["mask"])
                part = ready.plan.part
                del ready
                batch = self.handed_out(fields, maker)
                del fields
                yield part, batch
                del batch
        finally:
            pool.shutdown(cancel_futures=True)
            ranges.close()
            table.finish()

    def _plans(self, sharing: Sharing) -> Iterator[_Planned]:
        """This reader's batches from here to the end of the epoch."""
        cursor, position = self._cursor, self._cursor.position
        for _ in range(sharing.batches(position)):
            part = sharing.part(position)
            # from where the global batch begins, so that the order is asked for in ascending steps
            rows = cursor.ahead(position, part.after)
            positions = np.array([*range(part.start, part.stop), *part.again], np.int64)
            yield _Planned(part, rows[positions - position], positions)
            position = part.after

    def _note(self, findings: list[Finding], mask: NDArray[np.bool_]) -> None:
        if findings and not self._skip:
            raise self._cursor.damage(findings[0])
        if findings:
            self._cursor.check_not_replaced()
        self._cursor.pass_over(findings)
        self._cursor.samples_read += int(mask.sum())

    def handed_out(self, fields: dict[str, Any], maker: Maker) -> Any:  # noqa: ARG002
        """A batch of its fields: of arrays here, also where a transform gave tensors."""
        return Batch({name: _array(name, value) for name, value in fields.items()})

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
        self._cursor.go_to(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Where this loader is, in plain JSON values: what has been handed out, to all ranks together."""
        return self._cursor.state()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go where a state says. Raises UsageError (``state-refused``) if it is of another dataset or other options."""
        self._stop()
        self._cursor.restore(state)

    def report(self) -> Report:
        """What was read so far, and what of it was damaged."""
        return self._cursor.report()

    def __repr__(self) -> str:
        sharing = self._share.now()
        return (
            f"{type(self).__name__}({self._cursor}, {len(self)} batches of {sharing.batch_size}, {self._share.role()})"
        )


class Pass(Iterator[Any]):
    """One epoch's batches, or what is left of them; raises UsageError (``reader-moved``) once its loader is elsewhere."""

    def __init__(self, loader: Loader, cursor: Cursor, sharing: Sharing) -> None:
        self._cursor = cursor
        self._sharing = sharing
        self._pid = os.getpid()
        self._turn = cursor.begin(sharing)
        self._batches = loader.batches(sharing)
        self._done = False

    def __next__(self) -> Any:
        if self._done:
            self._cursor.ended = self._cursor.ended and self._cursor.turn is not self._turn
            raise StopIteration
        self._check()
        try:
            part, batch = next(self._batches)
        except StopIteration:
            self._done = True
            self._cursor.end(self._sharing)
            self._cursor.ended = False
            raise
        self._check()
        self._cursor.hand_out(part.after, self._sharing)
        if self._cursor.ended:
            self._done = True
            self._batches.close()
        return batch

    def _check(self) -> None:
        if self._cursor.turn is not self._turn or os.getpid() != self._pid:
            raise moved()

    def close(self) -> None:
        """End its threads and close its files."""
        self._batches.close()


class _Planned:
    """A batch to come: its rows and their positions in the epoch."""

    __slots__ = ("part", "positions", "rows")

    def __init__(self, part: Part, rows: NDArray[np.int64], positions: NDArray[np.int64]) -> None:
        self.part = part
        self.rows = rows
        self.positions = positions


class _Making:
    """Makes batches in threads: the last thread that works on one puts it together."""

    def __init__(
        self, maker: Maker, payloads: Payloads, pool: ThreadPoolExecutor, recipe: Recipe, draws: Draws
    ) -> None:
        self._maker = maker
        self._payloads = payloads
        self._pool = pool
        self._recipe = recipe
        self._draws = draws

    def begin(self, plan: _Planned, batch_size: int, chunk: int) -> _Begun:
        """Begin to make a batch."""
        place = self._maker.place(self._payloads, plan.rows, batch_size)
        pieces = [slice(first, first + chunk) for first in range(0, len(plan.rows), chunk)]
        begun = _Begun(plan, len(pieces))
        begun.tasks = [self._pool.submit(self._work, begun, place, number, at) for number, at in enumerate(pieces)]
        return begun

    def _work(self, begun: _Begun, place: NDArray[Any] | None, number: int, at: slice) -> None:
        plan = begun.plan
        piece = None if place is None else place[at]
        made = self._maker.make(self._payloads, plan.rows[at], plan.positions[at], piece, self._draws)
        if begun.is_last(number, made):
            begun.made = assemble(begun.chunks(), place, plan.part.padding, self._recipe)


class _Begun:
    """A batch that is being made."""

    def __init__(self, plan: _Planned, pieces: int) -> None:
        self.plan = plan
        self.tasks: list[Future[None]] = []
        self.made: tuple[dict[str, Any], list[Finding]] | None = None
        self._chunks: dict[int, Chunk] = {}
        self._pieces = pieces
        self._lock = threading.Lock()

    def is_last(self, number: int, chunk: Chunk) -> bool:
        """Note a piece that is made; whether all are."""
        with self._lock:
            self._chunks[number] = chunk
            return len(self._chunks) == self._pieces

    def chunks(self) -> list[Chunk]:
        """The pieces in order."""
        return [self._chunks[number] for number in range(self._pieces)]

    def result(self) -> tuple[dict[str, Any], list[Finding]]:
        """The fields of the batch and what was damaged, once all is made; raises what was raised meanwhile."""
        for task in self.tasks:
            task.result()
        assert self.made is not None
        return self.made


def _array(name: str, value: Any) -> Any:
    """A tensor as an array; a list of them as a list of arrays."""
    if isinstance(value, list):
        return [_array(name, one) if is_tensor(one) else one for one in value] if any(map(is_tensor, value)) else value
    if not is_tensor(value):
        return value
    try:
        return value.detach().numpy()
    except TypeError as error:
        raise UsageError(
            "numpy has no such dtype", where=name, got=str(value.dtype), hint="wdstools.torch.loader gives tensors"
        ) from error


def open_loader(
    kind: type[Loader], dataset: Dataset | str | os.PathLike[str], split: str, options: LoaderOptions
) -> Loader:
    """A loader of a kind, by options that are settled."""
    from wdstools.dataset import as_dataset

    recipe = Recipe.of(options)
    cursor = Cursor(as_dataset(dataset), choice_of(split, options), options["seed"])
    recipe.plan(cursor.dataset.manifest.members)
    share = Share.of(cursor.count, options, options["batch_size"], options["global_batch_size"])
    sharing = share.now()
    if not sharing.batches(0):
        raise UsageError(
            "an epoch has no batch",
            code="epoch-empty",
            where=f"{cursor.count} samples, batch_size {sharing.batch_size}, {share.role()}",
            hint='a smaller batch_size, or remainder="pad"',
        )
    return kind(cursor, share, recipe, options["threads"] or processors(), options["on_damage"])


def loader(dataset: Dataset | str | os.PathLike[str], split: str = "train", **options: Unpack[LoaderOptions]) -> Loader:
    """Batches (``Batch``) of decoded samples of a split; every byte is checked before it is decoded.

    ``options`` are those of ``wdstools.reader.options.LoaderOptions`` and ``StreamOptions``: batch_size or
    global_batch_size, shuffle, seed, rank and world_size, where, keys and limit, members, decode, image_size and fit,
    decoders, caption, labels, image_transform, transform, tokenizer, threads, on_damage, remainder. Raises UsageError,
    NotFoundError and FormatError before the first batch if options or shards are not as they should be.
    """
    return open_loader(Loader, dataset, split, settled(LoaderOptions, options, "wt.loader"))
