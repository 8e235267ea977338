"""Turn the figures into advice: the bottleneck, and what to change. Pure: figures in, sentences out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wdstools.ops.bench.result import Limit

#: A loader that reaches this share of a limit is bound by it.
BOUND = 0.75
#: Mixing of batches below this is worth mentioning.
_WELL_MIXED = 0.9
#: If other programs keep more than this share of the cores busy, rates mean little.
BUSY = 0.1
#: Good sizes of shards: large enough that a request costs little, small enough to be fetched again.
_SMALL_SHARD, _LARGE_SHARD = 32_000_000, 5_000_000_000
_FEEDS = (1_000, 5_000, 20_000)
_ONE = ", 1 thread"
#: Threads that together are not this many times as fast as one thread wait for each other.
_HELD = 1.3


@dataclass(frozen=True, slots=True)
class Figures:
    """What the advice is based on. Rates are in samples per second; ``limits`` are by name.

    ``storage`` is the limit that storage sets once training runs: ``storage, cold`` if the dataset is remote or does not
    fit into the page cache, else ``storage, warm``. ``share`` is how much of the decoder's limit, or of the pipeline's if
    there is one, batches reached, measured side by side. ``scaling`` is the rate of batches by number of threads.
    ``wanted`` is the rate to reach, if any. ``others`` is how many cores other programs kept busy meanwhile.
    """

    limits: Mapping[str, Limit]
    storage: str
    rate: float
    share: float
    scaling: Mapping[int, float]
    cores: int
    shards: int
    bytes: int
    samples: int
    mixing: float
    shuffle: str | None
    wanted: float | None = None
    others: float = 0.0


def find_bottleneck(figures: Figures) -> str:
    """The lowest limit if batches come close to it, else ``loader``."""
    lowest = _lowest(figures)
    return lowest.name if _share(figures, lowest) >= BOUND else "loader"


def advise(figures: Figures) -> tuple[str, ...]:
    """Sentences, the bottleneck first; each says what was measured and what to do."""
    return (
        _about_bottleneck(figures),
        *_about_pipeline(figures),
        *_about_others(figures),
        *_about_first_epoch(figures),
        *_about_threads(figures),
        *_about_shards(figures),
    )


def _lowest(figures: Figures) -> Limit:
    other = {"storage, cold", "storage, warm"} - {figures.storage}
    steady = [limit for name, limit in figures.limits.items() if name not in other and not name.endswith(_ONE)]
    return min(steady, key=lambda limit: limit.samples_per_s)


def _about_bottleneck(figures: Figures) -> str:
    name = find_bottleneck(figures)
    storage, decoder = figures.limits[figures.storage], figures.limits["decoder"]
    if name == "decoder":
        spare = storage.samples_per_s / figures.rate
        return (
            f"decoder: batches reach {_percent(figures, decoder)} of what {decoder.how} decode; storage could give "
            f"{spare:.0f} times as much. More cores or smaller images (pack --resize) help; faster storage does not."
        )
    if name == "pipeline":
        limit = figures.limits[name]
        return f"pipeline: batches reach {_percent(figures, limit)} of what {limit.how}: only faster steps or more cores help."
    if name.startswith("storage"):
        return (
            f"storage: {storage.bytes_per_s / 1e6:,.0f} MB/s is {storage.samples_per_s:,.0f} samples/s, your decoder "
            f"could take {decoder.samples_per_s:,.0f} images/s: read larger blocks (--shuffle block) or keep a local copy."
        )
    if name == "loader":
        lowest = _lowest(figures)
        return (
            f"loader: batches reach only {_percent(figures, lowest)} of the lowest limit ({lowest.name}, "
            f"{lowest.samples_per_s:,.0f} samples/s): look for other busy programs, and try another --threads."
        )
    return f"{name}: batches reach {_percent(figures, figures.limits[name])} of it: only a faster machine helps."


def _about_pipeline(figures: Figures) -> Iterator[str]:
    """What the steps cost in addition to decoding, and whether they hold Python's lock."""
    limits = figures.limits
    if "pipeline" not in limits:
        return
    one, decoder = limits["pipeline" + _ONE].samples_per_s, limits["decoder" + _ONE].samples_per_s
    steps = max(0.0, 1 - one / decoder)
    yield f"steps: {1e3 * steps / one:.2f} of the {1e3 / one:.2f} ms that an image takes in one thread, decoding the rest."
    together, threads = limits["pipeline"].samples_per_s, max(figures.scaling)
    busy = figures.others > BUSY * figures.cores  # threads that wait for other programs look the same
    if min(threads, figures.cores) > 1 and together < _HELD * one and not busy:
        yield (
            f"lock: {threads} threads take {together:,.0f} images/s through the steps, one takes {one:,.0f}: they wait for "
            "Python's lock. Steps of wt.image, numpy, Pillow or cv2 release it; wt.loader(..., workers='processes') avoids it."
        )


def _about_others(figures: Figures) -> Iterator[str]:
    if figures.others > BUSY * figures.cores:
        yield (
            f"others: other programs kept {figures.others:.1f} of {figures.cores} cores busy meanwhile: shares of limits are valid, "
            "rates and numbers of threads are not. Measure again when they have finished."
        )


def _about_first_epoch(figures: Figures) -> Iterator[str]:
    cold = figures.limits.get("storage, cold")
    if cold and figures.storage != cold.name and cold.samples_per_s < figures.rate:
        yield (
            f"first epoch: a cold disk gives {cold.samples_per_s:,.0f} samples/s ({cold.bytes_per_s / 1e6:,.0f} MB/s), "
            f"fewer than the {figures.rate:,.0f} once the dataset is in the page cache: read it once before training "
            "(wdstools verify does)."
        )


def _about_threads(figures: Figures) -> Iterator[str]:
    """The threads needed for one GPU, from the rate of one thread; and whether a wanted rate can be reached."""
    one = figures.scaling[min(figures.scaling)] / min(figures.scaling)
    best = max(figures.scaling.values())
    wanted = [figures.wanted] if figures.wanted else [float(feed) for feed in _FEEDS]
    needs = ", ".join(f"{feed:,.0f} images/s need {threads_for(feed, one)}" for feed in wanted)
    yield f"threads: one gives {one:,.0f} images/s here, so {needs} (this machine has {figures.cores} cores)."
    if figures.wanted and figures.wanted > best:
        yield f"wanted: {figures.wanted:,.0f} images/s are more than the {best:,.0f} that this machine reaches."


def threads_for(rate: float, one: float) -> int:
    """How many threads it takes for ``rate`` images per second if one thread does ``one``; at least 1."""
    return max(1, math.ceil(rate / one))


def _about_shards(figures: Figures) -> Iterator[str]:
    mean = figures.bytes / figures.shards
    if mean > _LARGE_SHARD:
        yield f"shards: {mean / 1e9:.1f} GB each is too large to fetch again after a fault: pack with more --shards."
    elif mean < _SMALL_SHARD and figures.bytes > 10 * _SMALL_SHARD:
        fitting = math.ceil(figures.samples * 200_000_000 / figures.bytes / 1000) * 1000
        yield (
            f"shards: {figures.shards:,} of {mean / 1e6:.1f} MB each; on remote storage each one costs a request: pack with "
            f"--shard-samples {fitting} for about 200 MB."
        )
    if figures.shards < figures.cores:
        yield (
            f"shards: {figures.shards} in this split. wdstools can read them with any number of workers; loaders that assign whole "
            f"shards (webdataset) leave {figures.cores - figures.shards} of {figures.cores} workers without one."
        )
    if figures.shuffle == "block" and figures.mixing < _WELL_MIXED:
        yield f"order: blocks mix to {figures.mixing:.2f} of a true permutation; --shuffle full mixes fully."


def _share(figures: Figures, limit: Limit) -> float:
    beside = "pipeline" if "pipeline" in figures.limits else "decoder"
    return figures.share if limit.name == beside else figures.rate / limit.samples_per_s


def _percent(figures: Figures, limit: Limit) -> str:
    return f"{100 * _share(figures, limit):.0f} %"
