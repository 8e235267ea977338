"""Frameworks, each in an environment of its own (tests/install-frameworks.sh): every epoch is the split, and goes on exactly."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.command import environment
from tests.support.streams import packed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wdstools import Dataset

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
ROOT = Path(__file__).parents[2]
DRIVERS = ROOT / "tests" / "frameworks"
ENVIRONMENTS = Path(os.environ.get("WDSTOOLS_FRAMEWORKS", ROOT / ".venv-frameworks"))
EPOCHS = 20
COUNT = 60


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return packed(tmp_path_factory.mktemp("whole"), train=COUNT, val=10)


def python_with(name: str) -> str:
    """The Python that has a framework; without it the test skips, and fails where the environment variable CI is set."""
    path = ENVIRONMENTS / name / "bin" / "python"
    if path.exists():
        return str(path)
    reason = f"{name} is not installed: sh tests/install-frameworks.sh {ENVIRONMENTS} {name}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def started(framework: str, script: Path, *arguments: object, folder: Path | None = None) -> subprocess.Popen[str]:
    paths = os.pathsep.join((str(ROOT), str(DRIVERS)))
    return subprocess.Popen(
        [python_with(framework), str(script), *map(str, arguments)],
        env=environment(PYTHONPATH=paths, HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1"),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> Any:
    out, errors = process.communicate()
    assert process.returncode == 0, errors[-3000:]
    return json.loads(out.splitlines()[-1])


def driven(framework: str, driver: str, *arguments: object) -> Any:
    return said(started(framework, DRIVERS / f"{driver}_driver.py", *arguments))


def each_is_the_split(epochs: Sequence[Sequence[str]], dataset: Dataset, split: str = "train") -> None:
    whole = Counter(dataset[split].keys())
    assert len(epochs) > 0
    assert [Counter(epoch) == whole for epoch in epochs] == [True] * len(epochs)


def all_differ(epochs: Sequence[Sequence[str]]) -> None:
    assert len({tuple(epoch) for epoch in epochs}) == len(epochs) > 1


def test_lightning_fits_validates_and_goes_on_in_the_middle(dataset: Dataset, tmp_path: Path) -> None:
    found = driven("lightning", "lightning", dataset.shards.url, tmp_path, EPOCHS)
    assert len(found["epochs"]) == EPOCHS
    each_is_the_split(found["epochs"], dataset)
    all_differ(found["epochs"])
    # the first is the sanity check's two batches
    assert len(found["validations"]) == EPOCHS + 1
    each_is_the_split(found["validations"][1:], dataset, "val")
    assert found["begun"] + found["resumed"] == [key for epoch in found["epochs"][:3] for key in epoch]
    assert len(found["begun"]) % COUNT


@pytest.mark.parametrize("workers", [0, 2])
def test_trainer_counts_epochs_and_goes_on(dataset: Dataset, tmp_path: Path, workers: int) -> None:
    found = driven("huggingface", "trainer", dataset.shards.url, tmp_path, EPOCHS, workers)
    resumed = found.pop("resumed")
    assert set(found) >= {"stream", "map"}
    assert {len(epochs) for epochs in found.values()} == {EPOCHS}
    for epochs in found.values():
        each_is_the_split(epochs, dataset)
        all_differ(epochs)
    assert resumed == [found["stream"][1][24:], found["stream"][2]]


def _ranks(framework: str, dataset: Dataset, epochs: int, what: str) -> dict[str, list[tuple[list[str], list[str]]]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = DRIVERS / "ranks_driver.py"
    running = [started(framework, script, dataset.shards.url, port, rank, 2, epochs, what) for rank in range(2)]
    first, second = map(said, running)
    return {name: list(zip(first[name], second[name], strict=True)) for name in first}


@pytest.mark.parametrize("what", ["ddp", "fsdp"])
def test_two_ranks_share_each_epoch_out(dataset: Dataset, what: str) -> None:
    epochs = _ranks("torch", dataset, EPOCHS, what)["loader"]
    assert {(len(first), len(second)) for first, second in epochs} == {(COUNT // 2, COUNT // 2)}
    joined = [first + second for first, second in epochs]
    assert len(joined) == EPOCHS
    each_is_the_split(joined, dataset)
    all_differ(joined)


def test_accelerate_shares_out_once_whatever_it_prepares(dataset: Dataset) -> None:
    found = _ranks("huggingface", dataset, 3, "accelerate")
    assert set(found) == {"loader", "stream 0", "stream 2", "sampler 0", "sampler 2"}
    each_is_the_split([first + second for first, second in found.pop("loader")], dataset)
    numbers = {int(key.rpartition("/")[2]) for key in dataset["train"].keys()}  # noqa: SIM118
    seen: Any = {name: [set(first + second) for first, second in epochs] for name, epochs in found.items()}
    assert seen == {name: [numbers] * 3 for name in found}
    # with a sampler, Accelerate fills the last batch up
    assert {len(first + second) for name in ("stream 0", "stream 2") for first, second in found[name]} == {COUNT}


def test_torchdatas_nodes_and_loaders_go_on_exactly(dataset: Dataset) -> None:
    found = driven("torchdata", "torchdata", dataset.shards.url, 4)
    for name in ("nodes", "stateful 0", "stateful 2"):
        each_is_the_split(found[name], dataset)
        all_differ(found[name])
        assert found[f"{name} resumed"] == found[name][:2]


@pytest.mark.parametrize("framework", ["open_clip", "timm"])
def test_training_of_image_models_reads_each_epoch_whole(dataset: Dataset, framework: str) -> None:
    found = driven(framework, framework, dataset.shards.url, 3)
    each_is_the_split(found["epochs"], dataset)
    all_differ(found["epochs"])
    assert found.get("theirs", COUNT) == COUNT


def test_jax_has_every_batch_as_it_was_read(dataset: Dataset) -> None:
    found = driven("jax", "jax", dataset.shards.url, 3)
    assert [len(set(epoch)) for epoch in found["epochs"]] == [COUNT // 8 * 8] * 3
    all_differ(found["epochs"])
    assert found["whole"]


EXAMPLES = {
    "train_city_classifier": "torch",
    "train_loop": "torch",
    "train_mix": "torch",
    "train_buckets": "torch",
    "train_clip": "torch",
    "train_lightning": "lightning",
    "train_trainer": "huggingface",
    "train_accelerate": "huggingface",
    "train_dataloader": "torch",
    "train_open_clip": "open_clip",
    "train_timm": "timm",
    "train_jax": "jax",
}


SIZES: dict[str, tuple[object, ...]] = {
    "train_city_classifier": ("--batch-size", 8),
    "train_buckets": ("--area", 1024, "--step", 8),
    "train_clip": ("--area", 1024, "--step", 8, "--global-batch-size", 8),
}


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_run_and_learn(dataset: Dataset, tmp_path: Path, example: str) -> None:
    script = ROOT / "examples" / f"{example}.py"
    sizes = SIZES.get(example, ())
    process = started(EXAMPLES[example], script, dataset.shards.url, "--epochs", 6, *sizes, folder=tmp_path)
    out, errors = process.communicate()
    assert process.returncode == 0, errors[-3000:]
    losses = [json.loads(line)["loss"] for line in out.splitlines() if line.startswith('{"')]
    third = len(losses) // 3
    assert third >= 1
    assert sum(losses[-third:]) < sum(losses[:third])


def test_no_example_is_left_out() -> None:
    """test_training_examples runs those that are not run here: one trains nothing, one computes a column first."""
    elsewhere = {"evaluate", "train_score_column"}
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == {*EXAMPLES, *elsewhere}
