"""Timing for bench: run work until its time is up, run contenders in turn, and compare them side by side."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Tally:
    """How much was done: ``count`` items in ``seconds``, with ``cpu_seconds`` of this process.

    ``laps`` are the seconds between one step and the next.
    """

    count: float
    seconds: float
    cpu_seconds: float = 0.0
    laps: tuple[float, ...] = ()

    @property
    def rate(self) -> float:
        """Items per second."""
        return self.count / self.seconds


def run_for(seconds: float, steps: Iterator[float]) -> Tally:
    """Take steps (each yields how much it did) until the time is up or they end; at least one."""
    laps = []
    count = 0.0
    cpu = time.process_time()
    start = last = time.perf_counter()
    for done in steps:
        now = time.perf_counter()
        laps.append(now - last)
        last = now
        count += done
        if now - start >= seconds:
            break
    return Tally(count, max(last - start, 1e-9), time.process_time() - cpu, tuple(laps))


def in_turn(work: Mapping[str, Callable[[float], Tally]], seconds: float, rounds: int) -> dict[str, list[Tally]]:
    """Run every contender once per round, for ``seconds / rounds`` at a time; each round starts with another one.

    So a disturbance affects all of them, and ratios within a round stay valid.
    """
    found: dict[str, list[Tally]] = {name: [] for name in work}
    names = list(work)
    for _ in range(rounds):
        for name in names:
            found[name].append(work[name](seconds / rounds))
        names = [*names[1:], *names[:1]]
    return found


def rate_of(tallies: Sequence[Tally]) -> float:
    """The median of the rates."""
    return median(tally.rate for tally in tallies)


def ratio_of(tallies: Sequence[Tally], others: Sequence[Tally]) -> float:
    """The median of the ratios round by round."""
    return median(one.rate / other.rate for one, other in zip(tallies, others, strict=True))


def quantile(values: Sequence[float], part: float) -> float:
    """The value that ``part`` of the values do not exceed (nearest rank); raises ValueError if there are none."""
    if not values:
        raise ValueError("no values")
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, max(0, -int(-part * len(ranked) // 1) - 1))]


def private_bytes() -> int:
    """This process's own memory now, without mapped files (Linux); on other systems, its peak so far."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            fields = dict(line.split(":", 1) for line in file if line.startswith(("RssAnon", "RssShmem")))
        return sum(int(value.split()[0]) for value in fields.values()) * 1024
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
