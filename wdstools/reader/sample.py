"""A sample, as readers return it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from wdstools.formats.digest import xxh3_64_intdigest

Name = TypeVar("Name")
#: Where a member of some rows begins and ends in the bytes of its row, by row.
Spans = tuple[Sequence[int], Sequence[int]]
_NONE: Mapping[str, Any] = MappingProxyType({})


class Places(Protocol):
    """The keys of rows, and where their members lie in the bytes of each row."""

    @property
    def keys(self) -> Sequence[str]:
        """The keys, by row."""

    @property
    def spans(self) -> Mapping[str, Spans]:
        """For each extension, where its members begin and end; a row without one has an end before its beginning."""

    def extensions(self, row: int) -> Sequence[str]:
        """The members of a row, in tar order."""


class Sample(Mapping[str, bytes]):
    """A sample: extension -> payload, in tar order; ``key`` is its key. Everything in it has been checked.

    ``sample["jpg"]`` is a copy, made on each access; ``sample.view("jpg")`` is the payload without a copy: a view into the
    bytes of its sample, or of a block of up to 256 KiB of neighbours, which stay in memory as long as any view is held.
    """

    __slots__ = ("_data", "_places", "_row", "columns")

    def __init__(self, data: bytes | memoryview, places: Places, row: int) -> None:
        #: Values of added columns, if they were requested.
        self.columns: Mapping[str, Any] = _NONE
        self._data = data
        self._places = places
        self._row = row

    @property
    def key(self) -> str:
        """The sample's key."""
        return self._places.keys[self._row]

    def __getitem__(self, extension: str) -> bytes:
        starts, ends = self._places.spans[extension]
        start, end = starts[self._row], ends[self._row]
        if end < start:
            raise KeyError(extension)
        return bytes(self._data[start:end])

    def __iter__(self) -> Iterator[str]:
        return iter(self._places.extensions(self._row))

    def __len__(self) -> int:
        return len(self._places.extensions(self._row))

    def view(self, extension: str) -> memoryview:
        """A payload without a copy, read-only; decoders accept it as it is."""
        starts, ends = self._places.spans[extension]
        start, end = starts[self._row], ends[self._row]
        if end < start:
            raise KeyError(extension)
        return memoryview(self._data)[start:end]

    def __reduce__(self) -> tuple[Any, ...]:
        return _sample_of, (self.key, dict(self), dict(self.columns))

    def __repr__(self) -> str:
        members = ", ".join(f"{extension}: {len(self.view(extension))} bytes" for extension in self)
        return f"Sample({self.key!r}, {members})"


class _Joined:
    """Members that lie one after another."""

    def __init__(self, key: str, members: dict[str, bytes]) -> None:
        edges = list(accumulate(map(len, members.values()), initial=0))
        self.keys = (key,)
        self.spans = {name: ((start,), (end,)) for name, start, end in zip(members, edges, edges[1:], strict=False)}

    def extensions(self, row: int) -> Sequence[str]:  # noqa: ARG002
        return list(self.spans)


def _sample_of(key: str, members: dict[str, bytes], columns: Mapping[str, Any] = _NONE) -> Sample:
    sample = Sample(memoryview(b"".join(members.values())), _Joined(key, members), 0)
    sample.columns = columns
    return sample


def member_by_member(
    data: memoryview, members: Iterable[tuple[Name, int, int, int]], mended: Callable[[Name, memoryview], bytes]
) -> memoryview:
    """A sample's bytes, with each member (name, offset, size, XXH3-64) as packed, or else replaced by ``mended``."""
    for name, first, size, digest in members:
        view = data[first : first + size]
        if xxh3_64_intdigest(view) != digest:
            data = _replaced(data, first, mended(name, view))
    return data


def _replaced(data: memoryview, first: int, member: bytes) -> memoryview:
    """A sample's bytes with one member replaced; the bytes may have been cut off before it."""
    whole = bytearray(data)
    whole.extend(bytes(max(0, first + len(member) - len(whole))))
    whole[first : first + len(member)] = member
    return memoryview(bytes(whole))
