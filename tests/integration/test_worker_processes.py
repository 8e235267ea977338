"""Batches made by worker processes: the same ones in the same order, whatever happens to the processes."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import wdstools as wt
from tests.support.streams import flip, in_memory, open_files, packed
from wdstools.errors import UsageError, WorkerError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wdstools import Dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return packed(tmp_path_factory.mktemp("small"), train=40, val=4)


@pytest.fixture(autouse=True)
def nobody_stays() -> Iterator[None]:
    """Every test ends its workers, or lets them be collected."""
    yield
    gc.collect()
    deadline = time.monotonic() + 20
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert multiprocessing.active_children() == []


def noisy(image: Any, random: np.random.Generator) -> Any:
    return image[:16, :16] + random.random((16, 16, 1), np.float32)


def read(loader: wt.reader.loader.Loader) -> list[tuple[Any, ...]]:
    return [
        (list(batch.keys), np.asarray(batch.images).copy(), list(batch.captions), batch.mask.tolist(), batch.damaged)
        for batch in loader
    ]


def same(one: list[tuple[Any, ...]], other: list[tuple[Any, ...]]) -> bool:
    assert len(one) > 0
    return len(one) == len(other) and all(
        a[0] == b[0] and np.array_equal(a[1], b[1]) and a[2:] == b[2:] for a, b in zip(one, other, strict=True)
    )


OPTIONS: list[dict[str, Any]] = [
    {},
    {"image_transform": noisy},
    {"image_transform": noisy, "fit": "list"},
    {"image_transform": wt.image.pipeline(wt.image.random_resized_crop(8), layout="NCHW")},
    {"transform": lambda sample: {**sample, "twice": sample["image"].astype(float) * 2}},
    {"remainder": "drop", "shuffle": "block", "tokenizer": lambda texts: np.array([[len(text)] for text in texts])},
    {"memory": "64MiB", "prefetch": 2},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_processes_make_what_threads_make(dataset: Dataset, options: dict[str, Any]) -> None:
    given = {"batch_size": 6, "threads": 2, **options}
    threads = wt.loader(dataset, **given)
    with wt.loader(dataset, workers="processes", **given) as processes:
        for _ in range(2):
            assert same(read(threads), read(processes))


def test_a_state_is_good_for_either(dataset: Dataset) -> None:
    with wt.loader(dataset, batch_size=6, threads=2, workers="processes", image_transform=noisy) as first:
        begun = iter(first)
        for _ in range(3):
            next(begun)
        state = first.state_dict()
        rest = read(first_again(dataset, state, "threads"))
        again = first_again(dataset, state, "processes")
        assert same(rest, read(again))
        again.close()


def first_again(dataset: Dataset, state: dict[str, Any], workers: Any) -> wt.reader.loader.Loader:
    loader = wt.loader(dataset, batch_size=6, threads=2, workers=workers, image_transform=noisy)
    loader.load_state_dict(state)
    return loader


def test_arrays_can_be_written_and_outlive_the_loader(dataset: Dataset) -> None:
    loader = wt.loader(dataset, batch_size=6, threads=2, workers="processes")
    batches = list(loader)
    loader.close()
    del loader
    gc.collect()
    batches[0].images[:] = 7
    assert int(batches[0].images.min()) == 7
    assert len({batch.images.ctypes.data for batch in batches}) == len(batches)


def test_damage_is_named_as_by_threads(tmp_path: Path) -> None:
    dataset = packed(tmp_path, train=12, val=2)
    key = flip(dataset, "train", 5)
    with (
        wt.loader(dataset, batch_size=4, workers="processes", threads=2) as loader,
        pytest.raises(wt.IntegrityError, match=key),
    ):
        list(loader)
    with wt.loader(dataset, batch_size=4, workers="processes", threads=2, on_damage="skip") as loader:
        assert [name for batch in loader for name in batch.damaged] == [key]
        assert [finding.key for finding in loader.report().findings] == [key]


class OddError(Exception):
    def __init__(self, one: int, other: int) -> None:
        super().__init__(f"{one} and {other}")


def failing(image: Any) -> Any:
    raise OddError(1, 2)  # cannot be pickled: it is made of two things, and kept as one


def test_what_a_function_raises_is_raised_here_with_the_sample(dataset: Dataset) -> None:
    with wt.loader(dataset, batch_size=4, workers="processes", threads=2, image_transform=failing) as loader:
        with pytest.raises(RuntimeError, match="OddError: 1 and 2") as caught:
            next(iter(loader))
        assert any(note.startswith("while reading sample ") for note in caught.value.__notes__)


def test_what_cannot_be_sent_is_named(dataset: Dataset) -> None:
    def with_a_function(sample: dict[str, Any]) -> dict[str, Any]:
        return {**sample, "odd": lambda: None}

    with wt.loader(dataset, batch_size=4, workers="processes", threads=2, transform=with_a_function) as loader:
        with pytest.raises(UsageError, match="cannot send back a field of a batch") as caught:
            next(iter(loader))
        assert (caught.value.code, caught.value.where) == ("not-picklable", "odd")
    with wt.loader(dataset, batch_size=4, workers="threads", threads=2, transform=with_a_function) as loader:
        assert callable(next(iter(loader))["odd"][0])


def dying(image: Any) -> Any:
    if os.path.exists(os.environ["DYING"]):
        os.kill(os.getpid(), signal.SIGKILL)
    return image


def test_a_lost_worker_is_an_error_and_the_next_loop_begins_anew(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DYING", str(tmp_path / "now"))
    (tmp_path / "now").touch()
    with wt.loader(dataset, batch_size=4, workers="processes", threads=2, image_transform=dying) as loader:
        with pytest.raises(WorkerError) as caught:
            list(loader)
        assert caught.value.code == "worker-lost"
        assert "-9" in caught.value.got
        (tmp_path / "now").unlink()
        loader.set_epoch(0)
        assert len(read(loader)) == 10


def test_a_loop_that_is_left_and_a_loader_that_is_closed_leave_nothing(dataset: Dataset) -> None:
    before = open_files()
    for _ in range(2):
        loader = wt.loader(dataset, batch_size=4, workers="processes", threads=2)
        for batch in loader:
            del batch
            break
        loader.close()
        del loader
    gc.collect()
    assert {entry for entry in open_files() - before if "memfd" in entry or "socket" in entry} == set()


def test_far_shards_and_unknown_workers_are_refused(dataset: Dataset) -> None:
    with pytest.raises(UsageError, match="local shards"):
        wt.loader(in_memory(dataset), batch_size=4, workers="processes")
    bad: Any = 2
    with pytest.raises(UsageError):
        wt.loader(dataset, batch_size=4, workers=bad)


SCRIPT = """
import multiprocessing, os, sys, time
import wdstools as wt

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[2])
    def conditional(image):
        return image
    function = {"closure": (lambda: lambda image: image)(), "conditional": conditional}.get(sys.argv[3])
    options = {"image_transform": function} if function else {}
    loader = wt.loader(sys.argv[1], batch_size=4, workers="processes", threads=2, **options)
    batches = iter(loader)
    print(len(next(batches)), flush=True)
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    if sys.argv[3] == "die":
        os.kill(os.getpid(), 9)
    list(batches)
"""


def run(dataset: Dataset, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), dataset.shards.url, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_workers_can_be_spawned_and_a_function_that_cannot_travel_is_named(dataset: Dataset, tmp_path: Path) -> None:
    assert run(dataset, tmp_path, "spawn", "no").returncode == 0
    for kind, message in (
        ("closure", "cannot be sent to worker processes"),
        ("conditional", "a worker process of the loader was lost"),
    ):
        refused = run(dataset, tmp_path, "spawn", kind)
        assert message in refused.stderr
        assert "define functions at the top level of a module" in refused.stderr


def test_workers_end_with_a_parent_that_is_killed(dataset: Dataset, tmp_path: Path) -> None:
    done = run(dataset, tmp_path, "fork", "die")
    assert done.returncode == -signal.SIGKILL
    pids = [int(pid) for pid in done.stdout.splitlines()[1].split()]
    assert len(pids) == 2
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [pid for pid in pids if alive(pid)] == []


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_metrics_tell_what_the_processes_spent_time_on(dataset: Dataset) -> None:
    options: dict[str, Any] = {"batch_size": 4, "threads": 2, "image_transform": noisy, "metrics": True}
    with wt.loader(dataset, workers="processes", **options) as loader:
        for _ in loader:
            pass
        found = loader.metrics()
        assert found.samples == 40
        assert min(found.stages[stage] for stage in ("read", "check", "decode", "transform")) > 0
        assert found.stages["decode"] > found.stages["hand_out"]
