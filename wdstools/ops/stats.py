"""stats: count what is in a dataset, from its indexes alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Unpack

import numpy as np

from wdstools.dataset import Dataset, as_dataset
from wdstools.executors.open import executor_or_here
from wdstools.formats.arrow import one_chunk, to_list, to_numpy
from wdstools.formats.captions import hashtags
from wdstools.formats.image_types import TYPE_OF_EXTENSION
from wdstools.ops.ls import rows_of
from wdstools.ops.tally import Histogram, Tally, commonest
from wdstools.progress import Progress, Silent, under_way
from wdstools.reader.select import Selection, select
from wdstools.results import Proved, weakest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wdstools.executors.base import Executor, Tick
    from wdstools.formats.manifest import ShardEntry
    from wdstools.ops.ls import ChosenRows
    from wdstools.options.declare import StrPath
    from wdstools.options.read import SelectChoices

#: The modules that worker processes import first.
WORKER_MODULES = ("wdstools.ops.stats", "pyarrow.parquet")
_MOST_TAGS = 50
_MOST_SHAPES = 10
#: The most distinct hashtags kept in memory: beyond that, those seen once are dropped, and ``hashtags_exact`` is False.
_TAGS_IN_MEMORY = 2_000_000


@dataclass(frozen=True, slots=True)
class CommonShape:
    """A width and height, and how many images have them."""

    width: int
    height: int
    images: int


@dataclass(frozen=True, slots=True)
class CommonTag:
    """A hashtag, normalised, and how many captions have it."""

    tag: str
    captions: int


@dataclass(frozen=True, slots=True)
class StatsResult:
    """What is in a dataset.

    ``counts`` counts samples by split and label (``""`` for none), ``formats`` images by type, and ``members`` samples by
    extension; ``bytes`` is the size of all payloads. The histograms are of images' ``widths`` and ``heights`` in pixels, of
    ``image_bytes``, and of ``caption_lengths`` in characters, including empty captions; None if there is nothing to count.
    ``shapes`` and ``hashtags`` are the most common ones; ``distinct_hashtags`` is how many different ones there are. If
    there are millions, ``hashtags_exact`` is False, and rare ones may be missing.
    """

    name: str
    root: str
    where: str
    samples: int
    bytes: int
    counts: Mapping[str, Mapping[str, int]]
    labels: tuple[str, ...]
    formats: Mapping[str, int]
    members: Mapping[str, int]
    widths: Histogram | None
    heights: Histogram | None
    image_bytes: Histogram | None
    caption_lengths: Histogram | None
    captioned: int
    shapes: tuple[CommonShape, ...]
    hashtags: tuple[CommonTag, ...]
    distinct_hashtags: int
    hashtags_exact: bool
    proved: Proved


@dataclass(frozen=True, slots=True)
class TallyTask:
    """One shard to count, or the selected part of it."""

    dataset: Dataset
    split: str
    entry: ShardEntry
    selection: Selection


@dataclass(slots=True)
class Tallies:
    """The counts of some samples."""

    samples: int = 0
    bytes: int = 0
    captioned: int = 0
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    formats: Counter[str] = field(default_factory=Counter)
    members: Counter[str] = field(default_factory=Counter)
    shapes: Counter[tuple[int, int]] = field(default_factory=Counter)
    tags: Counter[str] = field(default_factory=Counter)
    tags_exact: bool = True
    widths: Tally = field(default_factory=Tally)
    heights: Tally = field(default_factory=Tally)
    image_bytes: Tally = field(default_factory=Tally)
    captions: Tally = field(default_factory=Tally)

    def add(self, other: Tallies) -> None:
        """Add the counts of another one."""
        self.samples += other.samples
        self.bytes += other.bytes
        self.captioned += other.captioned
        for split, labels in other.counts.items():
            self.counts.setdefault(split, Counter()).update(labels)
        for name in ("formats", "members", "shapes", "tags"):
            getattr(self, name).update(getattr(other, name))
        for name in ("widths", "heights", "image_bytes", "captions"):
            getattr(self, name).add(getattr(other, name))
        if len(self.tags) > _TAGS_IN_MEMORY:
            self.tags = Counter({tag: count for tag, count in self.tags.items() if count > 1})
            self.tags_exact = False


def stats(
    dataset: Dataset | StrPath,
    *,
    executor: Executor | None = None,
    progress: Progress | None = None,
    **choices: Unpack[SelectChoices],
) -> StatsResult:
    """Count what is in a dataset: labels, sizes, captions, hashtags. Only its indexes are read, locally or remotely.

    Args:
        dataset: A dataset, its folder or URL.
        executor: Does the work; without one, this process does.
        progress: Receives the number of samples counted.
        **choices: Which samples: splits, a file of keys, a condition; see ``SelectChoices``.

    Returns:
        The counts, which do not depend on the workers or on the order of shards.

    Raises:
        UsageError: There is no such split, or the condition cannot be parsed.
        NotFoundError: There is no dataset, or an index is missing.
        FormatError: A manifest or an index is damaged.
        StoreError: Storage could not be read.
    """
    opened, selection = as_dataset(dataset), select(**choices)
    return count_samples(opened, selection, executor_or_here(executor), progress or Silent())


def count_samples(dataset: Dataset, selection: Selection, executor: Executor, progress: Progress) -> StatsResult:
    """``stats`` for a selection."""
    selection.check(dataset)
    chosen = [
        (split, entry)
        for split, entry in dataset.manifest.shards
        if selection.splits is None or split in selection.splits
    ]
    found = Tallies()
    tasks = (TallyTask(dataset, split, entry, selection) for split, entry in chosen)
    with under_way(progress, "read indexes", sum(entry.samples for _, entry in chosen), "samples") as tick:
        for outcome in executor.map(tally_shard, tasks, tick):
            found.add(outcome.result())
    where = "" if selection.where is None else selection.where.text
    return result_of(dataset, found, where, selection.proved_by(dataset))


def tally_shard(task: TallyTask, tick: Tick) -> Tallies:
    """The counts of one shard."""
    found = tally_rows(rows_of(task.dataset, (task.split, task.entry), task.selection))
    tick(task.entry.samples)
    return found


def tally_rows(found: ChosenRows) -> Tallies:
    """The counts of some rows of a shard."""
    import pyarrow.compute as pc

    table = found.table
    values = one_chunk(table.column("members")).flatten()
    extensions, sizes = to_list(values.field("ext")), to_numpy(values.field("size"))
    pictures = np.array([name.lower() in TYPE_OF_EXTENSION for name in extensions], bool)
    width, height = (to_numpy(table.column(name), null=-1).astype(np.int64) for name in ("width", "height"))
    sided = (width >= 0) & (height >= 0)
    shapes, images = np.unique(width[sided] << 32 | height[sided], return_counts=True)
    captions = to_list(table.column("caption"))
    tags: Counter[str] = Counter()
    for caption in captions:
        if caption and ("#" in caption or "\uff03" in caption or "\ufe5f" in caption):
            tags.update(hashtags(caption).split())
    lengths = to_numpy(pc.utf8_length(one_chunk(table.column("caption"))), null=-1)
    return Tallies(
        samples=table.num_rows,
        bytes=int(sizes.sum()),
        captioned=sum(1 for caption in captions if caption),
        counts={found.split: Counter(label or "" for label in to_list(table.column("label")))},
        formats=Counter(kind for kind in to_list(table.column("format")) if kind is not None),
        members=Counter(extensions),
        shapes=Counter(
            {(shape >> 32, shape & 0xFFFFFFFF): n for shape, n in zip(shapes.tolist(), images.tolist(), strict=True)}
        ),
        tags=tags,
        widths=Tally.of(width),
        heights=Tally.of(height),
        image_bytes=Tally.of(sizes[pictures].astype(np.int64)),
        captions=Tally.of(lengths.astype(np.int64)),
    )


def result_of(dataset: Dataset, found: Tallies, where: str, choice: Proved) -> StatsResult:
    """The counts as a result; ``choice`` says how far the selection of samples is proved."""
    splits = [split for split in dataset.manifest.splits if split in found.counts]
    labels = {label for counts in found.counts.values() for label in counts}
    known = [label for label in dataset.manifest.labels if label in labels]
    ordered = (*known, *sorted(labels.difference(known, ("",))), *(("",) if "" in labels else ()))
    shapes = sorted(found.shapes.items(), key=lambda item: (-item[1], item[0]))[:_MOST_SHAPES]
    values = Proved.FORGER if dataset.anchored and dataset.manifest.has_values else Proved.ACCIDENT
    return StatsResult(
        name=dataset.name,
        root=dataset.root,
        where=where,
        samples=found.samples,
        bytes=found.bytes,
        counts={
            split: {label: found.counts[split][label] for label in ordered if label in found.counts[split]}
            for split in splits
        },
        labels=ordered,
        formats=dict(commonest(found.formats, len(found.formats))),
        members=dict(commonest(found.members, len(found.members))),
        widths=found.widths.histogram(),
        heights=found.heights.histogram(),
        image_bytes=found.image_bytes.histogram(),
        caption_lengths=found.captions.histogram(),
        captioned=found.captioned,
        shapes=tuple(CommonShape(*shape, images) for shape, images in shapes),
        hashtags=tuple(CommonTag(tag, count) for tag, count in commonest(found.tags, _MOST_TAGS)),
        distinct_hashtags=len(found.tags),
        hashtags_exact=found.tags_exact,
        proved=weakest(values, choice),
    )
