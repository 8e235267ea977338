"""Hopping over the headers of any tar: ustar, pax, GNU, the old one; payloads are passed over.

Pure: bytes come from a ``read`` function. Laws: the members are those that Python's ``tarfile`` lists, with the same
names, sizes and payload offsets; whatever the bytes are, the hop ends, and says how.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from zlib import adler32

from wdstools.errors import FormatError
from wdstools.formats.tar import BLOCK, parse_header

#: Gives the bytes at (position, count): fewer only where the tar ends.
Read = Callable[[int, int], bytes]

_MAX_EXTENSION_BYTES = 1 << 20
_MAX_DIGITS = 20
_ZERO_BLOCK = bytes(BLOCK)
_BLANK_CHKSUM = 8 * 0x20
#: Type flags of regular files.
FILES = b"0\x007"
_COMMON = b"0\x007x"
_WITHOUT_PAYLOAD = b"123456"
_EXTENSIONS = b"xgLK"


#: One entry: name, type flag, where its first header (that of an extension record, if it has one) begins, where its
#: payload does, the payload's size, and what a link names. A plain tuple: a named one takes as long as the rest.
TarEntry = tuple[bytes, int, int, int, int, bytes]


@dataclass(slots=True)
class HopNotes:
    """What was met on the way.

    ``end`` is ``archive`` (two blocks of zeros, or one), ``missing`` (the bytes end where a header could be), ``cut``
    (they end inside an entry) or ``damaged`` (no header where one must be, ``why``); ``end_at`` is where.
    """

    headers: int = 0
    pax_names: int = 0
    pax_sizes: int = 0
    gnu_names: int = 0
    binary_sizes: int = 0
    end: str = "missing"
    end_at: int = 0
    why: str = ""


@dataclass(slots=True)
class _Extension:
    """What pax and GNU records say about the next entry, and where the first of them lies."""

    start: int
    name: bytes | None = None
    target: bytes | None = None
    size: int | None = None

    def applied(self, entry: TarEntry) -> TarEntry:
        """The entry with what was said about it."""
        name, kind, _, offset, size, target = entry
        name = name if self.name is None else self.name
        target = target if self.target is None else self.target
        size = size if self.size is None or kind in _WITHOUT_PAYLOAD else self.size
        return name, kind, self.start, offset, size, target


def hop(
    read: Read, notes: HopNotes, total: int | None = None, runs: Callable[[int], int] | None = None
) -> Iterator[TarEntry]:
    """The entries of a tar, in order; every header's sum is checked. Raises nothing: ``notes`` says how it ended.

    ``total`` is the tar's length where it is known; an entry whose payload would pass it is not given. ``runs`` is asked
    before each entry: it may take entries from a position on, and gives where the next one lies; these are not given.
    """
    at = 0
    said: _Extension | None = None
    while True:
        if runs is not None and said is None:
            at = runs(at)
        block = read(at, BLOCK)
        if len(block) < BLOCK:
            notes.end, notes.end_at = "cut" if block or said else "missing", at
            return
        entry = _plain_entry(block, at) or _other_entry(block, at, notes)
        if entry is None:
            return
        notes.headers += 1
        if entry[1] in _EXTENSIONS:
            data = read(entry[3], min(entry[4], _MAX_EXTENSION_BYTES + 1))
            if len(data) != entry[4]:
                notes.end = "cut" if entry[4] <= _MAX_EXTENSION_BYTES else "damaged"
                notes.end_at, notes.why = at, "an extension record that is too long"
                return
            said = said or _Extension(at)
            _read_extension(entry[1], data, said, notes)
            at = entry[3] + entry[4]
        else:
            if said is not None:
                entry, said = said.applied(entry), None
            at = entry[3] + entry[4]
            if total is not None and at > total:
                notes.end, notes.end_at = "cut", entry[2]
                return
            yield entry
        at += -at % BLOCK


def is_file(entry: TarEntry) -> bool:
    """Whether an entry is a regular file; before ustar a folder was one whose name ends in a slash."""
    return entry[1] in FILES and not entry[0].endswith(b"/")


def _plain_entry(block: bytes, at: int) -> TarEntry | None:
    """The entry of a header as most are: a regular file or a pax record, ASCII, octal, no prefix; None for any other."""
    # The low half of Adler-32 from 0 is the byte sum modulo 65,521: exact here, since 512 ASCII bytes sum to less.
    kind = block[156]
    if kind not in _COMMON or block[345] or block[135] > 0x20 or not block.isascii() or block[257:262] != b"ustar":
        return None
    try:
        size, stored = int(block[124:135], 8), int(block[148:154], 8)
    except ValueError:
        return None
    if size < 0 or (adler32(block, 0) & 0xFFFF) - (adler32(block[148:156], 0) & 0xFFFF) + _BLANK_CHKSUM != stored:
        return None
    return block[: block.find(0, 0, 100)] if block[99] == 0 else block[:100], kind, at, at + BLOCK, size, b""


def _other_entry(block: bytes, at: int, notes: HopNotes) -> TarEntry | None:
    """The entry of any header; None at the end of the archive and at what is no header, as ``notes`` then says."""
    if block == _ZERO_BLOCK:
        notes.end, notes.end_at = "archive", at
        return None
    try:
        return _any_entry(block, at, notes)
    except FormatError as error:
        notes.end, notes.end_at, notes.why = "damaged", at, error.message
        return None


def _any_entry(block: bytes, at: int, notes: HopNotes) -> TarEntry:
    """The entry of any header; raises FormatError."""
    if block[257:265] == bytes(8):  # as tars before ustar wrote them: the same fields, no magic, no prefix
        block = block[:257] + b"ustar\x0000" + block[265:345] + bytes(167)
        block = _with_sum(block, _octal_or_zero(block[148:156]) + sum(b"ustar00"))
    header = parse_header(block)
    kind = header.typeflag[0]
    notes.binary_sizes += block[124] & 0x80 != 0
    size = 0 if kind in _WITHOUT_PAYLOAD else header.size
    return header.name, kind, at, at + BLOCK, size, block[157:257].partition(b"\0")[0]


def _octal_or_zero(field: bytes) -> int:
    """An octal field; 0 where it is none."""
    digits = field.strip(b"\0 ")
    return int(digits, 8) if digits and not digits.strip(b"01234567") else 0


def _with_sum(block: bytes, total: int) -> bytes:
    return block[:148] + b"%06o\0 " % total + block[156:]


def _read_extension(kind: int, data: bytes, said: _Extension, notes: HopNotes) -> None:
    if kind == ord("L"):
        said.name = data.rstrip(b"\0")
        notes.gnu_names += 1
    elif kind == ord("K"):
        said.target = data.rstrip(b"\0")
    elif kind == ord("x"):
        _read_pax(data, said, notes)


def _read_pax(data: bytes, said: _Extension, notes: HopNotes) -> None:
    """Name, link target and size from pax records (POSIX.1-2001: a length, a space, ``KEY=VALUE``, a newline)."""
    if b"path=" not in data and b"size=" not in data:
        return  # times and owners: nothing that says where anything lies
    at = 0
    while at < len(data):
        length, _, _ = data[at : at + _MAX_DIGITS].partition(b" ")
        if not length.isdigit() or int(length) <= len(length):
            break
        key, _, value = data[at + len(length) + 1 : at + int(length) - 1].partition(b"=")
        if key == b"path":
            said.name = value
            notes.pax_names += 1
        elif key == b"linkpath":
            said.target = value
        elif key == b"size" and value.isdigit() and len(value) < _MAX_DIGITS:
            said.size = int(value)
            notes.pax_sizes += 1
        at += int(length)
