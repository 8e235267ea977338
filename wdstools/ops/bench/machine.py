"""What a figure was measured on: facts about the machine, and how much of it other programs were using."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from wdstools.executors.open import processors

if TYPE_CHECKING:
    from collections.abc import Sequence

_PACKAGES = ("wdstools", "numpy", "pyarrow", "simplejpeg", "Pillow", "xxhash")
_IDLE_FIELDS = (3, 4)  # idle and iowait in /proc/stat, proc(5)
_GUEST_FIELDS = 8  # the fields from here on are already part of user time


def machine_facts(packages: Sequence[str] = _PACKAGES) -> dict[str, str]:
    """Processor, memory, system, versions and load, for display; "" if the system does not tell."""
    return {
        "cpu": _line_of("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cores": str(processors()),
        "memory": f"{memory_bytes() / 1e9:.1f} GB",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": versions_of(packages),
        "load before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def versions_of(packages: Sequence[str]) -> str:
    """``name version, ...`` of the packages that are installed."""
    found = []
    for name in packages:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def memory_bytes() -> int:
    """The machine's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _line_of(path: str, name: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return next((line.partition(":")[2].strip() for line in file if line.startswith(name)), "")
    except OSError:
        return ""


class Others:
    """Counts, from now on, how many cores other programs keep busy: all that are busy, less our own and our children's."""

    def __init__(self) -> None:
        self._start = self._now()

    def cores(self) -> float:
        """How many cores others have used since the start, on average; 0 if the system does not tell."""
        wall, busy, own = (now - then for now, then in zip(self._now(), self._start, strict=True))
        return max(0.0, (busy - own) / wall) if wall > 0 else 0.0

    @staticmethod
    def _now() -> tuple[float, float, float]:
        times = os.times()
        own = times.user + times.system + times.children_user + times.children_system
        try:
            with open("/proc/stat", encoding="utf-8") as file:
                ticks = [int(field) for field in file.readline().split()[1:]]
        except OSError:
            return times.elapsed, own, own
        busy = sum(count for at, count in enumerate(ticks[:_GUEST_FIELDS]) if at not in _IDLE_FIELDS)
        return times.elapsed, busy / os.sysconf("SC_CLK_TCK"), own
