"""The Executor protocol. A worker function takes one item and a ``tick`` and returns one value.

Items and values are frozen dataclasses that pickle, so every executor runs the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

Item = TypeVar("Item")
Value = TypeVar("Value")
Value_co = TypeVar("Value_co", covariant=True)
#: A worker calls this with the number of units it has finished since the last call.
Tick = Callable[[int], None]
Work = Callable[[Item, Tick], Value]
#: Objects made between two rounds of the garbage collector in a process that is all ours; Python's own number is 700.
COLLECT_AFTER = 50_000


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Value_co]):
    """What became of item number ``index``: a value, or the error it raised (a WdsError)."""

    index: int
    value: Value_co | None = None
    error: Exception | None = None

    def result(self) -> Value_co:
        """The value; raises the error if there is one."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]  # None is then a value that the work gave


class Executor(Protocol):
    """Runs work. One bad item never ends the run: its outcome carries the error."""

    @property
    def jobs(self) -> int:
        """How many items are worked on at once."""

    def map(self, work: Work[Item, Value], items: Iterable[Item], tick: Tick | None = None) -> Iterator[Outcome[Value]]:
        """Run ``work`` on every item; outcomes come in the order of completion. Items are taken as they are needed."""

    def close(self) -> None:
        """End the workers. Work that is going on is abandoned."""


def run_all(
    executor: Executor, work: Work[Item, Value], items: Iterable[Item], tick: Tick | None = None
) -> list[Value]:
    """The value of every item, in order. At the first error no more are begun; it is raised when the rest has ended.

    So nothing is still at work when the caller tidies up.
    """
    errors: list[Exception] = []

    def offered() -> Iterator[Item]:
        for item in items:
            if errors:
                return
            yield item

    outcomes: dict[int, Outcome[Value]] = {}
    for outcome in executor.map(work, offered(), tick):
        if outcome.error is not None:
            errors.append(outcome.error)
        outcomes[outcome.index] = outcome
    if errors:
        raise errors[0]
    return [outcomes[index].result() for index in sorted(outcomes)]
