"""repair, remove and extract are stopped at every single write: what is there is the old, the new, or nothing, and whole."""

from __future__ import annotations

import errno
import itertools
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.changes import CHANGES, outcome_of
from tests.support.command import HANG_SECONDS, REPOSITORY, environment
from tests.support.memory_disk import folder_in_memory
from tests.support.write_points import WritePoints
from wdstools.errors import StoreError, WorkerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

EACH = pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            name,
            marks=pytest.mark.slow
            if name in ("append-and-divide", "append-to-new", "columns-rm", "columns-map")
            else (),
        )
        for name in CHANGES
    ],
)


@pytest.fixture(name="work")
def _work() -> Iterator[Path]:
    with folder_in_memory() as folder:
        yield folder


def _interrupt() -> None:
    raise KeyboardInterrupt


def _refuse(number: int) -> Callable[[], None]:
    def act() -> None:
        raise OSError(number, os.strerror(number))

    return act


STOPS = [
    pytest.param(_interrupt, id="interrupt"),
    *(
        pytest.param(_refuse(number), id=errno.errorcode[number], marks=pytest.mark.slow)
        for number in (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EMFILE)
    ),
]


@EACH
@pytest.mark.parametrize("step", [13, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("stop", STOPS)
def test_a_change_stopped_at_any_write_leaves_the_old_or_the_new_and_goes_on(
    work: Path, change: str, stop: Callable[[], None], step: int
) -> None:
    made = CHANGES[change](work)
    wrong, stopped = [], 0
    step *= made.stride if step > 1 else 1
    for point in itertools.count(step, step):
        made.reset()
        with WritePoints(point, stop) as points:
            try:
                made.act()
            except (KeyboardInterrupt, StoreError):
                stopped += 1
            except WorkerError as error:
                wrong.append((points.names[point - 1], f"a bug is reported, not the disk: {error}"))
        if points.seen < point:
            break
        outcome = outcome_of(made)
        if outcome["then"] != made.done:
            wrong.append((points.names[point - 1], str(outcome)))
    assert wrong == []
    assert stopped >= max(1, 15 // step)


@EACH
@pytest.mark.parametrize("step", [19, pytest.param(1, marks=pytest.mark.slow)])
def test_a_change_killed_at_any_write_leaves_the_old_or_the_new_and_goes_on(work: Path, change: str, step: int) -> None:
    step *= CHANGES[change].stride if step > 1 else 1
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.changes", work, change, str(step)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * HANG_SECONDS,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(outcomes) > 15 // step
    finished = CHANGES[change](work).done
    assert [outcome for outcome in outcomes if outcome["then"] != finished] == []
