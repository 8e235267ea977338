"""Verifying against reading the same files with ``cat``, and against one core's SHA-256; everything in the page cache."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from benchmarks.measure import Row, clocked, clocked_command, race
from wdstools import open_dataset, verify
from wdstools.executors.base import open_executor

if TYPE_CHECKING:
    from benchmarks.inputs import Setup

_ONE, _TWO = "verify --level digest, 1 thread", "verify --level digest, 2 threads"
_CAT, _SHA256 = "cat > /dev/null", "hashlib sha256, 1 core"
_BLOCK_BYTES = 1 << 20


def measure(setup: Setup) -> list[Row]:
    """In one race: one and two threads, cat, and SHA-256. The dataset is opened anew each time."""
    url, paths = setup.dataset.shards.url, setup.shard_paths()

    def ours(jobs: int) -> float:
        return clocked(lambda: verify(open_dataset(url), executor=open_executor("threads", jobs)).raise_for_findings())

    def sha256() -> None:
        block = memoryview(bytearray(_BLOCK_BYTES))
        for path in paths:
            digest = hashlib.sha256()
            with open(path, "rb", buffering=0) as file:
                while count := file.readinto(block):
                    digest.update(block[:count])

    contenders = {
        _ONE: lambda: ours(1),
        _TWO: lambda: ours(2),
        _CAT: lambda: clocked_command(["sh", "-c", 'cat "$@" > /dev/null', "sh", *paths]),
        _SHA256: lambda: clocked(sha256),
    }
    result = race(contenders, setup.rounds * 2 + 1, hasty=setup.tiny)
    work = ("verify", sum(entry.bytes for _, entry in setup.dataset.manifest.shards) / 1e9, "GB/s")
    targets = {(_ONE, _CAT): 0.7, (_ONE, _SHA256): 3.0, (_TWO, _CAT): 1.1, (_TWO, _SHA256): 5.0}
    return [result.row(names, of=work, at_least=target) for names, target in targets.items()]
