"""What a figure was measured on: the facts that belong beside it."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_PACKAGES = ("wdstools", "numpy", "pyarrow", "simplejpeg", "Pillow", "xxhash")


def machine_facts(packages: Sequence[str] = _PACKAGES) -> dict[str, str]:
    """Processor, memory, system, versions and load, each as people write it; "" where the system does not tell."""
    return {
        "cpu": _line_of("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cores": str(core_count()),
        "memory": _line_of("/proc/meminfo", "MemTotal"),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": versions_of(packages),
        "load before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def versions_of(packages: Sequence[str]) -> str:
    """``name version, ...`` of those that are installed."""
    found = []
    for name in packages:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def core_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int:
    """Memory of the machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _line_of(path: str, name: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return next((line.partition(":")[2].strip() for line in file if line.startswith(name)), "")
    except OSError:
        return ""
