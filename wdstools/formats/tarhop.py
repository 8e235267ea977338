"""Hopping over the headers of any tar: ustar, pax, GNU, the old one; payloads are passed over.

Pure: bytes come from a ``read`` function. Laws: the members are those that Python's ``tarfile`` lists (with
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

#: The map of a sparse file may be long.
_MAX_EXTENSION_BYTES = 1 << 23
_ZERO_BLOCK = bytes(BLOCK)
_BLANK_CHKSUM = 8 * 0x20
#: Type flags of regular files.
FILES = b"0\x007"
_COMMON = b"0\x007x"
_WITHOUT_PAYLOAD = b"123456"
#: How much is looked at together where zeros or what is no header are passed over.
_LOOK_BYTES = 1 << 16


def hop(
    read: Read, notes: HopNotes, total: int | None = None, runs: Callable[[int], int] | None = None
) -> Iterator[TarEntry]:
    """The entries of a tar, in order; every header's sum is checked. Raises nothing: ``notes`` says how it ended.

    ``total`` is the tar's length where it is known; an entry whose payload would pass it is not given. ``runs`` is asked
    before each entry: it may take entries from a position on, and gives where the next one lies; these are not given.
    Entries behind the end of an archive (several written one behind the other, or a hole of zeros) are given too.
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
    """What records say so far, with one more; None where it is not whole, as ``notes`` then says."""
    _, kind, start, offset, size, _ = entry
    is_short = size <= _MAX_EXTENSION_BYTES
    data = read(offset, size) if is_short else b""
    if len(data) != size:
        notes.end = "cut" if is_short else "damaged"
        notes.end_at, notes.why = start, "an extension record that is too long"
        return None
    if not said.read(kind, data, notes):
        notes.end, notes.end_at, notes.why = "damaged", start, "an extension record that cannot be understood"
        return None
    return said


def is_file(entry: TarEntry) -> bool:
    """Whether an entry is a regular file; before ustar a folder was one whose name ends in a slash."""
    return entry[1] in FILES and not entry[0].endswith(b"/")


def _plain_entry(block: bytes, at: int) -> TarEntry | None:
    """The entry of a header as most are: a regular file or a pax record, ASCII, octal, no prefix; None for any other."""
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
    """Where entries go on behind zeros; None where nothing does, or where what was there is lost, as ``notes`` then says.

    Bytes that no header follows are what tapes and careless tools leave behind an archive; where headers come later,
    the zeros stand where something was.
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
    """Where the first header of ustar lies among blocks; the length of these if there is none."""
    magic = data.find(b"ustar")
    while magic >= 0:
        at = magic - MAGIC_AT
        if at >= 0 and at % BLOCK == 0 and is_header(data[at : at + BLOCK]):
            return at
        magic = data.find(b"ustar", magic + 1)
    return len(data)


def is_header(block: bytes) -> bool:
    """Whether a block is a header of any kind, with the sum that it states."""
    try:
        _any_entry(block, 0, HopNotes())
    except FormatError:
        return False
    return True


def _other_entry(read: Read, block: bytes, at: int, notes: HopNotes) -> TarEntry | None:
    """The entry of any header; None at what is no header, as ``notes`` then says."""
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
    if block[257:262] != b"ustar":  # as tars before ustar wrote them: the same fields, no magic or another, no prefix
        tail = block[257:265] + block[345:]  # of GNU's continued members it says where they go on
        block = block[:257] + b"ustar\x0000" + block[265:345] + bytes(167)
        block = _with_sum(block, _octal_or_zero(block[148:156]) + sum(b"ustar00") - sum(tail))
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
