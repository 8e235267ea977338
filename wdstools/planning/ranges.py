"""A plan of very many samples, by ranges of the order hash: one range is in memory, the rest in an unnamed file.

A shard is a range of the order hash within a split, so sorting range by range gives the total order. A key is in
exactly one range, so repeated keys are found there. For any number of ranges, the plan is the same as one made all at
once.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from wdstools.formats.arrow import to_array, to_list
from wdstools.formats.sample import key_bytes
from wdstools.planning.alike import Pictures
from wdstools.planning.by_names import NothingLeftError, decide_members, note_of_repeated, refuse_unlike
from wdstools.planning.listed_splits import ListedSplits
from wdstools.planning.place import refuse_empty, refuse_names, shards_of
from wdstools.planning.range_tasks import KeyRule, KeyTask, SortTask, make_keys, some_at_a_time, sort_range
from wdstools.planning.ranged_splits import RatioSplits
from wdstools.planning.samples import note_of_splits, shared_by_splits, with_keys
from wdstools.planning.sizes import LOOKED_AT, sample_bytes
from wdstools.planning.spill import Spill, joined, ranges, shelve, spread, tables_of
from wdstools.planning.splits import assign_splits
from wdstools.planning.table import Samples
from wdstools.progress import under_way
from wdstools.sources.account import files_of_parts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from fractions import Fraction

    from numpy.typing import NDArray

    from wdstools.executors.base import Executor
    from wdstools.planning.options import PackOptions
    from wdstools.progress import Progress
    from wdstools.results import Skip
    from wdstools.sources.base import Listing

_PART_ROWS = 1 << 16


@dataclass(frozen=True, slots=True)
class RangedPlan:
    """Like ``PackPlan``, with the samples of each split and range in a spill; ``counts`` has their numbers, by split."""

    spill: Spill[tuple[str, int]]
    counts: Mapping[str, tuple[int, ...]]
    bounds: tuple[tuple[str, int, int, int], ...]
    skips: tuple[Skip, ...]
    members: tuple[str, ...]
    split_in_key: bool
    leaks: Mapping[str, int] | None = None
    _latest: dict[tuple[str, int], pa.Table] = field(default_factory=dict, repr=False)
    #: Where each shard begins; for each split, where it begins and the ends of its ranges. Made once: there are many
    #: shards.
    _starts: list[int] = field(init=False, repr=False)
    _splits: dict[str, tuple[int, NDArray[np.int64]]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_starts", [start for _, _, start, _ in self.bounds])
        firsts = {split: start for split, _, start, _ in reversed(self.bounds)}
        splits = {split: (firsts[split], np.cumsum(counts)) for split, counts in self.counts.items() if split in firsts}
        object.__setattr__(self, "_splits", splits)

    @property
    def count(self) -> int:
        """The number of samples."""
        return sum(map(sum, self.counts.values()))

    def rows(self, start: int, stop: int) -> pa.Table:
        """The samples of one shard, which are stored in order."""
        split = self.bounds[bisect.bisect_right(self._starts, start) - 1][0]
        first, ends = self._splits[split]
        parts, at = [], start - first
        for number in range(int(np.searchsorted(ends, at, side="right")), len(ends)):
            low = int(ends[number]) - self.counts[split][number]
            if low >= stop - first:
                break
            begin = max(0, at - low)
            if self.counts[split][number]:
                parts.append(self._part(split, number).slice(begin, stop - first - low - begin))
        return _plain(joined(parts).drop_columns(["order_hash"])) if parts else self._empty()

    def first(self) -> pa.Table:
        """Samples that include those with the smallest order hashes, from which the size of all is estimated."""
        return _first(self.spill, self.counts)

    def files(self, without: Collection[str] = ()) -> int:
        """The number of files that the samples are made of, ``without`` those of some keys."""
        return files_of_parts(self._parts, without)

    def let_go(self) -> RangedPlan:
        """The plan without its samples."""
        self.spill.close()
        self._latest.clear()
        return replace(self, counts={})

    def _parts(self) -> Iterator[pa.Table]:
        for split, counts in self.counts.items():
            for number, count in enumerate(counts):
                if count:
                    yield self.spill.whole((split, number))

    def _part(self, split: str, number: int) -> pa.Table:
        if (split, number) not in self._latest:
            self._latest.clear()
            self._latest[split, number] = self.spill.whole((split, number))
        return self._latest[split, number]

    def _empty(self) -> pa.Table:
        return next(self._parts()).slice(0, 0).drop_columns(["order_hash"])


class RangedPlanning:
    """Makes the plan: keys and ranges, then repeated keys and splits, then shards."""

    def __init__(
        self, listing: Listing, options: PackOptions, executor: Executor, progress: Progress, scratch: str | None
    ) -> None:
        self.listing = listing
        self.options = options
        self.executor = executor
        self.progress = progress
        self.scratch = scratch
        self.decided = decide_members(listing, options)
        self.skips: list[Skip] = list(listing.skips)
        self.notes: list[str] = []
        #: Splits of the source with no samples left: with ``like``, the dataset still has shards of them, but empty.
        self.emptied: set[str] = set()

    def plan(self) -> tuple[RangedPlan, list[str]]:
        """The plan, and notes for the user."""
        split_in_key = self._split_in_key()
        spill = self._spread(split_in_key=split_in_key)
        ratios = self.options.splits.ratios
        placed = self._given(spill) if ratios is None else self._by_ratio(spill, ratios)
        refuse_unlike(self.listing, self.options, self.decided[1])
        names = sorted({split for split, _ in placed.held()} | self.emptied)
        refuse_names(names)
        counts = {split: tuple(placed.rows((split, number)) for number in ranges()) for split in names}
        layout = self.options.layout
        if layout.shard_bytes is not None:
            layout = layout.by_bytes(sample_bytes(_first(placed, counts), self.listing.opener, self.decided[1]))
        bounds: list[tuple[str, int, int, int]] = []
        start = 0
        for split in names:
            shards = layout.count(split, sum(counts[split]))
            edges = np.concatenate(([0], np.cumsum(self._shard_sizes(placed, split, shards))))
            refuse_empty(split, edges, layout)
            bounds += [(split, n, start + int(edges[n]), start + int(edges[n + 1])) for n in range(shards)]
            start += int(edges[-1])
        made = RangedPlan(placed, counts, tuple(bounds), tuple(self.skips), self.decided[1], split_in_key)
        return made, self.notes

    def _parts(self) -> Iterator[Listing]:
        samples = self.listing.samples
        for start in range(0, samples.num_rows, _PART_ROWS):
            yield replace(self.listing, samples=joined([samples.slice(start, _PART_ROWS)]))

    def _split_in_key(self) -> bool:
        """Whether keys begin with their split: the listing says so, or two splits have samples of the same name."""
        listing = self.listing
        if listing.split_in_key is not None or not _has_several_splits(listing.samples):
            return bool(listing.split_in_key)
        spill: Spill[int] = Spill(self.scratch)
        for part in self._parts():
            samples = with_keys(
                replace(part, split_in_key=False), self.options.layout.seed, key_bytes(self.decided[1])
            ).samples
            spread(spill, Samples(samples.table.select(["key", "split", "order_hash"])))
        found = (shared_by_splits(Samples(table)) for table in tables_of(spill))
        shared = next((key for key in found if key is not None), None)
        spill.close()
        if shared is not None:
            self.notes.append(note_of_splits(shared))
        return shared is not None

    def _spread(self, *, split_in_key: bool) -> Spill[int]:
        """The samples that can be packed, judging by names alone, by range."""
        spill: Spill[int] = Spill(self.scratch)
        left = 0
        with under_way(self.progress, "plan", self.listing.samples.num_rows, "samples") as tick:
            rule = KeyRule.of(replace(self.listing, split_in_key=split_in_key), self.options, self.decided)
            tasks = (KeyTask(rule, part.samples) for part in self._parts())
            for keyed in some_at_a_time(self.executor, make_keys, tasks, tick):
                self.skips += keyed.skips
                spread(spill, keyed.samples)
                left += len(keyed.samples)
        if not left:
            raise NothingLeftError(self.skips)
        return spill

    def _sorted(self, spill: Spill[int]) -> Iterator[tuple[int, Samples]]:
        """Each range in order, one sample per key."""
        repeated = 0
        numbers = sorted(spill.held())
        tasks = (SortTask(spill.whole(number)) for number in numbers)
        made = some_at_a_time(self.executor, sort_range, tasks)
        for number, found in zip(numbers, made, strict=True):
            self.skips += found.skips
            repeated += found.repeated
            yield number, found.samples
        spill.close()
        self.notes += note_of_repeated(self.listing, repeated)

    def _given(self, spill: Spill[int]) -> Spill[tuple[str, int]]:
        """The samples by split and range, if the source, an option or lists decide the splits."""
        placed: Spill[tuple[str, int]] = Spill(self.scratch)
        lists = self.options.splits.lists
        if lists is not None:
            listed = ListedSplits(lists, self.options.layout.seed, self.scratch)
            for number, samples in listed.divide(self._sorted(spill)):
                shelve(placed, number, samples)
            self.skips += listed.skips
            return placed
        if self.options.layout.like is not None and self.options.splits.one is None:
            self.emptied = _split_names(self.listing.samples)
        for number, samples in self._sorted(spill):
            found, _, _ = assign_splits(samples, self.options.splits, seed=self.options.layout.seed)
            shelve(placed, number, found)
        return placed

    def _by_ratio(self, spill: Spill[int], ratios: Mapping[str, Fraction]) -> Spill[tuple[str, int]]:
        options = self.options
        pictures = Pictures(self.listing.opener, options.images)
        compared = pictures if self.decided[0] else None
        splits = RatioSplits(compared, self.executor, self.progress, self.scratch)
        placed = splits.divide(self._sorted(spill), ratios)
        self.notes += splits.notes
        return placed

    def _shard_sizes(self, placed: Spill[tuple[str, int]], split: str, shards: int) -> NDArray[np.int64]:
        sizes = np.zeros(shards, np.int64)
        for number in ranges():
            table = placed.take((split, number))
            if table is not None:
                sizes += np.bincount(shards_of(Samples(table).numbers("order_hash"), shards), minlength=shards)
        return sizes


def _first(placed: Spill[tuple[str, int]], counts: Mapping[str, tuple[int, ...]]) -> pa.Table:
    """The samples of the first ranges, until there are enough to estimate the size of all."""
    parts: list[pa.Table] = []
    for number in ranges():
        parts += [placed.whole((split, number)) for split in counts if counts[split][number]]
        if sum(part.num_rows for part in parts) >= LOOKED_AT:
            break
    return joined(parts)


def _plain(table: pa.Table) -> pa.Table:
    """The table with dictionaries of only its own values, so that its bytes do not depend on where it was cut from."""
    for at, column in enumerate(table.schema):
        if pa.types.is_dictionary(column.type):
            table = table.set_column(at, column, to_array(to_list(table.column(at)), column.type))
    return table


def _has_several_splits(samples: pa.Table) -> bool:
    return len(_split_names(samples)) + bool(samples.column("split").null_count) > 1


def _split_names(samples: pa.Table) -> set[str]:
    return {name for chunk in samples.column("split").chunks for name in to_list(chunk.dictionary)}
