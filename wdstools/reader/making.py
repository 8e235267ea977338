"""Making batches: threads take, check and decode their samples, and the last thread puts the batch together."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.reader.added import AddedFields
from wdstools.reader.assembly import assemble
from wdstools.reader.batch_maker import Maker
from wdstools.reader.buffers import Spare
from wdstools.reader.payloads import Payloads
from wdstools.reader.prefetched import FetchedRanges
from wdstools.reader.ranges import open_ranges
from wdstools.reader.rows import RowTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from wdstools.reader.batch_maker import Chunk
    from wdstools.reader.course import Course
    from wdstools.reader.lanes import Step
    from wdstools.reader.metrics import Meter
    from wdstools.reader.recipe import Recipe
    from wdstools.reader.transforms import Draws
    from wdstools.results import Finding

_OPENERS = 8


@dataclass(slots=True)
class Share:
    """One feed's share of a batch: rows of its split, their positions in the epoch, and their places in the batch."""

    feed: int
    rows: NDArray[np.int64]
    positions: NDArray[np.int64]
    #: None: all of the batch, in order.
    places: list[int] | None


@dataclass(slots=True)
class Planned:
    """A batch to come."""

    step: Step
    shares: list[Share]
    size: int

    def rows_of(self, feed: int) -> NDArray[np.int64]:
        """The rows of one feed."""
        return next((share.rows for share in self.shares if share.feed == feed), np.zeros(0, np.int64))


def planned(course: Course, step: Step) -> Planned:
    """A batch to come, divided by feed."""
    rows, positions = course.planned(step)
    if len(course.feeds) == 1:
        return Planned(step, [Share(0, rows, positions, None)], len(rows))
    feeds = course.feed_of(rows)
    shares = []
    for feed in np.unique(feeds).tolist():
        places = np.flatnonzero(feeds == feed)
        own = rows[places] - course.first_row(feed)
        shares.append(Share(feed, own, positions[places], None if len(places) == len(rows) else places.tolist()))
    return Planned(step, shares, len(rows))


class Resources:
    """What a loader keeps from epoch to epoch to make batches in one process: indexes, makers and buffers."""

    def __init__(self, course: Course, meter: Meter | None = None) -> None:
        self._course = course
        self._meter = meter
        self.spare = Spare()
        #: The recipe by which batches are put together.
        self.recipe = self._timed(course.feeds[0].recipe)[1]
        self.tables = []
        for feed in course.feeds:
            members = feed.recipe.plan(feed.cursor.dataset.manifest.members).read
            self.tables.append(RowTable(feed.cursor.dataset, feed.cursor.choice.split, members))
        #: Added columns of each feed's dataset, if any are requested.
        self._added = [
            AddedFields(feed.cursor.dataset, feed.cursor.choice.split, feed.recipe.columns)
            if feed.recipe.columns
            else None
            for feed in course.feeds
        ]
        self._makers: dict[tuple[int, tuple[int, int] | None], Maker] = {}

    @property
    def is_open(self) -> bool:
        """Whether every index has been read."""
        return all(table.is_open for table in self.tables)

    def sides(self) -> list[NDArray[np.int32]]:
        """The width and height of every row of each feed; reads all indexes."""
        found = []
        with ThreadPoolExecutor(_OPENERS, thread_name_prefix="wdstools-index") as pool:
            for table in self.tables:
                every = np.arange(table.count)
                for _ in pool.map(table.open, table.missing(every)):
                    pass
                found.append(table.sides(every))
        return found

    def maker(self, feed: int, lane: int) -> Maker:
        """The maker of one feed's samples in batches of a lane."""
        shape = self._course.shape_of(lane)
        maker = self._makers.get((feed, shape))
        if maker is None:
            source = self._course.feeds[feed]
            recipe, buckets = source.recipe, self._course.buckets
            if shape is not None and buckets is not None:
                recipe = recipe.of_shape(shape, buckets.fit)
            kind, recipe = self._timed(recipe)
            maker = self._makers[feed, shape] = kind(recipe, source.cursor, self.tables[feed], self.spare)
            maker.added = self._added[feed]
            if self._meter is not None:
                self._meter.watch(maker)
        return maker

    def _timed(self, recipe: Recipe) -> tuple[type[Maker], Recipe]:
        return (Maker, recipe) if self._meter is None else self._meter.maker(recipe)

    def payloads(self, budget: int | None) -> list[Payloads]:
        """The payloads of each feed, fetching up to ``budget`` bytes ahead."""
        found = []
        for table in self.tables:
            ranges = open_ranges(table, budget)
            found.append(Payloads(table, ranges) if self._meter is None else self._meter.payloads(table, ranges))
        return found


class Making:
    """Makes batches in threads: the last thread that works on one puts it together."""

    def __init__(
        self, course: Course, resources: Resources, payloads: Sequence[Payloads], pool: ThreadPoolExecutor, draws: Draws
    ) -> None:
        self._course = course
        self._resources = resources
        self._payloads = payloads
        self._pool = pool
        self._draws = draws
        self._recipe = resources.recipe
        self._last: Begun | None = None

    def begin(self, plan: Planned, batch_size: int, chunk: int) -> Begun:
        """Start making a batch."""
        makers = {share.feed: self._resources.maker(share.feed, plan.step.lane) for share in plan.shares}
        first = plan.shares[0]
        place = makers[first.feed].place(self._payloads[first.feed], first.rows, (plan.size, batch_size))
        if not all(maker.in_place for maker in makers.values()):
            place = None  # at least one source has a transform of samples: images are put together afterwards
            for share in plan.shares[1:]:  # each maker finds out the size of its images
                makers[share.feed].place(self._payloads[share.feed], share.rows, (plan.size, batch_size))
        pieces = [
            (share, slice(start, start + chunk)) for share in plan.shares for start in range(0, len(share.rows), chunk)
        ]
        self._last = begun = Begun(plan, makers[first.feed], place, len(pieces))
        begun.tasks = [
            self._pool.submit(self._work, begun, makers[share.feed], number, (share, at))
            for number, (share, at) in enumerate(pieces)
        ]
        return begun

    def close(self) -> None:
        """Wait for batches that were started; release files and fetched bytes."""
        self._pool.shutdown(cancel_futures=True)
        for each in self._payloads:
            each.ranges.close()
            each.table.finish()

    @property
    def far(self) -> bool:
        """Whether bytes are fetched ahead."""
        return any(isinstance(each.ranges, FetchedRanges) for each in self._payloads)

    def batch_bytes(self) -> int:
        """The size of the last started batch: its images as they are handed out, or decoded, and the bytes of its members."""
        begun = self._last
        assert begun is not None
        taken = 0 if begun.place is None else begun.place.nbytes
        for share in begun.plan.shares:
            table = self._resources.tables[share.feed]
            _, start, stop = table.locate(share.rows)
            taken += int((stop - start).sum())
            if begun.place is None:
                sides = table.sides(share.rows).astype(np.int64).clip(0)
                taken += int(sides.prod(axis=1).sum()) * begun.maker.channels
        return taken

    def _work(self, begun: Begun, maker: Maker, number: int, piece: tuple[Share, slice]) -> None:
        share, at = piece
        place: Any = begun.place
        if place is not None:
            place = place[at] if share.places is None else [place[row] for row in share.places[at]]
        made = maker.make(self._payloads[share.feed], share.rows[at], share.positions[at], place, self._draws)
        name = self._course.feeds[share.feed].name
        if name:
            made.columns["sources"] = [name] * len(made.keys)
        made.feed, made.places = share.feed, None if share.places is None else share.places[at]
        if begun.is_last(number, made):
            begun.made = assemble(begun.chunks(), begun.place, begun.plan.step.padding, self._recipe)


class Begun:
    """A batch that is being made."""

    def __init__(self, plan: Planned, maker: Maker, place: NDArray[Any] | None, pieces: int) -> None:
        self.plan = plan
        self.maker = maker
        self.place = place
        self.tasks: list[Future[None]] = []
        self.made: tuple[dict[str, Any], list[tuple[int, Finding]]] | None = None
        self._chunks: dict[int, Chunk] = {}
        self._pieces = pieces
        self._lock = threading.Lock()

    def is_last(self, number: int, chunk: Chunk) -> bool:
        """Record a finished piece; returns whether it was the last one."""
        with self._lock:
            self._chunks[number] = chunk
            return len(self._chunks) == self._pieces

    def chunks(self) -> list[Chunk]:
        """The pieces in order."""
        return [self._chunks[number] for number in range(self._pieces)]

    def is_made(self) -> bool:
        """Whether it is finished."""
        return all(task.done() for task in self.tasks)

    def result(self) -> tuple[dict[str, Any], list[tuple[int, Finding]]]:
        """Wait for the batch; its fields, and the damage found, each with its feed. Raises what a thread raised."""
        for task in self.tasks:
            task.result()
        assert self.made is not None
        return self.made
