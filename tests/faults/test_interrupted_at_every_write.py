"""A pack is stopped at every single write: killed, interrupted, or refused by the disk. DEST is absent or whole."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.city_pairs import write_city_pairs
from tests.support.command import HANG_SECONDS, REPOSITORY, environment
from tests.support.kill_sweep import pack_pairs, resume
from tests.support.memory_disk import folder_in_memory
from tests.support.outcome import assert_absent_or_complete, assert_complete
from tests.support.write_points import WritePoints
from wdstools.errors import StoreError, WorkerError
from wdstools.formats.manifest import MANIFEST_PATH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(name="work")
def _work() -> Iterator[Path]:
    with folder_in_memory() as folder:
        yield folder


@pytest.fixture(name="source")
def _source(work: Path) -> Path:
    return write_city_pairs(work / "source", train=4, val=1, damaged=True)


@pytest.fixture(name="root")
def _root(source: Path, work: Path) -> str:
    return pack_pairs(str(source), work / "undisturbed")


def _interrupt() -> None:
    raise KeyboardInterrupt


def _disk_error() -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def _disk_full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("act", "after", "step"),
    [
        pytest.param(_interrupt, False, 11, id="interrupt at some"),
        pytest.param(_interrupt, False, 1, id="interrupt", marks=pytest.mark.slow),
        pytest.param(_interrupt, True, 1, id="interrupt-after", marks=pytest.mark.slow),
        pytest.param(_disk_error, False, 1, id="disk-error", marks=pytest.mark.slow),
        pytest.param(_disk_full, False, 1, id="disk-full", marks=pytest.mark.slow),
    ],
)
def test_a_pack_stopped_at_any_write_leaves_all_or_nothing_and_goes_on_to_the_same_root(
    source: Path, root: str, work: Path, act: Callable[[], None], after: bool, step: int
) -> None:
    dest = work / "out"
    stopped, lost = 0, []
    for point in itertools.count(step, step):
        with WritePoints(point, act, after=after) as points:
            try:
                pack_pairs(str(source), dest)
            except (KeyboardInterrupt, StoreError):
                stopped += 1
            except WorkerError as error:
                lost.append((points.names[point - 1], f"a bug is reported, not the disk: {error}"))
        if points.seen < point:
            break
        assert_absent_or_complete(dest)
        if failure := _failure_of_going_on(str(source), dest, root):
            lost.append((points.names[point - 1], failure))
    assert lost == []
    assert stopped > 40 // step


def _failure_of_going_on(source: str, dest: Path, root: str) -> str | None:
    try:
        assert resume(source, dest) == root
        assert_complete(dest)
    except StoreError as error:
        return str(error)
    finally:
        for left in (dest, dest.with_name(dest.name + ".partial")):
            shutil.rmtree(left, ignore_errors=True)
    return None


def test_interruption_after_interruption_still_ends_in_the_same_root(source: Path, root: str, work: Path) -> None:
    dest = work / "out"
    interruptions = 0
    for point in itertools.count(10):
        with WritePoints(point, _interrupt):
            try:
                assert pack_pairs(str(source), dest) == root
                break
            except KeyboardInterrupt:
                interruptions += 1
        if assert_absent_or_complete(dest):
            break
    assert interruptions > 5
    assert resume(str(source), dest) == root
    assert_complete(dest)


def _sweep(work: Path, step: int, kind: str) -> list[dict[str, object]]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.kill_sweep", str(work), str(step), kind],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * HANG_SECONDS,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("kind", ["renamed", "mounted"])
@pytest.mark.parametrize("step", [17, pytest.param(1, marks=pytest.mark.slow)])
def test_a_pack_killed_at_any_write_goes_on_to_the_same_root(
    source: Path, root: str, work: Path, kind: str, step: int
) -> None:
    del source
    outcomes = _sweep(work, step, kind)
    assert len(outcomes) > 40 // step
    assert [outcome for outcome in outcomes if outcome.get("root") != root] == []
    # killed before the last rename there is nothing, killed after it everything
    appeared = [bool(outcome["there"]) for outcome in outcomes]
    assert appeared == sorted(appeared)
    assert appeared[-1] or step > 1


def test_an_interrupted_pack_leaves_no_manifest_under_the_final_name(source: Path, work: Path) -> None:
    dest = work / "out"
    with WritePoints(30, _interrupt), pytest.raises(KeyboardInterrupt):
        pack_pairs(str(source), dest)
    assert not (dest / MANIFEST_PATH).exists()
    assert (work / "out.partial").is_dir()
