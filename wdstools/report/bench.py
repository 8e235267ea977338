"""The page of a bench run: speeds against their limits, the time of every batch, batches by threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wdstools.report.page import render_page

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wdstools.ops.bench import BenchResult
    from wdstools.ops.bench.result import Limit, Speed

#: The size of the plot in its own units. It is stretched to the page, so its labels are outside it.
_PLOT_WIDTH, _PLOT_HEIGHT = 1000.0, 200.0
#: Batches slower than this multiple of the 99th percentile are drawn at the upper edge.
_HEADROOM = 2.0


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: ``width`` and ``limit`` are percentages of the chart's width; a bar may be longer than its limit."""

    name: str
    width: float
    limit: float
    text: str
    detail: str


@dataclass(frozen=True, slots=True)
class Plot:
    """Batch times as points ``x, y, ms``; ``beyond`` are those above the upper edge; ``lines`` are the marked heights."""

    points: tuple[tuple[float, float, float], ...]
    beyond: tuple[tuple[float, float], ...]
    lines: tuple[tuple[str, float, float], ...]
    top: float


def bench_page(result: BenchResult) -> str:
    """The HTML text of a bench run, one self-contained file; the same result gives the same text."""
    limits = {limit.name: limit for limit in result.limits}
    most = max([1.0, *result.scaling.values()])
    return render_page(
        "bench.html",
        result=result,
        speeds=_bars(_against_limit(speed, limits) for speed in result.speeds),
        peers=_bars(_beside(speed, result) for speed in (result.batches, *result.peers)) if result.peers else (),
        scaling=_bars(
            (f"{threads} thread{'s' * (threads > 1)}", rate / most, f"{rate:,.0f}/s", "")
            for threads, rate in result.scaling.items()
        ),
        plot=plot_batches(result),
        plot_width=_PLOT_WIDTH,
        plot_height=_PLOT_HEIGHT,
    )


def _bars(rows: Iterable[tuple[str, float, str, str]]) -> tuple[Bar, ...]:
    """Bars on one scale: if one exceeds 100 %, 100 % is less than the width of the chart."""
    listed = list(rows)
    most = max([1.0, *(part for _, part, _, _ in listed)])
    return tuple(
        Bar(name, round(100 * part / most, 2), round(100 / most, 2), text, detail)
        for name, part, text, detail in listed
    )


def _against_limit(speed: Speed, limits: dict[str, Limit]) -> tuple[str, float, str, str]:
    text = f"{speed.samples_per_s:,.0f}/s"
    if speed.share is None or speed.limit is None:
        return speed.name, 0.0, text, ""
    limit = limits[speed.limit]
    detail = f"{speed.limit}: {limit.samples_per_s:,.0f}/s ({limit.how})"
    return speed.name, speed.share, f"{text}, {100 * speed.share:.0f} % of {speed.limit}", detail


def _beside(speed: Speed, result: BenchResult) -> tuple[str, float, str, str]:
    most = max(one.samples_per_s for one in (result.batches, *result.peers))
    name = "wdstools" if speed is result.batches else speed.name
    times = "" if speed.share is None or speed is result.batches else f", {speed.share:.2f} of wdstools"
    return name, speed.samples_per_s / most, f"{speed.samples_per_s:,.0f}/s{times}", ""


def plot_batches(result: BenchResult) -> Plot:
    """Where to draw the time of each batch; 0 ms is the lower edge."""
    top = max(1e-6, min(max(result.batch_ms), _HEADROOM * result.p99_ms) * 1.05)
    step = _PLOT_WIDTH / len(result.batch_ms)
    points, beyond = [], []
    for number, ms in enumerate(result.batch_ms):
        x = round(step * (number + 0.5), 1)
        if ms > top:
            beyond.append((x, ms))
        else:
            points.append((x, _height(ms, top), ms))
    lines = (("p50", result.p50_ms, _height(result.p50_ms, top)), ("p99", result.p99_ms, _height(result.p99_ms, top)))
    return Plot(tuple(points), tuple(beyond), lines, top)


def _height(ms: float, top: float) -> float:
    return round(_PLOT_HEIGHT * (1 - ms / top), 1)
