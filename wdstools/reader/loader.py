"""Batches of decoded, verified samples: threads decode directly into the arrays that are handed out."""

from __future__ import annotations

import os
import weakref
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

from wdstools.errors import UsageError
from wdstools.executors.open import processors
from wdstools.reader.batch import Batch, plain_array
from wdstools.reader.bounds import Bounds
from wdstools.reader.bucket_report import report_of
from wdstools.reader.making import Begun, Making, Planned, Resources, planned
from wdstools.reader.metrics import Meter
from wdstools.reader.mixing import course_of
from wdstools.reader.options import LoaderOptions, Share, settled
from wdstools.reader.payloads import prepared
from wdstools.reader.ranks import refuse_samplers
from wdstools.reader.stream import moved
from wdstools.reader.transforms import Draws
from wdstools.reader.worker_processes import ProcessMaking, WorkerPool, check_local

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Unpack

    import numpy as np
    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.reader.batch_maker import Maker
    from wdstools.reader.buckets import BucketReport
    from wdstools.reader.course import Course, SourceProgress
    from wdstools.reader.lanes import FlatDeal, LaneDeal
    from wdstools.reader.metrics import LoaderMetrics
    from wdstools.reader.mixing import Mix
    from wdstools.reader.order import Sharing
    from wdstools.reader.payloads import Payloads
    from wdstools.reader.worker_processes import Asked
    from wdstools.results import Finding, Report

LoaderKind = TypeVar("LoaderKind", bound="Loader")

_CHUNK = 16
_AHEAD = 3
_HORIZON = 2048


class Loader:
    """Batches of one split: ``for batch in loader`` is one epoch, and the next ``for`` the next one.

    Handing out the last batch ends the epoch, so a loop that stops after ``len(loader)`` batches has had all of it.
    Leaving a ``for`` early ends its epoch too. Only ``load_state_dict`` continues in the middle of an epoch:
    ``state_dict()`` is the position, of constant size. It counts what has been handed out, however much has been decoded
    ahead, and fits any loader of the same dataset and selection, whatever its batch size and number of ranks. Only one
    ``for`` at a time: starting another makes the older iterator raise. Threads run only during a ``for``. It can be
    pickled.
    """

    def __init__(self, course: Course, share: Share, options: LoaderOptions) -> None:
        self._course = course
        self._share = share
        self._threads = options["threads"] or processors()
        self._skip = options["on_damage"] == "skip"
        self._bounds = Bounds.of(options)
        wanted = options["metrics"]
        self._meter = Meter(wanted if callable(wanted) else None) if wanted else None
        self._active: weakref.ref[Pass] | None = None
        self._kept: tuple[int, Resources] | None = None
        self._in_processes = options["workers"] == "processes"
        if self._in_processes:
            check_local(course)
        self._workers: WorkerPool | None = None
        if course.buckets is not None:
            course.assign(self._resources().sides())

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_active": None, "_kept": None, "_workers": None}

    @property
    def epoch(self) -> int:
        """The current epoch, or the next one between two epochs."""
        return self._course.epoch

    def __len__(self) -> int:
        """The number of batches of a whole epoch, whatever the position."""
        refuse_samplers(f"{type(self).__name__} in a DataLoader")
        return self._course.deal(self._share.now()).batches()

    @property
    def remaining(self) -> int:
        """The number of batches left in this epoch."""
        course = self._course
        return 0 if course.ended else course.deal(self._share.now()).batches(course.place)

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the labels: ``loader.labels[batch.labels[row]]``. Empty if labels have no names."""
        return self._course.labels

    @property
    def buckets(self) -> BucketReport:
        """What each shape of ``buckets`` has in this epoch; ``print`` it before training. Empty without buckets."""
        return report_of(self._course, self._share.now())

    @property
    def sources(self) -> tuple[SourceProgress, ...]:
        """How far each source of a mix is, in epochs of its own; empty without a mix."""
        return self._course.sources()

    def metrics(self, *, reset: bool = False) -> LoaderMetrics:
        """How long the training waited, and where time was spent; see ``LoaderMetrics``. ``print`` it, or its ``postfix()``.

        ``reset`` restarts the counts. Raises UsageError (``metrics-off``) if the loader was made without ``metrics``.
        """
        if self._meter is None:
            raise UsageError(
                "this loader has no metrics", code="metrics-off", where="metrics", hint="wt.loader(..., metrics=True)"
            )
        return self._meter.result(reset=reset)

    def __iter__(self) -> Iterator[Any]:
        self._stop()
        begun = Pass(self, self._course, self._share.now(), self._meter)
        # a weak reference, so that leaving a loop early ends its threads
        self._active = weakref.ref(begun)
        return begun

    def _resources(self) -> Resources:
        """Indexes and buffers, kept from epoch to epoch; a forked process creates its own."""
        if self._kept is None or self._kept[0] != os.getpid():
            self._kept = (os.getpid(), Resources(self._course, self._meter))
        return self._kept[1]

    def batches(self, deal: FlatDeal | LaneDeal, sharing: Sharing) -> Generator[tuple[Any, Any]]:
        """The batches of an epoch from the current position on, each with the place after it."""
        resources = self._resources()
        meter = self._meter
        chunk = max(1, min(_CHUNK, -(-sharing.batch_size // self._threads)))
        making, plans = self._begin(resources, deal, sharing)
        plans = plans if meter is None else meter.indexed(plans)
        least = self._threads + 1 if self._in_processes else -(-2 * chunk * self._threads // sharing.batch_size)
        ahead = self._bounds.ahead or max(_AHEAD, least)
        begun: deque[Begun | Asked] = deque()
        # the first batch does not wait for the indexes of the later ones
        room = ahead if self._in_processes or resources.is_open else 1
        try:
            while True:
                while len(begun) < room and (plan := next(plans, None)) is not None:
                    begun.append(making.begin(plan, sharing.batch_size, chunk))
                    if self._bounds.memory is not None:
                        ahead = self._bounds.within(ahead, making.batch_bytes(), far=making.far)
                        room, resources.spare.most = min(room, ahead), ahead + 1
                if not begun:
                    break
                if meter is not None:
                    meter.queued(sum(one.is_made() for one in begun), ahead)
                ready, room = begun.popleft(), ahead
                fields, findings = ready.result()
                self._note(ready.plan, findings, fields["mask"])
                after, maker = ready.plan.step.after, ready.maker
                del ready
                if meter is None:
                    batch = self.handed_out(fields, maker)
                else:
                    with meter.stage("hand_out"):
                        batch = self.handed_out(fields, maker)
                del fields
                yield after, batch
                del batch
        finally:
            making.close()

    def _begin(
        self, resources: Resources, deal: FlatDeal | LaneDeal, sharing: Sharing
    ) -> tuple[Making | ProcessMaking, Iterator[Planned]]:
        """The maker of an epoch's batches, and the batches to be made."""
        course = self._course
        draws = Draws(course.seed, course.epoch)
        if self._in_processes:
            if self._workers is None or not self._workers.is_whole:
                self._workers = WorkerPool(course, self._threads, self._meter)
            steps = deal.steps(course.place)
            return ProcessMaking(resources, self._workers, draws), (planned(course, step) for step in steps)
        payloads = resources.payloads(self._bounds.fetched(len(resources.tables)))
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="wdstools-decode")
        return Making(course, resources, payloads, pool, draws), self._prepared(payloads, deal, sharing, pool)

    def _prepared(
        self, payloads: list[Payloads], deal: FlatDeal | LaneDeal, sharing: Sharing, pool: ThreadPoolExecutor
    ) -> Iterator[Planned]:
        """This reader's batches from here to the end of the epoch, each once the indexes of its rows are open."""
        horizon = _HORIZON // (sharing.world_size * sharing.workers)
        plans: Iterator[Planned] = (planned(self._course, step) for step in deal.steps(self._course.place))
        for number, each in enumerate(payloads):
            plans = prepared(each, plans, partial(Planned.rows_of, feed=number), horizon, pool, lambda plan: plan.size)
        return plans

    def _note(self, plan: Planned, findings: list[tuple[int, Finding]], mask: NDArray[np.bool_]) -> None:
        feeds = self._course.feeds
        if findings and not self._skip:
            number, finding = findings[0]
            raise feeds[number].cursor.damage(finding)
        for number in {number for number, _ in findings}:
            feeds[number].cursor.check_not_replaced()
        self._course.pass_over(findings)
        for share in plan.shares:
            own = mask if share.places is None else mask[share.places]
            feeds[share.feed].cursor.samples_read += int(own.sum())

    def handed_out(self, fields: dict[str, Any], maker: Maker) -> Any:  # noqa: ARG002
        """A batch from its fields: with arrays, even if a transform returned tensors."""
        return Batch({name: plain_array(name, value) for name, value in fields.items()})

    def close(self) -> None:
        """End the running ``for``, if any, with its threads and files; a new one may be started."""
        self._stop()
        self._kept = None
        if self._workers is not None:
            self._workers.close()

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
        """Go to the start of an epoch."""
        self._stop()
        self._course.go_to(epoch)

    def state_dict(self) -> dict[str, Any]:
        """The loader's position, in plain JSON values: what has been handed out to all ranks together."""
        return self._course.state()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state. Raises UsageError (``state-refused``) if it belongs to another dataset or other options."""
        self._stop()
        self._course.restore(state)

    def report(self) -> Report:
        """What has been read so far, and what of it was damaged."""
        return self._course.report()

    def __repr__(self) -> str:
        sharing = self._share.now()
        return (
            f"{type(self).__name__}({self._course}, {len(self)} batches of {sharing.batch_size}, {self._share.role()})"
        )


class Pass(Iterator[Any]):
    """The batches of one epoch, or the rest of them; raises UsageError (``reader-moved``) once its loader has moved on."""

    def __init__(self, loader: Loader, course: Course, sharing: Sharing, meter: Meter | None) -> None:
        self._course = course
        self._meter = meter
        if meter is not None:
            meter.begin()
        self._pid = os.getpid()
        self._turn = course.begin(course.deal(sharing))
        self._deal = course.deal(sharing)  # again: ``begin`` may have moved to another epoch
        self._batches = loader.batches(self._deal, sharing)
        self._done = False

    def __next__(self) -> Any:
        meter = self._meter
        if self._done:
            if meter is not None:
                meter.end()
            self._course.ended = self._course.ended and self._course.turn is not self._turn
            raise StopIteration
        self._check()
        wait = None if meter is None else meter.ask()
        try:
            after, batch = next(self._batches)
        except StopIteration:
            self._done = True
            self._course.end(self._deal)
            self._course.ended = False
            raise
        self._check()
        self._course.hand_out(after, self._deal)
        if self._course.ended:
            self._done = True
            self._batches.close()
        if meter is not None and wait is not None:
            meter.step(wait, len(batch))
        return batch

    def _check(self) -> None:
        if self._course.turn is not self._turn or os.getpid() != self._pid:
            raise moved()

    def close(self) -> None:
        """End its threads and close its files."""
        self._batches.close()


def open_loader(
    kind: type[LoaderKind], dataset: Dataset | Mix | str | os.PathLike[str], split: str, options: LoaderOptions
) -> LoaderKind:
    """A loader of this kind, by settled options."""
    course = course_of(dataset, split, options)
    share = Share.of(course.count, options, options["batch_size"], options["global_batch_size"])
    opened = kind(course, share, options)
    if not len(opened):
        sharing = share.now()
        raise UsageError(
            "an epoch has no batches",
            code="epoch-empty",
            where=f"{course.count} samples, batch_size {sharing.batch_size}, {share.role()}",
            hint='use a smaller batch_size, or remainder="pad"',
        )
    return opened


def loader(
    dataset: Dataset | Mix | str | os.PathLike[str], split: str = "train", **options: Unpack[LoaderOptions]
) -> Loader:
    """Batches (``Batch``) of decoded samples of a split, or of a ``wt.mix``; every byte is checked before it is decoded.

    ``options`` are those of ``wdstools.reader.options.LoaderOptions`` and ``StreamOptions``: batch_size or
    global_batch_size, shuffle, seed, rank and world_size, where, keys and limit, members, columns, decode, image_size and fit,
    buckets, decoders, caption, labels, image_transform, transform, tokenizer, threads, prefetch, memory, metrics, on_damage, remainder. Raises UsageError,
    NotFoundError and FormatError before the first batch if options or shards are not as expected.
    """
    return open_loader(Loader, dataset, split, settled(LoaderOptions, options, "wt.loader"))
