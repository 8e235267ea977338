"""duplicates killed, and where nothing can be written: what was hashed is kept, the answer is the same one."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

import wdstools as wt
from tests.support.alike_pairs import PLANTED, SINGLES, SURPLUS, write_alike_pairs
from tests.support.command import Ran, assert_clean_failure, run_command, stop_at
from tests.support.small_disk import set_read_only, small_disk

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
    command = ("duplicates", str(dataset), "--level", "edited", "-j", "1")
    code, _ = stop_at(place, command, tmp_path, lambda process: os.killpg(process, signal.SIGKILL))
    assert code == -signal.SIGKILL
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
