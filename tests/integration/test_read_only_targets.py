"""What cannot be written is refused before its server is asked for anything."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

import pytest

import wdstools as wt
from tests.support.command import assert_clean_failure, run_command
from tests.support.damaged_dataset import make_dataset

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module", name="dataset")
def _dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("targets"))


@pytest.fixture(name="listener")
def _listener() -> Iterator[socket.socket]:
    """A place that would know if it was asked; nobody answers there."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        listener.setblocking(False)
        yield listener


COMMANDS = (
    "mirror DATASET URL -y",
    "repair URL -y",
    "remove URL --where label=='rome' --in-place -y",
    "remove URL --where label=='rome' -o new -y",
    "remove DATASET --where label=='rome' -o URL -n",
    "append URL DATASET --in-place -y",
    "append DATASET DATASET -o URL -n",
    "emit URL --for all -y",
    "emit URL --remove -y",
    "columns add URL scores.csv -y",
    "columns rm URL scores -y",
    "sign URL --key key.pem",
    "pull DATASET URL",
    "extract DATASET URL",
    "pack DATASET URL",
    "adopt URL",
    "adopt DATASET -o URL",
)


@pytest.mark.parametrize("line", COMMANDS)
def test_a_web_address_is_refused_before_it_is_asked(
    line: str, dataset: Path, listener: socket.socket, tmp_path: Path
) -> None:
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/set"
    before = sorted(dataset.rglob("*"))
    words = [{"URL": url, "DATASET": str(dataset)}.get(word, word) for word in line.split()]
    ran = run_command(*words, "--json", cwd=tmp_path)
    assert_clean_failure(ran, 2)
    assert ran.error["where"] == url
    assert ran.error["hint"]
    with pytest.raises(BlockingIOError):
        listener.accept()
    assert sorted(dataset.rglob("*")) == before
    assert list(tmp_path.iterdir()) == []


def test_the_hub_takes_what_mirror_commits_and_nothing_else(dataset: Path) -> None:
    with pytest.raises(wt.UsageError) as refused:
        wt.plan_repair("hf://datasets/lab/city")
    assert refused.value.code == "read-only"
    with pytest.raises(wt.UsageError) as refused:
        wt.plan_emit("hf://datasets/lab/city", ["timm"])
    assert refused.value.code == "read-only"
