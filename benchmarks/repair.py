"""Repairing twenty flipped bits, and removing a hundred samples, against copying the same bytes durably."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from benchmarks.measure import Row, clocked, race
from wdstools import open_dataset, verify
from wdstools.ops.remove import plan_remove
from wdstools.ops.repair import plan_repair
from wdstools.plan import apply
from wdstools.reader.select import Selection

if TYPE_CHECKING:
    from benchmarks.inputs import Setup

_REPAIR, _COPY_TWICE_CHECKED = "repair 20 flips in one shard", "verify + cp + fsync + verify"
_REMOVE, _COPY = "remove 100 samples", "cp + fsync of the same shards"


def measure(setup: Setup) -> list[Row]:
    """Times of both races; the dataset is copied first, and damaged or restored outside the clock."""
    whole = setup.dataset.shards.url
    work = os.path.join(setup.scratch, "repair")
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(whole, work)
    try:
        shard = max(setup.shard_paths(), key=os.path.getsize)
        victim = os.path.join(work, os.path.relpath(shard, whole))
        mended = race(
            {
                _REPAIR: lambda: _repair(work, victim, whole),
                _COPY_TWICE_CHECKED: lambda: clocked(lambda: _check_copy_check(work, victim)),
            },
            setup.rounds,
            hasty=setup.tiny,
        )
        keys = frozenset(sample.key for sample in setup.dataset[setup.dataset.splits[0]][:100])
        removed = race(
            {_REMOVE: lambda: _remove(work, whole, keys), _COPY: lambda: clocked(lambda: _copy_durably(victim))},
            setup.rounds,
            hasty=setup.tiny,
        )
    finally:
        shutil.rmtree(work, ignore_errors=True)
    gigabytes = os.path.getsize(shard) / 1e9
    return [
        mended.row((_REPAIR, _COPY_TWICE_CHECKED), of=("repair", gigabytes, "GB/s"), at_least=1 / 1.2),
        removed.row((_REMOVE, _COPY), of=("repair", gigabytes, "GB/s"), at_least=0.0),
    ]


def _repair(work: str, victim: str, whole: str) -> float:
    size = os.path.getsize(victim)
    with open(victim, "r+b") as file:
        for at in range(size // 40, size, size // 20):
            file.seek(at)
            byte = file.read(1)
            file.seek(at)
            file.write(bytes([byte[0] ^ 1]))
    return clocked(lambda: apply(plan_repair(work, spares=[whole])))


def _check_copy_check(work: str, victim: str) -> None:
    verify(open_dataset(work))
    _copy_durably(victim)
    verify(open_dataset(work))


def _copy_durably(path: str) -> None:
    shutil.copyfile(path, path + ".copy")
    with open(path + ".copy", "rb") as file:
        os.fsync(file.fileno())
    os.unlink(path + ".copy")


def _remove(work: str, whole: str, keys: frozenset[str]) -> float:
    seconds = clocked(lambda: apply(plan_remove(work, Selection(keys=keys))))
    shutil.rmtree(work)
    shutil.copytree(whole, work)
    return seconds
