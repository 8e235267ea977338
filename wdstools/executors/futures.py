"""Any ``concurrent.futures.Executor`` as an executor: the user's own pool, or a cluster client with that interface."""

from __future__ import annotations

import concurrent.futures
import secrets
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from wdstools.errors import UsageError, option
from wdstools.executors.afar import Answer, LostWorkerError, Run, elsewhere, work_on
from wdstools.executors.shared import Ref, SharedValues

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from wdstools.executors.afar import Parcel
    from wdstools.executors.base import Item, Outcome, Tick, Value, Work
    from wdstools.executors.packed import Nearby, Packed

_Future = concurrent.futures.Future[Answer]


class FuturesExecutor:
    """Runs work in a pool of the caller's, which ``close`` leaves open.

    Args:
        pool: Where the work runs; its workers must be able to import wdstools in this version.
        jobs: How many items run at once, or a function that returns it, called repeatedly; by default the pool's number
            of workers if it can be found (for pools on this machine and Dask's), or else 1.
        shared_disk: Whether the workers see the same paths as the caller.

    An item whose worker was lost runs again, up to three attempts in all; then its outcome names the reason. Any work
    may run twice, concurrently, or after its caller died, with the same result. Progress is reported when an item is
    done.
    """

    def __init__(
        self,
        pool: concurrent.futures.Executor,
        jobs: int | Callable[[], int] | None = None,
        *,
        shared_disk: bool = True,
    ) -> None:
        if isinstance(jobs, int) and jobs < 1:
            raise UsageError("at least one job is needed", where=option("jobs"), got=str(jobs))
        self._pool = pool
        self._jobs = jobs
        self._shared_disk = shared_disk
        self._shared = SharedValues(partial(elsewhere, shared_disk=shared_disk, seen=lambda _: True))

    @property
    def jobs(self) -> int:
        """How many items run at once."""
        if callable(self._jobs):
            return max(1, self._jobs())
        return self._jobs if self._jobs is not None else _size_of(self._pool)

    @property
    def shared_disk(self) -> bool:
        """Whether the workers see the same paths as the caller."""
        return self._shared_disk

    def map(self, work: Work[Item, Value], items: Iterable[Item], tick: Tick | None = None) -> Iterator[Outcome[Value]]:
        """Run ``work`` on every item, with up to one and a half times ``jobs`` in flight."""
        return Run(_Futures(self._pool, self), self._shared, tick).outcomes(work, items)

    def share(self, value: Value) -> Ref[Value]:
        """A reference to a value, which travels to each worker about once."""
        return self._shared.share(value)

    def close(self) -> None:
        """Release what was shared. The pool is its owner's and stays open."""
        self._shared.close()


class _Futures:
    """A pool of futures as a pool of parcels."""

    def __init__(self, pool: concurrent.futures.Executor, owner: FuturesExecutor) -> None:
        self._pool = pool
        self._owner = owner

    @property
    def jobs(self) -> int:
        return self._owner.jobs

    def submit(self, parcel: Parcel, values: Mapping[str, Packed | Nearby]) -> _Future:
        try:
            # some pools answer equal calls only once; the nonce makes each call different
            return self._pool.submit(work_on, replace(parcel, nonce=secrets.token_hex(8)), values)
        except RuntimeError as error:  # a broken pool, or one that was shut down
            raise LostWorkerError(f"the pool accepts no more work ({type(error).__name__}: {error})") from error

    def wait(self, handles: Collection[_Future], told: Callable[[int, int], None]) -> Iterable[_Future]:
        del told
        return concurrent.futures.wait(handles, return_when=concurrent.futures.FIRST_COMPLETED).done

    def answer(self, handle: _Future) -> Answer:
        try:
            error = handle.exception()  # whatever a pool raises for a lost worker
        except concurrent.futures.CancelledError as cancelled:
            raise LostWorkerError("the pool cancelled it") from cancelled
        if error is not None:
            raise LostWorkerError(f"{type(error).__name__}: {error}") from error
        return handle.result()

    def cancel(self, handles: Collection[_Future]) -> None:
        concurrent.futures.wait([handle for handle in handles if not handle.cancel()])


def _size_of(pool: Any) -> int:
    """How many workers a pool has, if that can be found."""
    client = getattr(pool, "_client", None)  # Dask's
    if client is not None and callable(getattr(client, "nthreads", None)):
        return max(1, sum(map(int, client.nthreads().values())))
    known = [getattr(pool, name, None) for name in ("_max_workers", "num_workers")]
    return next((number for number in known if isinstance(number, int) and number > 0), 1)
