"""What the pages of a Parquet file claim, read without decoding them.

Arrow allocates what is claimed, or what a few bytes stand for. The footer and the page headers are structures of
Thrift's compact protocol. Each is read as a dictionary from field number to value; the numbers are those of
``parquet.thrift``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from wdstools.units import size as shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

_MAGIC = b"PAR1"
_MAX_DEPTH = 16
#: Limits for a footer of ours: with 256 columns it takes 21 KB and 10,290 elements, and almost as much again for each
#: further million rows.
_MAX_SMALL_FOOTER_BYTES, _MAX_SMALL_ELEMENTS = 1 << 22, 1 << 18
#: The limit for any other footer, as some write only few rows at once: 160,000 column chunks. Its length bounds its
#: elements.
_MAX_FOOTER_BYTES = 1 << 24
#: How much is read for a page header, and then for one that does not fit.
_HEAD_BYTES = (1 << 10, 1 << 16, 1 << 22)
_DATA_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_2 = 0, 2, 3
_REPEATED = 2
_FIXED = 7
#: The bytes that a value of each physical type takes; 0 for text or bytes of any length.
_WIDTHS = {0: 1, 1: 4, 2: 8, 3: 12, 4: 4, 5: 8, 6: 0}
#: An encoding in which a value repeats bytes of the one before and adds its own: nothing bounds the total.
_PREFIXED = 7


class TooMuchError(ValueError):
    """The file takes more memory than one of its size may."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What all pages of a leaf claim in a row group; a nested column has several leaves, each with its own claim."""

    name: str
    #: The number of the leaf among all leaves of the file.
    leaf: int
    #: Whether a row may have any number of values.
    lists: bool
    #: How many bytes a value takes; 0 if that varies.
    width: int
    #: The number of values, including nulls.
    values: int = 0
    #: The size of the unpacked pages in bytes, and of the largest.
    bytes: int = 0
    largest: int = 0
    #: How many bytes a value of the densest page takes.
    dense: int = 0
    #: The size of its dictionary in bytes: each value may be all of that.
    dictionary: int = 0
    prefixed: bool = False

    @property
    def plain(self) -> int:
        """How many bytes the values take, if each text is stored as often as it occurs."""
        each = 0 if self.width == 1 else self.width or 4  # eight booleans take a byte; a text takes an offset
        return max(self.bytes, self.values * each)

    @property
    def most(self) -> int:
        """How many bytes the values may take, even if a text is stored once and referred to often."""
        longest = 0 if self.width else self.largest if self.prefixed else self.dictionary
        return self.plain + self.values * longest


@dataclass(frozen=True, slots=True)
class Group:
    """A row group: its number of rows, and what the requested columns claim."""

    rows: int
    claims: tuple[Claim, ...]


def groups_of(
    data: bytes | memoryview | BinaryIO, size: int, names: Collection[str] | None = None, *, small: bool = True
) -> list[Group]:
    """What the pages of each row group claim, for the columns ``names`` or all; ``size`` is the file's.

    ``small`` says that the file is one of ours, with a small footer. Raises ValueError if it is not a Parquet file.
    """
    try:
        footer = _footer(data, size, small=small)
        leaves = list(_leaves(footer[2], names))
        return [_group(data, size, group, leaves) for group in footer[4]]
    except (KeyError, IndexError, TypeError, AttributeError, UnicodeDecodeError):
        raise ValueError("it is not a Parquet file") from None


def _footer(data: bytes | memoryview | BinaryIO, size: int, *, small: bool) -> dict[int, Any]:
    end = _piece(data, max(0, size - 8), 8)
    if bytes(end[-4:]) != _MAGIC:
        raise ValueError("it is not a Parquet file")
    length = int.from_bytes(end[-8:-4], "little")
    most = _MAX_SMALL_FOOTER_BYTES if small else _MAX_FOOTER_BYTES
    if length > most:
        raise TooMuchError(f"its footer takes {shown(length)}, and the limit is {shown(most)}")
    return _Thrift(
        _piece(data, max(0, size - 8 - length), length), _MAX_SMALL_ELEMENTS if small else length
    ).structure()


def _leaves(schema: Sequence[dict[int, Any]], names: Collection[str] | None) -> Iterator[Claim | None]:
    """The leaves of a schema, still without claims; None for a leaf of a column that was not requested."""
    inner: list[tuple[int, str, bool]] = [(schema[0].get(5, 0), "", False)]
    leaf = 0
    for element in schema[1:]:
        while inner and not inner[-1][0]:
            inner.pop()
        left, name, lists = inner.pop()
        inner.append((left - 1, name, lists))
        name = name or element[4].decode()
        lists = lists or element.get(3) == _REPEATED
        if element.get(5):
            if len(inner) > _MAX_DEPTH:
                raise ValueError("it is nested too deeply")
            inner.append((element[5], name, lists))
            continue
        width = element[2] if element[1] == _FIXED else _WIDTHS[element[1]]
        if width < 0:
            raise ValueError("a value has a negative size")
        yield Claim(name, leaf, lists, width) if names is None or name in names else None
        leaf += 1


def _group(
    data: bytes | memoryview | BinaryIO, size: int, group: dict[int, Any], leaves: Sequence[Claim | None]
) -> Group:
    rows = group[3]
    claims = []
    for chunk, leaf in zip(group[1], leaves, strict=True):
        if leaf is None:
            continue
        claim = _claim(data, size, chunk[3], leaf)
        if not claim.lists and claim.values > rows:
            raise ValueError(f"column {claim.name} claims {claim.values:,} values, not {rows:,}")
        claims.append(claim)
    return Group(rows, tuple(claims))


def _claim(data: bytes | memoryview | BinaryIO, size: int, column: dict[int, Any], leaf: Claim) -> Claim:
    at = min((at for at in (column[9], column.get(11, 0)) if at > 0), default=0)
    if not at and not column[5]:  # without rows
        return leaf
    end = at + column[7]
    if not 0 < at <= end <= size:
        raise ValueError("its pages are outside the file")
    values = unpacked = largest = dense = dictionary = 0
    prefixed = False
    while at < end:
        head, length = _page_head(data, at, size)
        taken = max(head[2], head[3])
        kind = head[1]
        page = head[{_DATA_PAGE: 5, _DATA_PAGE_2: 8, _DICTIONARY_PAGE: 7}[kind]] if kind in (0, 2, 3) else {1: 0}
        if min(head[2], head[3], page[1]) < 0:
            raise ValueError("a page has a negative size or count")
        if kind == _DICTIONARY_PAGE:
            if page[1] * (leaf.width or 4) > taken:
                raise ValueError(f"a dictionary of {taken:,} bytes claims {page[1]:,} values")
            dictionary = max(dictionary, taken)
        else:
            values += page[1]
            dense = max(dense, taken // max(1, page[1]))
            prefixed = prefixed or page.get(2 if kind == _DATA_PAGE else 4) == _PREFIXED
        unpacked += taken
        largest = max(largest, taken)
        at += length + head[3]
    return Claim(leaf.name, leaf.leaf, leaf.lists, leaf.width, values, unpacked, largest, dense, dictionary, prefixed)


def _page_head(data: bytes | memoryview | BinaryIO, at: int, size: int) -> tuple[dict[int, Any], int]:
    """The header of the page at a position, and its length."""
    for count in _HEAD_BYTES:
        reader = _Thrift(_piece(data, at, min(count, size - at)), _MAX_SMALL_ELEMENTS)
        try:
            return reader.structure(), reader.at
        except (IndexError, _BeyondError):
            if count >= min(size - at, _HEAD_BYTES[-1]):
                raise
    raise AssertionError


def _piece(data: bytes | memoryview | BinaryIO, at: int, count: int) -> bytes | memoryview:
    if isinstance(data, bytes | memoryview):
        return data[at : at + count]
    data.seek(at)
    return data.read(count)


class _BeyondError(ValueError):
    """A length or count exceeds the bytes that are left."""


class _Thrift:
    """A reader of the compact protocol, from the beginning of some bytes."""

    def __init__(self, data: bytes | memoryview, elements: int) -> None:
        self._data = data
        self._left = elements
        self.at = 0

    def structure(self, depth: int = 0) -> dict[int, Any]:
        """The fields of a structure."""
        data = self._data
        found: dict[int, Any] = {}
        number = 0
        while True:
            head = data[self.at]
            self.at += 1
            if not head:
                return found
            number = number + (head >> 4) if head >> 4 else self._signed()
            kind = head & 15
            if kind in (1, 2):
                found[number] = kind == 1
                continue
            byte = data[self.at] if kind in (4, 5, 6) else 128
            if byte < 128 and self._left:  # a short number, like most
                self._left -= 1
                self.at += 1
                found[number] = (byte >> 1) ^ -(byte & 1)
            else:
                found[number] = self._value(kind, depth)

    def _value(self, kind: int, depth: int) -> Any:
        self._left -= 1
        if self._left < 0:
            raise TooMuchError("its footer or a page header has too many fields")
        if kind == 8:
            return self._bytes(self._unsigned())
        if kind in (4, 5, 6):
            return self._signed()
        if depth > _MAX_DEPTH:
            raise ValueError("it is nested too deeply")
        if kind == 12:
            return self.structure(depth + 1)
        if kind in (9, 10):
            head = self._byte()
            count = head >> 4 if head >> 4 != 15 else self._unsigned()
            return [self._value(head & 15, depth + 1) for _ in range(self._checked(count))]
        if kind in (1, 2, 3):
            return self._byte()
        if kind == 7:
            return self._bytes(8)
        raise ValueError("it contains something that no Parquet file does")

    def _byte(self) -> int:
        self.at += 1
        return self._data[self.at - 1]

    def _bytes(self, count: int) -> bytes:
        self.at += self._checked(count)
        return bytes(self._data[self.at - count : self.at])

    def _checked(self, count: int) -> int:
        if not 0 <= count <= len(self._data) - self.at:
            raise _BeyondError("it claims more bytes than it has")
        return count

    def _signed(self) -> int:
        number = self._unsigned()
        return (number >> 1) ^ -(number & 1)

    def _unsigned(self) -> int:
        data, at = self._data, self.at
        found = shift = 0
        while (byte := data[at]) & 128:
            found |= (byte & 127) << shift
            shift += 7
            at += 1
            if shift > 63:
                raise ValueError("it contains something that no Parquet file does")
        self.at = at + 1
        return found | byte << shift
