"""Where a loader's time goes: waits, stages, stalls and their causes; and nothing at all unless it was asked for."""

from __future__ import annotations

import pickle
import threading
from typing import TYPE_CHECKING, Any

import pytest

import wdstools as wt
from tests.support.streams import in_memory, packed
from wdstools.errors import UsageError
from wdstools.reader.metrics import STAGES, Meter

if TYPE_CHECKING:
    import numpy as np

    from wdstools import Dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return packed(tmp_path_factory.mktemp("whole"))


def test_steps_samples_and_stages_are_counted(dataset: Dataset) -> None:
    loader = wt.loader(
        dataset,
        batch_size=8,
        threads=2,
        image_transform=lambda image, random: image[: 4 + random.integers(1)],
        tokenizer=lambda texts: [len(text) for text in texts],
        metrics=True,
    )
    batches = [batch.keys for _ in range(2) for batch in loader]
    found = loader.metrics()
    assert batches == [
        batch.keys for reader in [wt.loader(dataset, batch_size=8)] for _ in range(2) for batch in reader
    ]
    assert (found.steps, found.samples) == (16, 120)
    assert found.seconds >= found.waited > 0
    assert found.wait_p99 >= found.wait_p50 > 0
    assert set(found.stages) == set(STAGES)
    assert all(found.stages[name] > 0 for name in STAGES)
    assert 0 <= found.ready <= found.ahead
    assert found.stalls["start"] > 0
    assert set(found.postfix()) == {"wait", "p99", "ready", "rate"}
    text = str(found)
    assert "16 steps, 120 samples" in text
    assert "decode" in text
    loader.metrics(reset=True)
    assert loader.metrics().steps == 0


def test_a_stall_is_blamed_on_what_took_the_time(dataset: Dataset) -> None:
    held = threading.Event()
    told: list[Any] = []

    def slow(image: Any, random: np.random.Generator) -> Any:
        held.wait(0.002)  # never set: it takes as long whatever the machine does
        return image

    loader = wt.loader(dataset, batch_size=20, threads=1, prefetch=1, image_transform=slow, metrics=told.append)
    for _ in loader:
        pass
    assert [(step.step, step.samples) for step in told] == [(1, 20), (2, 20), (3, 20)]
    assert told[0].cause == "start"
    assert [step.cause for step in told[1:]] == ["transform", "transform"]
    assert all(step.waited > 0.02 for step in told[1:])
    stalls = loader.metrics().stalls
    assert set(stalls) == {"start", "transform"}
    assert loader.metrics().stages["transform"] >= 60 * 0.002


def test_batches_that_are_ready_are_no_stall(dataset: Dataset) -> None:
    told: list[Any] = []
    loader = wt.loader(dataset, batch_size=10, threads=2, prefetch=6, metrics=told.append)
    for _ in loader:
        while not all(one.is_made() for one in _begun(loader)):
            pass
    # the second is begun when it is asked for: the first did not wait for its index
    assert [step.cause for step in told[2:]] == [None] * 4
    assert [step.ready for step in told[2:]] == [4, 3, 2, 1]


def _begun(loader: Any) -> Any:
    """The batches that are being made, or are ready."""
    frame = loader._active()._batches.gi_frame
    return () if frame is None else frame.f_locals["begun"]


@pytest.mark.parametrize("far", [False, True])
def test_time_inside_a_stage_is_counted_once(dataset: Dataset, far: bool) -> None:
    loader = wt.loader(in_memory(dataset) if far else dataset, batch_size=8, threads=1, metrics=True)
    for _ in loader:
        pass
    found = loader.metrics()
    # one thread decodes, and one trains
    assert sum(found.stages.values()) <= 2 * found.seconds
    assert found.stages["read"] > 0
    assert found.stages["check"] > 0


def test_a_loader_that_was_not_asked_measures_nothing(dataset: Dataset) -> None:
    loader = wt.loader(dataset, batch_size=8)
    for _ in loader:
        pass
    with pytest.raises(UsageError, match="has no metrics") as caught:
        loader.metrics()
    assert "metrics=True" in caught.value.hint
    kinds = {
        type(part).__module__ for part in (*loader._resources()._makers.values(), *loader._resources().payloads(None))
    }
    assert kinds == {"wdstools.reader.batch_maker", "wdstools.reader.payloads"}


def test_a_loader_that_measures_pickles(dataset: Dataset) -> None:
    loader = pickle.loads(pickle.dumps(wt.loader(dataset, batch_size=8, metrics=True)))  # noqa: S301
    assert sum(len(batch) for batch in loader) == loader.metrics().samples == 60
    assert isinstance(loader._meter, Meter)


def test_torchs_profiler_sees_the_stages(dataset: Dataset) -> None:
    torch = pytest.importorskip("torch")
    loader = wt.torch.loader(dataset, batch_size=8, metrics=True)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for _ in loader:
            pass
    names = {event.key for event in profile.key_averages()}
    assert {"wdstools.hand_out", "wdstools.index"} <= names


@pytest.mark.parametrize("bad", ["yes", 3])
def test_metrics_are_a_choice_or_a_function(dataset: Dataset, bad: Any) -> None:
    with pytest.raises(UsageError, match="metrics"):
        wt.loader(dataset, batch_size=8, metrics=bad)


def test_what_is_made_ahead_is_bounded(dataset: Dataset) -> None:
    batch = 45_000  # about: eight images of 24 by 24 pixels and their members
    told: list[Any] = []
    options: Any
    for options, most in (({"prefetch": 2}, 2), ({"memory": 100 * batch}, 3), ({"memory": 5 * batch // 2}, 1)):
        loader = wt.loader(dataset, batch_size=8, threads=2, metrics=told.append, **options)
        assert max([len(_begun(loader)) for _ in loader]) <= most
        assert loader.metrics().ahead <= most
    with pytest.raises(UsageError, match="this memory is too small for two batches") as caught:
        list(wt.loader(dataset, batch_size=8, memory=batch))
    assert caught.value.code == "memory-short"
    for bad in ("a lot", 0, "0"):
        with pytest.raises(UsageError, match="memory"):
            wt.loader(dataset, batch_size=8, memory=bad)
    assert [k for b in wt.loader(in_memory(dataset), batch_size=8, memory="6MiB") for k in b.keys] == [
        k for b in wt.loader(dataset, batch_size=8) for k in b.keys
    ]
