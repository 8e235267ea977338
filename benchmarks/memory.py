"""Peak memory of a command with all its children, by looking at them often."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_EVERY_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class MemoryPeak:
    """The largest sum of resident memory of all processes at one time, in bytes, and what the command said.

    Pages that processes share count once for each of them, so this is never too low but by what happened between
    two looks. ``own`` leaves out mapped files: libraries, and the page cache of what is read by a memory map.
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
    """All resident bytes of a process, and those that are not pages of files."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            fields = dict(line.split(":", 1) for line in file)
    except OSError:
        return 0, 0
    anonymous, shared, mapped = (
        int(fields.get(name, "0 kB").split()[0]) << 10 for name in ("RssAnon", "RssShmem", "RssFile")
    )
    return anonymous + shared + mapped, anonymous + shared
