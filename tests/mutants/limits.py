"""How long a child may take: a change can make a loop endless, or leave processes waiting for ever."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import signal
import struct
import time
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_TICKS = os.sysconf("SC_CLK_TCK")
#: A test may take this many times the processor time that it took before, and this many seconds more.
_TIMES, _MORE = 5.0, 5.0
#: By the clock it may take many times as long, because other programs may be running on this machine.
_BUSY = 8.0


def become_reaper() -> None:
    """Make this process the parent of whatever its children leave behind."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Limit:
    """Watches one child at a time. The child says which test it begins."""

    def __init__(self) -> None:
        self._map = mmap.mmap(-1, 16)
        self._ours: set[int] = set()

    def starts(self) -> None:
        """To be called before the child exists: whatever already runs below this process is not the child's."""
        self._ours = set(descendants())
        self.begins(0)

    @property
    def at(self) -> int:
        """The test that the child is running."""
        return int(struct.unpack_from("q", self._map)[0])

    def begins(self, at: int) -> None:
        """To be called in the child, at the beginning of each test."""
        struct.pack_into("qd", self._map, 0, at, time.monotonic())

    def watch(self, pid: int, seconds: list[float]) -> bool:
        """Wait for the child, end whatever it left, and return whether it ended by itself (without ``seconds``, no limits)."""
        pause, at, used, looked = 0.002, -1, 0.0, 0.0
        ended = False
        while not ended:
            ended = os.waitpid(pid, os.WNOHANG)[0] != 0
            if ended:
                break
            time.sleep(pause)
            pause = min(pause * 1.5, 0.05)
            now = time.monotonic()
            if not seconds or now - looked < 1.0:
                continue
            looked = now
            began = struct.unpack_from("qd", self._map)[1]
            if now - began < _MORE / 2:
                continue  # listing all processes costs more than most tests
            if at != self.at:
                at, used = self.at, _processor_seconds(pid)
            may = _TIMES * (seconds[at] if at < len(seconds) else 1.0) + _MORE
            if _processor_seconds(pid) - used > may or now - began > _BUSY * may:
                break
        _end([each for each in descendants() if each not in self._ours])
        if not ended:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        return ended


def descendants(of: int = 0) -> list[int]:
    """The processes that this one (or another) started, and those that they did."""
    above: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                above.setdefault(int(_stat(int(entry))[1]), []).append(int(entry))
    found, todo = [], [of or os.getpid()]
    while todo:
        below = above.get(todo.pop(), [])
        found += below
        todo += below
    return found


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _processor_seconds(pid: int) -> float:
    """The processor time of a process and its descendants, including those that ended and were waited for."""
    total = 0
    for each in [pid, *descendants(pid)]:
        with contextlib.suppress(OSError):
            total += sum(map(int, _stat(each)[11:15]))
    return total / _TICKS


def _end(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
