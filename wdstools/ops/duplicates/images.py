"""The images of a dataset to compare: all of them or, if there are very many, those that may have a duplicate.

Of very many images, only a few bytes each are held (``Outlines``). Those that turn out to be close to another are then read
again in full. The others have no duplicate, so the groups are the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from wdstools.dedup.candidates import candidates
from wdstools.dedup.compare import LOOK_BYTES
from wdstools.dedup.groups import Fingerprints, Turned
from wdstools.dedup.levels import LOW_INFORMATION_STD
from wdstools.executors.base import run_all
from wdstools.formats.arrow import one_chunk, to_array
from wdstools.ops.duplicates.outlines import Distinct, Held
from wdstools.ops.duplicates.question import Said, in_order
from wdstools.planning.prints import wide_text
from wdstools.planning.searching import OnWorkers
from wdstools.progress import under_way
from wdstools.reader.hashes import join_turned, print_shard
from wdstools.reader.outline import Captions, OutlineTask, RecallTask, Shapes, outline_shard, recall_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from wdstools.dedup.results import CaptionCounts
    from wdstools.executors.base import Executor
    from wdstools.ops.duplicates.question import Question
    from wdstools.progress import Progress
    from wdstools.reader.hashes import ShardPrints

#: Up to this many images are all held in memory, with some 600 bytes each.
_FEW = 1 << 20


@dataclass(frozen=True, slots=True)
class Images:
    """Images in order of their keys, one row each in every column and in ``prints``; no other image is a duplicate of any.

    About all images, whether they are here or not: ``samples`` is their number, ``sizes`` the number of distinct
    combinations of width, height and file size, and ``low`` the number of low-information images.
    """

    keys: pa.Array
    labels: pa.Array
    split: NDArray[np.int64]
    shard: NDArray[np.int64]
    row: NDArray[np.int64]
    shape: NDArray[np.int32]
    captions: NDArray[np.uint64]
    prints: Fingerprints
    samples: int
    sizes: int
    low: int
    computed: int
    unreadable: tuple[tuple[str, str], ...]
    counted: CaptionCounts | None


def images_of(question: Question, executor: Executor, progress: Progress) -> Images:
    """The images to compare."""
    few = question.starts[-1] <= _FEW
    return (_all_of if few else _near_others)(question, executor, progress)


def _all_of(question: Question, executor: Executor, progress: Progress) -> Images:
    with under_way(progress, _step(question), int(question.starts[-1]), "images") as tick:
        parts = run_all(executor, print_shard, map(question.task, question.entries), tick)
    sizes = Distinct()
    for part in parts:
        sizes.add(Shapes.of(part))
    said = Said(
        sizes=sizes.count(),
        low=sum(int(np.count_nonzero(part.deviation < LOW_INFORMATION_STD)) for part in parts),
        computed=sum(part.computed for part in parts),
        unreadable=[entry for part in parts for entry in part.unreadable],
        kept=[part.kept for part in parts],
        counted=question.counted([Captions(part.keys, part.captions, part.over_long) for part in parts]),
    )
    rows = (np.arange(len(part.keys)) for part in parts)
    return _in_order(question, list(zip(range(len(parts)), rows, parts, strict=True)), said, executor)


def _near_others(question: Question, executor: Executor, progress: Progress) -> Images:
    """Of very many images, those that may have a duplicate; shards that have some are read twice."""
    held = Held(question, executor)
    tasks = (OutlineTask(question.task(entry), held.whole, question.captions) for entry in question.entries)
    with under_way(progress, _step(question), held.count, "images") as tick:
        for outcome in executor.map(outline_shard, tasks, tick):
            held.put(outcome.index, outcome.result())
    outlines, said = held.outlines(), held.said()
    widest = question.levels[-1] if question.levels else None
    rows = candidates(outlines, widest, OnWorkers(executor, progress))
    del held, outlines
    starts = question.starts
    cuts = np.searchsorted(rows, starts)
    some = [
        (number, rows[cuts[number] : cuts[number + 1]] - starts[number]) for number in np.flatnonzero(np.diff(cuts))
    ]
    entries = question.entries
    recalls = (
        RecallTask(replace(question.task(entries[number]), kept=said.kept[number]), mine) for number, mine in some
    )
    with under_way(progress, "look at candidates", len(rows), "images") as tick:
        parts = run_all(executor, recall_rows, recalls, tick)
    known = [(int(number), mine, part) for (number, mine), part in zip(some, parts, strict=True)]
    return _in_order(question, known, said, executor)


def _step(question: Question) -> str:
    return "hash images" if question.levels else "read indexes"


def _in_order(
    question: Question, known: Sequence[tuple[int, NDArray[np.int64], ShardPrints]], said: Said, executor: Executor
) -> Images:
    """Some rows of some shards, by key, so that the result does not depend on the order of shards."""
    parts = [part for _, _, part in known]
    keys, order = in_order([part.keys for part in parts])
    counts = [len(rows) for _, rows, _ in known]
    nowhere = np.zeros(0, np.int64)
    shard = np.repeat([number for number, _, _ in known], counts).astype(np.int64)
    splits = list(question.dataset.manifest.splits)
    split = np.array([splits.index(name) for name, _ in question.dataset.manifest.shards], np.int64)
    row = np.concatenate([nowhere, *(rows for _, rows, _ in known)])
    labels = wide_text([part.labels for part in parts])
    images = Images(
        keys=keys,
        labels=one_chunk(labels.take(to_array(order, pa.int64()))),
        split=split[shard][order],
        shard=shard[order],
        row=row[order],
        shape=_joined(parts, "shape", order),
        captions=_joined(parts, "captions", order),
        prints=_NO_PRINTS,
        samples=int(question.starts[-1]),
        sizes=said.sizes,
        low=said.low,
        computed=said.computed,
        unreadable=tuple(sorted(said.unreadable)),
        counted=said.counted,
    )

    def looks(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        return question.looks(said.kept, (images.shard[rows], images.row[rows]), executor)

    exact = _joined(parts, "exact", order)
    if not question.levels:
        return replace(images, prints=replace(_NO_PRINTS, exact=exact))
    words, mirrored, deviation = (_joined(parts, name, order) for name in ("words", "mirrored", "deviation"))
    turned = join_turned([part.turned for part in parts], counts, np.argsort(order)) if parts else Turned.none()
    return replace(images, prints=Fingerprints(exact, words, mirrored, deviation, looks, turned))


def _no_looks(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    return np.zeros((len(rows), LOOK_BYTES), np.uint8)


_NO_WORDS = np.zeros((0, 5), np.uint64)
_NO_PRINTS = Fingerprints(np.zeros((0, 2), np.uint64), _NO_WORDS, _NO_WORDS, np.zeros(0, np.float32), _no_looks)
#: What each column is like if there are no shards.
_EMPTY: dict[str, NDArray[Any]] = {
    "exact": _NO_PRINTS.exact,
    "shape": np.zeros((0, 2), np.int32),
    "captions": _NO_PRINTS.exact,
    "words": _NO_WORDS,
    "mirrored": _NO_WORDS,
    "deviation": _NO_PRINTS.deviation,
}


def _joined(parts: Sequence[ShardPrints], name: str, order: NDArray[np.int64]) -> NDArray[Any]:
    return np.concatenate([_EMPTY[name], *(getattr(part, name) for part in parts)])[order]
