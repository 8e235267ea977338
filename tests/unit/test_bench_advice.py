"""What bench says to do, drawn from figures alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wdstools.ops.bench.advice import Figures, advise, find_bottleneck, threads_for
from wdstools.ops.bench.result import Limit

SAMPLE_BYTES = 20_000


def _limit(name: str, samples_per_s: float, how: str = "") -> Limit:
    return Limit(name, samples_per_s, samples_per_s * SAMPLE_BYTES, how)


#: A machine that is bound by its decoder, with everything else in plenty.
DECODER_BOUND = Figures(
    limits={
        limit.name: limit
        for limit in (
            _limit("memory", 800_000),
            _limit("storage, cold", 50_000),
            _limit("storage, warm", 400_000),
            _limit("hash", 900_000),
            _limit("decoder", 8_000, "2 threads in tight loops"),
        )
    },
    storage="storage, warm",
    rate=7_000,
    share=0.88,
    scaling={1: 3_900.0, 2: 7_000.0},
    cores=2,
    shards=8,
    bytes=320_000_000,
    samples=16_000,
    mixing=1.0,
    shuffle="full",
)


def _with_limit(figures: Figures, limit: Limit) -> Figures:
    return replace(figures, limits={**figures.limits, limit.name: limit})


def _said(figures: Figures, topic: str) -> list[str]:
    return [sentence for sentence in advise(figures) if sentence.startswith(topic)]


def test_a_decoder_that_is_nearly_reached_is_the_bottleneck() -> None:
    assert find_bottleneck(DECODER_BOUND) == "decoder"
    first = advise(DECODER_BOUND)[0]
    assert "88 %" in first
    assert "storage could give 57 times as much" in first


def test_slow_storage_is_named_with_what_the_decoder_could_take() -> None:
    figures = replace(_with_limit(DECODER_BOUND, _limit("storage, cold", 5_000)), storage="storage, cold", rate=4_900)
    assert find_bottleneck(figures) == "storage, cold"
    first = advise(figures)[0]
    for text in ("100 MB/s", "5,000 samples/s", "8,000 images/s", "local copy"):
        assert text in first


def test_a_cold_disk_does_not_bind_what_the_page_cache_holds_but_the_first_epoch_is_warned_of() -> None:
    figures = _with_limit(DECODER_BOUND, _limit("storage, cold", 5_000))
    assert find_bottleneck(figures) == "decoder"
    (warning,) = _said(figures, "first epoch")
    assert "5,000 samples/s (100 MB/s)" in warning
    assert _said(DECODER_BOUND, "first epoch") == []


def test_batches_far_below_every_limit_are_the_loaders_own_fault() -> None:
    figures = replace(DECODER_BOUND, rate=2_000, share=0.25)
    assert find_bottleneck(figures) == "loader"
    assert "only 25 % of the lowest limit (decoder, 8,000 samples/s)" in advise(figures)[0]


@pytest.mark.parametrize("name", ["memory", "hash"])
def test_any_other_limit_can_be_the_lowest(name: str) -> None:
    figures = _with_limit(DECODER_BOUND, _limit(name, 7_100))
    assert find_bottleneck(figures) == name
    assert advise(figures)[0].startswith(f"{name}: batches reach 99 %")


@pytest.mark.parametrize(("rate", "threads"), [(1, 1), (3_900, 1), (3_901, 2), (20_000, 6)])
def test_threads_for_a_rate_are_rounded_up(rate: float, threads: int) -> None:
    assert threads_for(rate, 3_900) == threads


def test_a_wanted_rate_is_answered_and_told_when_it_is_out_of_reach() -> None:
    near, far = replace(DECODER_BOUND, wanted=5_000.0), replace(DECODER_BOUND, wanted=9_000.0)
    assert "5,000 images/s need 2 (this machine has 2 cores)" in _said(near, "threads")[0]
    assert _said(near, "wanted") == []
    assert "9,000 images/s are more than the 7,000" in _said(far, "wanted")[0]


def test_shards_that_are_too_small_too_large_or_too_few_are_advised_on() -> None:
    small = replace(DECODER_BOUND, bytes=400_000_000, samples=20_000, shards=400)
    assert "pack with --shard-samples 10000" in _said(small, "shards")[0]
    large = replace(DECODER_BOUND, bytes=60_000_000_000)
    assert "7.5 GB each is too large" in _said(large, "shards")[0]
    few = replace(DECODER_BOUND, shards=3, cores=8)
    assert "leave 5 of 8 workers without one" in _said(few, "shards")[0]
    assert _said(DECODER_BOUND, "shards") == []


def test_a_badly_mixed_order_is_told() -> None:
    assert "0.40 of a true permutation" in _said(replace(DECODER_BOUND, shuffle="block", mixing=0.4), "order")[0]
    assert _said(replace(DECODER_BOUND, shuffle="block", mixing=0.95), "order") == []


@pytest.mark.parametrize(("others", "said"), [(0.1, 0), (0.9, 1)])
def test_other_programs_at_work_make_rates_worth_little_and_that_is_said(others: float, said: int) -> None:
    assert len(_said(replace(DECODER_BOUND, others=others), "others")) == said


def _with_steps(one: float, together: float) -> Figures:
    steps = (
        _limit("decoder, 1 thread", 4_000),
        _limit("pipeline, 1 thread", one),
        _limit("pipeline", together, "2 do"),
    )
    return replace(
        DECODER_BOUND,
        rate=0.9 * together,
        share=0.9,
        limits={**DECODER_BOUND.limits, **{limit.name: limit for limit in steps}},
    )


def test_steps_that_bound_are_named_with_what_they_cost() -> None:
    figures = _with_steps(1_000, 2_000)
    assert find_bottleneck(figures) == "pipeline"
    assert "90 % of what 2 do" in advise(figures)[0]
    assert _said(figures, "steps: ") == [
        "steps: 0.75 of the 1.00 ms that an image takes in one thread, decoding the rest."
    ]
    assert _said(figures, "lock: ") == []


def test_steps_that_hold_the_lock_are_told_where_nobody_else_is_at_work() -> None:
    assert "2 threads take 1,100 images/s" in _said(_with_steps(1_000, 1_100), "lock: ")[0]
    assert _said(replace(_with_steps(1_000, 1_100), others=1.5), "lock: ") == []
    assert _said(replace(_with_steps(1_000, 1_100), cores=1), "lock: ") == []
