"""What a figure was measured on: the facts that belong beside it, and how much of the machine others were using."""

from __future__ import annotations

import os
import subprocess

from wdstools.ops.bench_machine import machine_facts

_PACKAGES = ("wdstools", "webdataset", "numpy", "pyarrow", "Pillow", "simplejpeg", "numba", "xxhash", "awscrt")
_IDLE_FIELDS = (3, 4)  # idle and iowait in /proc/stat, proc(5)
_GUEST_FIELDS = 8  # from here on counted in user time already


def facts(folder: str) -> dict[str, str]:
    """Processor, system, versions, and the file system that ``folder`` lies on."""
    return {**machine_facts(_PACKAGES), "file system": file_system(folder), "tar": tar_version()}


def tar_version() -> str:
    """The first line of ``tar --version``; "" without tar."""
    try:
        return subprocess.run(["tar", "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError):
        return ""


def file_system(folder: str) -> str:
    """Type of the file system of a folder, as ``ext4``; "unknown" where nobody tells."""
    real = os.path.realpath(folder) + "/"
    try:
        with open("/proc/mounts", encoding="utf-8") as file:
            mounts = [line.split()[1:3] for line in file]
    except OSError:
        return "unknown"
    return max((len(at), kind) for at, kind in mounts if real.startswith(at.rstrip("/") + "/"))[1]


class Others:
    """Counts, from now on, how many cores other programs keep busy: in use, less what we and our children used."""

    def __init__(self) -> None:
        self._start = self._now()

    def cores(self) -> float:
        """Cores that others used since the start, on average; 0 where the system does not tell."""
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
