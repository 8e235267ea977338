"""A shard's images for a search among very many: first a few bytes of each, then all of those that matter. Runs in workers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from wdstools.dedup.groups import Turned
from wdstools.dedup.levels import LOW_INFORMATION_STD
from wdstools.formats.arrow import to_array
from wdstools.reader.hashes import print_shard

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wdstools.executors.base import Tick
    from wdstools.reader.hashes import PrintTask, ShardPrints

#: Width, height and size of an image in one word: 16, 16 and 32 bits. Larger values are stored separately.
_SIDE_BITS, _SIZE_BITS = 16, 32


@dataclass(frozen=True, slots=True)
class OutlineTask:
    """One shard; ``whole``: with the whole hashes and EXIF rotations; ``captions``: with keys and fingerprints of captions."""

    prints: PrintTask
    whole: bool
    captions: bool


@dataclass(frozen=True, slots=True)
class Captions:
    """Keys of a shard's samples, and ``captions`` and ``over_long`` as in ``ShardPrints``."""

    keys: pa.Array
    digests: NDArray[np.uint64]
    over_long: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Shapes:
    """Width, height and size of images, one word each, [n] uint64.

    ``odd`` are those of images too large for a word, which are in rows ``odd_rows``; the words of two of
    these are equal if their values are.
    """

    words: NDArray[np.uint64]
    odd_rows: NDArray[np.int64]
    odd: frozenset[tuple[int, ...]]

    @classmethod
    def of(cls, prints: ShardPrints) -> Shapes:
        """The shapes of a shard's images."""
        width, height = prints.shape.astype(np.uint64).T
        size = prints.exact[:, 1]
        words = (width << np.uint64(_SIDE_BITS) | height) << np.uint64(_SIZE_BITS) | size
        rows = np.flatnonzero((width | height) >> np.uint64(_SIDE_BITS) | size >> np.uint64(_SIZE_BITS))
        odd = (column[rows].tolist() for column in (width, height, size))
        return cls(words, rows, frozenset(zip(*odd, strict=True)))


@dataclass(frozen=True, slots=True)
class Outline:
    """What is held in memory of a shard's images while very many are compared.

    ``exact`` [n] uint64 is XXH3-64 of the bytes. ``first`` [n] is the first word of the hash, ``deviation`` as in
    ``Fingerprints``; ``words``, ``mirrored`` and ``turned`` are only there if ``whole``. ``low`` counts images of low information.
    """

    exact: NDArray[np.uint64]
    shapes: Shapes
    first: NDArray[np.uint64]
    deviation: NDArray[np.float32]
    words: NDArray[np.uint64]
    mirrored: NDArray[np.uint64]
    turned: Turned
    low: int
    unreadable: tuple[tuple[str, str], ...]
    computed: int
    kept: str
    captions: Captions | None


def outline_shard(task: OutlineTask, tick: Tick) -> Outline:
    """The outline of one shard; hashes are computed only if none are stored, and then stored."""
    made = print_shard(replace(task.prints, captions=task.captions), tick)
    nothing = np.zeros((0, 5), np.uint64)
    return Outline(
        exact=made.exact[:, 0].copy(),
        shapes=Shapes.of(made),
        first=made.words[:, 0].copy(),
        deviation=made.deviation,
        words=made.words if task.whole else nothing,
        mirrored=made.mirrored if task.whole else nothing,
        turned=made.turned if task.whole else Turned.none(),
        low=int(np.count_nonzero(made.deviation < LOW_INFORMATION_STD)),
        unreadable=made.unreadable,
        computed=made.computed,
        kept=made.kept,
        captions=Captions(made.keys, made.captions, made.over_long) if task.captions else None,
    )


@dataclass(frozen=True, slots=True)
class RecallTask:
    """Some rows of a shard, ascending, for which everything is needed now."""

    prints: PrintTask
    rows: NDArray[np.int64]


def recall_rows(task: RecallTask, tick: Tick) -> ShardPrints:
    """What ``print_shard`` returns, for these rows only."""
    made = print_shard(task.prints, lambda _: None)
    rows = task.rows
    chosen = np.flatnonzero(np.isin(made.turned.rows, rows))
    turned = made.turned
    turned = Turned(
        np.searchsorted(rows, turned.rows[chosen]), turned.turns[chosen], turned.words[chosen], turned.mirrored[chosen]
    )
    tick(len(rows))
    taken = to_array(rows, pa.int64())
    pixels = task.prints.place is not None
    return replace(
        made,
        keys=made.keys.take(taken),
        labels=made.labels.take(taken),
        exact=made.exact[rows],
        shape=made.shape[rows],
        captions=made.captions[rows],
        over_long=made.over_long[rows],
        words=made.words[rows] if pixels else made.words,
        mirrored=made.mirrored[rows] if pixels else made.mirrored,
        deviation=made.deviation[rows] if pixels else made.deviation,
        turned=turned,
        unreadable=(),
    )
