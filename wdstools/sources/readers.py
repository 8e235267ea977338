"""Reads a source's files inside a worker: below a folder, or from a zip or tar that is never extracted."""

from __future__ import annotations

import bz2
import lzma
import os
import stat
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from wdstools.errors import NotFoundError, SourceChangedError, StoreError
from wdstools.sources.base import DamagedEntryError, NeedSpaceError
from wdstools.stores.local import plain_fd, storage_error

if TYPE_CHECKING:
    from collections.abc import Callable

# non-blocking: a pipe named like an image must not block the pack
_READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_ENTRY = struct.Struct("<QQQHI")  # offset, stored size, size, method, crc32
#: The length of an archive's ``entry``.
ENTRY_BYTES = _ENTRY.size
_ZIP_STORED, _ZIP_DEFLATED = 0, 8
_TAR_PLAIN = 0xFFFF
#: Method numbers from here on are never those of a zip.
_NO_ZIP = 0xFFF0
_LARGEST = 2**63 - 1
_MAX_DEFLATE_OVERHEAD = 1024
_ZIP_LOCAL = struct.Struct("<4s2B4HL2L2H")


def tar_entry(offset: int, size: int) -> bytes:
    """The entry of a payload in a plain tar, for ArchiveReader."""
    return _ENTRY.pack(offset, size, size, _TAR_PLAIN, 0)


def place_of_entry(entry: bytes) -> tuple[int, int]:
    """The offset and size of a payload in a plain tar."""
    offset, _, size, _, _ = _ENTRY.unpack(entry)
    return offset, size


def crc_of_entry(entry: bytes | None) -> int | None:
    """The CRC-32 of a zip member; None for anything else."""
    if entry is None:
        return None
    _, _, _, method, crc = _ENTRY.unpack(entry)
    return int(crc) if method < _NO_ZIP else None


def zip_entry(offset: int, stored: int, size: int, method: int, crc: int) -> bytes:
    """The entry of a zip member, for ArchiveReader: the offset of its local header, its sizes, method and CRC-32."""
    return _ENTRY.pack(offset, stored, size, method, crc)


@dataclass(frozen=True, slots=True)
class FolderOpener:
    """Reads files below a folder."""

    local_paths: ClassVar[tuple[str, ...]] = ("path",)

    path: str

    def open(self) -> FolderReader:
        """A reader."""
        return FolderReader(self.path)


class FolderReader:
    """Reads whole files directly into the caller's buffer."""

    def __init__(self, path: str) -> None:
        self._path = path
        with reading(path):
            self._root = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # names below it are shorter to look up

    def read_into(self, path: str, entry: bytes | None, view: memoryview) -> tuple[int, int]:
        """See SourceReader. Sizes are found by reading: on cold storage a stat beforehand would cost as much as the read."""
        del entry
        try:
            fd = os.open(path, _READ_FLAGS, dir_fd=self._root)
            try:
                count = os.readv(fd, (view,))
                status = os.fstat(fd)
                size = status.st_size
                while 0 < count < size and count < len(view):  # a short read, because of a signal or a network
                    more = os.readv(fd, (view[count:],))
                    if not more:
                        break
                    count += more
            finally:
                os.close(fd)
        except OSError as error:
            raise storage_error(error, f"{self._path}/{path}") from None
        if count != size or not stat.S_ISREG(status.st_mode):
            self._refuse(path, count, status, len(view))
        return count, status.st_mtime_ns

    def _refuse(self, path: str, count: int, status: os.stat_result, room: int) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise DamagedEntryError("not-a-file", "a pipe, a device or a socket")
        if status.st_size > room:
            raise NeedSpaceError(status.st_size)
        raise SourceChangedError(
            "the file changed while it was read",
            where=f"{self._path}/{path}",
            expected=f"{status.st_size} bytes",
            got=f"{count}",
            hint="stop whatever writes to the source, then pack again",
        )

    def stat(self, path: str, entry: bytes | None) -> tuple[int, int]:
        """See SourceReader."""
        del entry
        with reading(f"{self._path}/{path}"):
            status = os.stat(path, dir_fd=self._root)
            return status.st_size, status.st_mtime_ns

    def close(self) -> None:
        """Close the folder."""
        os.close(self._root)


@dataclass(frozen=True, slots=True)
class ArchiveOpener:
    """Reads the files of a zip or a plain tar by the entries of the listing."""

    local_paths: ClassVar[tuple[str, ...]] = ("path",)

    path: str

    def open(self) -> ArchiveReader:
        """A reader."""
        return ArchiveReader(self.path)


class ArchiveReader:
    """Reads members of one archive, and checks the CRC of those in a zip."""

    def __init__(self, path: str) -> None:
        self._path = path
        with reading(path):
            self._fd = plain_fd(path)
            self._mtime_ns = os.fstat(self._fd).st_mtime_ns

    def read_into(self, path: str, entry: bytes | None, view: memoryview) -> tuple[int, int]:
        """See SourceReader."""
        if entry is None:
            raise NotFoundError("not in the archive", where=f"{self._path}, {path}")
        offset, stored, size, method, crc = _ENTRY.unpack(entry)
        if size > len(view):
            raise NeedSpaceError(size)
        with reading(self._path):
            if method == _TAR_PLAIN:
                self._pread(view[:size], offset, path)
                return size, self._mtime_ns
            header = os.pread(self._fd, _ZIP_LOCAL.size, offset)
            if len(header) < _ZIP_LOCAL.size or header[:4] != b"PK\3\4":
                raise DamagedEntryError("source-damaged", "the zip's local header is not there")
            fields = _ZIP_LOCAL.unpack(header)
            offset += _ZIP_LOCAL.size + fields[-2] + fields[-1]
            if method == _ZIP_STORED:
                self._pread(view[:size], offset, path)
            else:
                if stored > size + (size >> 6) + _MAX_DEFLATE_OVERHEAD:
                    raise DamagedEntryError("source-damaged", "the zip stores more bytes than the file has")
                view[:size] = _inflate(os.pread(self._fd, stored, offset), size, method)
        if zlib.crc32(view[:size]) != crc:
            raise DamagedEntryError("source-damaged", "the zip's CRC-32 does not agree with the file")
        return size, self._mtime_ns

    def _pread(self, view: memoryview, offset: int, path: str) -> None:
        done = 0
        while done < len(view):
            count = os.preadv(self._fd, (view[done:],), offset + done)
            if not count:
                raise DamagedEntryError("source-damaged", f"the archive ends inside {path}")
            done += count

    def stat(self, path: str, entry: bytes | None) -> tuple[int, int]:
        """See SourceReader."""
        if entry is None:
            raise NotFoundError("not in the archive", where=f"{self._path}, {path}")
        return min(_ENTRY.unpack(entry)[2], _LARGEST), self._mtime_ns  # a zip may claim anything

    def close(self) -> None:
        """Close the archive."""
        os.close(self._fd)


def _inflate(data: bytes, size: int, method: int) -> bytes:
    """Decompress a zip member, to at most one byte more than ``size``."""
    if method not in _DECOMPRESSORS:
        name = _OTHER_METHODS.get(method, f"method {method}")
        raise DamagedEntryError(
            "source-method",
            f"the zip compresses it by {name}, which is not read here: extract it (`7z x`), and pack the folder",
        )
    try:
        stream = _lzma(data, size) if method == _ZIP_LZMA else _DECOMPRESSORS[method]()
        plain: bytes = stream.decompress(data[_LZMA_HEAD_BYTES:] if method == _ZIP_LZMA else data, size + 1)
    except (zlib.error, lzma.LZMAError, _ZstdError, OSError, EOFError, ValueError, struct.error) as error:
        raise DamagedEntryError("source-damaged", f"the zip's data cannot be inflated: {error}") from None
    if len(plain) != size:
        raise DamagedEntryError("source-damaged", f"the zip says {size} bytes and gives another number")
    return plain


def _lzma(data: bytes, size: int) -> lzma.LZMADecompressor:
    """APPNOTE 5.8.8: a version, the length of the properties (five bytes), and these: lc, lp, pb and the dictionary's size.

    The dictionary is no larger than the file: a zip may claim four gigabytes.
    """
    length, packed, dictionary = struct.unpack_from("<HBL", data, 2)
    if length != _LZMA_PROPERTIES:
        raise ValueError("its LZMA properties are of another length")
    filters = {
        "id": lzma.FILTER_LZMA1,
        "dict_size": min(dictionary, max(size, _SMALLEST_DICTIONARY)),
        "lc": packed % 9,
        "lp": packed // 9 % 5,
        "pb": packed // 45,
    }
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[filters])


class _ZstdError(Exception):
    """Zstandard data that cannot be decompressed."""


class _Zstd:
    """Decompresses Zstandard frames, with the interface of the other decompressors."""

    def decompress(self, data: bytes, most: int) -> bytes:
        """Decompress to at most ``most`` bytes."""
        import zstandard

        unpacking = zstandard.ZstdDecompressor(max_window_size=_MAX_ZSTD_WINDOW)
        try:
            with unpacking.stream_reader(data, read_across_frames=True) as stream:
                return bytes(stream.read(most))
        except zstandard.ZstdError as error:
            raise _ZstdError(str(error)) from None


_ZIP_LZMA = 14
_LZMA_PROPERTIES = 5
_LZMA_HEAD_BYTES = 4 + _LZMA_PROPERTIES
_SMALLEST_DICTIONARY = 4096
_MAX_XZ_MEMORY = 1 << 28
_MAX_ZSTD_WINDOW = 1 << 27
_DECOMPRESSORS: dict[int, Callable[[], Any]] = {
    _ZIP_DEFLATED: lambda: zlib.decompressobj(-15),
    12: bz2.BZ2Decompressor,
    _ZIP_LZMA: lzma.LZMADecompressor,
    93: _Zstd,
    95: lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MAX_XZ_MEMORY),
}
_OTHER_METHODS = {1: "Shrink", 6: "Implode", 9: "Deflate64", 97: "WavPack", 98: "PPMd", 99: "AES encryption"}


class reading:  # noqa: N801
    """Turns errors of the system into ours, with the path."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, StoreError):
            raise storage_error(error, self._path) from None
