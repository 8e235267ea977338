"""duplicates killed, and where nothing can be written: what was hashed is kept, the answer is the same one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import wdstools as wt
from tests.support.alike_pairs import PLANTED, SINGLES, SURPLUS, write_alike_pairs
from tests.support.command import HANG_SECONDS, Ran, assert_clean_failure, environment, run_command
from tests.support.paused_command import PAUSED
from tests.support.small_disk import set_read_only, small_disk

REPOSITORY = Path(__file__).parents[2]
TOTAL = SINGLES + len(PLANTED)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alike")
    wt.pack(str(write_alike_pairs(folder / "source")), str(folder / "packed"), shard_samples=5)
    return folder / "packed"


@pytest.fixture(scope="module")
def answer(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return _groups(_find(packed, "--cache", str(tmp_path_factory.mktemp("cache"))))


def _find(dataset: Path, *options: str) -> Ran:
    return run_command("duplicates", dataset, "--level", "edited", "--json", *options)


def _groups(ran: Ran) -> str:
    assert ran.code == 1, ran.err
    assert ran.summary["unique"] == TOTAL - SURPLUS["edited"]
    return "\n".join(line for line in ran.out.splitlines() if '"type":"group"' in line.replace(" ", ""))


@pytest.mark.parametrize("call", ["open", "rename"])
def test_a_killed_search_goes_on_where_it_was(packed: Path, answer: str, tmp_path: Path, call: str) -> None:
    dataset = shutil.copytree(packed, tmp_path / "dataset")
    shards = [entry for _, entry in wt.open_dataset(str(dataset)).manifest.shards]
    hashes = dataset / ".wdstools/hashes"
    # held at the third shard, before its file is written or gets its name
    place = f"{call} {hashes}/{Path(shards[2].index_path).stem}"
    command = [sys.executable, "-m", "tests.support.paused_command", place, "duplicates", str(dataset)]
    with subprocess.Popen(
        [*command, "--level", "edited", "-j", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True, env=environment(), cwd=REPOSITORY,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        first = process.stderr.readline()
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=HANG_SECONDS)
    assert first == PAUSED
    kept = sorted(path.name for path in hashes.glob("*.parquet"))
    assert kept == sorted(Path(entry.index_path).name for entry in shards[:2])
    again = _find(dataset)
    assert _groups(again) == answer
    assert again.summary["computed"] == TOTAL - sum(entry.samples for entry in shards[:2])
    assert _find(dataset).summary["computed"] == 0
    assert run_command("verify", dataset, "--level", "samples").code == 0


def test_a_dataset_that_cannot_be_written_says_what_to_do_and_takes_a_cache(
    packed: Path, answer: str, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", 8192) as disk:
        dataset = shutil.copytree(packed, disk / "dataset")
        set_read_only(disk)
        refused = run_command("duplicates", dataset)
        assert_clean_failure(refused, refused.code)
        assert "--cache DIR" in refused.err
        cache = str(tmp_path / "cache")
        assert _groups(_find(dataset, "--cache", cache)) == answer
        assert _find(dataset, "--cache", cache).summary["computed"] == 0
        assert run_command("duplicates", dataset, "--level", "exact").code == 1
