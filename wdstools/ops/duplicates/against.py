"""duplicates --against: find images of one set that are also in others, for instance in a public test set."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Unpack

import numpy as np

from wdstools.dataset import Dataset
from wdstools.dedup.across import expected_pairs, match
from wdstools.dedup.groups import distances_between
from wdstools.dedup.levels import EXACT, LEVEL_NAMES, levels_up_to
from wdstools.errors import UsageError, option
from wdstools.executors.open import executor_or_here
from wdstools.options.check import AgainstChoices
from wdstools.options.declare import settle
from wdstools.planning.compiling import compile_matching, compile_search
from wdstools.planning.prints import print_set
from wdstools.progress import Progress, Silent
from wdstools.results import Proved, weakest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from wdstools.executors.base import Executor
    from wdstools.options.declare import StrPath
    from wdstools.planning.prints import PrintedSet


@dataclass(frozen=True, slots=True)
class SharedImage:
    """An image of the set that another set also has, at the strictest level that finds it.

    ``other`` is the other set, and ``other_key`` its first matching image (by key). ``phash`` and ``phash16`` are the
    numbers of differing bits, of 64 and 256. ``place`` and ``other_place`` are shard and row in a dataset.
    """

    key: str
    split: str
    level: str
    other: str
    other_key: str
    other_split: str
    phash: int = 0
    phash16: int = 0
    flipped: bool = False
    place: tuple[int, int] | None = None
    other_place: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class SharedImages:
    """What a set of images shares with others. Iterates over the shared images, by key.

    ``others`` counts the images of each other set, and ``held`` how many of those this set has. ``false_pairs_bound`` is an
    upper bound for the number of pairs of different photographs that match by chance; for other pictures no bound is known.
    """

    name: str
    level: str
    samples: int
    shared: tuple[SharedImage, ...]
    others: Mapping[str, int]
    held: Mapping[str, int]
    unreadable: tuple[tuple[str, str], ...] = ()
    false_pairs_bound: float = 0.0
    #: About the images, as far as they have digests; those in a folder or a file of hashes have none.
    proved: Proved = Proved.NOTHING

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of this set's images that any other set has, each once, sorted."""
        return tuple(sorted({image.key for image in self.shared}))

    def __iter__(self) -> Iterator[SharedImage]:
        return iter(self.shared)

    def __len__(self) -> int:
        return len(self.shared)


def find_shared(
    dataset: Dataset | StrPath,
    against: Sequence[Dataset | StrPath],
    *,
    executor: Executor | None = None,
    progress: Progress | None = None,
    **choices: Unpack[AgainstChoices],
) -> SharedImages:
    """Find the images of one set that others also have. The search is exhaustive, and symmetric.

    Args:
        dataset: A dataset, its folder or URL; a folder, zip or tar of images; or a file of hashes.
        against: The other sets, each one of these.
        executor: Does the work; without one, this process does.
        progress: Receives the number of images done.
        **choices: What counts as a duplicate; see ``AgainstChoices``.

    Returns:
        The shared images, with their matches.

    Raises:
        UsageError: An option is invalid, or there is nothing to compare the dataset with.
        NotFoundError: There is no such set.
        FormatError: A manifest, an index or a file of hashes is damaged.
        IntegrityError: A shard is damaged.
        StoreError: Storage could not be read, or hashes could not be stored.
    """
    chosen = settle(AgainstChoices, choices)
    if not against:
        raise UsageError(
            "there is nothing to compare with", where=option("against"), expected="a dataset, a folder or hashes"
        )
    level, cache = chosen["level"], None if chosen["cache"] is None else os.fspath(chosen["cache"])
    executor, progress = executor_or_here(executor), progress or Silent()

    def printed(one: Dataset | StrPath) -> PrintedSet:
        path = one if isinstance(one, Dataset) else os.fspath(one)
        return print_set(path, cache, executor, progress, pixels=level != EXACT)

    mine = printed(dataset)
    shared: list[SharedImage] = []
    others: dict[str, int] = {}
    held: dict[str, int] = {}
    unreadable = list(mine.unreadable)
    bound, proved = 0.0, mine.proved
    for number, one in enumerate(against):
        theirs = printed(one)
        proved = weakest(proved, theirs.proved)
        name = theirs.name if theirs.name not in others else f"{theirs.name} ({number + 1})"
        if level != EXACT:
            compile_search(progress, len(mine.keys), len(theirs.keys))
        there, here = match(mine.prints, theirs.prints, levels_up_to(level), partial(compile_matching, progress))
        others[name], held[name] = len(theirs.keys), int(np.count_nonzero(here.other >= 0))
        unreadable += theirs.unreadable
        rows = np.flatnonzero(there.other >= 0)
        bits = distances_between((mine.prints, rows), (theirs.prints, there.other[rows]), there.flipped[rows])
        for row, small, large in zip(rows.tolist(), *(part.tolist() for part in bits), strict=True):
            other, how = int(there.other[row]), LEVEL_NAMES[there.level[row]]
            same = how == EXACT
            shared.append(
                SharedImage(
                    mine.keys[row], mine.splits[row], how, name, theirs.keys[other], theirs.splits[other],
                    0 if same else small, 0 if same else large, bool(there.flipped[row]), _place(mine, row), _place(theirs, other),
                )
            )  # fmt: skip
        bound += sum(expected_pairs(entry, len(mine.keys), len(theirs.keys)) for entry in levels_up_to(level)[-1:])
    shared.sort(key=lambda image: (image.key, image.other))
    return SharedImages(
        name=mine.name,
        level=level,
        samples=len(mine.keys),
        shared=tuple(shared),
        others=others,
        held=held,
        unreadable=tuple(unreadable),
        false_pairs_bound=bound,
        proved=proved,
    )


def _place(printed: PrintedSet, row: int) -> tuple[int, int] | None:
    if printed.places is None:
        return None
    shard, at = printed.places[row].tolist()
    return shard, at
