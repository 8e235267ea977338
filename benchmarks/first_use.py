"""What the first use of compiled loops costs: whole commands with an empty ``NUMBA_CACHE_DIR``, and again with what the first left there.

    python -m benchmarks.first_use [--only small,pairs] [--rounds N] [--profile] [--json FILE]

Processor time, user and system, of the command and all processes that it starts; first and later runs take turns. Both
hash all images anew, into an empty folder. ``--profile`` tells what each loop takes to compile, itself alone, in one more
first run in one process.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from benchmarks.machine import facts, shown
from benchmarks.measure import WDSTOOLS, Row, clocked_command, environment, race
from benchmarks.run import save, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_GOAL = 1.5
_COMMENT = b"\xff\xfe\0\x06"
_LISTENING = """
import json, sys, time
from collections import defaultdict
from numba.core import event
class Kernels(event.Listener):
    def __init__(self):
        self.open, self.seconds = [], defaultdict(float)
    def on_start(self, event):
        self.open.append([time.process_time(), 0.0])
    def on_end(self, event):
        began, inner = self.open.pop()
        spent = time.process_time() - began
        if self.open:
            self.open[-1][1] += spent
        function = event.data["dispatcher"].py_func
        self.seconds[f"{function.__module__}.{function.__qualname__}"] += spent - inner
kernels = Kernels()
event.register("numba:compile", kernels)
path, sys.argv = sys.argv[1], ["wdstools", *sys.argv[2:]]
from wdstools.cli.entry import main
try:
    main()
finally:
    with open(path, "w") as file:
        json.dump(kernels.seconds, file)
"""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A command and its images: so many, of so many scenes, with sides of so many pixels."""

    images: int
    scenes: int
    side: int
    options: tuple[str, ...]
    packs: bool = False

    @property
    def described(self) -> str:
        """In a few words."""
        command = " ".join(("pack" if self.packs else "duplicates", *self.options))
        pictures = f"{self.images:,} images of {self.side} px"
        return f"{command}, {pictures}" + (f", {self.scenes:,} scenes" if self.scenes != self.images else "")


SCENARIOS = {
    "small": Scenario(2_000, 2_000, 300, ()),
    "search": Scenario(10_000, 10_000, 96, ()),
    "edited": Scenario(20_000, 20_000, 96, ("--level", "edited")),
    "pairs": Scenario(2_000, 3, 300, ()),
    "resize": Scenario(1_000, 1_000, 640, ("--resize", "300"), packs=True),
}
TINY = Scenario(60, 6, 96, ())


def measure(name: str, scenario: Scenario, scratch: str, rounds: int, *, hasty: bool = False) -> Row:
    """How much more processor time the first run takes: the median of the differences of each round, and their extremes."""
    run = _runner(scenario, _input(name, scenario, scratch), scratch)
    kept = f"{scratch}/kernels-{name}"
    run(kept)
    try:
        found = race({"first": lambda: run(""), "later": lambda: run(kept)}, rounds, hasty=hasty)
    finally:
        shutil.rmtree(kept, ignore_errors=True)
    spent = found.processor
    more = [first - later for first, later in zip(spent["first"], spent["later"], strict=True)]
    later = median(spent["later"])
    what = f"{scenario.described}: first run, more than later ones"
    goal, met = f"<= {_GOAL}", median(more) <= _GOAL
    return Row(
        "first use", what, median(more), "s", "a later run", later, None, min(more), max(more), goal, met, found.others
    )


def _runner(scenario: Scenario, source: str, scratch: str) -> Callable[[str], float]:
    """Runs the command; loops are kept in a folder, without one they are compiled anew."""

    def run(kernels: str) -> float:
        with tempfile.TemporaryDirectory(dir=scratch) as own:
            os.environ["NUMBA_CACHE_DIR"] = kernels or f"{own}/kernels"
            os.environ["XDG_CACHE_HOME"] = f"{own}/cache"
            return clocked_command([*WDSTOOLS, *_arguments(scenario, source, own), "-j2"], codes=(0, 1, 3))

    return run


def _arguments(scenario: Scenario, source: str, own: str) -> list[str]:
    if scenario.packs:
        return ["pack", source, f"{own}/out", "--recipe", "labels", "-q", *scenario.options]
    return ["duplicates", source, "--cache", f"{own}/hashes", "-q", *scenario.options]


def profile(name: str, scenario: Scenario, scratch: str) -> dict[str, float]:
    """Seconds of processor time that each loop takes to compile, itself alone, in one process."""
    source = _input(name, scenario, scratch)
    with tempfile.TemporaryDirectory(dir=scratch) as own:
        variables = {**environment(), "NUMBA_CACHE_DIR": f"{own}/kernels", "XDG_CACHE_HOME": f"{own}/cache"}
        command = [sys.executable, "-c", _LISTENING, f"{own}/found", *_arguments(scenario, source, own)]
        done = subprocess.run(
            [*command, "--executor", "serial"], env=variables, capture_output=True, text=True, check=False
        )
        if done.returncode not in (0, 1, 3):
            raise SystemExit(done.stderr)
        with open(f"{own}/found", encoding="utf-8") as file:
            found: dict[str, float] = json.load(file)
    return dict(sorted(found.items(), key=lambda entry: -entry[1]))


def _input(name: str, scenario: Scenario, scratch: str) -> str:
    """A folder of images, or the dataset packed from one; what an earlier run made is used."""
    folder = f"{scratch}/first-{name}-{scenario.images}"
    made = folder if scenario.packs else f"{folder}.dataset"
    if os.path.exists(made):
        return made
    shutil.rmtree(f"{folder}.making", ignore_errors=True)
    os.makedirs(f"{folder}.making/one")
    for number, data in enumerate(_pictures(scenario)):
        with open(f"{folder}.making/one/{number:06d}.jpg", "wb") as file:
            file.write(data)
    if scenario.packs:
        os.rename(f"{folder}.making", folder)
    else:
        shutil.rmtree(f"{made}.partial", ignore_errors=True)
        shards = str(max(1, scenario.images // 4))
        pack = [*WDSTOOLS, "pack", f"{folder}.making", made, "--recipe", "labels", "--shard-samples", shards, "-q"]
        clocked_command(pack)
        shutil.rmtree(f"{folder}.making")
    return made


def _pictures(scenario: Scenario) -> Iterator[bytes]:
    """JPEGs of scenes, each scene again and again: its files differ in a comment, its pictures in nothing."""
    draw = np.random.default_rng(1)
    files = []
    for _ in range(scenario.scenes):
        cells = Image.fromarray(draw.integers(0, 256, (12, 12, 3), np.uint8))
        sink = io.BytesIO()
        cells.resize((scenario.side, scenario.side), Image.Resampling.BICUBIC).save(sink, "JPEG", quality=80)
        files.append(sink.getvalue())
    for number in range(scenario.images):
        data = files[number % scenario.scenes]
        yield data[:2] + _COMMENT + number.to_bytes(4, "big") + data[2:]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.first_use", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default=",".join(SCENARIOS), help="some of %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="%(default)s")
    parser.add_argument("--scratch", default="build/bench", help="where inputs and outputs lie (%(default)s)")
    parser.add_argument("--profile", action="store_true", help="what each loop takes to compile, too")
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    parser.add_argument("--tiny", action="store_true", help="60 images, one round: does it run at all?")
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    if unknown := set(names) - set(SCENARIOS):
        parser.error(f"no such input: {', '.join(sorted(unknown))}")
    chosen = {"tiny": TINY} if arguments.tiny else {name: SCENARIOS[name] for name in names}
    scratch = os.path.abspath(arguments.scratch)
    os.makedirs(scratch, exist_ok=True)
    machine = facts(scratch)
    print(shown(machine))
    rows, profiles = [], {}
    for name, scenario in chosen.items():
        sys.stderr.write(f"measuring {scenario.described} ...\n")
        rows.append(measure(name, scenario, scratch, 1 if arguments.tiny else arguments.rounds, hasty=arguments.tiny))
        if arguments.profile:
            profiles[name] = profile(name, scenario, scratch)
    print(f"load after:  {' '.join(f'{load:.2f}' for load in os.getloadavg())}\n")
    print(table(rows))
    for name, found in profiles.items():
        print(f"\n{chosen[name].described}: {sum(found.values()):.2f} s")
        for kernel, seconds in found.items():
            print(f"  {seconds:6.2f} s  {kernel}")
    if arguments.json:
        save(arguments.json, rows, machine=machine, profiles=profiles)


if __name__ == "__main__":
    main()
