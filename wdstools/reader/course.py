"""What a loader reads in an epoch, and in which order: the samples of one dataset, or of several mixed sources.

An epoch has ``count`` positions. Each has a row: a number that counts the rows of the splits of all sources, one after
the other. With several sources, each position is the turn of one of them (``turns``), and a source read to its end
begins again in a new order, so each sample of a source comes once in each epoch of that source.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.errors import UsageError
from wdstools.formats.digest import xxh3_64_intdigest, xxh3_128_hexdigest
from wdstools.reader.cursor import STATE_VERSION
from wdstools.reader.lanes import FlatDeal, LaneDeal, Lanes
from wdstools.reader.position import Position, read_state
from wdstools.results import Report, weakest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from wdstools.reader.buckets import Buckets
    from wdstools.reader.cursor import Cursor
    from wdstools.reader.lanes import Step
    from wdstools.reader.order import Sharing
    from wdstools.reader.recipe import Recipe
    from wdstools.reader.turns import Turns
    from wdstools.results import Finding

_SPAN = 4096
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Feed:
    """One source: which samples, and what becomes of each. Its name is empty if it is the only source."""

    name: str
    cursor: Cursor
    recipe: Recipe

    @property
    def rows(self) -> int:
        """The number of samples of its split, selected or not."""
        return sum(entry.samples for entry in self.cursor.entries)


@dataclass(frozen=True, slots=True)
class Mixing:
    """How sources are mixed: their turns, the length of an epoch, whether each batch has one source, and the labels."""

    turns: Turns
    count: int
    homogeneous: bool
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SourceProgress:
    """How far one source of a mix is: ``position`` of ``samples`` in its own ``epoch``; ``read`` by this process."""

    name: str
    weight: float
    samples: int
    epoch: int
    position: int
    read: int


class Course(Position):
    """The positions of each epoch, and the loader's own position in it."""

    def __init__(self, feeds: Sequence[Feed], seed: int, mixing: Mixing | None, buckets: Buckets | None) -> None:
        super().__init__(seed)
        self.feeds = tuple(feeds)
        self.mixing = mixing
        self.buckets = buckets
        self.count = feeds[0].cursor.count if mixing is None else mixing.count
        self.damaged: list[str] = []
        self._starts = np.cumsum([0, *(feed.rows for feed in feeds)])
        #: The number of each row's shape.
        self._shapes: NDArray[np.int64] | None = None
        self._span: tuple[int, int, int, NDArray[np.int64]] = (-1, 0, 0, np.zeros(0, np.int64))
        self._sorted: tuple[int, int, Lanes] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_sorted": None}

    @property
    def whole(self) -> int:
        """The number of positions of an epoch."""
        return self.count

    @property
    def has_lanes(self) -> bool:
        """Whether each batch is of one kind: one shape, or one source."""
        return self.buckets is not None or (self.mixing is not None and self.mixing.homogeneous)

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of labels, by their numbers."""
        if self.mixing is not None:
            return self.mixing.labels
        feed = self.feeds[0]
        return feed.recipe.labels or tuple(feed.cursor.dataset.manifest.labels)

    @property
    def _kinds(self) -> int:
        """How many kinds of batches there can be."""
        sources = len(self.feeds) if self.mixing is not None and self.mixing.homogeneous else 1
        return sources * (len(self.buckets.shapes) if self.buckets is not None else 1)

    def assign(self, sides: Sequence[NDArray[np.int32]]) -> None:
        """Set the width and height of each feed's rows; raises UsageError (``sides-unknown``) if any is unknown."""
        assert self.buckets is not None
        found = [self.buckets.of(each) for each in sides]
        for feed, shapes in zip(self.feeds, found, strict=True):
            chosen = shapes[feed.cursor.chosen_between(0, feed.rows)]
            if unknown := int((chosen < 0).sum()):
                raise UsageError(
                    "the index does not have the width and height of every image",
                    code="sides-unknown",
                    where=feed.cursor.dataset.name,
                    expected=f"sides of {len(chosen):,} images",
                    got=f"{unknown:,} without",
                    hint='where="width > 0" leaves these out; wdstools pack writes an index that has them',
                )
        self._shapes = np.concatenate(found).astype(np.int16)

    def shape_of(self, lane: int) -> tuple[int, int] | None:
        """The shape of a lane's images, if it has one."""
        return None if self.buckets is None else self.buckets.shapes[lane % len(self.buckets.shapes)]

    def deal(self, sharing: Sharing) -> FlatDeal | LaneDeal:
        """How the current or next epoch is dealt out."""
        if not self.has_lanes:
            return FlatDeal(sharing)
        lanes = self.lanes()
        phases = [self._phase(lane) for lane in range(len(lanes.counts))]
        return LaneDeal(sharing, lanes, phases)

    def _phase(self, lane: int) -> float:
        return (xxh3_64_intdigest(struct.pack("<8s3Q", b"wdslane1", self.seed, self.epoch, lane)) >> 11) / (1 << 53)

    def lanes(self) -> Lanes:
        """The epoch's order, sorted by kind."""
        if self._sorted is None or self._sorted[:2] != (self.seed, self.epoch):
            pieces = [self._order(at, min(at + _PIECE, self.count)) for at in range(0, self.count, _PIECE)]
            rows = np.concatenate(pieces)
            kinds = np.zeros(self.count, np.int64)
            if self.mixing is not None and self.mixing.homogeneous:
                kinds = self.feed_of(rows)
            if self.buckets is not None:
                assert self._shapes is not None
                kinds = kinds * len(self.buckets.shapes) + self._shapes[rows]
            self._sorted = (self.seed, self.epoch, Lanes(kinds, rows, self._kinds))
        return self._sorted[2]

    def planned(self, step: Step) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rows and positions of a batch."""
        if self.has_lanes:
            return self.lanes().of(step.lane, step.at)
        # an order is cheaper to compute for a whole range than row by row
        first, stop = int(step.at.min()), int(step.at.max()) + 1
        return self._ahead(first, stop)[step.at - first], step.at

    def feed_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which feed each of these rows belongs to."""
        found: NDArray[np.int64] = np.searchsorted(self._starts, rows, side="right") - 1
        return found

    def first_row(self, feed: int) -> int:
        """The number of a feed's first row."""
        return int(self._starts[feed])

    def _ahead(self, first: int, stop: int) -> NDArray[np.int64]:
        """The rows at some positions; cheap when asked in order."""
        seed, epoch, start, rows = self._span
        if (seed, epoch) != (self.seed, self.epoch) or not start <= first <= stop <= start + len(rows):
            start, rows = first, self._order(first, min(max(stop, first + _SPAN), self.count))
            self._span = (self.seed, self.epoch, start, rows)
        return rows[first - start : stop - start]

    def _order(self, first: int, stop: int) -> NDArray[np.int64]:
        if self.mixing is None:
            cursor = self.feeds[0].cursor
            return cursor.row_numbers(cursor.order(self.epoch, self.seed).rows(first, stop))
        turns = self.mixing.turns
        sources = turns.at(np.arange(first, stop))
        before, after = turns.before(first), turns.before(stop)
        each = turns.before(self.count)
        rows = np.empty(len(sources), np.int64)
        for source, (start, end) in enumerate(zip(before, after, strict=True)):
            past = self.epoch * each[source]
            rows[sources == source] = self._rows_of(source, past + start, past + end)
        return rows

    def _rows_of(self, source: int, first: int, stop: int) -> NDArray[np.int64]:
        """The rows of a source from sample ``first`` to ``stop``, counted over all of its epochs."""
        cursor, seed = self.feeds[source].cursor, self._seed_of(source)
        parts = [np.zeros(0, np.int64)]
        while first < stop:
            epoch, start = divmod(first, cursor.count)
            end = min(stop - epoch * cursor.count, cursor.count)
            parts.append(cursor.row_numbers(cursor.order(epoch, seed).rows(start, end)))
            first += end - start
        return np.concatenate(parts) + self.first_row(source)

    def _seed_of(self, source: int) -> int:
        return xxh3_64_intdigest(b"wdsmix01" + struct.pack("<Q", self.seed) + self.feeds[source].name.encode())

    def state(self) -> dict[str, Any]:
        """This loader's position, in plain JSON values."""
        found = {
            "version": STATE_VERSION,
            "root": self._root(),
            "options": self._options(),
            "seed": self.seed,
            "epoch": self.epoch,
            "position": self.position,
            "damaged": list(self.damaged),
        }
        if self.has_lanes:
            found["taken"] = list(self.place) if self.position else [0] * self._kinds
        return found

    def _root(self) -> str:
        roots = [feed.cursor.dataset.root for feed in self.feeds]
        if self.mixing is None:
            return roots[0]
        return xxh3_128_hexdigest(repr([(f.name, root) for f, root in zip(self.feeds, roots, strict=True)]).encode())

    def _options(self) -> str:
        choices = [feed.cursor.digest() for feed in self.feeds]
        if not self.has_lanes and self.mixing is None:
            return choices[0]
        mixed = self.mixing and (self.mixing.turns.shares, self.mixing.count, self.mixing.homogeneous)
        return xxh3_128_hexdigest(repr((choices, mixed, self.buckets and self.buckets.shapes)).encode())

    def restore(self, state: Any) -> None:
        """Go to the position of a state; raises UsageError if it belongs to another dataset or other options, or is not a state."""
        found = read_state(state, self.state())
        before = (self.seed, self.epoch)
        self.seed, self.epoch = found["seed"], found["epoch"]
        place: Any = found["position"]
        whole = [self.count]
        if self.has_lanes:
            place, whole = found.get("taken"), list(self.lanes().counts)
        given: Any = [place] if isinstance(place, int) else place
        alike = isinstance(given, list) and len(given) == len(whole) and all(type(one) is int for one in given)
        if (
            not alike
            or any(not 0 <= one <= most for one, most in zip(given, whole, strict=True))
            or (sum(given) != found["position"])
        ):
            self.seed, self.epoch = before
            raise UsageError(
                "this state is damaged",
                code="state-refused",
                where="taken" if self.has_lanes else "position",
                expected=f"at most {', '.join(map(str, whole))[:100]}",
                got=str(place)[:100],
            )
        self.damaged = list(found["damaged"])
        self.go_on(found["epoch"], tuple(given) if self.has_lanes and sum(given) else found["position"])

    def pass_over(self, findings: Sequence[tuple[int, Finding]]) -> None:
        """Record damaged samples that were skipped, each with the number of its feed."""
        for number, finding in findings:
            feed = self.feeds[number]
            feed.cursor.pass_over([finding])
            self.damaged.append(f"{feed.name}: {finding.key}" if feed.name else finding.key or "")

    def sources(self) -> tuple[SourceProgress, ...]:
        """How far each source of a mix is."""
        if self.mixing is None:
            return ()
        turns = self.mixing.turns
        if self.has_lanes:
            lanes = self.lanes()
            taken = np.bincount(self.feed_of(lanes.first(self.place)), minlength=len(self.feeds)).tolist()
        else:
            taken = turns.before(self.position)
        each = turns.before(self.count)
        found = []
        for feed, weight, whole, part in zip(self.feeds, turns.weights, each, taken, strict=True):
            epoch, position = divmod(self.epoch * whole + part, feed.cursor.count)
            read = feed.cursor.samples_read
            found.append(SourceProgress(feed.name, float(weight), feed.cursor.count, epoch, position, read))
        return tuple(found)

    def report(self) -> Report:
        """What has been read since this loader was made, and what of it was damaged."""
        reports = [feed.cursor.report() for feed in self.feeds]
        if self.mixing is None:
            return reports[0]
        checked = {"samples": sum(report.checked["samples"] for report in reports)}
        for source in self.sources():
            checked |= {f"samples of {source.name}": source.read, f"epochs of {source.name}": source.epoch}
        findings = tuple(finding for report in reports for finding in report.findings)
        return Report("stream", checked, findings, proved=weakest(*(report.proved for report in reports)))

    def __str__(self) -> str:
        if self.mixing is None:
            cursor = self.feeds[0].cursor
            how = cursor.choice.shuffle or "no"
            what = f"{cursor.dataset.name!r}, split {cursor.choice.split}, {self.count} samples, {how} shuffle"
        else:
            shares = ", ".join(
                f"{float(weight):.4g} {feed.name}"
                for feed, weight in zip(self.feeds, self.mixing.turns.weights, strict=True)
            )
            what = f"{'batches of one' if self.mixing.homogeneous else 'a'} mix of {shares}, {self.count} samples"
        shapes = f", {len(self.buckets.shapes)} shapes" if self.buckets is not None else ""
        return f"{what}{shapes}, seed {self.seed}, epoch {self.epoch}"
