"""Run other loaders over the same shards, each round in a process of its own, so that bench can run them in turn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from wdstools import peers
from wdstools.errors import UsageError, option
from wdstools.ops.bench.clock import Tally
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wdstools.ops.bench.stages import Task

_FOLDER = os.path.dirname(os.path.abspath(peers.__file__))
RUNNER = os.path.join(_FOLDER, "runner.py")


def peer_path(name: str) -> str:
    """The file of a peer that comes with wdstools."""
    return os.path.join(_FOLDER, f"peer_{name}.py")


def check_peers(names: Sequence[str], task: Task) -> None:
    """Raise UsageError for shards that peers cannot read."""
    if names and (
        not isinstance(task.dataset.shards, LocalStore) or not {"jpg", "txt"} <= set(task.dataset.manifest.members)
    ):
        raise UsageError("peers can only be compared on local shards with jpg and txt", where=option("compare"))


def peer_work(name: str, task: Task, scratch: str) -> Callable[[float], Tally]:
    """Batches of a peer for some seconds, with this interpreter; raises UsageError if it does not run."""
    assert isinstance(task.dataset.shards, LocalStore)
    store = task.dataset.shards
    options = {
        "work": "batches",
        "variant": "default",
        "shards": [os.path.abspath(store.locate(entry.path)) for entry in task.dataset.manifest.splits[task.split]],
        "batch_size": task.batch_size,
        "threads": task.threads,
        "shuffle": task.shuffle is not None,
        "scratch": scratch,
    }

    def work(seconds: float) -> Tally:
        found = run_peer(sys.executable, peer_path(name), {**options, "seconds": seconds})
        return Tally(found["count"], found["seconds"])

    return work


def run_peer(python: str, path: str, task: dict[str, Any]) -> dict[str, Any]:
    """The result of one run of a peer; raises UsageError (``peer-failed``) with the peer's last line of output."""
    with tempfile.TemporaryFile("w+") as noise:  # a pipe that nobody reads would block a peer that writes a lot
        done = subprocess.run(
            [python, RUNNER, path, json.dumps(task)], stdout=subprocess.PIPE, stderr=noise, text=True, check=False
        )
        noise.seek(0)
        words = noise.read().strip().splitlines()
    if done.returncode:
        name = os.path.basename(path).removeprefix("peer_").removesuffix(".py")
        raise UsageError(
            "the peer does not run here",
            code="peer-failed",
            where=name,
            got=words[-1] if words else f"exit code {done.returncode}",
            hint=f"is it installed? pip install {name}",
        )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer
