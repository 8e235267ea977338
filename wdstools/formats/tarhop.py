"""Hop from header to header of any tar (ustar, pax, GNU, pre-POSIX), skipping payloads.

There is no I/O: bytes come from a ``read`` function. Laws: the members are those that Python's ``tarfile`` lists (with
``ignore_zeros``), with the same names, sizes and payload offsets; whatever the bytes are, the hop ends, and says how.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import adler32

from wdstools.errors import FormatError
from wdstools.formats.tar import BLOCK, MAGIC_AT, parse_header
from wdstools.formats.tarextension import EXTENSIONS, SPARSE, Extension, HopNotes, Read, TarEntry, behind_map

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["FILES", "HopNotes", "Read", "TarEntry", "hop", "is_file", "is_header"]

#: A generous limit, because the map of a sparse file may be long.
_MAX_EXTENSION_BYTES = 1 << 23
_ZERO_BLOCK = bytes(BLOCK)
_BLANK_CHKSUM = 8 * 0x20
#: The type flags of regular files.
FILES = b"0\x007"
_COMMON = b"0\x007x"
_WITHOUT_PAYLOAD = b"123456"
#: How much is read at once to skip zeros, or bytes that are not a header.
_LOOK_BYTES = 1 << 16


def hop(
    read: Read, notes: HopNotes, total: int | None = None, runs: Callable[[int], int] | None = None
) -> Iterator[TarEntry]:
    """The entries of a tar, in order; every header's sum is checked. Raises nothing: ``notes`` says how it ended.

    ``total`` is the tar's length, if known; an entry whose payload would exceed it is left out. ``runs`` is called
    before each entry: it may take over entries from a position on, and returns the position of the next one; those are
    left out. Entries after the end of an archive (several archives in a row, or a hole of zeros) are included.
    """
    at = 0
    said: Extension | None = None
    while True:
        if runs is not None and said is None:
            at = runs(at)
        block = read(at, BLOCK)
        if len(block) < BLOCK:
            notes.end, notes.end_at = "cut" if block or said else "missing", at
            return
        if block == _ZERO_BLOCK:
            following = _behind_zeros(read, at, notes)
            if following is None:
                return
            at, said = following, None
            continue
        entry = _plain_entry(block, at) or _other_entry(read, block, at, notes)
        if entry is None:
            return
        notes.headers += 1
        if entry[1] in EXTENSIONS:
            said = _extended(said or Extension(at), read, entry, notes)
            if said is None:
                return
            at = entry[3] + entry[4]
        else:
            entry, said = said.applied(entry) if said else entry, None
            at = entry[3] + entry[4]
            if total is not None and at > total:
                notes.end, notes.end_at = "cut", entry[2]
                return
            yield entry
        at += -at % BLOCK


def _extended(said: Extension, read: Read, entry: TarEntry, notes: HopNotes) -> Extension | None:
    """What the records so far say, with one more added; None if that is not valid, as ``notes`` then says."""
    _, kind, start, offset, size, _ = entry
    is_short = size <= _MAX_EXTENSION_BYTES
    data = read(offset, size) if is_short else b""
    if len(data) != size:
        notes.end = "cut" if is_short else "damaged"
        notes.end_at, notes.why = start, "an extension record is too long"
        return None
    if not said.read(kind, data, notes):
        notes.end, notes.end_at, notes.why = "damaged", start, "an extension record cannot be parsed"
        return None
    return said


def is_file(entry: TarEntry) -> bool:
    """Whether an entry is a regular file; before ustar, a folder was a file whose name ends in a slash."""
    return entry[1] in FILES and not entry[0].endswith(b"/")


def _plain_entry(block: bytes, at: int) -> TarEntry | None:
    """The entry of a common header: a regular file or a pax record, ASCII, octal, no prefix; None for any other."""
    # The low half of Adler-32 from 0 is the byte sum modulo 65,521: exact here, since 512 ASCII bytes sum to less.
    kind = block[156]
    if kind not in _COMMON or block[345] or block[135] > 0x20 or block[154] > 0x20 or not block.isascii():
        return None
    size_digits, sum_digits = block[124:135], block[148:154]
    if block[257:262] != b"ustar" or not (size_digits + sum_digits).replace(b" ", b"").isdigit():
        return None  # int() would take signs and underscores
    try:
        size, stored = int(size_digits, 8), int(sum_digits, 8)
    except ValueError:
        return None
    if (adler32(block, 0) & 0xFFFF) - (adler32(block[148:156], 0) & 0xFFFF) + _BLANK_CHKSUM != stored:
        return None
    end = block.find(0, 0, 100)
    return block[: end if end >= 0 else 100], kind, at, at + BLOCK, size, b""


def _behind_zeros(read: Read, at: int, notes: HopNotes) -> int | None:
    """Where entries continue after zeros; None if nothing follows, or if entries were lost, as ``notes`` then says.

    Bytes not followed by a header are what tapes and careless tools leave after an archive; if headers follow later,
    the zeros are in place of something that was there.
    """
    place, zeros = at, True
    while zeros and (data := read(place, _LOOK_BYTES)):
        lead = len(data) - len(data.lstrip(b"\0"))
        zeros = lead == len(data)
        place += lead - (lead % BLOCK if not zeros else 0)
    if zeros:
        notes.end, notes.end_at = "archive", at
        return None
    block = read(place, BLOCK)
    if len(block) == BLOCK and is_header(block):
        notes.resumed += 1
        notes.resumed_at = notes.resumed_at or at
        return place
    notes.end_at = at
    while data := read(place, _LOOK_BYTES):
        if _header_in(data) < len(data):
            notes.end, notes.why = "damaged", "a hole of zeros"
            return None
        notes.trailing += len(data)
        place += len(data)
    notes.end = "archive"
    return None


def _header_in(data: bytes) -> int:
    """The offset of the first ustar header among blocks; their length if there is none."""
    magic = data.find(b"ustar")
    while magic >= 0:
        at = magic - MAGIC_AT
        if at >= 0 and at % BLOCK == 0 and is_header(data[at : at + BLOCK]):
            return at
        magic = data.find(b"ustar", magic + 1)
    return len(data)


def is_header(block: bytes) -> bool:
    """Whether a block is a header of any kind, with the right sum."""
    try:
        _any_entry(block, 0, HopNotes())
    except FormatError:
        return False
    return True


def _other_entry(read: Read, block: bytes, at: int, notes: HopNotes) -> TarEntry | None:
    """The entry of any header; None if it is not a header, as ``notes`` then says."""
    try:
        entry = _any_entry(block, at, notes)
    except FormatError as error:
        notes.end, notes.end_at, notes.why = "damaged", at, error.message
        return None
    if entry[1] != SPARSE:
        return entry
    notes.end, notes.end_at = "cut", at  # unless the map ends
    return behind_map(read, block, entry)


def _any_entry(block: bytes, at: int, notes: HopNotes) -> TarEntry:
    """The entry of any header; raises FormatError."""
    if block[257:262] != b"ustar":  # as before ustar: the same fields, no magic or another one, no prefix
        tail = block[257:265] + block[345:]  # for GNU's multi-volume members it says where they continue
        block = block[:257] + b"ustar\x0000" + block[265:345] + bytes(167)
        block = _with_sum(block, _octal_or_zero(block[148:156]) + sum(b"ustar00") - sum(tail))
    header = parse_header(block)
    kind = header.typeflag[0]
    notes.binary_sizes += block[124] & 0x80 != 0
    size = 0 if kind in _WITHOUT_PAYLOAD else header.size
    return header.name, kind, at, at + BLOCK, size, block[157:257].partition(b"\0")[0]


def _octal_or_zero(field: bytes) -> int:
    """An octal field; 0 if it is not octal."""
    digits = field.strip(b"\0 ")
    return int(digits, 8) if digits and not digits.strip(b"01234567") else 0


def _with_sum(block: bytes, total: int) -> bytes:
    return block[:148] + b"%06o\0 " % total + block[156:]
