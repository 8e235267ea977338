"""Outlines of very many images as they arrive from workers: columns in memory or in mapped files."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.dedup.candidates import Outlines
from wdstools.dedup.groups import Fingerprints, Turned
from wdstools.formats.arrow import each_once
from wdstools.memory import many_rows
from wdstools.ops.duplicates.question import Said
from wdstools.stores.local import translated

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wdstools.executors.base import Executor
    from wdstools.ops.duplicates.question import Question
    from wdstools.reader.outline import Captions, Outline, Shapes

#: Words are sorted together once this many have arrived.
_AT_ONCE = 1 << 22


class Held:
    """Outlines of shards in any order: columns with a row for each image, in memory or in mapped files."""

    def __init__(self, question: Question, executor: Executor) -> None:
        self._question = question
        self._executor = executor
        self._starts = question.starts
        self.count = int(self._starts[-1])
        self.whole = bool(question.levels) and question.levels[-1].flips
        pixels = self.count if question.levels else 0
        self._exact = _column(self.count, np.uint64)
        self._shape = _column(self.count if question.by_size else 0, np.uint64)
        self._first = _column(0 if self.whole else pixels, np.uint64)
        self._hashed = np.zeros(pixels, np.bool_)
        whole = pixels if self.whole else 0
        self._deviation = _column(whole, np.float32)
        self._words, self._mirrored = (_column(5 * whole, np.uint64).reshape(-1, 5) for _ in range(2))
        self._turned: dict[int, Turned] = {}
        self._sizes = Distinct()
        self._said = Said(0, 0, 0, [], [""] * len(question.entries), None)
        self._captions: dict[int, Captions] = {}

    def put(self, number: int, outline: Outline) -> None:
        """Take the outline of a shard."""
        mine = slice(int(self._starts[number]), int(self._starts[number + 1]))
        self._exact[mine] = outline.exact
        for column, given in (
            (self._shape, outline.shapes.words),
            (self._first, outline.first),
            (self._hashed, ~np.isnan(outline.deviation)),
            (self._deviation, outline.deviation),
            (self._words, outline.words),
            (self._mirrored, outline.mirrored),
        ):
            if len(column):
                column[mine] = given
        if len(outline.turned.rows):
            self._turned[number] = outline.turned._replace(rows=outline.turned.rows + mine.start)
        if outline.captions is not None:
            self._captions[number] = outline.captions
        self._sizes.add(outline.shapes)
        self._said.unreadable.extend(outline.unreadable)
        self._said.kept[number] = outline.kept
        self._said = replace(
            self._said, low=self._said.low + outline.low, computed=self._said.computed + outline.computed
        )

    def said(self) -> Said:
        """What is known about all images, once all have arrived."""
        captions = [self._captions[number] for number in sorted(self._captions)]
        return replace(self._said, sizes=self._sizes.count(), counted=self._question.counted(captions))

    def outlines(self) -> Outlines:
        """All outlines."""
        equal = (self._exact, self._shape) if len(self._shape) else (self._exact,)
        return Outlines(equal, self._first, self._hashed, self._fingerprints() if self.whole else None)

    def _fingerprints(self) -> Fingerprints:
        parts = [self._turned[number] for number in sorted(self._turned)]
        turned = Turned(*map(np.concatenate, zip(Turned.none(), *parts, strict=True)))
        behind = None
        if parts:
            behind = (_longer(self._words, turned.words), _longer(self._mirrored, turned.mirrored))
            self._words, self._mirrored = (column[: self.count] for column in behind)
        kept = self._said.kept

        def looks(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
            shard = np.searchsorted(self._starts, rows, "right") - 1
            return self._question.looks(kept, (shard, rows - self._starts[shard]), self._executor)

        nothing = np.zeros((0, 2), np.uint64)
        return Fingerprints(nothing, self._words, self._mirrored, self._deviation, looks, turned, behind)


def _column(count: int, kind: type[Any]) -> NDArray[Any]:
    with translated(tempfile.gettempdir()):
        return many_rows(count, np.dtype(kind).itemsize).reshape(-1).view(kind)


def _longer(column: NDArray[np.uint64], more: NDArray[np.uint64]) -> NDArray[np.uint64]:
    made = _column(5 * (len(column) + len(more)), np.uint64).reshape(-1, 5)
    for start in range(0, len(column), _AT_ONCE):
        some = slice(start, min(start + _AT_ONCE, len(column)))
        made[some] = column[some]
    made[len(column) :] = more
    return made


class Distinct:
    """Counts distinct shapes, in memory for the distinct ones and some millions more."""

    def __init__(self) -> None:
        self._known = np.zeros(0, np.uint64)
        self._held: list[NDArray[np.uint64]] = []
        self._waiting = 0
        self._odd: set[tuple[int, ...]] = set()

    def add(self, shapes: Shapes) -> None:
        """Add the shapes of a shard."""
        self._odd |= shapes.odd
        self._held.append(each_once(np.delete(shapes.words, shapes.odd_rows)))
        self._waiting += len(self._held[-1])
        if self._waiting > max(_AT_ONCE, len(self._known)):
            self.count()

    def count(self) -> int:
        """How many distinct shapes there are so far."""
        self._known = each_once(np.concatenate((self._known, *self._held)))
        self._held.clear()
        self._waiting = 0
        return len(self._known) + len(self._odd)
