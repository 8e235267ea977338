"""What a pack does about identical images: keep them all, keep them in the same split, or keep one of each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from wdstools.dedup.levels import EXACT, LIMITS, check_level, levels_up_to
from wdstools.errors import UsageError, option
from wdstools.planning.alike import Pictures, by_preference, fingerprints_of, group_alike
from wdstools.planning.identical import group_identical
from wdstools.planning.splits import SplitRule, assign_splits
from wdstools.units import counted, some_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.executors.base import Executor
    from wdstools.planning.table import Samples
    from wdstools.progress import Progress
    from wdstools.results import Skip


@dataclass(frozen=True, slots=True)
class DuplicateRule:
    """``action``: keep; group (no group of identical images in two splits); drop (keep one of each group).

    ``level`` says what counts as identical. ``resplit`` allows ``group`` to move samples out of the source's splits.
    """

    action: str = "keep"
    level: str = EXACT
    resplit: bool = False
    excluded: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_level(self.level)
        if self.resplit and self.action != "group":
            raise UsageError(f"{option('resplit')} needs {option('duplicates', 'group')}")

    @property
    def compares(self) -> bool:
        """Whether more is needed than counting byte-identical images."""
        return self != DuplicateRule()


@dataclass(frozen=True, slots=True)
class Divided:
    """Samples with their splits. ``leaks`` counts groups of identical images in both of two splits, if counted."""

    samples: Samples
    skips: list[Skip]
    notes: list[str]
    leaks: dict[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Division:
    """How samples get their splits. Without ``images`` there is nothing to compare: no two samples are identical."""

    splits: SplitRule
    duplicates: DuplicateRule
    seed: int
    images: bool


def divide(samples: Samples, pictures: Pictures, division: Division, executor: Executor, progress: Progress) -> Divided:
    """Give each sample its split, taking identical images into account."""
    splits, rule, seed = division.splits, division.duplicates, division.seed
    if not rule.compares:
        compared = splits.ratios and division.images
        identical = group_identical(samples.table, pictures, executor, progress) if compared else None
        return Divided(*assign_splits(samples, splits, seed=seed, identical=identical))
    skips: list[Skip] = []
    notes: list[str] = []
    for other in rule.excluded:
        samples, more, unreadable = exclude(samples, pictures, other, rule.level, executor, progress)
        skips += more
        if unreadable:
            names = some_of([f"{key} ({reason})" for key, reason in unreadable])
            notes.append(f"{counted(len(unreadable), 'image')} of {other} cannot be decoded: {names}")
        notes.append(f"left out {counted(len(more), 'image')} also in {other}, level {rule.level}")
        if not len(samples):
            raise UsageError("no samples are left to pack", code="source-empty", got="image-excluded")
    if splits.ratios is None:
        samples, more, added = assign_splits(samples, splits, seed=seed)
        skips += more
        notes += added
        _refuse_given(samples, rule)
    found = group_alike(samples.table, by_preference(samples.table), pictures, rule.level, executor, progress)
    component = found.component
    if rule.action == "drop":
        samples, more = _drop(samples, found.leader, rule.level)
        component = np.arange(len(samples))  # the remaining images are all different
        skips += more
        notes.append(f"left out {counted(len(more), 'image')} identical to others of the source, level {rule.level}")
        if LIMITS[rule.level]:
            notes.append(f"{rule.level}: {LIMITS[rule.level]}")
    if splits.ratios is not None:
        numbers = np.unique(component, return_inverse=True)[1].astype(np.int64)
        samples, more, added = assign_splits(samples, splits, seed=seed, identical=numbers)
        skips += more
        notes += added
    elif rule.resplit:
        samples, moved = _gather(samples, component)
        notes.append(
            f"moved {counted(moved, 'image')} to another split, so that no group of identical images is in two"
        )
    return Divided(samples, skips, notes, _leaks(samples, component))


def exclude(
    samples: Samples, pictures: Pictures, other: str | Dataset, level: str, executor: Executor, progress: Progress
) -> tuple[Samples, list[Skip], tuple[tuple[str, str], ...]]:
    """Leave out samples whose image is also in another set, or in the dataset that they are to be added to.

    Returns the samples that stay, skips for those that do not, and the other set's images that cannot be decoded.
    """
    from wdstools.dedup.across import match
    from wdstools.planning.compiling import compile_matching, compile_search
    from wdstools.planning.prints import print_set

    theirs = print_set(other, None, executor, progress, pixels=level != EXACT)
    mine = fingerprints_of(samples.table, np.arange(len(samples)), pictures, executor, progress)
    if level != EXACT:
        compile_search(progress, len(samples), len(theirs.keys))
    found, _ = match(mine, theirs.prints, levels_up_to(level), partial(compile_matching, progress))
    keep = found.other < 0
    rows = np.flatnonzero(~keep)
    whose, reason = (f" of {other}", "image-excluded") if isinstance(other, str) else ("", "image-duplicate")
    details = [f"{level}: the same image as {theirs.keys[at]}{whose}" for at in found.other[rows].tolist()]
    return samples.keep(keep), samples.skips(rows, reason, details), theirs.unreadable


def _refuse_given(samples: Samples, rule: DuplicateRule) -> None:
    names = {name for name in samples.texts("split") if name is not None}
    if rule.action == "group" and not rule.resplit and len(names) > 1:
        raise UsageError(
            "the source defines the splits, and grouping would change them",
            code="splits-given",
            where=option("duplicates", "group"),
            got=", ".join(sorted(names)),
            hint=f"add {option('resplit', True)} to move what leaks, {option('splits', 'train=80,val=5,test=15')} "
            f"to divide again, or use {option('duplicates', 'drop')}",
        )


def _drop(samples: Samples, leader: NDArray[np.int64], level: str) -> tuple[Samples, list[Skip]]:
    keep = leader == np.arange(len(leader))
    rows = np.flatnonzero(~keep)
    theirs = samples.take(leader[rows]).texts("key")
    details = [f"{level}: the same image as {kept.decode()}" for kept in theirs]
    return samples.keep(keep), samples.skips(rows, "image-duplicate", details)


def _gather(samples: Samples, component: NDArray[np.int64]) -> tuple[Samples, int]:
    """Move each group to the split that holds most of it; in a tie, to the largest split."""
    names = samples.texts("split")
    totals = Counter(names)
    held: dict[int, Counter[str]] = {}
    for number, name in zip(component.tolist(), names, strict=True):
        held.setdefault(number, Counter())[name] += 1
    home = {
        number: max(counts, key=lambda name: (counts[name], totals[name], name))
        for number, counts in held.items()
        if len(counts) > 1
    }
    placed = [home.get(number, name) for number, name in zip(component.tolist(), names, strict=True)]
    moved = sum(a != b for a, b in zip(names, placed, strict=True))
    return samples.with_splits(placed), moved


def _leaks(samples: Samples, component: NDArray[np.int64]) -> dict[str, int]:
    splits = samples.texts("split")
    names = sorted(set(splits))
    codes = np.array([names.index(split) for split in splits], np.int64)
    held = [np.unique(component[codes == code]) for code in range(len(names))]
    return {
        f"{a}/{b}": len(np.intersect1d(held[i], held[j], assume_unique=True))
        for i, a in enumerate(names)
        for j, b in enumerate(names)
        if i < j
    }
