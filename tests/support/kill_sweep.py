"""Kill a pack at one write point after another, with no Python code running afterwards: ``os._exit`` in a fork.

Run as ``python -m tests.support.kill_sweep WORK STEP MOUNTED``: one process with one thread, so that forking is safe.
Prints one JSON line per point: whether the destination appeared, and the result of packing again.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.outcome import assert_absent_or_complete, assert_complete
from tests.support.write_points import WritePoints
from wdstools.dataset import open_dataset
from wdstools.errors import StoreError, WdsError
from wdstools.executors.local import Serial
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.ops.pack import run_pack
from wdstools.planning.options import make_options
from wdstools.sources.folder import FolderSource

if TYPE_CHECKING:
    from collections.abc import Callable

KILLED = 137
#: Imported before forking, so that not every child does it; pyarrow looks for pandas when it first makes an array.
HEAVY = (
    "wdstools.writer.shard",
    "awscrt.checksums",
    "simplejpeg",
    "pyarrow.parquet",
    "pyarrow.compute",
    "PIL.Image",
    "pandas",
)


def pack_pairs(source: str, dest: Path) -> str:
    """Pack with the serial executor into several shards; returns the root digest."""
    options = make_options(shard_samples=3, name="pairs", check="header")
    return run_pack(FolderSource(source), str(dest), options, executor=Serial()).root


def resume(source: str, dest: Path) -> str:
    """Pack where a killed pack may have left something; a dataset that is already complete is fine too."""
    try:
        return pack_pairs(source, dest)
    except StoreError as error:
        if error.code != "destination-not-empty":
            raise
        return open_dataset(str(dest)).root


def in_child(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        code = 70
        try:
            work()
            code = 0
        except WdsError as error:
            sys.stdout.write(json.dumps({"error": str(error)}) + "\n")
            sys.stdout.flush()
            code = 4
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _kill_at(source: str, dest: Path, point: int) -> int:
    def work() -> None:
        with WritePoints(point, lambda: os._exit(KILLED)):
            pack_pairs(source, dest)

    return in_child(work)


def _report(source: str, dest: Path, point: int, *, mounted: bool) -> None:
    there = (dest / MANIFEST_PATH).exists() if mounted else assert_absent_or_complete(dest)
    root = resume(source, dest)
    assert_complete(dest)
    sys.stdout.write(json.dumps({"point": point, "there": there, "root": root}) + "\n")
    sys.stdout.flush()


def main(work: str, step: int, *, mounted: bool) -> None:
    """Sweep over every ``step``-th write point of a pack."""
    source, dest = f"{work}/source", Path(work, "out")
    for module in HEAVY:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(module)
    if mounted:
        ismount = os.path.ismount
        os.path.ismount = lambda path: str(path) == str(dest) or ismount(path)
    point = step
    while True:
        for left in (dest, dest.with_name("out.partial")):
            shutil.rmtree(left, ignore_errors=True)
        if mounted:
            dest.mkdir()
        code = _kill_at(source, dest, point)
        if code == 0:
            return
        if code != KILLED:
            sys.exit(f"point {point}: exit code {code}")
        if in_child(partial(_report, source, dest, point, mounted=mounted)) != 0:
            sys.stdout.write(json.dumps({"point": point, "root": None}) + "\n")
        point += step


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), mounted=sys.argv[3] == "mounted")
