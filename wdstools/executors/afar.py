"""What remote executors have in common, whose workers are not children of this process: a pool takes parcels.

A parcel is one item of work as bytes, in which shared values are replaced by digests. A worker that lacks a value, or
whose versions could lead to another result, says so in its answer before it begins. So nothing has to be known about
the workers: neither which exist, nor where, nor whether they existed a moment ago.
"""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from wdstools.errors import UsageError, WorkerError
from wdstools.executors.base import ATTEMPTS, Item, Outcome, Tick, Value, Work
from wdstools.executors.local import attempt, ignore, lost_worker, named, tell_of_loss
from wdstools.executors.packed import AbsentError
from wdstools.executors.shared import SharedValues, is_here, pinned, receive
from wdstools.executors.versions import Host, refuse_mixture, this_host

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from wdstools.executors.packed import Nearby, Packed

Handle = TypeVar("Handle")


@dataclass(frozen=True, slots=True)
class Parcel:
    """One item to send: its number, the pickled work and item, and what the worker must have.

    ``needed`` are the digests of shared values, ``versions`` the digest of the versions on the caller's host that
    decide results; ``nonce`` makes every submission unique.
    """

    number: int
    data: bytes
    needed: tuple[str, ...]
    versions: str
    nonce: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker sends back: the outcome, or what it lacks, or its host if that differs from the caller's.

    ``ticks`` are all of this item's, reported or not; ``files`` identifies the host of a worker that lacks something.
    """

    outcome: Outcome[Any] | None = None
    ticks: int = 0
    lacks: tuple[str, ...] = ()
    files: str = ""
    unlike: Host | None = None


class LostWorkerError(Exception):
    """A worker was lost together with its item; ``host`` is where it ran, if known."""

    def __init__(self, reason: str, host: str = "") -> None:
        super().__init__(reason, host)
        self.reason = reason
        self.host = host


class Pool(Protocol[Handle]):
    """A pool of workers that takes parcels."""

    @property
    def jobs(self) -> int:
        """How many workers there are now."""

    def submit(self, parcel: Parcel, values: Mapping[str, Packed | Nearby]) -> Handle:
        """Submit a parcel with some shared values that it needs. Raises LostWorkerError if the pool takes no more."""

    def wait(self, handles: Collection[Handle], told: Callable[[int, int], None]) -> Iterable[Handle]:
        """The handles that are done, after a while maybe none. ``told`` receives an item's number and its ticks so far."""

    def answer(self, handle: Handle) -> Answer:
        """The answer of a handle that is done; raises LostWorkerError."""

    def cancel(self, handles: Collection[Handle]) -> None:
        """Cancel these as soon as possible, and return once none of them is running any more, as far as possible."""


def work_on(parcel: Parcel, values: Mapping[str, Packed | Nearby], tick: Tick | None = None) -> Answer:
    """Work on one parcel, in a worker. ``values`` are the shared values sent along; ``tick`` receives progress."""
    host = this_host()
    if parcel.versions != host.digest:
        return Answer(unlike=host)
    counts: list[int] = []

    def count(ticks: int) -> None:
        counts.append(ticks)
        if tick is not None:
            tick(ticks)

    try:
        for digest in parcel.needed:
            if digest in values:
                receive(digest, values[digest], parcel.needed)
        with pinned(parcel.needed):
            return Answer(_outcome(parcel, count), sum(counts))
    except AbsentError:
        lacks = tuple(digest for digest in parcel.needed if not is_here(digest)) or parcel.needed
        return Answer(lacks=lacks, files=host.files)


def _outcome(parcel: Parcel, count: Tick) -> Outcome[Any]:
    try:
        work, item = pickle.loads(parcel.data)  # noqa: S301  from the caller, whose code runs here anyway
    except (pickle.PickleError, ImportError, AttributeError, EOFError, TypeError, ValueError) as error:
        text = f"{type(error).__name__}: {error}"
        return Outcome(parcel.number, error=WorkerError("a worker cannot read this item of work", got=text))
    return attempt(work, parcel.number, item, count)


def elsewhere(path: str, *, shared_disk: bool, seen: Callable[[str], bool]) -> str:
    """A path of this machine in the form that workers can use; raises UsageError if they cannot.

    ``seen`` says whether they see a path as this machine does; it is called unless the disk is known to be shared. URLs
    are the same everywhere.
    """
    if not path or "://" in path:
        return path
    if not shared_disk:
        if not os.path.isabs(path):
            raise UsageError(
                "a relative path means nothing on other hosts",
                code="path-not-shared",
                where=path,
                hint=f"give the absolute path of a folder that all hosts share (here it is {os.path.abspath(path)}), or a bucket",
            )
        if not seen(path):
            raise UsageError(
                "other hosts do not see this path as this machine does",
                code="path-not-shared",
                where=path,
                hint="use a folder that all hosts share under one path (NFS, Lustre), or a bucket",
            )
    return os.path.abspath(path)


@dataclass(slots=True)
class _Sent(Generic[Item]):
    """An item in flight: its attempt and the ticks reported so far. ``near``: its arrays are read from this machine."""

    parcel: Parcel
    about: str | None = None
    attempt: int = 1
    told: int = 0
    near: bool = False

    def news(self, ticks: int) -> int:
        """How many of ``ticks``, the total so far, have not been reported yet."""
        fresh = max(0, ticks - self.told)
        self.told += fresh
        return fresh


class Run(Generic[Handle]):
    """One map over the workers of a pool."""

    def __init__(self, pool: Pool[Handle], shared: SharedValues, tick: Tick | None) -> None:
        self._pool = pool
        self._shared = shared
        self._tick = tick or ignore
        self._running: dict[Handle, _Sent[Any]] = {}
        self._numbers: dict[int, _Sent[Any]] = {}
        self._spread: dict[str, int] = {}
        self._ours = this_host()

    def outcomes(self, work: Work[Item, Value], items: Iterable[Item]) -> Iterator[Outcome[Value]]:
        """Every item's outcome, in the order of completion."""
        feed = enumerate(items)
        more = True
        try:
            while more or self._running:
                jobs = max(1, self._pool.jobs)
                while more and len(self._running) < max(1, jobs * 3 // 2):
                    entry = next(feed, None)
                    if entry is None:
                        more = False
                    elif (refused := self._send(_Sent(self._parcel(work, *entry), named(entry[1])))) is not None:
                        yield refused
                if not self._running:
                    continue
                for handle in list(self._pool.wait(list(self._running), self._hear)):
                    outcome = self._settle(handle)
                    if outcome is not None:
                        yield outcome
        finally:
            if self._running:
                self._pool.cancel(list(self._running))

    def _parcel(self, work: Work[Item, Value], number: int, item: Item) -> Parcel:
        data, needed = self._shared.dumps((work, item))
        return Parcel(number, data, tuple(needed), self._ours.digest)

    def _send(self, sent: _Sent[Any], values: Mapping[str, Packed | Nearby] | None = None) -> Outcome[Any] | None:
        """Submit an item to the pool; returns its outcome if the pool takes no more."""
        try:
            handle = self._pool.submit(sent.parcel, self._first(sent.parcel) if values is None else values)
        except LostWorkerError as error:
            return _lost(sent, error)
        self._running[handle] = sent
        self._numbers[sent.parcel.number] = sent
        return None

    def _first(self, parcel: Parcel) -> dict[str, Packed | Nearby]:
        """The values sent along with the first parcels: all but those with arrays, which may be on the host already."""
        jobs = max(1, self._pool.jobs)
        values: dict[str, Packed | Nearby] = {}
        for digest in parcel.needed:
            made = self._shared.packed(digest)
            if not made.arrays and self._spread.get(digest, 0) < jobs:
                self._spread[digest] = self._spread.get(digest, 0) + 1
                values[digest] = made
        return values

    def _whole(self, sent: _Sent[Any], answer: Answer | None = None) -> dict[str, Packed | Nearby]:
        """Everything that an item needs, with arrays only if its worker lacks values.

        For a worker on this machine they stay in their file, unless that has failed before.
        """
        near = answer is not None and answer.files == self._ours.files and not sent.near
        values: dict[str, Packed | Nearby] = {}
        for digest in sent.parcel.needed:
            made = self._shared.packed(digest)
            lent = self._shared.lent(digest) if near else None
            if lent is not None:
                values[digest] = lent.nearby()
                sent.near = True
            elif answer is not None or not made.arrays:
                values[digest] = made
        return values

    def _hear(self, number: int, ticks: int) -> None:
        sent = self._numbers.get(number)
        if sent is not None and (news := sent.news(ticks)):
            self._tick(news)

    def _settle(self, handle: Handle) -> Outcome[Any] | None:
        """The outcome of an item; None if it is in flight again."""
        sent = self._running.pop(handle)
        number = sent.parcel.number
        try:
            answer = self._pool.answer(handle)
        except LostWorkerError as error:
            tell_of_loss(number, sent.about, error.host, error.reason, sent.attempt)
            if sent.attempt < ATTEMPTS:
                sent.attempt += 1
                sent.near = False
                return self._send(sent, self._whole(sent))
            del self._numbers[number]
            return _lost(sent, error)
        if answer.unlike is not None:
            refuse_mixture(self._ours, answer.unlike)
        if answer.outcome is None:
            return self._send(sent, self._whole(sent, answer))
        self._hear(number, answer.ticks)
        del self._numbers[number]
        return answer.outcome


def _lost(sent: _Sent[Any], error: LostWorkerError) -> Outcome[Any]:
    number = sent.parcel.number
    return Outcome(number, error=lost_worker(number, sent.about, error.host, error.reason, sent.attempt))
