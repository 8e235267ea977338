"""duplicates: how many images of a dataset are different ones, which are the same, and do its splits leak?"""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wdstools.dataset import Dataset, as_dataset
from wdstools.dedup.groups import Fingerprints, Grouping, distances, group
from wdstools.dedup.levels import EXACT, LEVELS, expected_false_pairs, levels_up_to
from wdstools.dedup.parts import core_hours
from wdstools.dedup.results import DuplicateGroup, DuplicateGroups, DuplicateMember, LevelCounts
from wdstools.errors import UsageError, option
from wdstools.executors.base import run_all
from wdstools.executors.open import open_executor
from wdstools.formats.arrow import one_chunk, to_array, to_list, to_numpy
from wdstools.ops.duplicates.captions import count_captions
from wdstools.options.check import DuplicateChoices
from wdstools.options.declare import settle
from wdstools.planning.compiling import compile_hashing, compile_search
from wdstools.planning.prints import hash_place, look_up, proved_of
from wdstools.planning.searching import OnWorkers
from wdstools.progress import Progress, Silent, under_way
from wdstools.reader.hashes import PrintTask, ShardPrints, join_turned, library_versions, print_shard

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from wdstools.executors.base import Executor
    from wdstools.options.declare import StrPath


DEFAULT_LEVEL = "re-encode"
#: What worker processes need.
WORKER_MODULES = ("wdstools.reader.hashes", "simplejpeg")
_MOST_SPLITS = 64
#: A search is announced that is expected to take more core-hours; and what hashing an image takes, in seconds, as measured.
_WORTH_TELLING, _HASH_SECONDS = 0.1, 0.65e-3


@dataclass(frozen=True, slots=True)
class ExpectedWork:
    """About how many core-hours a search takes, and the hashing before it where no hashes are kept."""

    level: str
    search: float
    hashing: float


def expected_work(images: int, choices: DuplicateChoices) -> ExpectedWork | None:
    """What to expect of a search among so many images; None where it takes less than a tenth of a core-hour."""
    chosen = settle(DuplicateChoices, choices)
    level = EXACT if chosen["method"] == "size" else chosen["level"] or DEFAULT_LEVEL
    widest = levels_up_to(level)[-1:]
    hours = sum(core_hours(images, (one.phash, one.phash16), mirrors=one.flips) for one in widest)
    return ExpectedWork(level, hours, images * _HASH_SECONDS / 3600) if hours > _WORTH_TELLING else None


@dataclass(frozen=True, slots=True)
class _Samples:
    """Every sample of a dataset in order of its key: columns of one value a row."""

    keys: pa.Array
    labels: pa.Array
    split: NDArray[np.int64]
    shard: NDArray[np.int64]
    row: NDArray[np.int64]
    shape: NDArray[np.int32]
    captions: NDArray[np.uint64]
    over_long: NDArray[np.bool_]


def find_duplicates(
    dataset: Dataset | StrPath,
    *,
    executor: Executor | None = None,
    progress: Progress | None = None,
    **choices: Unpack[DuplicateChoices],
) -> DuplicateGroups:
    """Group the images of a dataset that are the same.

    Level ``exact`` reads the indexes alone. The others hash every image once; the hashes are kept in
    ``.wdstools/hashes``, or in ``cache``, a folder or a bucket, and are made again for shards that changed, for other
    versions of the libraries, and where they came with the dataset and were not computed by this user. With ``root`` they are made of
    samples that SHA-256 proves. ``method="size"``, which has no levels, compares width, height and file size, for
    comparison with others. The result does not depend on workers or on the order of shards.

    Args:
        dataset: A dataset, its folder or URL.
        executor: Who does the work; without one it is done here.
        progress: Receives how many images are done.
        **choices: What counts as the same; see ``DuplicateChoices``.

    Returns:
        The groups, with how many images are different ones and which splits leak.

    Raises:
        UsageError: A choice is not possible, or the dataset has too many splits.
        NotFoundError: There is no dataset, or an index is missing.
        FormatError: A manifest or an index is damaged.
        IntegrityError: A shard is damaged.
        StoreError: Storage could not be read, or hashes could not be kept.
    """
    chosen = settle(DuplicateChoices, choices)
    method, level = chosen["method"], chosen["level"]
    if method == "size" and level is not None:
        raise UsageError(
            "a file size is the same or it is not: it has no levels",
            code="size-has-no-level",
            where=option("method", "size"),
            got=option("level", level),
            hint=f"leave {option('level')} out, or leave {option('method', 'size')} out",
        )
    dataset = as_dataset(dataset).anchor(chosen["root"])
    if len(dataset.manifest.splits) > _MOST_SPLITS:
        raise UsageError("too many splits", expected=f"at most {_MOST_SPLITS}", got=str(len(dataset.manifest.splits)))
    cache = None if chosen["cache"] is None else os.fspath(chosen["cache"])
    finder = _Finder(dataset, (level or DEFAULT_LEVEL) if method == "phash" else EXACT, cache)
    return finder.run(executor or open_executor("serial"), progress or Silent(), method, captions=chosen["captions"])


class _Finder:
    def __init__(self, dataset: Dataset, level: str, cache: str | None) -> None:
        self.dataset = dataset
        self.level = level
        self.levels = levels_up_to(level)
        self.shards = dataset.manifest.shards
        self.splits = list(dataset.manifest.splits)
        self.place = hash_place(dataset, cache) if self.levels else None
        self.versions = library_versions() if self.levels else {}

    def run(self, executor: Executor, progress: Progress, method: str, *, captions: bool) -> DuplicateGroups:
        """The answer."""
        if self.levels:
            compile_hashing(progress, self._count(), sum(entry.bytes for _, entry in self.shards))
            compile_search(progress, self._count())
        parts = self._prints(executor, progress)
        samples, order = self._samples(parts)
        prints = self._fingerprints(parts, samples, order, executor)
        computed = sum(part.computed for part in parts)
        unreadable = tuple(sorted(entry for part in parts for entry in part.unreadable))
        found = group(prints, self.levels, samples.split, OnWorkers(executor, progress))
        by_size = _equal_rows(np.concatenate((samples.shape.astype(np.uint64), prints.exact[:, 1:]), axis=1))
        last = found[-1]
        if method == "size":
            last = Grouping("size", by_size, by_size, found[0].near, np.zeros(len(by_size), bool))
        groups = self._groups(samples, prints, found[0], last)
        return DuplicateGroups(
            level=self.level,
            method=method,
            samples=len(samples.row),
            groups=groups,
            levels=tuple(self._counts(grouping, samples) for grouping in found),
            same_size_unique=len(np.unique(by_size)),
            low_information=int(np.count_nonzero(prints.low_information)),
            other_labels=sum(len(one.labels) > 1 for one in groups),
            other_captions=sum(one.captions > 1 for one in groups),
            flipped=int(np.count_nonzero(last.flipped)),
            computed=computed,
            unreadable=unreadable,
            captions=count_captions(self.dataset, samples.keys, samples.captions, samples.over_long)
            if captions
            else None,
            versions=self.versions,
            proved=proved_of(self.dataset, pixels=bool(self.levels)),
        )

    def _prints(self, executor: Executor, progress: Progress) -> list[ShardPrints]:
        tasks = (PrintTask(self.dataset, entry, self.place, self.versions) for _, entry in self.shards)
        task = "hash images" if self.levels else "read indexes"
        with under_way(progress, task, self._count(), "images") as tick:
            return run_all(executor, print_shard, tasks, tick)

    def _count(self) -> int:
        return sum(entry.samples for _, entry in self.shards)

    def _samples(self, parts: Sequence[ShardPrints]) -> tuple[_Samples, NDArray[np.int64]]:
        """All samples by key, and the order that sorts them: whatever order shards have, the result is one."""
        keys = pa.chunked_array([part.keys for part in parts], pa.string())
        order = to_numpy(pc.sort_indices(keys)).astype(np.int64)
        counts = [entry.samples for _, entry in self.shards]
        shard = np.repeat(np.arange(len(counts)), counts)
        split = np.array([self.splits.index(name) for name, _ in self.shards], np.int64)
        row = np.concatenate([np.zeros(0, np.int64), *(np.arange(count) for count in counts)])
        labels = pa.chunked_array([part.labels for part in parts], pa.string())
        made = _Samples(
            keys=one_chunk(keys.take(to_array(order, pa.int64()))),
            labels=one_chunk(labels.take(to_array(order, pa.int64()))),
            split=split[shard][order],
            shard=shard[order],
            row=row[order],
            shape=_joined([part.shape for part in parts], order),
            captions=_joined([part.captions for part in parts], order),
            over_long=_joined([part.over_long for part in parts], order),
        )
        return made, order

    def _fingerprints(
        self, parts: Sequence[ShardPrints], samples: _Samples, order: NDArray[np.int64], executor: Executor
    ) -> Fingerprints:
        def looks(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
            assert self.place is not None
            kept = [(entry, part.kept) for (_, entry), part in zip(self.shards, parts, strict=True)]
            return look_up(self.place, kept, (samples.shard[rows], samples.row[rows]), self.versions, executor)

        exact = _joined([part.exact for part in parts], order)
        if not self.levels:
            nothing = np.zeros((0, 5), np.uint64)
            return Fingerprints(exact, nothing, nothing, np.zeros(0, np.float32), looks)
        return Fingerprints(
            exact,
            _joined([part.words for part in parts], order),
            _joined([part.mirrored for part in parts], order),
            _joined([part.deviation for part in parts], order),
            looks,
            join_turned([part.turned for part in parts], [len(part.keys) for part in parts], np.argsort(order)),
        )

    def _counts(self, grouping: Grouping, samples: _Samples) -> LevelCounts:
        sizes = np.bincount(grouping.leader, minlength=len(grouping.leader))
        leaks = {
            split: {
                other: int(np.count_nonzero((samples.split == a) & (grouping.near >> np.uint64(b) & np.uint64(1) > 0)))
                for b, other in enumerate(self.splits)
                if a != b
            }
            for a, split in enumerate(self.splits)
        }
        rule = next((level for level in LEVELS if level.name == grouping.level), None)
        estimate, bound = expected_false_pairs(rule, len(sizes)) if rule else (0.0, len(sizes) ** 2 / 2**65)
        return LevelCounts(
            level=grouping.level,
            unique=int(np.count_nonzero(sizes)),
            groups=int(np.count_nonzero(sizes > 1)),
            largest=int(sizes.max(initial=0)),
            leaks=leaks,
            false_pairs=estimate,
            false_pairs_bound=bound,
        )

    def _groups(
        self, samples: _Samples, prints: Fingerprints, exact: Grouping, grouping: Grouping
    ) -> tuple[DuplicateGroup, ...]:
        """The groups of more than one, the largest first, then by key."""
        sizes = np.bincount(grouping.leader, minlength=len(grouping.leader))
        rows = np.flatnonzero(sizes[grouping.leader] > 1)
        rows = rows[np.lexsort((rows, grouping.leader[rows], -sizes[grouping.leader[rows]]))]
        members = self._members(samples, prints, exact, (rows, grouping))
        low = prints.low_information
        groups = []
        starts = np.flatnonzero(np.diff(grouping.leader[rows], prepend=-1, append=-1)).tolist()
        for start, stop in itertools.pairwise(starts):
            mine = rows[start:stop]
            groups.append(
                DuplicateGroup(
                    representative=members[start].key,
                    members=tuple(members[start:stop]),
                    captions=len(np.unique(samples.captions[mine, 0])),
                    low_information=bool(len(low)) and bool(low[mine[0]]),
                )
            )
        return tuple(groups)

    def _members(
        self, samples: _Samples, prints: Fingerprints, exact: Grouping, chosen: tuple[NDArray[np.int64], Grouping]
    ) -> list[DuplicateMember]:
        rows, grouping = chosen
        leaders = grouping.leader[rows]
        identical = exact.leader[rows] == exact.leader[leaders]
        far, turned = np.zeros((2, len(rows)), np.int64), np.zeros(len(rows), bool)
        if len(prints.words):
            *far[:], turned = distances(prints, rows, leaders, grouping.flipped[rows])
            far[:, identical] = 0
        taken = to_array(rows, pa.int64())
        columns = (
            to_list(samples.keys.take(taken)),
            to_list(samples.labels.take(taken)),
            samples.split[rows].tolist(),
            samples.shard[rows].tolist(),
            samples.row[rows].tolist(),
            *far.tolist(),
            identical.tolist(),
            grouping.flipped[rows].tolist(),
            (turned & ~identical).tolist(),
        )
        return [
            DuplicateMember(key, self.splits[split], self.shards[shard][1].path, row, label, *rest)
            for key, label, split, shard, row, *rest in zip(*columns, strict=True)
        ]


def _joined(parts: Sequence[NDArray[Any]], order: NDArray[np.int64]) -> NDArray[Any]:
    return np.concatenate(parts)[order]


def _equal_rows(table: NDArray[np.uint64]) -> NDArray[np.int64]:
    """For each row the first that is equal."""
    _, first, number = np.unique(table, axis=0, return_index=True, return_inverse=True)
    return first[number.reshape(-1)].astype(np.int64)
