"""Verifying against reading the same files with ``cat``, against one core's SHA-256, and on two cores against one.

Everything is in the page cache. How much faster two cores can be is shown by two programs that only read, and by two
threads that only read and hash.
"""

from __future__ import annotations

import hashlib
import subprocess
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import xxhash

from benchmarks.measure import WDSTOOLS, Race, Row, clocked, clocked_command, race
from wdstools import open_dataset, verify
from wdstools.executors.open import open_executor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.inputs import Setup
    from wdstools.options.check import VerifyLevel


_ONE, _TWO = "verify --level digest, 1 thread", "verify --level digest, 2 threads"
_CAT, _SHA256 = "cat > /dev/null", "hashlib sha256, 1 core"
_BLOCK_BYTES = 1 << 20
_COMMAND = (*WDSTOOLS, "verify", "-q", "--no-progress")


def measure(setup: Setup) -> list[Row]:
    """In three races: against cat and SHA-256, and two cores against one at two levels. The dataset is opened anew each time."""
    url, paths = setup.dataset.shards.url, setup.shard_paths()
    found = race(
        {
            _ONE: lambda: _ours(url, 1),
            _TWO: lambda: _ours(url, 2),
            _CAT: lambda: _cat(paths, 1),
            _SHA256: lambda: clocked(lambda: _hash(paths, hashlib.sha256)),
        },
        setup.rounds * 2 + 1,
        hasty=setup.tiny,
    )
    targets = {(_ONE, _CAT): 0.7, (_ONE, _SHA256): 3.0, (_TWO, _CAT): 1.1, (_TWO, _SHA256): 5.0}
    size = sum(entry.bytes for _, entry in setup.dataset.manifest.shards) / 1e9
    rows = [found.row(names, of=("verify", size, "GB/s"), at_least=target) for names, target in targets.items()]
    return rows + _two_cores(setup, "digest", size) + _two_cores(setup, "samples", size)


def _two_cores(setup: Setup, level: VerifyLevel, size: float) -> list[Row]:
    """What a second core brings to a level: to the library, to the whole command, and to what can be no faster."""
    url, paths = setup.dataset.shards.url, setup.shard_paths()
    contenders: dict[str, Callable[[int], float]] = {
        f"verify --level {level}, {len(paths)} shards": lambda jobs: _ours(url, jobs, level),
        f"whole command, --level {level}": lambda jobs: clocked_command(
            [*_COMMAND, url, "--level", level, f"-j{jobs}"]
        ),
        "cat": lambda jobs: _cat(paths, jobs),
        "read and XXH3": lambda jobs: _hash_in_threads(paths, jobs),
    }
    found = race(
        {f"{name}, {jobs}": partial(run, jobs) for name, run in contenders.items() for jobs in (1, 2)},
        setup.rounds,
        hasty=setup.tiny,
    )
    return [
        _against_one(found, name, size, goal) for name, goal in zip(contenders, (1.7, None, None, None), strict=True)
    ]


def _against_one(found: Race, name: str, size: float, goal: float | None) -> Row:
    return found.row((f"{name}, 2", f"{name}, 1"), of=("verify", size, "GB/s"), at_least=goal)


def _ours(url: str, jobs: int, level: VerifyLevel = "digest") -> float:
    executor = open_executor("threads", jobs)
    return clocked(lambda: verify(open_dataset(url), level=level, executor=executor).raise_for_findings())


def _cat(paths: Sequence[str], jobs: int) -> float:
    """``jobs`` programs at once, each with its share of the files."""

    def work() -> None:
        programs = [subprocess.Popen(["cat", *paths[at::jobs]], stdout=subprocess.DEVNULL) for at in range(jobs)]
        codes = [program.wait() for program in programs]
        if any(codes):
            raise SystemExit("cat cannot read the shards")

    return clocked(work)


def _hash_in_threads(paths: Sequence[str], jobs: int) -> float:
    threads = [threading.Thread(target=_hash, args=(paths[at::jobs], xxhash.xxh3_128)) for at in range(jobs)]

    def work() -> None:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return clocked(work)


def _hash(paths: Sequence[str], algorithm: Callable[[], Any]) -> None:
    block = memoryview(bytearray(_BLOCK_BYTES))
    for path in paths:
        digest = algorithm()
        with open(path, "rb", buffering=0) as file:
            while count := file.readinto(block):
                digest.update(block[:count])
