"""Mirror and pull against other clients on one real S3 server: ``python -m benchmarks.mirror [DATASET] [--rounds N]``.

Swift on loopback (installed at the first use), every client a whole command, a new prefix or folder each time. Ours
proves every file at the other end, and every byte that arrives; the others do neither. Also prints what part of the
bytes a pull of one label moves. ``--cpu`` counts the processor seconds of client and server instead of the time that
passed: what decides where both share the cores, and little changed by what else runs there.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import clients
from benchmarks.machine import facts, shown
from benchmarks.measure import WDSTOOLS, Row, clocked_command, race
from benchmarks.run import RESULTS, save, table
from tests.servers.install import installed
from tests.servers.swift import swift_server
from wdstools.dataset import open_dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wdstools.dataset import Dataset

_NUMBERS = count()
_ACTS = ("mirror", "pull")


def measure(
    dataset: Dataset,
    bucket: str,
    scratch: Path,
    rounds: int,
    acts: Sequence[str],
    clock: Callable[[Sequence[str]], float],
) -> list[Row]:
    """Rows for mirror and pull against each client, and the share of a pull of one label."""
    programs, folder = installed("clients"), dataset.metadata.url
    size = sum(entry.bytes for _, entry in dataset.manifest.shards) / 1e6
    clocked_command([*WDSTOOLS, "mirror", folder, f"s3://{bucket}/origin", "-y", "-q"])

    def up(name: str) -> float:
        prefix = f"up{next(_NUMBERS)}"
        if name == "wdstools mirror":
            Path(folder, ".wdstools/remote-digests.json").unlink(missing_ok=True)  # as for the first time
            seconds = clock([*WDSTOOLS, "mirror", folder, f"s3://{bucket}/{prefix}", "-y", "-q"])
        else:
            seconds = clock(clients.upload(name, programs, folder, bucket, prefix))
        subprocess.run(clients.remove(programs, bucket, prefix), check=True)
        return seconds

    def down(name: str) -> float:
        target = str(scratch / f"down{next(_NUMBERS)}")
        if name == "wdstools pull":
            seconds = clock([*WDSTOOLS, "pull", f"s3://{bucket}/origin", target, "-q"])
        else:
            seconds = clock(clients.download(name, programs, target, bucket, "origin"))
        shutil.rmtree(target)
        return seconds

    rows = []
    for ours, act, targets in (("wdstools mirror", up, (1.0, 1.0, 1.0)), ("wdstools pull", down, (0.75, 1.0, 1.0))):
        if ours.split()[1] not in acts:
            continue
        # what others do in the meantime does not matter to processor seconds, nor does warming up
        result = race(_contenders(ours, act), rounds, hasty=clock is not clocked_command)
        rows += [
            result.row((ours, peer), of=("mirror", size, "MB/s"), at_least=target)
            for peer, target in zip(clients.NAMES, targets, strict=True)
        ]
    return [*rows, *(_share(dataset, f"s3://{bucket}/origin", scratch) if "pull" in acts else ())]


def _processor_seconds(command: Sequence[str], folder: Path) -> float:
    """What a command took of the processor, and with it the servers whose files lie in a folder."""
    before = _of_servers(folder) + _of_children()
    clocked_command(command)
    return _of_servers(folder) + _of_children() - before


def _of_children() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _of_servers(folder: Path) -> float:
    ticks = 0
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdigit() and str(folder) in (process / "cmdline").read_text():
                user, system = (process / "stat").read_text().rpartition(")")[2].split()[11:13]
                ticks += int(user) + int(system)
    return ticks / os.sysconf("SC_CLK_TCK")


def _contenders(ours: str, act: Callable[[str], float]) -> dict[str, Callable[[], float]]:
    return {name: (lambda name=name: act(name)) for name in (ours, *clients.NAMES)}  # type: ignore[misc]


def _share(dataset: Dataset, url: str, scratch: Path) -> list[Row]:
    """How much of the shards' bytes a pull of each tenth label moves, by its own count."""
    label = dataset.manifest.labels[-1] if dataset.manifest.labels else None
    if label is None:
        return []
    command = [*WDSTOOLS, "pull", url, str(scratch / "label"), "--where", f"label == {label!r}", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    plan, result = (json.loads(line) for line in (done.stdout.splitlines()[0], done.stdout.splitlines()[-1]))
    total = sum(entry.bytes for _, entry in dataset.manifest.shards)
    return [Row("pull --where", f"bytes moved for {result['samples']:,} of {dataset.manifest.totals['samples']:,} samples",
                result["fetched"] / total, f"of all bytes, {plan['requests']:,} requests", target="<= 0.16 of ten labels")]  # fmt: skip


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mirror", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("dataset", help="20 shards of 40 MB are what the targets are for")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=_ACTS, default=_ACTS)
    parser.add_argument("--cpu", action="store_true", help="processor seconds of client and server")
    arguments = parser.parse_args()
    dataset = open_dataset(arguments.dataset)
    with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(arguments.dataset))) as scratch:
        (swift := Path(scratch, "swift")).mkdir()
        with swift_server(swift) as server:
            os.environ.update(server.env)
            clock = partial(_processor_seconds, folder=swift) if arguments.cpu else clocked_command
            rows = measure(dataset, server.new_bucket(), Path(scratch), arguments.rounds, arguments.only, clock)
    totals = dataset.manifest.totals
    machine = facts(arguments.dataset)
    print(shown(machine))
    print(f"input:       {totals['shards']} shards, {totals['bytes'] / 1e6:.0f} MB, OpenStack Swift on loopback")
    print(f"seconds:     {'of the processor, client and server' if arguments.cpu else 'on the clock'}\n")
    print(table(rows))
    save(os.path.join(RESULTS, "mirror.json"), rows, machine=machine, input=totals)


if __name__ == "__main__":
    main()
