"""Work for executors: functions that a worker process can import."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wdstools.errors import FormatError, IntegrityError
from wdstools.results import Finding, Report

if TYPE_CHECKING:
    from wdstools.executors.base import Tick


@dataclass(frozen=True)
class Square:
    """A value of our own kind, as executors carry them."""

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
    """A bug: an exception that nobody announced."""
    return 1 // number


def die_on_odd(number: int, tick: Tick) -> int:
    """Odd numbers end the process as the kernel does when memory is short."""
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


def announce_and_work_for_ever(number: int, tick: Tick) -> Any:
    """Says that it works, and does not stop."""
    os.write(1, b"working\n")
    while True:
        signal.pause()


__all__ = ["IntegrityError", "Square"]
