"""What the pages of a Parquet file claim, read without decoding them: Arrow allocates what is claimed, or what a few bytes stand for.

The footer and the heads of pages are structures of Thrift's compact protocol. Each is read as a dictionary, field number
to value; the numbers are those of ``parquet.thrift``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_MAGIC = b"PAR1"
_MAX_DEPTH = 16
#: The footer of 256 columns takes 21 KB and 10,290 elements, and little less for each further million rows.
_MAX_FOOTER_BYTES = 1 << 22
_MAX_ELEMENTS = 1 << 18
_DICTIONARY_PAGE = 2
#: Each value is some bytes of the one before it, and some of its own: nothing bounds what they come to.
_PREFIXED = 7


@dataclass(frozen=True, slots=True)
class Claim:
    """What all pages of a column claim: so many values, nulls counted, and so many bytes once they are unpacked."""

    values: int
    bytes: int
    has_dictionary: bool


def claims_of(data: bytes | memoryview) -> dict[str, Claim]:
    """What the pages of each column claim, by its first name. Raises ValueError for what is no Parquet file."""
    found: dict[str, Claim] = {}
    try:
        if bytes(data[-4:]) != _MAGIC:
            raise ValueError("it is no Parquet file")
        size = int.from_bytes(data[-8:-4], "little")
        if size > _MAX_FOOTER_BYTES:
            raise ValueError(f"its footer takes {size:,} bytes, more than any file of columns needs")
        footer = len(data) - 8 - size
        for group in _Thrift(data, max(0, footer)).structure()[4]:
            for chunk in group[1]:
                column = chunk[3]
                name = column[3][0].decode()
                before = found.get(name, Claim(0, 0, False))
                one = _claim(data, column)
                found[name] = Claim(
                    before.values + one.values, before.bytes + one.bytes, before.has_dictionary or one.has_dictionary
                )
    except (KeyError, IndexError, TypeError, AttributeError):
        raise ValueError("it is no Parquet file") from None
    return found


def _claim(data: bytes | memoryview, column: dict[int, Any]) -> Claim:
    at = min((at for at in (column[9], column.get(11, 0)) if at > 0), default=0)
    if not at and not column[5]:  # of no rows
        return Claim(0, 0, False)
    end = at + column[7]
    if not 0 < at <= end <= len(data):
        raise ValueError("its pages lie outside of it")
    values, size, has_dictionary = 0, 0, False
    while at < end:
        reader = _Thrift(data, at)
        head = reader.structure()
        size += head[2]
        page = head.get(5) or head.get(8) or {1: 0}
        if min(head[2], head[3], page[1]) < 0:
            raise ValueError("a page of it claims less than nothing")
        if head[1] == _DICTIONARY_PAGE:
            has_dictionary = True
        else:
            values += page[1]
            if page.get(2 if 5 in head else 4) == _PREFIXED:
                raise ValueError("its values are encoded by their differences in text")
        at = reader.at + head[3]
    return Claim(values, size, has_dictionary)


class _Thrift:
    """A reader of the compact protocol, at a place in some bytes."""

    def __init__(self, data: bytes | memoryview, at: int) -> None:
        self._data = data
        self._left = _MAX_ELEMENTS
        self.at = at

    def structure(self, depth: int = 0) -> dict[int, Any]:
        """The fields of a structure."""
        found: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._signed()
            kind = head & 15
            found[number] = kind == 1 if kind in (1, 2) else self._value(kind, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        self._left -= 1
        if self._left < 0:
            raise ValueError("it has more elements than any file of columns needs")
        if depth > _MAX_DEPTH:
            raise ValueError("it is nested too deep")
        if kind in (4, 5, 6):
            return self._signed()
        if kind in (1, 2, 3):
            return self._byte()
        if kind == 7:
            return self._bytes(8)
        if kind == 8:
            return self._bytes(self._unsigned())
        if kind in (9, 10):
            head = self._byte()
            count = head >> 4 if head >> 4 != 15 else self._unsigned()
            return [self._value(head & 15, depth + 1) for _ in range(self._checked(count))]
        if kind == 12:
            return self.structure(depth + 1)
        raise ValueError("it holds what no Parquet file does")

    def _byte(self) -> int:
        self.at += 1
        return self._data[self.at - 1]

    def _bytes(self, count: int) -> bytes:
        self.at += self._checked(count)
        return bytes(self._data[self.at - count : self.at])

    def _checked(self, count: int) -> int:
        if not 0 <= count <= len(self._data) - self.at:
            raise ValueError("it claims more than it has")
        return count

    def _signed(self) -> int:
        number = self._unsigned()
        return (number >> 1) ^ -(number & 1)

    def _unsigned(self) -> int:
        found = shift = 0
        while (byte := self._byte()) & 128:
            found |= (byte & 127) << shift
            shift += 7
            if shift > 63:
                raise ValueError("it holds what no Parquet file does")
        return found | byte << shift
