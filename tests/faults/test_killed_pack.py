"""The command is killed or interrupted while it packs: DEST is absent or whole, and the same command finishes the job."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.city_pairs import write_city_pairs
from tests.support.command import HANG_SECONDS, REPOSITORY, Process, run_command, start_command, stop_at
from tests.support.outcome import assert_absent_or_complete, assert_complete
from wdstools.dataset import open_dataset

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OPTIONS = ("--shard-samples", "10", "--name", "pairs", "-j", "2", "--json")


SHARDS = 9
KEPT = 3


@pytest.fixture(scope="module", name="source")
def _source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_city_pairs(tmp_path_factory.mktemp("killed") / "source", train=60, val=20, damaged=True)


@pytest.fixture(scope="module", name="undisturbed")
def _undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, float]:
    """Root digest of a pack that nobody disturbs, and the seconds that it takes."""
    began = time.monotonic()
    ran = run_command("pack", source, tmp_path_factory.mktemp("undisturbed") / "out", *OPTIONS)
    assert (ran.code, ran.summary["shards"]) == (3, SHARDS), ran.err
    return str(ran.summary["root"]), time.monotonic() - began


def _start(source: Path, dest: Path) -> Process:
    return start_command("pack", source, dest, *OPTIONS)


def _wait_for_journal(process: Process, dest: Path, lines: int) -> None:
    """Until so many shards are finished, or the pack has ended."""
    journal = dest.with_name(dest.name + ".partial") / "journal.jsonl"
    while process.poll() is None and not (journal.exists() and journal.read_bytes().count(b"\n") > lines):
        time.sleep(0.002)


def _assert_finishes(source: Path, dest: Path, root: str, kept: int = 0) -> None:
    journal = dest.with_name(dest.name + ".partial") / "journal.jsonl"
    if not assert_absent_or_complete(dest) or journal.exists():  # killed when all was there but for the tidying up
        ran = run_command("pack", source, dest, *OPTIONS)
        assert ran.code == 3, ran.err
        assert ran.summary["root"] == root
        assert ran.summary["kept_shards"] >= kept
    assert open_dataset(str(dest)).root == root
    assert_complete(dest)


def _stop_half_way(source: Path, dest: Path, stop: Callable[[int], None]) -> tuple[int, bytes]:
    """Stop a pack at the moment when three shards are in its journal; the exit code and what was said on stderr."""
    code, err = stop_at(str(KEPT), ("pack", str(source), str(dest), *OPTIONS), REPOSITORY, stop)
    assert not dest.exists()
    return code, err


@pytest.mark.parametrize("kill", [os.kill, os.killpg], ids=["parent", "group"])
def test_a_killed_pack_is_finished_by_the_same_command(
    source: Path, undisturbed: tuple[str, float], tmp_path: Path, kill: Callable[[int, int], None]
) -> None:
    code, _ = _stop_half_way(source, tmp_path / "out", lambda process: kill(process, signal.SIGKILL))
    assert code == -signal.SIGKILL
    _assert_finishes(source, tmp_path / "out", undisturbed[0], kept=KEPT)


@pytest.mark.parametrize(
    ("number", "codes"), [(signal.SIGINT, {130}), (signal.SIGTERM, {-signal.SIGTERM, 128 + signal.SIGTERM, 130})]
)
@pytest.mark.parametrize("kill", [os.kill, os.killpg], ids=["parent", "group"])
def test_a_pack_told_to_stop_stops_without_a_traceback_and_is_finished_later(
    source: Path,
    undisturbed: tuple[str, float],
    tmp_path: Path,
    kill: Callable[[int, int], None],
    number: int,
    codes: set[int],
) -> None:
    code, err = _stop_half_way(source, tmp_path / "out", lambda process: kill(process, number))
    assert code in codes
    assert b"Traceback" not in err
    _assert_finishes(source, tmp_path / "out", undisturbed[0], kept=KEPT)


@pytest.mark.parametrize("finished", [0, 3])
def test_a_pack_killed_while_it_writes_is_finished_by_the_same_command(
    source: Path, undisturbed: tuple[str, float], tmp_path: Path, finished: int
) -> None:
    dest = tmp_path / "out"
    with _start(source, dest) as process:
        _wait_for_journal(process, dest, finished)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=HANG_SECONDS)
    _assert_finishes(source, dest, undisturbed[0])


@pytest.mark.slow
def test_a_pack_killed_at_fifty_random_moments_is_finished_by_the_same_command(
    source: Path, undisturbed: tuple[str, float], tmp_path: Path
) -> None:
    root, seconds = undisturbed
    draw = random.Random(50)
    for number in range(50):
        dest = tmp_path / f"out{number}"
        with _start(source, dest) as process:
            try:
                process.wait(draw.uniform(0.2, 1.1) * seconds)
            except subprocess.TimeoutExpired:
                (os.killpg if number % 2 else os.kill)(process.pid, signal.SIGKILL)
            process.communicate(timeout=HANG_SECONDS)
        _assert_finishes(source, dest, root)
