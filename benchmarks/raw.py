"""Reading undecoded samples beside webshart: all of their members as bytes, and images alone, in order and random.

    python -m benchmarks.peers.environments build/peers webshart                # once: webshart in an environment of its own
    python -m benchmarks.raw [--photos DIR] [--dataset DATASET] [--rounds N] [--seconds S] [--environments build/peers]

Ours checks each sample. webshart is written in Rust and checks nothing; of its ways to read in order both are
measured, iterating all files and reading them by number. Every run is a process of its own that reads for some seconds
from the page cache, after its first steps. Contenders take turns, and a ratio is taken within a round: of the clock, and
of processor time, which other programs change less. Without webshart only our own figures come out.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.inputs import prepare
from benchmarks.machine import facts, shown
from benchmarks.measure import Race, Row
from benchmarks.peers.contest import Contest, Entry
from benchmarks.peers.environments import is_ready
from benchmarks.run import save, table
from wdstools import WdsError, open_dataset
from wdstools.ops.bench.machine import Others

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wdstools.dataset import Dataset
    from wdstools.ops.bench.clock import Tally

_OURS = (Entry("wdstools", "stream"), Entry("wdstools", "dataset"))
_NUMBERED, _ITERATED = Entry("webshart", "by number"), Entry("webshart", "iterated")
_GOAL = 1.2
#: So many samples are read between two looks at the clock.
_RUN = 64


class _Discipline(NamedTuple):
    """What is read, in which order, and how webshart can."""

    what: str
    shuffle: bool
    images: bool
    peers: tuple[Entry, ...]


_DISCIPLINES = (
    _Discipline("all members, in order", shuffle=False, images=False, peers=(_NUMBERED, _ITERATED)),
    _Discipline("all members, random", shuffle=True, images=False, peers=(_NUMBERED,)),
    _Discipline("images alone, in order", shuffle=False, images=True, peers=(_NUMBERED,)),
    _Discipline("images alone, random", shuffle=True, images=True, peers=(_NUMBERED,)),
)


def measure(contest: Contest, rounds: int, seconds: float) -> list[Row]:
    """Four races, each by the clock and by processor time."""
    rows: list[Row] = []
    for what, shuffle, images, peers in _DISCIPLINES:
        meanwhile = Others()
        found = contest.race(
            [*_OURS, *peers], seconds, rounds, work="members", shuffle=shuffle, images=images, run=_RUN
        )
        race = race_of(found, meanwhile.cores())
        for clock, race_by in (("clock", race), ("processor", race.by_processor)):
            rows += _rows(f"{what}, {clock}", race_by, [peer.name for peer in peers if peer.name in found])
    return rows


def race_of(found: Mapping[str, Sequence[Tally]], others: float) -> Race:
    """Seconds a sample, of each contender in each round."""
    seconds = {name: [tally.seconds / tally.count for tally in tallies] for name, tallies in found.items()}
    processor = {name: [tally.cpu_seconds / tally.count for tally in tallies] for name, tallies in found.items()}
    return Race(seconds, others, processor)


def _rows(benchmark: str, race: Race, peers: Sequence[str]) -> list[Row]:
    if not peers:
        return [Row(benchmark, one.name, 1 / race.median(one.name), "samples/s", others=race.others) for one in _OURS]
    of = (benchmark, 1.0, "samples/s")
    return [race.row((one.name, peer), of=of, at_least=_GOAL) for one in _OURS for peer in peers]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.raw", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", metavar="DIR", help="what make_photos made; else demo images are made")
    parser.add_argument("--dataset", help="read this one, whose samples have a jpg, in place of packing photographs")
    parser.add_argument("--samples", type=int, default=20_000, help="how many to make (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="%(default)s")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each run (%(default)s)")
    parser.add_argument("--environments", default="build/peers", help="where webshart is installed (%(default)s)")
    parser.add_argument("--scratch", default="build/bench", help="where inputs lie (%(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    parser.add_argument("--tiny", action="store_true", help="100 samples, one short round: does it run at all?")
    arguments = parser.parse_args()
    rounds, seconds = (1, 0.01) if arguments.tiny else (arguments.rounds, arguments.seconds)
    scratch = os.path.abspath(arguments.scratch)
    os.makedirs(scratch, exist_ok=True)
    machine = facts(scratch)
    dataset, described = _input(arguments, scratch)
    with tempfile.TemporaryDirectory(dir=scratch) as own:  # indexes of another dataset would be believed
        contest = Contest(dataset, os.path.abspath(arguments.environments), own)
        if not is_ready(contest.environments, "webshart"):
            contest.failed["webshart"] = f"not in {contest.environments}: python -m benchmarks.peers.environments"
        rows = measure(contest, rounds, seconds)
    machine["peers"] = ", ".join(f"{name} {version}" for name, version in contest.versions.items())
    print(shown({**machine, "input": described, "rounds": str(rounds)}))
    print(f"load after:  {' '.join(f'{load:.2f}' for load in os.getloadavg())}\n")
    for peer, reason in contest.failed.items():
        sys.stderr.write(f"{peer} was not measured: {reason}\n")
    print(table(rows))
    if arguments.json:
        save(arguments.json, rows, machine=machine, input=described, rounds=rounds)


def _input(arguments: argparse.Namespace, scratch: str) -> tuple[Dataset, str]:
    """The dataset, and in a few words what it holds."""
    if not arguments.dataset:
        samples = 100 if arguments.tiny else arguments.samples
        setup = prepare(scratch, arguments.photos, samples, rounds=1, tiny=arguments.tiny)
        return setup.dataset, setup.described
    try:
        dataset = open_dataset(arguments.dataset)
    except WdsError as error:
        raise SystemExit(str(error)) from None
    entries = dataset.manifest.splits.get("train", ())
    if "jpg" not in dataset.manifest.members or not any(entry.samples for entry in entries):
        raise SystemExit(f"{arguments.dataset} has no samples with a jpg in a split train")
    count, size = sum(entry.samples for entry in entries), sum(entry.bytes for entry in entries)
    return dataset, f"{count:,} samples of {size / count / 1000:.1f} KB in {len(entries):,} shards"


if __name__ == "__main__":
    main()
