"""duplicates: count how many distinct images a dataset has, group the duplicates, and check whether its splits leak."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Unpack

import numpy as np
import pyarrow as pa

from wdstools.dataset import Dataset, as_dataset
from wdstools.dedup.groups import Grouping, distances, group
from wdstools.dedup.levels import EXACT, LEVELS, expected_false_pairs, levels_up_to
from wdstools.dedup.parts import core_hours
from wdstools.dedup.results import DuplicateGroup, DuplicateGroups, DuplicateMember, LevelCounts
from wdstools.errors import UsageError, option
from wdstools.executors.open import executor_or_here
from wdstools.formats.arrow import to_array, to_list
from wdstools.ops.duplicates.images import Images, images_of
from wdstools.ops.duplicates.question import Question
from wdstools.options.check import DuplicateChoices
from wdstools.options.declare import settle
from wdstools.planning.compiling import compile_hashing, compile_search
from wdstools.planning.prints import hash_place, proved_of
from wdstools.planning.searching import OnWorkers
from wdstools.progress import Progress, Silent
from wdstools.reader.hashes import library_versions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wdstools.executors.base import Executor
    from wdstools.options.declare import StrPath


DEFAULT_LEVEL = "re-encode"
#: The modules that worker processes import first.
WORKER_MODULES = ("wdstools.reader.hashes", "simplejpeg")
_MOST_SPLITS = 64
#: A search expected to take more core-hours than this is announced; and the measured time to hash an image, in seconds.
_WORTH_TELLING, _HASH_SECONDS = 0.1, 0.65e-3


@dataclass(frozen=True, slots=True)
class ExpectedWork:
    """The approximate core-hours of a search, and of the hashing before it if no hashes are stored."""

    level: str
    search: float
    hashing: float


def expected_work(images: int, choices: DuplicateChoices) -> ExpectedWork | None:
    """The expected work of a search among this many images; None if it is less than a tenth of a core-hour."""
    chosen = settle(DuplicateChoices, choices)
    level = EXACT if chosen["method"] == "size" else chosen["level"] or DEFAULT_LEVEL
    widest = levels_up_to(level)[-1:]
    hours = sum(core_hours(images, (one.phash, one.phash16), mirrors=one.flips) for one in widest)
    return ExpectedWork(level, hours, images * _HASH_SECONDS / 3600) if hours > _WORTH_TELLING else None


def find_duplicates(
    dataset: Dataset | StrPath,
    *,
    executor: Executor | None = None,
    progress: Progress | None = None,
    **choices: Unpack[DuplicateChoices],
) -> DuplicateGroups:
    """Group the duplicate images of a dataset.

    Level ``exact`` reads only the indexes. The other levels hash every image once. The hashes are stored in
    ``.wdstools/hashes``, or in ``cache``, a folder or a bucket. They are computed again for shards that have changed, for
    other versions of the libraries, and if they came with the dataset instead of being computed by this user. With ``root``
    they are computed from samples that SHA-256 proves. ``method="size"``, which has no levels, compares width, height and
    file size, for comparison with other tools. The result does not depend on the workers or on the order of shards.

    Args:
        dataset: A dataset, its folder or URL.
        executor: Does the work; without one, this process does.
        progress: Receives the number of images done.
        **choices: What counts as a duplicate; see ``DuplicateChoices``.

    Returns:
        The groups, the number of distinct images, and the leaks between splits.

    Raises:
        UsageError: An option is invalid, or the dataset has too many splits.
        NotFoundError: There is no dataset, or an index is missing.
        FormatError: A manifest or an index is damaged.
        IntegrityError: A shard is damaged.
        StoreError: Storage could not be read, or hashes could not be stored.
    """
    chosen = settle(DuplicateChoices, choices)
    method, level = chosen["method"], chosen["level"]
    if method == "size" and level is not None:
        raise UsageError(
            "file sizes are either equal or not: there are no levels for them",
            code="size-has-no-level",
            where=option("method", "size"),
            got=option("level", level),
            hint=f"leave out {option('level')}, or leave out {option('method', 'size')}",
        )
    dataset = as_dataset(dataset).anchor(chosen["root"])
    if len(dataset.manifest.splits) > _MOST_SPLITS:
        raise UsageError(
            "the dataset has too many splits", expected=f"at most {_MOST_SPLITS}", got=str(len(dataset.manifest.splits))
        )
    cache = None if chosen["cache"] is None else os.fspath(chosen["cache"])
    finder = _Finder(dataset, (level or DEFAULT_LEVEL) if method == "phash" else EXACT, cache)
    return finder.run(executor_or_here(executor), progress or Silent(), method, captions=chosen["captions"])


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
        """Do everything."""
        if self.levels:
            compile_hashing(progress, self._count(), sum(entry.bytes for _, entry in self.shards))
            compile_search(progress, self._count(), widest=self.levels[-1])
        asked = Question(
            self.dataset, self.levels, self.place, self.versions, by_size=method == "size", captions=captions
        )
        images = images_of(asked, executor, progress)
        prints = images.prints
        found = group(prints, self.levels, images.split, OnWorkers(executor, progress))
        last = found[-1]
        if method == "size":
            by_size = _equal_rows(np.concatenate((images.shape.astype(np.uint64), prints.exact[:, 1:]), axis=1))
            last = Grouping("size", by_size, by_size, found[0].near, np.zeros(len(by_size), bool))
        groups = self._groups(images, found[0], last)
        return DuplicateGroups(
            level=self.level,
            method=method,
            samples=images.samples,
            groups=groups,
            levels=tuple(self._counts(grouping, images) for grouping in found),
            same_size_unique=images.sizes,
            low_information=images.low,
            other_labels=sum(len(one.labels) > 1 for one in groups),
            other_captions=sum(one.captions > 1 for one in groups),
            flipped=int(np.count_nonzero(last.flipped)),
            computed=images.computed,
            unreadable=images.unreadable,
            captions=images.counted,
            versions=self.versions,
            proved=proved_of(self.dataset, pixels=bool(self.levels)),
        )

    def _count(self) -> int:
        return sum(entry.samples for _, entry in self.shards)

    def _counts(self, grouping: Grouping, images: Images) -> LevelCounts:
        sizes = np.bincount(grouping.leader, minlength=len(grouping.leader))
        others = images.samples - len(sizes)  # images without a duplicate
        leaks = {
            split: {
                other: int(np.count_nonzero((images.split == a) & (grouping.near >> np.uint64(b) & np.uint64(1) > 0)))
                for b, other in enumerate(self.splits)
                if a != b
            }
            for a, split in enumerate(self.splits)
        }
        rule = next((level for level in LEVELS if level.name == grouping.level), None)
        estimate, bound = expected_false_pairs(rule, images.samples) if rule else (0.0, images.samples**2 / 2**65)
        return LevelCounts(
            level=grouping.level,
            unique=int(np.count_nonzero(sizes)) + others,
            groups=int(np.count_nonzero(sizes > 1)),
            largest=int(sizes.max(initial=min(others, 1))),
            leaks=leaks,
            false_pairs=estimate,
            false_pairs_bound=bound,
        )

    def _groups(self, images: Images, exact: Grouping, grouping: Grouping) -> tuple[DuplicateGroup, ...]:
        """The groups of more than one image, the largest first, then by key."""
        sizes = np.bincount(grouping.leader, minlength=len(grouping.leader))
        rows = np.flatnonzero(sizes[grouping.leader] > 1)
        rows = rows[np.lexsort((rows, grouping.leader[rows], -sizes[grouping.leader[rows]]))]
        members = self._members(images, exact, rows, grouping)
        low = images.prints.low_information
        groups = []
        starts = np.flatnonzero(np.diff(grouping.leader[rows], prepend=-1, append=-1)).tolist()
        for start, stop in itertools.pairwise(starts):
            mine = rows[start:stop]
            groups.append(
                DuplicateGroup(
                    representative=members[start].key,
                    members=tuple(members[start:stop]),
                    captions=len(np.unique(images.captions[mine, 0])),
                    low_information=bool(len(low)) and bool(low[mine[0]]),
                )
            )
        return tuple(groups)

    def _members(
        self, images: Images, exact: Grouping, rows: NDArray[np.int64], grouping: Grouping
    ) -> list[DuplicateMember]:
        prints = images.prints
        leaders = grouping.leader[rows]
        identical = exact.leader[rows] == exact.leader[leaders]
        far, turned = np.zeros((2, len(rows)), np.int64), np.zeros(len(rows), bool)
        if len(prints.words):
            *far[:], turned = distances(prints, rows, leaders, grouping.flipped[rows])
            far[:, identical] = 0
        taken = to_array(rows, pa.int64())
        columns = (
            to_list(images.keys.take(taken)),
            to_list(images.labels.take(taken)),
            images.split[rows].tolist(),
            images.shard[rows].tolist(),
            images.row[rows].tolist(),
            *far.tolist(),
            identical.tolist(),
            grouping.flipped[rows].tolist(),
            (turned & ~identical).tolist(),
        )
        return [
            DuplicateMember(key, self.splits[split], self.shards[shard][1].path, row, label, *rest)
            for key, label, split, shard, row, *rest in zip(*columns, strict=True)
        ]


def _equal_rows(table: NDArray[np.uint64]) -> NDArray[np.int64]:
    """For each row, the first row that equals it."""
    _, first, number = np.unique(table, axis=0, return_index=True, return_inverse=True)
    return first[number.reshape(-1)].astype(np.int64)
