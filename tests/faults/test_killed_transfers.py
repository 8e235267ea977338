"""mirror and pull killed while bytes are under way: the same command finishes the job and moves little again."""

from __future__ import annotations

import os
import random
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.integration.test_pull import assert_same_files
from tests.support.bucket import InBucket, in_bucket
from tests.support.command import HANG_SECONDS, run_command, start_command
from tests.support.damaged_dataset import make_dataset
from wdstools.dataset import open_dataset
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.ops.mirror import plan_mirror
from wdstools.stores.open import open_remote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.servers.s3 import S3Server

JOBS = 2
SHARDS = 6


@pytest.fixture(scope="module", name="there")
def _there(swift: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InBucket]:
    folder = make_dataset(tmp_path_factory.mktemp("killed"), train=40, val=8, shard_samples=8)
    assert len(open_dataset(str(folder)).manifest.shards) == SHARDS + 1
    with pytest.MonkeyPatch.context() as patch:
        yield from in_bucket(folder, swift, patch)


def kill_when(there: InBucket, moment: Callable[[], bool], *arguments: str | Path) -> bool:
    """Start a command and kill it, workers and all, when the moment has come; tells whether it was still running."""
    with start_command(*arguments, env=there.env) as process:
        deadline = time.monotonic() + HANG_SECONDS
        while process.poll() is None and not moment() and time.monotonic() < deadline:
            time.sleep(0.001)
        running = process.poll() is None
        if running:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=HANG_SECONDS)
    return running


def sent_up(there: InBucket) -> list[str]:
    """Paths of shards that were put."""
    return [seen.path for seen in there.proxy.seen if seen.method == "PUT" and seen.path.endswith(".tar")]


def kill_a_pull(there: InBucket, dest: Path, share: float) -> bool:
    """Kill it when that share of the bytes has come, and run it again; tells whether it was stopped before its end."""
    there.proxy.clear()
    there.proxy.link.bandwidth = 200_000
    total = open_dataset(str(there.folder)).manifest.totals["bytes"]
    kill_when(there, lambda: there.proxy.bytes_sent(".tar") >= share * total, "pull", there.url, dest, "-j", f"{JOBS}")
    stopped = not dest.exists()
    if not stopped:  # the last bytes came before the blow
        assert_same_files(there.folder, dest)
    there.proxy.link.bandwidth = 0
    there.proxy.clear()
    ran = run_command("pull", there.url, dest, "-j", f"{JOBS}", "--json", env=there.env)
    assert ran.code == 0, ran.err
    assert_same_files(there.folder, dest)
    assert not dest.with_name(dest.name + ".partial").exists()
    assert ran.summary["kept"] + ran.summary["fetched"] <= total
    return stopped


def kill_a_mirror(there: InBucket, name: str, count: int, *, after: float = 0) -> None:
    url = f"{there.url}-{name}"
    there.proxy.clear()
    there.proxy.link.latency = 0.02
    began: list[float] = []

    def reached() -> bool:
        if len(sent_up(there)) >= count and not began:
            began.append(time.monotonic())
        return bool(began) and time.monotonic() - began[0] >= after

    kill_when(there, reached, "mirror", there.folder, url, "-y", "-j", f"{JOBS}")
    there.proxy.link.latency = 0
    ran = run_command("mirror", there.folder, url, "-y", "-j", f"{JOBS}", "--json", env=there.env)
    assert ran.code == 0, ran.err
    puts = [path for path in sent_up(there) if f"-{name}/" in path]
    assert len(set(puts)) == SHARDS + 1
    assert len(puts) - len(set(puts)) <= JOBS, "more than one shard a worker was sent again"
    store = open_remote(url)
    assert plan_mirror(open_dataset(str(there.folder)), store).steps == ()
    assert store.unfinished() == ()
    keys = {info.key for info in store.list()}
    assert MANIFEST_PATH in keys
    assert ".wdstools/mirroring.json" not in keys


def test_a_killed_pull_goes_on_with_the_samples_that_are_there(there: InBucket, tmp_path: Path) -> None:
    assert kill_a_pull(there, tmp_path / "copy", 0.5)


def test_a_killed_mirror_sends_at_most_one_shard_a_worker_again(there: InBucket) -> None:
    kill_a_mirror(there, "quick", 3)


@pytest.mark.slow
def test_a_pull_killed_at_twenty_moments_is_finished_by_the_same_command(there: InBucket, tmp_path: Path) -> None:
    draw = random.Random(20)
    stopped = [kill_a_pull(there, tmp_path / f"copy{number}", draw.uniform(0, 1.1)) for number in range(20)]
    assert sum(stopped) >= 10


@pytest.mark.slow
def test_a_mirror_killed_at_twenty_moments_is_finished_by_the_same_command(there: InBucket) -> None:
    draw = random.Random(21)
    for number in range(20):
        kill_a_mirror(there, f"random{number}", draw.randrange(SHARDS + 2), after=draw.uniform(0, 0.3))
