"""The Executor protocol. A worker function takes one item and a ``tick`` and returns one value.

Items and values are frozen dataclasses that pickle, so every executor runs the same code: here, in threads, in
processes, or on the workers of a cluster. What all of them promise, and what they ask of the work:

- **Any work may run twice, at once, or after its caller died, and what it leaves is the same.** So it writes under a name
  of its own, and gives the final name last.
- **A WdsError is an answer**: it comes back as the outcome of its item and is never tried again. A bug comes back as a
  WorkerError with its traceback, and is not tried again either.
- **A lost worker is no answer**: its process was killed, its host went away. The item is given to another worker, three
  times in all. Then its outcome is one WorkerError (``worker-lost``) that names the item, the host and the reason.
- **One bad item never ends the run**, and each item has exactly one outcome.
- **How many workers there are may change.** ``jobs`` is asked again each round. Items are taken when they are needed: never
  more than one and a half times ``jobs`` are under way.
- **Ticks come in the caller's thread**, and add up to the work that was done once, however often it was tried.
- **What many items hold travels to a worker once**: by ``share``, or because its class says ``travels_once = True``
  (``shared.py``). Large arrays of a class with ``lies_once = True`` lie in one place on each host where that can be, and
  workers only read them (``packed.py``).
- **A class says which of its attributes are paths** on the caller's machine, by ``local_paths``. They travel as absolute
  paths, and where workers do not see the caller's disk they are refused before any work is done with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from wdstools.executors.shared import Ref

Item = TypeVar("Item")
Value = TypeVar("Value")
Value_co = TypeVar("Value_co", covariant=True)
#: A worker calls this with the number of units it has finished since the last call.
Tick = Callable[[int], None]
Work = Callable[[Item, Tick], Value]
#: Objects made between two rounds of the garbage collector in a process that is all ours; Python's own number is 700.
COLLECT_AFTER = 50_000
#: How often an item is given to a worker before its loss is the outcome.
ATTEMPTS = 3


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
    """Runs work. One bad item never ends the run: its outcome carries the error.

    Any work may run twice, at once, or after its caller died, and what it leaves is the same. A worker that is lost is
    replaced, and its item tried again, three times in all.
    """

    @property
    def jobs(self) -> int:
        """How many items are worked on at once; it may change between two rounds."""

    @property
    def shared_disk(self) -> bool:
        """Whether workers see the caller's files under the same paths."""

    def map(self, work: Work[Item, Value], items: Iterable[Item], tick: Tick | None = None) -> Iterator[Outcome[Value]]:
        """Run ``work`` on every item; outcomes come in the order of completion. Items are taken as they are needed."""

    def share(self, value: Value) -> Ref[Value]:
        """A stand-in for a value that many items hold: it travels to each worker once. The value must not change.

        Equal values have one stand-in. It holds until ``close``.
        """

    def close(self) -> None:
        """End the workers, and let go of what was shared. Work that is going on is abandoned."""


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
