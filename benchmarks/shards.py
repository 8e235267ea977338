"""Very many shards: ``verify`` by two processes against one, and how large an item of its work is when it travels.

    python -m benchmarks.shards [--shards N] [--rounds N] [--json FILE]

The shards hold one very small image each, so nearly all of the work is what a shard costs. Whole commands, by the clock and by
processor time, user and system, of all processes together.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import sys
import tarfile
from dataclasses import replace
from functools import partial

from benchmarks.machine import facts, shown
from benchmarks.measure import WDSTOOLS, Row, clocked_command, race
from benchmarks.run import save, table
from benchmarks.scale import manifest_of
from benchmarks.tiny_source import tiny_files
from wdstools.checks.shard import ShardCheckTask
from wdstools.dataset import Dataset
from wdstools.executors.shared import SharedValues
from wdstools.stores.local import LocalStore

_LEVELS = ("size", "digest", "samples")
#: Two processes may take so many times what one takes.
_AT_MOST = 1.2
_ITEM_SHARDS, _ITEM_BYTES = (100, 10_000, 100_000), 4096


def measure(dataset: str, shards: int, rounds: int, *, hasty: bool = False) -> list[Row]:
    """Two processes against one at each level, by both clocks."""
    rows = []
    for level in _LEVELS:
        command = [*WDSTOOLS, "verify", dataset, "--level", level, "--executor", "processes", "-q", "--no-progress"]
        names = f"{level}, 2 processes", f"{level}, 1 process"
        found = race(
            {name: partial(clocked_command, [*command, f"-j{jobs}"]) for name, jobs in zip(names, (2, 1), strict=True)},
            rounds,
            hasty=hasty,
        )
        for clock, seconds in (("clock", found), ("processor", found.by_processor)):
            of = (f"verify, {clock}", float(shards), "shards/s")
            row = seconds.row(names, of=of, at_least=1 / _AT_MOST)
            rows.append(replace(row, target=f"> 1/{_AT_MOST}"))
    return rows


def items() -> list[Row]:
    """Bytes of an item of work, for datasets of more and more shards."""
    rows = []
    for shards in _ITEM_SHARDS:
        manifest, store = manifest_of(shards), LocalStore("/nowhere/at/all")
        entry = manifest.splits["train"][-1]
        task = ShardCheckTask(Dataset(manifest, "0" * 64, store, store), "train", entry, "digest", "xxh3_128")
        values = SharedValues()
        size = len(values.dumps((print, 0, task))[0])
        values.close()
        what = f"an item of verify, {shards:,} shards"
        rows.append(Row("items", what, size, "bytes", target=f"< {_ITEM_BYTES}", met=size < _ITEM_BYTES))
    return rows


def make(scratch: str, shards: int) -> str:
    """The dataset, adopted; what an earlier run made is used."""
    made = f"{scratch}/shards-{shards}"
    if os.path.exists(made):
        return made
    making = f"{made}.making"
    shutil.rmtree(making, ignore_errors=True)
    os.makedirs(f"{making}/train")
    files = tiny_files(shards)
    for number, sample in enumerate(zip(files, files, strict=True)):
        with tarfile.open(f"{making}/train/{number:06d}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for path, data in sample:
                info = tarfile.TarInfo(f"{number:06d}{os.path.splitext(path)[1]}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    clocked_command([*WDSTOOLS, "adopt", making, "-j2", "-q"])
    os.rename(making, made)
    return made


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shards", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shards", type=int, default=10_000, help="%(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="%(default)s")
    parser.add_argument("--scratch", default="build/bench", help="where the dataset lies (%(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    parser.add_argument("--tiny", action="store_true", help="30 shards, one round: does it run at all?")
    arguments = parser.parse_args()
    shards, rounds = (30, 1) if arguments.tiny else (arguments.shards, arguments.rounds)
    scratch = os.path.abspath(arguments.scratch)
    os.makedirs(scratch, exist_ok=True)
    machine = facts(scratch)
    print(shown(machine))
    sys.stderr.write("making the shards ...\n")
    dataset = make(scratch, shards)
    rows = [*items(), *measure(dataset, shards, rounds, hasty=arguments.tiny)]
    print(f"load after:  {' '.join(f'{load:.2f}' for load in os.getloadavg())}\n")
    print(table(rows))
    if arguments.json:
        save(arguments.json, rows, machine=machine, shards=shards, rounds=rounds)


if __name__ == "__main__":
    main()
