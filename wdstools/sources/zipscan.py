"""The central directory of a zip: the place of each member, in a few dozen bytes per member.

``zipfile`` makes an object of 500 bytes for each: a gigabyte for the two million files of such a dataset. Layout:
PKWARE APPNOTE 6.3.10, sections 4.3.12 to 4.3.16; zip64 is supported, encryption is not.
"""

from __future__ import annotations

import codecs
import os
import stat
import struct
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from wdstools.errors import FormatError, UsageError, option
from wdstools.stores.local import buffered_plain

if TYPE_CHECKING:
    from collections.abc import Iterator

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s4B4HL2L5H2L")
_MAX_COMMENT = 65_535
_LARGEST_ENTRY = _CENTRAL.size + 3 * 65_535
_PIECE = 4 << 20
_MAX_DIRECTORY_BYTES = 1 << 31
_IN_ZIP64, _IN_ZIP64_DISK = 0xFFFFFFFF, 0xFFFF
_ENCRYPTED, _UTF8 = 1, 0x800
_ZIP64, _UNICODE_PATH = 1, 0x7075
#: Systems that store file modes in the upper half of the external attributes.
_UNIX = (3, 19)


class ZipMember(NamedTuple):
    """A file in a zip: ``offset`` of its local header, ``stored`` and ``size`` in bytes.

    ``guessed`` says that the name is not UTF-8, and was read in another encoding.
    """

    name: str
    offset: int
    stored: int
    size: int
    method: int
    crc: int
    guessed: bool = False
    is_link: bool = False


def scan_zip(path: str, name_encoding: str | None = None) -> Iterator[ZipMember]:
    """The files of a zip, without folders. Raises FormatError (``source-damaged``), and UsageError if it is encrypted.

    ``name_encoding`` is the encoding of names that are not UTF-8, by default code page 437.
    """
    try:
        codecs.lookup(name_encoding or "cp437")
    except LookupError:
        raise UsageError(
            "no such encoding",
            where=option("name_encoding"),
            expected="an encoding such as shift_jis, gbk or cp437",
            got=name_encoding or "",
        ) from None
    with buffered_plain(path) as file:
        start, size, count, before = _directory(file, path)
        file.seek(start)
        for member in _entries(file, size, count, (path, name_encoding or "cp437")):
            yield member._replace(offset=member.offset + before) if before else member


def ends_as_zip(path: str) -> bool:
    """Whether a file ends like a zip, whatever it begins with: the last volume of several, or a self-extracting program."""
    with buffered_plain(path) as file:
        tail, _ = _tail(file)
    at = _end_in(tail)
    return at >= 0 and at + _END.size + _END.unpack_from(tail, at)[-1] == len(tail)


def _entries(file: BinaryIO, size: int, count: int, names: tuple[str, str]) -> Iterator[ZipMember]:
    """The entries of the directory, which is read in pieces: with two million members it takes 200 MB."""
    path, encoding = names
    left, directory, at = size, b"", 0
    for _ in range(count):
        if len(directory) - at < _LARGEST_ENTRY and left:
            piece = file.read(min(left, _PIECE))
            left -= len(piece) or left
            directory, at = directory[at:] + piece, 0
        if at + _CENTRAL.size > len(directory) or directory[at : at + 4] != b"PK\1\2":
            raise _damaged(path, "its directory is truncated or damaged")
        fields = _CENTRAL.unpack_from(directory, at)
        flags, method, crc = fields[5], fields[6], fields[9]
        name_size, extra_size, comment_size = fields[12:15]
        stored, plain, offset = fields[10], fields[11], fields[18]
        name_end = at + _CENTRAL.size + name_size
        raw = directory[at + _CENTRAL.size : name_end]
        extra = directory[name_end : name_end + extra_size]
        if _IN_ZIP64 in (stored, plain, offset):
            stored, plain, offset = _zip64_sizes(extra, stored, plain, offset)
        if extra and not flags & _UTF8:
            raw = _unicode_path(extra, raw)
        at = name_end + extra_size + comment_size
        if raw.endswith(b"/"):
            continue
        if flags & _ENCRYPTED:
            raise UsageError(
                "the zip is encrypted", code="source-encrypted", where=path, hint="extract it, then pack the folder"
            )
        is_link = fields[2] in _UNIX and stat.S_ISLNK(fields[17] >> 16)
        member = ZipMember(*_placed(raw, flags, encoding, (offset, stored, plain, method, crc)))
        yield member._replace(is_link=True) if is_link else member


def _placed(raw: bytes, flags: int, encoding: str, place: tuple[int, ...]) -> tuple[Any, ...]:
    """Decode a name: UTF-8 if the flag says so, and in practice if it is valid UTF-8; else another encoding."""
    if flags & _UTF8:
        return raw.decode("utf-8", "surrogateescape"), *place, False
    try:
        return raw.decode("utf-8"), *place, False
    except UnicodeDecodeError:
        return raw.decode(encoding, "replace"), *place, True


def _tail(file: BinaryIO) -> tuple[bytes, int]:
    """The last bytes of a file, which contain the end of a zip's directory, and the file's size."""
    total = file.seek(0, os.SEEK_END)
    file.seek(max(0, total - _END.size - _MAX_COMMENT - _LOCATOR64.size))
    return file.read(), total


def _directory(file: BinaryIO, path: str) -> tuple[int, int, int, int]:
    """Start, size and number of entries of the central directory, and how many bytes precede the zip that it does not count."""
    tail, total = _tail(file)
    at = _end_in(tail)
    if at < 0 or at + _END.size > len(tail):
        raise _damaged(path, "the end of its directory is missing: was the download cut off?")
    _, disk, _, _, count, size, start, _ = _END.unpack_from(tail, at)
    end = total - len(tail) + at
    locator = tail[at - _LOCATOR64.size : at] if at >= _LOCATOR64.size else b""
    if locator[:4] == b"PK\6\7":
        place = _LOCATOR64.unpack(locator)[2]
        if place > total:
            raise _damaged(path, "its zip64 directory runs past the end of the file")
        here = end - _LOCATOR64.size - _END64.size
        record = next((r for r in (_bytes_at(file, p, _END64.size) for p in (place, here)) if r[:4] == b"PK\6\6"), b"")
        if len(record) < _END64.size:
            raise _damaged(path, "its zip64 directory is damaged")
        *_, count, size, start = _END64.unpack(record)
        end = here
    if disk not in (0, _IN_ZIP64_DISK) and not _begins_here(file, start):
        raise UsageError(
            "this is one volume of a split zip",
            code="source-volume",
            where=path,
            hint="put all volumes into one folder and join them: zip -s 0 x.zip --out whole.zip, or 7z x x.zip",
        )
    if size > _MAX_DIRECTORY_BYTES or size > total:
        raise _damaged(path, "its directory runs past the end of the file")
    if size and _bytes_at(file, start, 4) != b"PK\1\2":
        before = end - start - size
        if before <= 0 or _bytes_at(file, start + before, 4) != b"PK\1\2":
            raise _damaged(path, "its directory is not at its recorded place")
        return start + before, size, count, before
    return start, size, count, 0


def _begins_here(file: BinaryIO, directory: int) -> bool:
    """Whether the first member of a directory is in this file, whatever the zip says about volumes."""
    entry = _bytes_at(file, directory, _CENTRAL.size)
    is_entry = len(entry) == _CENTRAL.size and entry[:4] == b"PK\1\2"
    return is_entry and _bytes_at(file, _CENTRAL.unpack(entry)[-1], 4) == b"PK\3\4"


def _bytes_at(file: BinaryIO, at: int, size: int) -> bytes:
    if at < 0:
        return b""
    file.seek(at)
    return file.read(size)


def _end_in(tail: bytes) -> int:
    """Where the end record is: the last one followed by a comment of its stated length; else the last one."""
    at = last = tail.rfind(b"PK\5\6")
    while at >= 0:
        if at + _END.size <= len(tail) and at + _END.size + _END.unpack_from(tail, at)[-1] == len(tail):
            return at
        at = tail.rfind(b"PK\5\6", 0, at)
    return last


def _fields(extra: bytes, kind: int) -> Iterator[bytes]:
    """The extra fields of a kind."""
    at = 0
    while at + 4 <= len(extra):
        found, length = struct.unpack_from("<HH", extra, at)
        if found == kind:
            yield extra[at + 4 : at + 4 + length]
        at += 4 + length


def _zip64_sizes(extra: bytes, stored: int, size: int, offset: int) -> tuple[int, int, int]:
    """Take (stored, size, offset) from the zip64 extra field if the entry has 0xFFFFFFFF (4.5.3: size first)."""
    for data in _fields(extra, _ZIP64):
        numbers = [number for (number,) in struct.iter_unpack("<Q", data[: len(data) // 8 * 8])]
        size = numbers.pop(0) if size == _IN_ZIP64 and numbers else size
        stored = numbers.pop(0) if stored == _IN_ZIP64 and numbers else stored
        offset = numbers.pop(0) if offset == _IN_ZIP64 and numbers else offset
    return stored, size, offset


def _unicode_path(extra: bytes, raw: bytes) -> bytes:
    """The name in UTF-8 if an extra field has it (4.6.9); the field belongs to this name if its CRC-32 matches."""
    for data in _fields(extra, _UNICODE_PATH):
        if data[:1] == b"\1" and data[1:5] == zlib.crc32(raw).to_bytes(4, "little"):
            return data[5:]
    return raw


def _damaged(path: str, what: str) -> FormatError:
    return FormatError(
        f"the zip cannot be read: {what}",
        code="source-damaged",
        where=path,
        hint="check it with `unzip -t`, or download it again",
    )
