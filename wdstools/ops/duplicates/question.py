"""What to find out about a dataset's images, and what is known about all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wdstools.formats.arrow import one_chunk, to_array, to_numpy
from wdstools.ops.duplicates.captions import count_captions
from wdstools.planning.prints import look_up, wide_text
from wdstools.reader.hashes import HashPlace, PrintTask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.dedup.levels import Level
    from wdstools.dedup.results import CaptionCounts
    from wdstools.executors.base import Executor
    from wdstools.formats.manifest import ShardEntry
    from wdstools.reader.outline import Captions


@dataclass(frozen=True, slots=True)
class Question:
    """What to compare. ``by_size``: compare width, height and file size, too; ``captions``: count captions."""

    dataset: Dataset
    levels: Sequence[Level]
    place: HashPlace | None
    versions: Mapping[str, str]
    by_size: bool = False
    captions: bool = False

    @property
    def entries(self) -> list[ShardEntry]:
        """The shards."""
        return [entry for _, entry in self.dataset.manifest.shards]

    @property
    def starts(self) -> NDArray[np.int64]:
        """The number of each shard's first image, and, at the end, the total number of images."""
        return np.cumsum([0, *(entry.samples for entry in self.entries)])

    def task(self, entry: ShardEntry) -> PrintTask:
        """The task of reading a shard."""
        return PrintTask(self.dataset, entry, self.place, self.versions)

    def looks(
        self, kept: Sequence[str], at: tuple[NDArray[np.int64], NDArray[np.int64]], executor: Executor
    ) -> NDArray[np.uint8]:
        """The small pictures of images, by shard number and row; ``kept`` are the files of their hashes."""
        assert self.place is not None
        files = list(zip(self.entries, kept, strict=True))
        return look_up(self.place, files, at, self.versions, executor)

    def counted(self, captions: Sequence[Captions]) -> CaptionCounts | None:
        """The counts of all captions, if asked for; all keys are in memory then."""
        if not self.captions:
            return None
        keys, order = in_order([part.keys for part in captions])
        digests, over_long = (
            np.concatenate([getattr(part, name) for part in captions])[order] for name in ("digests", "over_long")
        )
        return count_captions(self.dataset, keys, digests, over_long)


@dataclass(frozen=True, slots=True)
class Said:
    """What is known about all images."""

    sizes: int
    low: int
    computed: int
    unreadable: list[tuple[str, str]]
    kept: list[str]
    counted: CaptionCounts | None


def in_order(parts: Sequence[pa.Array]) -> tuple[pa.Array, NDArray[np.int64]]:
    """Keys in order, and the permutation that sorts them."""
    keys = wide_text(parts)
    order = to_numpy(pc.sort_indices(keys)).astype(np.int64)
    return one_chunk(keys.take(to_array(order, pa.int64()))), order
