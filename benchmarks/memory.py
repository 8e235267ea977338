"""Peak memory of a command with all its children, by looking at them often."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_EVERY_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class MemoryPeak:
    """The largest sum of the memory of all processes at one time, in bytes, and what the command said.

    Pages that processes share are divided among them (PSS), so that they count once. ``own`` leaves out mapped files:
    libraries, and the page cache of what is read by a memory map.
    """

    resident: int
    own: int
    code: int
    stdout: str
    stderr: str


def peak_memory(command: Sequence[str]) -> MemoryPeak:
    """Run a command to its end (Linux: it reads /proc)."""
    resident = own = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            now = [_resident(pid) for pid in _family(process.pid)]
            resident = max(resident, sum(total for total, _ in now))
            own = max(own, sum(part for _, part in now))
            time.sleep(_EVERY_SECONDS)
        stdout, stderr = process.communicate()
        return MemoryPeak(resident, own, process.returncode, stdout, stderr)


def _family(pid: int) -> Iterator[int]:
    yield pid
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            children = [int(child) for child in file.read().split()]
    except OSError:
        return  # it has just ended
    for child in children:
        yield from _family(child)


def _resident(pid: int) -> tuple[int, int]:
    """The share of memory that a process has (PSS), and the part of it that is not pages of files."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8", errors="replace") as file:
            fields = dict(line.split(":", 1) for line in file.readlines()[1:])
    except OSError:
        return 0, 0
    kilobytes = {name: int(value.split()[0]) for name, value in fields.items() if value.split()[0].isdigit()}
    return kilobytes.get("Pss", 0) * 1024, (kilobytes.get("Pss_Anon", 0) + kilobytes.get("Pss_Shmem", 0)) * 1024
