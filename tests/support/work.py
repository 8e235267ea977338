"""Work for executors: functions that a worker process can import."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.errors import FormatError, IntegrityError
from wdstools.results import Finding, Report

if TYPE_CHECKING:
    from wdstools.executors.base import Tick
    from wdstools.executors.shared import Ref


@dataclass(frozen=True)
class Square:
    """A value of a class of our own, like those that executors carry."""

    number: int
    square: int


def square(number: int, tick: Tick) -> Square:
    """An easy thing."""
    return Square(number, number * number)


def fail_on_odd(number: int, tick: Tick) -> int:
    """Raises an error with all its parts for every odd number."""
    if number % 2:
        raise FormatError("odd", code="odd-number", where=f"item {number}", expected="even", got=str(number), hint="+1")
    return number


def fail_with_report(number: int, tick: Tick) -> int:
    """Raises an error that carries a report."""
    report = Report("digest", {"shards": number}, (Finding("payload", "x.tar", "is damaged", start=3, length=4),))
    report.raise_for_findings()
    raise AssertionError


def stumble(number: int, tick: Tick) -> int:
    """A bug: an undocumented exception."""
    return 1 // number


def die_on_odd(number: int, tick: Tick) -> int:
    """Odd numbers end the process as the kernel does when memory runs out."""
    if number % 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def tick_each(number: int, tick: Tick) -> int:
    """As many units of work as the number says."""
    for _ in range(number):
        tick(1)
    return number


def where_am_i(number: int, tick: Tick) -> tuple[int, int]:
    """Process and thread of the worker."""
    return os.getpid(), threading.get_ident()


def leave_mark(item: tuple[str, int], tick: Tick) -> int:
    """Makes a file when the item is finished."""
    folder, number = item
    Path(folder, str(number)).touch()
    return number


def wait_for_file(item: str, tick: Tick) -> str:
    """Works until a file appears."""
    while not os.path.exists(item):
        time.sleep(0.005)
    return item


def tick_and_wait(item: str, tick: Tick) -> int:
    """Says that two of three parts are done, and waits for a file before the third."""
    tick(1)
    while not os.path.exists(item):
        tick(0)
        time.sleep(0.05)
    tick(2)
    return 3


def announce_and_work_for_ever(number: int, tick: Tick) -> Any:
    """Reports that it is running, and never stops."""
    os.write(1, b"working\n")
    while True:
        signal.pause()


def _mark(folder: str, name: str) -> int:
    """Notes that an item was begun; returns how often so far."""
    with open(os.path.join(folder, name), "ab", buffering=0) as file:
        file.write(b".")
        return file.tell()


def count_and_fail(item: tuple[str, str], tick: Tick) -> int:
    """Counts how often it was begun, and fails: on purpose, or by a bug."""
    folder, name = item
    _mark(folder, name)
    if name == "fails":
        raise FormatError("on purpose", code="on-purpose")
    return 1 // 0


def die_at_first(item: tuple[str, int], tick: Tick) -> int:
    """Every third item is killed halfway the first time that it is begun; each has three ticks."""
    folder, number = item
    attempt = _mark(folder, str(number))
    tick(2)
    if number % 3 == 0 and attempt == 1:
        time.sleep(0.3)  # let the ticks be told that will be given again
        tick(0)
        os.kill(os.getpid(), signal.SIGKILL)
    tick(1)
    return number


def count_and_die_on_odd(item: tuple[str, int], tick: Tick) -> int:
    """Odd numbers are killed whenever they are begun, and count how often."""
    folder, number = item
    _mark(folder, str(number))
    return die_on_odd(number, tick)


class Numbers:
    """A value whose array all workers of a host read in one place."""

    travels_once = True
    lies_once = True

    def __init__(self, count: int, first: int = 0) -> None:
        self.all = np.arange(first, first + count)


def where_it_lies(item: tuple[Numbers, str, int, int], tick: Tick) -> tuple[int, str, bool, int]:
    """Process, memory of the array, whether it is writable, and its sum; all items of the folder run at the same time."""
    numbers, folder, number, count = item
    Path(folder, str(number)).touch()
    while len(os.listdir(folder)) < count:
        time.sleep(0.005)
    array = numbers.all
    return os.getpid(), mapping_of(array.ctypes.data), array.flags.writeable, int(array.sum())


def mapping_of(address: int) -> str:
    """The file mapped at an address, as device and inode, if that memory is shared."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        for line in maps:
            span, permissions, _, device, inode, *_ = line.split()
            start, stop = (int(end, 16) for end in span.split("-"))
            if start <= address < stop:
                return f"{device} {inode}" if permissions[3] == "s" else f"private in {os.getpid()}"
    raise AssertionError(hex(address))


def add_shared(item: tuple[Ref[Square], int], tick: Tick) -> int:
    """Adds a number to a shared square."""
    ref, number = item
    return ref.get().square + number


__all__ = ["IntegrityError", "Square"]
