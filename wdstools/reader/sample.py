"""A sample, as readers hand it out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate, pairwise
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from wdstools.formats.digest import xxh3_64_intdigest

Name = TypeVar("Name")
_NONE: Mapping[str, Any] = MappingProxyType({})


class Places(Protocol):
    """Where the members of rows lie in the bytes of each row."""

    def place(self, row: int, extension: str) -> slice:
        """Where a member lies; raises KeyError if the row has none of this extension."""

    def extensions(self, row: int) -> list[str]:
        """The members of a row, in tar order."""


class Sample(Mapping[str, bytes]):
    """A sample: extension -> payload, in tar order; ``key`` is its key. Everything in it has been checked.

    ``sample["jpg"]`` is a copy, made when it is asked for; ``sample.view("jpg")`` is the payload where it lies: in the
    bytes of its sample, or of a block of up to 256 KiB of neighbours, which stay in memory as long as one of them is held.
    """

    __slots__ = ("_data", "_places", "_row", "columns", "key")

    def __init__(self, key: str, data: bytes | memoryview, places: Places, row: int) -> None:
        self.key = key
        #: Values of fields that were added to the dataset, where a reader was asked for them.
        self.columns: Mapping[str, Any] = _NONE
        self._data = data
        self._places = places
        self._row = row

    def __getitem__(self, extension: str) -> bytes:
        return bytes(self._data[self._places.place(self._row, extension)])

    def __iter__(self) -> Iterator[str]:
        return iter(self._places.extensions(self._row))

    def __len__(self) -> int:
        return len(self._places.extensions(self._row))

    def view(self, extension: str) -> memoryview:
        """A payload without a copy: read-only, good as long as it is held; decoders take it as it is."""
        return memoryview(self._data)[self._places.place(self._row, extension)]

    def __reduce__(self) -> tuple[Any, ...]:
        return _sample_of, (self.key, dict(self), dict(self.columns))

    def __repr__(self) -> str:
        members = ", ".join(f"{extension}: {len(self.view(extension))} bytes" for extension in self)
        return f"Sample({self.key!r}, {members})"


class _Joined:
    """Members one behind the other."""

    def __init__(self, members: dict[str, bytes]) -> None:
        bounds = pairwise(accumulate(map(len, members.values()), initial=0))
        self._slices = dict(zip(members, (slice(*edges) for edges in bounds), strict=True))

    def place(self, row: int, extension: str) -> slice:  # noqa: ARG002
        return self._slices[extension]

    def extensions(self, row: int) -> list[str]:  # noqa: ARG002
        return list(self._slices)


def _sample_of(key: str, members: dict[str, bytes], columns: Mapping[str, Any] = _NONE) -> Sample:
    sample = Sample(key, memoryview(b"".join(members.values())), _Joined(members), 0)
    sample.columns = columns
    return sample


def member_by_member(
    data: memoryview, members: Iterable[tuple[Name, int, int, int]], mended: Callable[[Name, memoryview], bytes]
) -> memoryview:
    """A sample's bytes, of which each member (name, offset, size, XXH3-64) is what was packed, or else ``mended``."""
    for name, first, size, digest in members:
        view = data[first : first + size]
        if xxh3_64_intdigest(view) != digest:
            data = _replaced(data, first, mended(name, view))
    return data


def _replaced(data: memoryview, first: int, member: bytes) -> memoryview:
    """A sample's bytes with those of one member replaced; they may have been cut short before it."""
    whole = bytearray(data)
    whole.extend(bytes(max(0, first + len(member) - len(whole))))
    whole[first : first + len(member)] = member
    return memoryview(bytes(whole))
