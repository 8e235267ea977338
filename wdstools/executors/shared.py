"""Values that travel to a worker once, however many items hold them.

A class says so of its values with ``travels_once = True``; they must not change. A manifest of 100,000 shards is 33 MB,
and every item of work holds one: pickled with each, checking such a dataset would move 2.5 TB.
"""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator

#: In a worker: the values that have come, by their number.
_values: dict[int, object] = {}


@dataclass(frozen=True, slots=True)
class Received:
    """Stands for a value that has come and is kept."""

    number: int


class SharedValues:
    """What one executor has sent, and to which of its workers."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self._values: list[object] = []  # held, so that no other value gets the same id
        self._pickled: dict[int, bytes] = {}
        self._sent: dict[Hashable, set[int]] = {}

    def dumps(self, message: object) -> tuple[bytes, list[int]]:
        """A message as bytes in which shared values are only numbers, and these numbers."""
        buffer = io.BytesIO()
        pickler = _Pickler(self, buffer)
        pickler.dump(message)
        return buffer.getvalue(), pickler.needed

    def number(self, value: object) -> int:
        """The number of a shared value."""
        found = self._numbers.get(id(value))
        if found is None:
            found = self._numbers[id(value)] = len(self._values)
            self._values.append(value)
        return found

    def unsent(self, worker: Hashable, needed: Iterable[int]) -> Iterator[bytes]:
        """Messages with those values that a worker does not have yet; from now on it has them."""
        sent = self._sent.setdefault(worker, set())
        for number in needed:
            if number not in sent:
                if number not in self._pickled:
                    value = pickle.dumps(self._values[number], pickle.HIGHEST_PROTOCOL)
                    self._pickled[number] = pickle.dumps(_Message(number, value))
                yield self._pickled[number]
                sent.add(number)

    def forget(self, worker: Hashable) -> None:
        """A worker is gone."""
        self._sent.pop(worker, None)


class _Message:
    """Unpickled in a worker, keeps the value there."""

    def __init__(self, number: int, value: bytes) -> None:
        self._number = number
        self._value = value

    def __reduce__(self) -> tuple[Any, ...]:
        return _receive, (self._number, self._value)


def _receive(number: int, value: bytes) -> Received:
    _values[number] = pickle.loads(value)  # noqa: S301  from our own parent
    return Received(number)


def _look_up(number: int) -> object:
    return _values[number]


class _Pickler(ForkingPickler):
    def __init__(self, shared: SharedValues, buffer: io.BytesIO) -> None:
        super().__init__(buffer, pickle.HIGHEST_PROTOCOL)
        self._shared = shared
        self.needed: list[int] = []

    def reducer_override(self, value: object) -> Any:
        """Shared values as their numbers; anything else as ever."""
        if not getattr(type(value), "travels_once", False):
            return NotImplemented
        number = self._shared.number(value)
        self.needed.append(number)
        return _look_up, (number,)
