"""The filters of a gallery, and the rows of a shard that they select."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

from wdstools.dedup.levels import LEVEL_NAMES
from wdstools.errors import UsageError, option
from wdstools.formats.arrow import one_chunk, to_numpy
from wdstools.ops.view.catalogue import BYTES, SOURCE
from wdstools.reader.select import Selection, parse_where

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from wdstools.dataset import Dataset

#: No sensible search is longer than this, or has more words.
_MOST_CHARACTERS, _MOST_WORDS = 1_000, 32
_MOST_NUMBER = 2**53
NO_LABEL = ""


@dataclass(frozen=True, slots=True)
class Filters:
    """Which samples to show: those that meet every given condition. Equal filters show the same samples.

    All ``words`` occur in the caption or the key, in any case. ``sides`` bounds the shorter side in pixels, and ``bytes``
    the total size of the payloads, both inclusive; None means no bound. ``label`` is "" for samples without one.
    ``damaged``: those that a check found damaged. ``same``: those that have a duplicate at this level.
    """

    words: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    label: str | None = None
    sides: tuple[int | None, int | None] = (None, None)
    bytes: tuple[int | None, int | None] = (None, None)
    where: str = ""
    damaged: bool = False
    same: str = ""

    @property
    def needs_rows(self) -> bool:
        """Whether more than the manifest is needed to tell which samples to show."""
        return self != Filters(splits=self.splits)

    def needs_source(self, base: Selection) -> bool:
        """Whether a condition uses the source of samples."""
        conditions = (base.where, parse_where(self.where) if self.where else None)
        return any(one is not None and SOURCE in one.columns for one in conditions)

    def added(self, base: Selection) -> frozenset[str]:
        """The added fields that conditions name."""
        return base.added | (parse_where(self.where).added if self.where else frozenset())

    def check(self, dataset: Dataset) -> None:
        """Refuse a condition on a column that the dataset does not have; raises UsageError."""
        if self.where:
            Selection(where=parse_where(self.where)).check(dataset, by_members=True)

    def mask(self, split: str, table: pa.Table, base: Selection) -> NDArray[np.bool_]:
        """Which rows of a shard to show, as far as its own columns tell; ``base`` is the viewer's own selection."""
        rows = table.num_rows
        if self.splits and split not in self.splits:
            return np.zeros(rows, bool)
        chosen = np.ones(rows, bool) if base.is_everything else base.mask(split, table)
        if self.where:
            chosen = chosen & Selection(where=parse_where(self.where)).mask(split, table)
        if self.label is not None:
            chosen = chosen & _labelled(table, self.label)
        for (least, most), values in ((self.sides, _shorter_side), (self.bytes, _bytes)):
            if least is not None or most is not None:
                numbers = values(table)
                chosen = chosen & (numbers >= (least or 0)) & (numbers <= (_MOST_NUMBER if most is None else most))
        for word in self.words:
            if not chosen.any():
                break
            chosen = chosen & _holds(table, word)
        return chosen


def filters_of(given: Mapping[str, Sequence[str]], splits: Sequence[str]) -> Filters:
    """Filters from a page's query string; raises UsageError for invalid ones."""
    known = {"q", "split", "label", "side_min", "side_max", "bytes_min", "bytes_max", "where", "damaged", "same"}
    if stranger := next((name for name in given if name not in known), None):
        raise UsageError("no such filter", where=stranger[:40], expected=", ".join(sorted(known)))

    def one(name: str) -> str:
        return given[name][-1] if given.get(name) else ""

    text = one("q")
    if len(text) > _MOST_CHARACTERS:
        raise UsageError("the search is too long", where="q", expected=f"at most {_MOST_CHARACTERS:,} characters")
    chosen = tuple(split for split in splits if split in given.get("split", ()))
    if unknown := next((split for split in given.get("split", ()) if split not in splits), None):
        raise UsageError("no such split", code="split-missing", where=unknown[:100], expected=", ".join(splits))
    same = one("same")
    if same not in ("", *LEVEL_NAMES):
        raise UsageError("no such level", where=option("same"), expected=", ".join(LEVEL_NAMES), got=same[:40])
    where = one("where").strip()
    if where:
        parse_where(where)
    return Filters(
        words=tuple(text.split()[:_MOST_WORDS]),
        splits=() if len(chosen) == len(splits) else chosen,
        label=one("label") if "label" in given else None,
        sides=(_number(given, "side_min"), _number(given, "side_max")),
        bytes=(_number(given, "bytes_min"), _number(given, "bytes_max")),
        where=where,
        damaged=one("damaged") == "1",
        same=same,
    )


def _number(given: Mapping[str, Sequence[str]], name: str) -> int | None:
    text = given[name][-1].strip() if given.get(name) else ""
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 15):
        raise UsageError("not a whole number", where=name, got=text[:40])
    return int(text)


def _labelled(table: pa.Table, label: str) -> NDArray[np.bool_]:
    column = one_chunk(table.column("label"))
    if label == NO_LABEL:
        return _bools(pc.or_kleene(pc.is_null(column), pc.equal(column, "")))
    return _bools(pc.equal(column, label))


def _holds(table: pa.Table, word: str) -> NDArray[np.bool_]:
    """Rows whose caption or key contains a word."""
    columns = (one_chunk(table.column(name)) for name in ("caption", "key"))
    caption, key = (_bools(pc.match_substring(column, word, ignore_case=True)) for column in columns)
    return caption | key


def _shorter_side(table: pa.Table) -> NDArray[np.int64]:
    width, height = (to_numpy(table.column(name), null=-1).astype(np.int64) for name in ("width", "height"))
    return np.minimum(width, height)


def _bytes(table: pa.Table) -> NDArray[np.int64]:
    return to_numpy(table.column(BYTES)).astype(np.int64)


def _bools(mask: Any) -> NDArray[np.bool_]:
    """An Arrow mask as booleans; null is False."""
    return np.asarray(pc.fill_null(mask, False).to_pylist(), bool)
