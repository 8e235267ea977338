"""The page of a bench run: its geometry, and what a browser shows of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from wdstools.ops.bench import BenchResult
from wdstools.ops.bench.result import Limit, Speed
from wdstools.report.bench import bench_page, plot_batches

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.browser import Browser

RESULT = BenchResult(
    dataset="Cities <script>alert(1)</script> & more",
    root="ab" * 32,
    at="/shards",
    split="train",
    samples=16_000,
    bytes=330_000_000,
    shards=8,
    shuffle="full",
    batch_size=64,
    threads=2,
    cores=2,
    machine={"cpu": "a processor", "python": "3.11"},
    limits=(Limit("hash", 600_000, 12e9, "one thread"), Limit("decoder", 8_000, 160e6, "2 threads in tight loops")),
    speeds=(
        Speed("verified", 150_000, 3e9, 0.99, "hash", 0.25),
        Speed("decoded", 3_900, 78e6, 1.0),
        Speed("batches", 7_000, 140e6, 1.95, "decoder", 0.875),
    ),
    scaling={1: 3_800.0, 2: 7_000.0},
    first_batch_ms=81.0,
    p50_ms=9.0,
    p99_ms=20.0,
    batch_ms=(8.0, 9.0, 10.0, 20.0, 500.0),
    peak_memory_bytes=121_000_000,
    mixing=1.0,
    bottleneck="decoder",
    advice=("decoder: batches reach 88 %.", "threads: one gives 3,800 images/s here."),
    peers=(Speed("webdataset", 1_750, 35e6, None, "batches", 0.25),),
)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "bench.html"
    path.write_text(bench_page(RESULT), encoding="utf-8")
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_opens_without_errors_and_asks_for_nothing_else(browser: Browser, page: Path, scheme: str) -> None:
    with browser.open(page, color_scheme=scheme) as opened:
        assert opened.errors == []
        assert opened.asked == [page.as_uri()]
        assert opened.texts("h1") == ["Cities <script>alert(1)</script> & more: 7,000 samples/s"]
        assert opened.texts("#advice li") == list(RESULT.advice)


def test_every_bar_is_as_long_as_its_share(browser: Browser, page: Path) -> None:
    with browser.open(page) as opened:
        for section, shares in (("speeds", [0.25, 0.875]), ("peers", [1, 0.25]), ("scaling", [3_800 / 7_000, 1])):
            tracks, bars = (
                opened.page.eval_on_selector_all(
                    f"#{section} {kind}", "all => all.map(one => one.getBoundingClientRect().width)"
                )
                for kind in (".limit", ".reached")
            )
            assert [bar / track for bar, track in zip(bars, tracks, strict=True)] == pytest.approx(shares, abs=0.01)


@pytest.mark.parametrize("width", [400, 1200])
def test_everything_is_readable_in_a_narrow_and_in_a_wide_window(browser: Browser, page: Path, width: int) -> None:
    outside = """all => all.filter(one => {
        const box = one.getBoundingClientRect();
        return box.left < 0 || box.right > innerWidth + 1 || parseFloat(getComputedStyle(one).fontSize) < 11;
    }).map(one => one.textContent)"""
    with browser.open(page, viewport={"width": width, "height": 800}) as opened:
        assert opened.page.locator("#latency .names").count() == 2
        assert opened.page.eval_on_selector_all(".bar span, .plot span, h1, h2, li, figcaption", outside) == []
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
        names = opened.page.locator("#speeds .name").all_inner_texts()
        assert names == ["verified", "decoded", "batches"]


def test_a_bar_may_be_longer_than_its_limit(browser: Browser, tmp_path: Path) -> None:
    speeds = (Speed("batches", 12_000, 240e6, 2, "decoder", 1.5), Speed("decoded", 4_000, 80e6, 1, "decoder", 0.5))
    path = tmp_path / "bench.html"
    path.write_text(bench_page(replace(RESULT, speeds=speeds)), encoding="utf-8")
    with browser.open(path) as opened:
        widths = {
            kind: opened.page.eval_on_selector_all(
                f"#speeds {kind}", "all => all.map(one => one.getBoundingClientRect().width)"
            )
            for kind in (".track", ".limit", ".reached")
        }
        assert [bar / limit for bar, limit in zip(widths[".reached"], widths[".limit"], strict=True)] == pytest.approx(
            [1.5, 0.5], abs=0.02
        )
        assert widths[".reached"][0] == pytest.approx(widths[".track"][0], abs=1)
        assert opened.texts("#peers .value")[0] == "4,000/s"  # ours is compared with nothing
        assert "150 % of decoder" in "".join(opened.texts("#speeds .value"))


def test_each_batch_is_a_dot_and_one_off_the_scale_is_a_mark_at_the_edge(browser: Browser, page: Path) -> None:
    with browser.open(page) as opened:
        assert opened.page.locator("#latency .dot").count() == 4
        assert opened.page.locator("#latency .beyond").count() == 1
        assert "the longest took 500 ms" in opened.texts("#latency figcaption")[0]


def test_a_longer_time_is_drawn_higher() -> None:
    plot = plot_batches(RESULT)
    heights = [y for _, y, _ in plot.points]
    assert heights == sorted(heights, reverse=True)
    assert all(0 <= y <= 200 for y in heights)
    assert [ms for _, ms in plot.beyond] == [500.0]


def test_batches_that_all_took_no_time_can_be_drawn() -> None:
    still = replace(RESULT, batch_ms=(0.0,), p50_ms=0.0, p99_ms=0.0)
    assert plot_batches(still).points[0][1] == 200


def test_the_same_result_gives_the_same_page_without_peers_too() -> None:
    assert bench_page(RESULT) == bench_page(replace(RESULT))
    assert "Other loaders" in bench_page(RESULT)
    assert "Other loaders" not in bench_page(replace(RESULT, peers=()))
