"""Racing contenders fairly: taken in turn within each round, ratios within a round, medians over rounds."""

from __future__ import annotations

import gc
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from wdstools.ops.bench.machine import Others

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

#: Others may keep this many cores busy during a round that counts.
QUIET_CORES = 0.15
#: While others are busy, a race goes on for so many times the wanted rounds.
PATIENCE = 3

WDSTOOLS = (sys.executable, "-m", "wdstools")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    ``value`` is ours in ``unit`` and ``peer_value`` the peer's. ``ratio`` is how many times better ours is, the
    median of the ratios of each round; ``low`` and ``high`` are the extremes. Rows without a peer have a value only.
    ``met`` tells whether ``target`` is reached, None if there is none. ``others`` is how many cores other programs
    kept busy meanwhile.
    """

    benchmark: str
    what: str
    value: float
    unit: str
    peer: str = ""
    peer_value: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    target: str = ""
    met: bool | None = None
    others: float = 0.0


@dataclass(frozen=True, slots=True)
class Race:
    """Seconds of each contender, round by round, and how busy others were.

    ``processor`` are the seconds of processor time of the commands that a contender ran; 0 where it ran none.
    """

    seconds: Mapping[str, Sequence[float]]
    others: float
    processor: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def by_processor(self) -> Race:
        """The same race by processor time: what other programs keep busy changes it less."""
        return Race(self.processor, self.others)

    def median(self, name: str) -> float:
        """The median of a contender's seconds."""
        return median(self.seconds[name])

    def ratios(self, name: str, peer: str) -> list[float]:
        """How many times faster ``name`` was than ``peer``, round by round."""
        return [theirs / ours for ours, theirs in zip(self.seconds[name], self.seconds[peer], strict=True)]

    def row(
        self, names: tuple[str, str], *, of: tuple[str, float, str], at_least: float | None = None, times: float = 1
    ) -> Row:
        """One of ours against a peer. ``of`` is (benchmark, amount of work, unit); ``times``: the peer did less."""
        (name, peer), (benchmark, amount, unit) = names, of
        ratios = [ratio * times for ratio in self.ratios(name, peer)]
        ratio = median(ratios)
        return Row(
            benchmark,
            name,
            amount / self.median(name),
            unit,
            peer,
            amount / times / self.median(peer),
            ratio,
            min(ratios),
            max(ratios),
            f">= {at_least:g}" if at_least is not None else "",
            ratio >= at_least if at_least is not None else None,
            self.others,
        )


def race(contenders: Mapping[str, Callable[[], float]], rounds: int, *, hasty: bool = False) -> Race:
    """Run every contender once a round, each round in another order; a contender gives the seconds that count.

    A round while others are busy is run again, until ``PATIENCE`` is over; the quietest rounds are kept, whatever
    came out of them. ``hasty``: no warm-up and no waiting, for tests.
    """
    names = list(contenders)
    if not hasty:
        for name in names:
            contenders[name]()
    found: list[tuple[float, dict[str, tuple[float, float]]]] = []
    patience = 1 if hasty else PATIENCE
    while len(found) < rounds * patience and sum(others <= QUIET_CORES for others, _ in found) < rounds:
        names = [*names[1:], names[0]]
        meanwhile = Others()
        seconds = {name: _both_clocks(contenders[name]) for name in names}
        found.append((meanwhile.cores(), seconds))
    kept = sorted(found, key=lambda entry: entry[0])[:rounds]
    wall, processor = ({name: [seconds[name][clock] for _, seconds in kept] for name in contenders} for clock in (0, 1))
    return Race(wall, median(others for others, _ in kept), processor)


def _both_clocks(contender: Callable[[], float]) -> tuple[float, float]:
    """The seconds that count, and the processor time of the commands that ran."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = contender()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def clocked(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds that some work took; ``time.process_time`` as the clock counts processor seconds."""
    gc.collect()
    start = clock()
    work()
    return clock() - start


def clocked_command(command: Sequence[str], *, cwd: str | None = None, codes: tuple[int, ...] = (0,)) -> float:
    """Seconds that a whole command took; any exit code but ``codes`` is an error."""
    start = time.perf_counter()
    done = subprocess.run(
        command, cwd=cwd, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
    )
    seconds = time.perf_counter() - start
    if done.returncode not in codes:
        raise SystemExit(f"{' '.join(command[:6])}: exit code {done.returncode}\n{done.stderr.decode()}")
    return seconds


def environment() -> dict[str, str]:
    """The environment for commands: compiled modules are kept, as they are where programs are installed."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def settle() -> None:
    """Let the disk finish what earlier commands left to it."""
    os.sync()
