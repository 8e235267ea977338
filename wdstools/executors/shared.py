"""Values that travel to a worker once, however many items hold them, and paths that mean the same everywhere.

A manifest of 100,000 shards is 33 MB, and every item of work holds one: if it were pickled with each, checking such a
dataset would move 2.5 TB. So ``share`` returns a reference, and a class whose values are shared wherever they occur
sets ``travels_once = True``; such values must not change. Both go by the SHA-256 of the pickled value, so equal values
travel once. A class that also sets ``lies_once = True`` has its large arrays in one place for all workers of a host,
read-only (``packed.py``).

A class lists those of its attributes that are paths on this machine: ``local_paths = ("path",)``. A worker may have
another working folder, so they are made absolute for workers that are not children of this process.
"""

from __future__ import annotations

import copy
import pickle
import threading
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from typing import IO, TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from wdstools.executors.packed import AbsentError, Lent, Nearby, Packed, Placed, packed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterable, Iterator

Value = TypeVar("Value")
Value_co = TypeVar("Value_co", covariant=True)
#: How many received values are kept; a value that was dropped is sent again.
_RECENT = 16
#: In this process: the values held until their executor ends, how many hold each, and the latest received values.
_kept: dict[str, object] = {}
_holders: dict[str, int] = {}
_recent: OrderedDict[str, object] = OrderedDict()
#: The received values whose arrays are outside this process, in memory that all workers of the host share.
_apart: set[str] = set()
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Ref(Generic[Value_co]):
    """A reference to a shared value, which travels to each worker once; ``digest`` is the SHA-256 of its pickle."""

    digest: str

    def get(self) -> Value_co:
        """The value, in the caller or in a worker; raises LookupError if its executor was closed."""
        try:
            return _look_up(self.digest)  # type: ignore[return-value]  # what was shared under this digest
        except AbsentError as error:
            raise LookupError("the executor that shared this value was closed") from error


@dataclass(frozen=True, slots=True)
class Place:
    """A path on this machine. Sharing it raises at once if workers cannot use it, before any work is done."""

    local_paths: ClassVar[tuple[str, ...]] = ("path",)

    path: str


@dataclass(frozen=True, slots=True)
class Received:
    """A message: a value has been received and kept."""

    digest: str


class SharedValues:
    """What one executor shares, and which of its workers have it.

    ``elsewhere`` is called with each local path that travels to workers that are not children of this process, and
    returns the path to use there; without it, paths travel unchanged.
    """

    def __init__(self, elsewhere: Callable[[str], str] | None = None) -> None:
        self.elsewhere = elsewhere
        self._digests: dict[int, str] = {}
        self._values: list[object] = []  # held, so that no other value gets the same id
        self._packed: dict[str, Packed] = {}
        self._lent: dict[str, Lent | None] = {}
        self._needs: dict[str, list[str]] = {}
        self._sent: dict[Hashable, set[str]] = {}

    def share(self, value: Value) -> Ref[Value]:
        """A reference to a value."""
        return Ref(self.digest(value))

    def dumps(self, message: object) -> tuple[bytes, list[str]]:
        """A message as bytes with shared values as digests, and those digests, each after the ones it needs."""
        made, needed = self._pack(message, None)
        return made.data, needed

    def _pack(self, message: object, top: object) -> tuple[Packed, list[str]]:
        made, pickler = packed(lambda file, callback: _Pickler(self, file, top, callback), message)
        needed: dict[str, None] = {}
        for digest in pickler.needed:
            needed |= dict.fromkeys(self._needs.get(digest, ())) | {digest: None}
        return made, list(needed)

    def digest(self, value: object) -> str:
        """The digest of a value, which is then shared."""
        found = self._digests.get(id(value))
        if found is None:
            made, needs = self._pack(value, value)
            found = made.digest
            if found not in self._packed:
                self._packed[found], self._needs[found] = made, needs
                _hold(found, value)
            self._values.append(value)
            self._digests[id(value)] = found
        return found

    def packed(self, digest: str) -> Packed:
        """A shared value as bytes, for ``receive``."""
        return self._packed[digest]

    def lent(self, digest: str) -> Lent | None:
        """A shared value with its large arrays in a file for local processes; None without arrays, or without room."""
        if digest not in self._lent:
            self._lent[digest] = _lend(self._packed[digest])
        return self._lent[digest]

    def unsent(self, worker: Hashable, needed: Iterable[str]) -> Iterator[tuple[bytes, Lent | None]]:
        """Messages with the values that a worker does not have yet, and the files to pass to it; they count as sent."""
        sent = self._sent.setdefault(worker, set())
        for digest in needed:
            if digest in self._packed and digest not in sent:
                lent = self.lent(digest)
                message = _Whole(digest, self._packed[digest]) if lent is None else Coming(digest, lent.placed)
                yield pickle.dumps(message, pickle.HIGHEST_PROTOCOL), lent
                sent.add(digest)

    def forget(self, worker: Hashable) -> None:
        """Forget a worker that is gone."""
        self._sent.pop(worker, None)

    def close(self) -> None:
        """Release everything."""
        for lent in self._lent.values():
            if lent is not None:
                lent.close()
        for digest in self._packed:
            _release(digest)
        for held in (self._digests, self._values, self._packed, self._lent, self._needs, self._sent):
            held.clear()


def _lend(made: Packed) -> Lent | None:
    if not made.arrays:
        return None
    try:
        return Lent(made)
    except OSError:  # no room: each worker gets its own copy
        return None


def _hold(digest: str, value: object) -> None:
    with _lock:
        _kept.setdefault(digest, value)
        _holders[digest] = _holders.get(digest, 0) + 1


def _release(digest: str) -> None:
    with _lock:
        _holders[digest] -= 1
        if not _holders[digest]:
            del _holders[digest], _kept[digest]


class _Whole:
    """A message that keeps the value when a worker of ours unpickles it."""

    def __init__(self, digest: str, value: Packed) -> None:
        self._digest = digest
        self._value = value

    def __reduce__(self) -> tuple[Any, ...]:
        return _receive_for_good, (self._digest, self._value)


def _receive_for_good(digest: str, made: Packed) -> Received:
    _hold(digest, made.value())
    return Received(digest)


@dataclass(frozen=True, slots=True)
class Coming:
    """A message to a worker of ours: a file with the arrays of a value comes next."""

    digest: str
    placed: Placed

    def receive(self, fd: int) -> None:
        """Keep the value."""
        _hold(self.digest, self.placed.value(fd))


def receive(digest: str, made: Packed | Nearby, needed: Collection[str] = ()) -> None:
    """Keep a value in a worker that outlives its callers, until enough others have come.

    Of the values whose arrays are outside this process, only this one and those ``needed`` with it stay. Raises
    AbsentError if the value cannot be reached.
    """
    if is_here(digest):
        return
    value = made.value()
    with _lock:
        if made.arrays:
            for other in _apart.difference(needed):
                _recent.pop(other, None)
                _apart.discard(other)
            _apart.add(digest)
        _recent[digest] = value
        while len(_recent) > _RECENT:
            _recent.popitem(last=False)


def is_here(digest: str) -> bool:
    """Whether this process has a shared value."""
    with _lock:
        return digest in _kept or digest in _recent


@contextmanager
def pinned(digests: Iterable[str]) -> Iterator[None]:
    """Hold shared values for the duration of the block; raises AbsentError for a value that is not here."""
    held: list[str] = []
    try:
        for digest in digests:
            _hold(digest, _look_up(digest))
            held.append(digest)
        yield
    finally:
        for digest in held:
            _release(digest)


def _look_up(digest: str) -> object:
    with _lock:
        if digest in _kept:
            return _kept[digest]
        if digest in _recent:
            _recent.move_to_end(digest)
            return _recent[digest]
    raise AbsentError(digest)


def _look_up_ref(digest: str) -> Ref[object]:
    _look_up(digest)  # a worker without the value asks for it before the work begins
    return Ref(digest)


class _Pickler(ForkingPickler):
    def __init__(
        self, shared: SharedValues, file: IO[bytes], top: object, callback: Callable[..., bool] | None
    ) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL, True, callback)
        self._shared = shared
        self._top = top
        self.needed: list[str] = []

    def reducer_override(self, value: object) -> Any:
        """Replace shared values by their digests and make local paths absolute; pickle anything else as usual."""
        kind = type(value)
        if isinstance(value, Ref):
            digest = self._shared.digest(value.get())  # it may be another executor's
            self.needed.append(digest)
            return _look_up_ref, (digest,)
        if getattr(kind, "travels_once", False) and value is not self._top:
            digest = self._shared.digest(value)
            self.needed.append(digest)
            return _look_up, (digest,)
        names, elsewhere = getattr(kind, "local_paths", ()), self._shared.elsewhere
        if not names or elsewhere is None:
            return NotImplemented
        made = copy.copy(value)
        for name in names:
            object.__setattr__(made, name, elsewhere(getattr(value, name)))
        return made.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
