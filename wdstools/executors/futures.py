"""Any ``concurrent.futures.Executor`` as an executor: a pool of one's own, or a cluster's client that speaks its protocol."""

from __future__ import annotations

import concurrent.futures
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

from wdstools.errors import UsageError, WdsError, WorkerError, option
from wdstools.executors.base import Item, Outcome, Tick, Value, Work
from wdstools.executors.local import attempt, ignore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

#: An item whose worker was lost is given to another one, so often in all.
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class _Answer(Generic[Value]):
    """What a worker sends back: the outcome, and how many units it has ticked, which are told when it arrives."""

    outcome: Outcome[Value]
    ticks: int


def _run(work: Work[Item, Value], index: int, item: Item) -> _Answer[Value]:
    """One item, in a worker."""
    counts: list[int] = []
    outcome = attempt(work, index, item, counts.append)
    return _Answer(outcome, sum(counts))


class FuturesExecutor:
    """Runs work in somebody else's pool, which stays open: ``close`` ends nothing that is not ours.

    Args:
        pool: Where the work runs; its workers must be able to import wdstools in this version, and see the same paths.
        jobs: How many items are worked on at once; without it the pool's number of workers, if it tells.

    An item whose worker was lost runs again, three times in all; then its outcome names the reason. Any work may run
    twice, at once, or after its caller died, and leaves the same. Progress is told when an item ends.
    """

    def __init__(self, pool: concurrent.futures.Executor, jobs: int | None = None) -> None:
        known = getattr(pool, "_max_workers", None)
        self.jobs = jobs if jobs is not None else known if isinstance(known, int) else 1
        if self.jobs < 1:
            raise UsageError("at least one job is needed", where=option("jobs"), got=str(self.jobs))
        self._pool = pool

    def map(self, work: Work[Item, Value], items: Iterable[Item], tick: Tick | None = None) -> Iterator[Outcome[Value]]:
        """Run ``work`` on every item; as many are under way as there are jobs."""
        feed = enumerate(items)
        running: dict[concurrent.futures.Future[_Answer[Value]], tuple[int, Item, int]] = {}

        def submit(index: int, item: Item, number: int) -> None:
            running[self._pool.submit(_run, work, index, item)] = (index, item, number)

        try:
            for index, item in itertools.islice(feed, self.jobs):
                submit(index, item, 1)
            while running:
                done, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
                for future in done:
                    index, item, number = running.pop(future)
                    answer = _answer_of(future, index)
                    if isinstance(answer, WorkerError):
                        if number < _ATTEMPTS and self._again(submit, index, item, number + 1):
                            continue
                        answer = _Answer(Outcome(index, error=answer), 0)
                    if answer.ticks:
                        (tick or ignore)(answer.ticks)
                    following = next(feed, None)
                    if following is not None and not self._again(submit, *following, 1):
                        yield Outcome(following[0], error=WorkerError("the pool takes no more work"))
                    yield answer.outcome
        finally:
            for future in running:
                future.cancel()
            concurrent.futures.wait(running)

    @staticmethod
    def _again(submit: Callable[[int, Item, int], None], index: int, item: Item, number: int) -> bool:
        """Whether the pool has taken an item."""
        try:
            submit(index, item, number)
        except RuntimeError:  # a broken pool, or one that was shut down
            return False
        return True

    def close(self) -> None:
        """Nothing to end: the pool is its owner's."""


def _answer_of(future: concurrent.futures.Future[_Answer[Value]], index: int) -> _Answer[Value] | WorkerError:
    """What came of an item; a WorkerError where its worker was lost."""
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, WdsError):
        return _Answer(Outcome(index, error=error), 0)
    return WorkerError(
        "a worker was lost",
        where=f"item {index}",
        got=f"{type(error).__name__}: {error}",
        hint="it often means that memory ran out: let fewer items run at once",
    )
