"""The examples of mixing, buckets and evaluation, as a user runs them; where torch is installed (``make test-torch``)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

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


def run(example: str, *arguments: object) -> str:
    paths = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(EXAMPLES / f"{example}.py"), *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment(**paths), timeout=HANG_SECONDS
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


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
