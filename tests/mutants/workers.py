"""Copies of the tree, and the processes that work in them (``worker.py``)."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, Self, TypeVar

from tests.mutants.rooms import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

Item = TypeVar("Item")
Place = TypeVar("Place")
_FOLDERS = ("wdstools", "tests", "manifests", "docs", "examples", "benchmarks", "build/wheels")
_FILES = ("pyproject.toml", "README.md", "FORMAT.md", "CHANGELOG.md", "constraints.txt", "constraints-demo.txt")


def copy_tree(tree: Path) -> None:
    """Copy what the tests need from this repository."""
    for name in _FOLDERS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in _FILES:
        shutil.copy2(ROOT / name, tree / name)
    for name in (".servers", ".venv"):
        if (ROOT / name).exists():
            (tree / name).symlink_to((ROOT / name).resolve())


class Worker:
    """One process, which does one job at a time."""

    def __init__(self, tree: Path, how: str, marks: str, examples: int, files: Sequence[str]) -> None:
        env = {**os.environ, "PYTHONPATH": str(tree), "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}
        env |= {"PYTEST_DEBUG_TEMPROOT": str(tree.parent)}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        self.tree = tree
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.mutants.worker", how, marks, str(examples), *files],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=tree,
            env=env,
        )
        self._ready: dict[str, Any] | None = None

    @property
    def ready(self) -> dict[str, Any]:
        """What the process reported when it was ready."""
        if self._ready is None:
            self._ready = self._hear()
        return self._ready

    def do(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        """Have a job done; returns the answers."""
        assert self.ready
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        answers: list[dict[str, Any]] = self._hear()["answers"]
        return answers

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a process that tries changes has ended: {self._process.wait()}")
        said: dict[str, Any] = json.loads(line)
        return said

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def share(items: Iterable[Item], places: Sequence[Place], do: Callable[[Item, Place], None]) -> None:
    """Do each item at the next free place; raises the first error."""
    waiting: queue.SimpleQueue[Item] = queue.SimpleQueue()
    for item in items:
        waiting.put(item)
    wrong: list[BaseException] = []

    def work(place: Place) -> None:
        while not wrong:
            try:
                item = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                do(item, place)
            except BaseException as error:  # noqa: BLE001  raised below, in the thread that asked
                wrong.append(error)

    threads = [threading.Thread(target=work, args=(place,)) for place in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise wrong[0]
