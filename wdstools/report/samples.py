"""The page of ``view --html``: figures, charts and some samples, in one file without scripts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wdstools.report.page import render_page
from wdstools.results import proof
from wdstools.units import count, size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from wdstools.ops.stats import StatsResult
    from wdstools.ops.tally import Histogram
    from wdstools.ops.view.sheet import Sheet

_FEW = 12
#: A caption longer than this is folded.
FOLDED = 240
_MOST_CHARACTERS = 20_000


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a chart; ``width`` is a percentage of the longest."""

    name: str
    number: int
    width: float


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars below a title; ``more`` counts the bars that are left out."""

    title: str
    note: str
    bars: tuple[Bar, ...]
    more: int = 0


def render_samples(sheet: Sheet, where: str) -> str:
    """The HTML text; ``where`` is the dataset's address. The same samples give the same text."""
    return render_page(
        "samples.html",
        stats=sheet.stats,
        cards=sheet.cards,
        missing=sheet.without_picture,
        where=where,
        charts=list(charts(sheet.stats)),
        proof=proof(sheet.stats.proved)["proof"],
        folded=FOLDED,
        most=_MOST_CHARACTERS,
    )


def charts(stats: StatsResult) -> Iterable[Chart]:
    """The statistics as charts."""
    splits = [(name, sum(labels.values())) for name, labels in stats.counts.items()]
    yield _chart("Splits", "", splits)
    labels = [(name, sum(counts.get(name, 0) for counts in stats.counts.values())) for name in stats.labels]
    if len(labels) > 1 or (labels and labels[0][0]):
        yield _chart("Labels", "", [(name or "(no label)", number) for name, number in labels])
    if stats.shapes:
        yield _chart("Most common sizes", "", [(f"{one.width}x{one.height}", one.images) for one in stats.shapes])
    for title, found, shown in (
        ("Width, pixels", stats.widths, "{:,}".format),
        ("Height, pixels", stats.heights, "{:,}".format),
        ("Bytes of an image", stats.image_bytes, size),
        ("Caption, characters", stats.caption_lengths, "{:,}".format),
    ):
        if found is not None:
            yield _histogram(title, found, shown)
    if stats.hashtags:
        about = "" if stats.hashtags_exact else "at least "
        tags = [(one.tag, one.captions) for one in stats.hashtags]
        yield _chart("Hashtags", f"{about}{stats.distinct_hashtags:,} different", tags)


def _chart(title: str, note: str, rows: list[tuple[str, int]], most: int = _FEW) -> Chart:
    top = max([1, *(number for _, number in rows)])
    bars = tuple(Bar(name, number, round(100 * number / top, 2)) for name, number in rows[:most])
    return Chart(title, note, bars, max(0, len(rows) - most))


def _histogram(title: str, found: Histogram, shown: Callable[[int], str]) -> Chart:
    if found.least == found.most:
        return Chart(title, f"{shown(found.least)}, all {found.values:,}", ())
    mean = size(found.mean) if shown is size else count(found.mean)
    note = f"{shown(found.least)} to {shown(found.most)}, median {shown(found.median)}, mean {mean}"
    names = found.ranges(shown)
    return _chart(title, note, [*zip(names, found.counts, strict=True)], len(names))
