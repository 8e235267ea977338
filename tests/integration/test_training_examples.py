"""The examples of mixing, buckets and evaluation, as a user runs them; where torch is installed (``make test-torch``)."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.added_columns import add_scores, keys_of, score_of
from tests.support.command import HANG_SECONDS, environment
from tests.support.streams import of_many_aspects, packed

if TYPE_CHECKING:
    from wdstools import Dataset

pytest.importorskip("torch")
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Dataset]:
    first = packed(tmp_path_factory.mktemp("first"), train=40, val=10)
    return first, of_many_aspects(tmp_path_factory.mktemp("second"), train=24, val=6)


def started(example: str, *arguments: object, **variables: str) -> subprocess.Popen[str]:
    paths = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(EXAMPLES / f"{example}.py"), *map(str, arguments)]
    place = environment(**paths, **variables)
    return subprocess.Popen(command, env=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    out, errors = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 0, errors[-3000:]
    return out


def run(example: str, *arguments: object) -> str:
    return said(started(example, *arguments))


def lines(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines() if line.startswith('{"')]


def test_two_datasets_are_mixed_and_go_on_in_the_middle(datasets: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    first, second = (dataset.shards.url for dataset in datasets)
    whole = lines(run("train_mix", first, "--other", second, "--epochs", 2))
    assert [set(line["sources"]) for line in whole] == [{"first", "second"}] * 2
    state = tmp_path / "state.json"
    arguments = (first, "--other", second, "--epochs", 2, "--state", state)
    assert lines(run("train_mix", *arguments, "--stop-after", 3)) == []
    rest = lines(run("train_mix", *arguments))
    assert [line["sources"] for line in rest] == [line["sources"] for line in whole]


def test_buckets_are_printed_and_trained_on(datasets: tuple[Dataset, Dataset]) -> None:
    out = run("train_buckets", datasets[1].shards.url, "--area", 32 * 32, "--step", 8, "--epochs", 1)
    assert out.splitlines()[0].split()[:3] == ["height", "width", "samples"]
    assert sum(line.startswith("       all") and "24" in line for line in out.splitlines()) == 1
    assert 0 < lines(out)[0]["loss"] < 2


def test_a_score_is_computed_once_and_trained_by(datasets: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    place = shutil.copytree(datasets[0].shards.url, tmp_path / "scored")
    first, again = (run("train_score_column", place, "--least", 0.05, "--epochs", 1) for _ in range(2))
    assert 0 < lines(first)[0]["samples"] <= 40
    assert 0 < lines(first)[0]["loss"] < 1
    assert "waited" in first
    assert lines(again) == lines(first)


def test_evaluation_is_the_same_on_any_number_of_ranks(datasets: tuple[Dataset, Dataset]) -> None:
    url = datasets[0].shards.url
    (alone,) = lines(run("evaluate", url))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "3"}
    ranks = [started("evaluate", url, "--batch-size", 2, RANK=str(rank), **place) for rank in range(3)]
    together = [lines(said(process)) for process in ranks]
    assert together[1:] == [[], []]
    # 10 samples, 3 ranks: each of them has 4 rows
    assert together[0][0]["samples"] == alone["samples"] == 10
    assert together[0][0]["accuracy"] == alone["accuracy"]
    assert together[0][0]["loss"] == pytest.approx(alone["loss"], abs=1e-6)


def test_the_copy_to_a_device_says_that_it_was_not_run_without_one(datasets: tuple[Dataset, Dataset]) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a device")
    command = [sys.executable, "-m", "benchmarks.gpu_copy", datasets[0].shards.url]
    paths = {"PYTHONPATH": os.pathsep.join((str(EXAMPLES.parent), *filter(None, sys.path)))}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment(**paths))
    assert done.stdout == "not run: there is no CUDA device here\n"


def clip(dataset: Dataset, other: Dataset, ranks: int, *options: object) -> list[dict[str, Any]]:
    """The steps of a CLIP-style run on some ranks."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    arguments = (
        dataset.shards.url,
        "--other",
        other.shards.url,
        "--where",
        "score >= 0.2 and width >= 24 and height < 70",
    )
    sizes = ("--area", 32 * 32, "--step", 4, "--global-batch-size", 8, "--epochs", 2)
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(ranks)}
    running = [started("train_clip", *arguments, *sizes, *options, RANK=str(rank), **place) for rank in range(ranks)]
    outputs = [said(process) for process in running]
    out = outputs[0]
    assert "left out" in out
    assert "stalls by cause" in out
    return lines(out)


@pytest.mark.slow
def test_a_run_on_a_mix_in_buckets_goes_on_exactly_on_another_number_of_ranks(tmp_path: Path) -> None:
    first = of_many_aspects(tmp_path / "first", train=70, val=0)
    second = of_many_aspects(tmp_path / "second", train=40, val=0, label="rome")
    for dataset in (first, second):
        add_scores(Path(dataset.shards.url))
    scored = {score_of(key) >= 0.2 for key in keys_of(first.shards.url)}
    assert scored == {True, False}
    whole = clip(first, second, 1)
    assert len({tuple(step["shape"]) for step in whole}) > 2
    parts: list[dict[str, Any]] = []
    for ranks, steps in ((2, 3), (1, 4), (4, 0)):
        parts += clip(
            first, second, ranks, "--checkpoint", tmp_path / "run.pt", *(["--stop-after", steps] if steps else [])
        )
    for step in (*whole, *parts):
        step["loss"] = pytest.approx(step["loss"], abs=2e-4)
    assert parts == whole
