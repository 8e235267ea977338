"""The Executor protocol. A worker function takes one item and a ``tick`` and returns one value.

Items and values are frozen dataclasses that can be pickled, so every executor runs the same code: in this thread, in
threads, in processes, or on the workers of a cluster. What they all promise, and what they require of the work:

- **Any work may run twice, concurrently, or after its caller died, with the same result.** So it writes under a unique
  name, and renames last.
- **A WdsError is an answer**: it comes back as the outcome of its item and is never retried. A bug comes back as a
  WorkerError with its traceback, and is not retried either.
- **A lost worker is not an answer**: its process was killed, or its host went away. The item is given to another worker,
  up to three attempts in all. Then its outcome is a WorkerError (``worker-lost``) that names item, host and reason.
- **One bad item never ends the run**, and each item has exactly one outcome.
- **The number of workers may change.** ``jobs`` is read again each round. Items are taken when they are needed: never
  more than one and a half times ``jobs`` are in flight.
- **Ticks come in the caller's thread**, and count each unit of work once, however often it was tried.
- **What many items hold travels to a worker once**: by ``share``, or because its class sets ``travels_once = True``
  (``shared.py``). Large arrays of a class with ``lies_once = True`` are kept once per host where possible, and workers
  can only read them (``packed.py``).
- **A class lists those of its attributes that are paths** on the caller's machine in ``local_paths``. They travel as
  absolute paths. If workers do not see the caller's disk, they are refused before any work is done with them.
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
#: Objects created between two garbage collections in a process of our own; Python's default is 700.
COLLECT_AFTER = 50_000
#: How many workers an item is given to before its outcome is that they were lost.
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Value_co]):
    """The outcome of item number ``index``: a value, or the error it raised (a WdsError)."""

    index: int
    value: Value_co | None = None
    error: Exception | None = None

    def result(self) -> Value_co:
        """The value; raises the error instead if there is one."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]  # None is then the work's value


class Executor(Protocol):
    """Runs work. One bad item never ends the run: its outcome carries the error.

    Any work may run twice, concurrently, or after its caller died, with the same result. A lost worker is replaced, and
    its item tried again, up to three attempts in all.
    """

    @property
    def jobs(self) -> int:
        """How many items are worked on at once; it may change between two rounds."""

    @property
    def shared_disk(self) -> bool:
        """Whether workers see the caller's files under the same paths."""

    def map(self, work: Work[Item, Value], items: Iterable[Item], tick: Tick | None = None) -> Iterator[Outcome[Value]]:
        """Run ``work`` on every item; outcomes come in the order of completion. Items are taken when they are needed."""

    def share(self, value: Value) -> Ref[Value]:
        """A reference to a value that many items hold, which travels to each worker once. The value must not change.

        Equal values share one reference. It is valid until ``close``.
        """

    def close(self) -> None:
        """Stop the workers and release what was shared. Unfinished work is abandoned."""


def run_all(
    executor: Executor, work: Work[Item, Value], items: Iterable[Item], tick: Tick | None = None
) -> list[Value]:
    """The value of every item, in order. After the first error no item is begun; it is raised once the rest are done.

    So nothing is still running when the caller cleans up.
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
