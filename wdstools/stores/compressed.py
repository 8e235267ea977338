"""Byte streams, decompressed if they are gzip, Zstandard, bzip2 or xz."""

from __future__ import annotations

import io
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from wdstools.errors import FormatError, StoreError
from wdstools.stores.zstd_frames import ZstdFrames, begins_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GZIP, BZIP2, XZ = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0"
_MAGIC_BYTES = 6
_MAX_XZ_MEMORY = 1 << 28
_READ_BYTES = 1 << 20


class Readable(Protocol):
    """What a stream must be able to do."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; none at the end."""


def plain_blocks(file: Readable, name: str, trailing: Callable[[int], None] | None = None) -> Iterator[bytes]:
    """A stream's blocks, decompressed as its first bytes indicate; memory stays bounded whatever they unpack to.

    Bytes after the end of the compressed data are ignored, as gzip does; ``trailing`` is called with their number.
    Raises FormatError (``compression-damaged``) if the compressed bytes are damaged or truncated.
    """
    import bz2
    import lzma
    import zlib

    import zstandard

    head = file.read(_MAGIC_BYTES)
    frames = ZstdFrames(name) if begins_frame(head) else None
    whole = io.BufferedReader(_Rejoined(head, file, frames), _READ_BYTES)
    errors = (zstandard.ZstdError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)
    if head[: len(GZIP)] == GZIP:
        blocks = _members(whole, _Gunzip, GZIP, trailing)
    elif frames is not None:
        blocks = _whole_frames(zstandard.ZstdDecompressor().stream_reader(whole, read_across_frames=True), frames)
    elif head[: len(BZIP2)] == BZIP2:
        blocks = _members(whole, bz2.BZ2Decompressor, BZIP2, trailing)
    elif head[: len(XZ)] == XZ:
        limited = partial(lzma.LZMADecompressor, lzma.FORMAT_XZ, memlimit=_MAX_XZ_MEMORY)
        blocks = _members(whole, limited, XZ, trailing)
    else:
        yield from _read(whole)
        return
    try:
        yield from blocks
    except errors as error:
        if isinstance(error, StoreError | FormatError) or (isinstance(error, OSError) and error.errno is not None):
            raise  # the disk's, not the content's
        raise FormatError(
            f"the compressed stream is damaged: {error}",
            code="compression-damaged",
            where=name,
            hint="download it again: the rest of a damaged stream cannot be checked",
        ) from None


def _read(stream: Any) -> Iterator[bytes]:
    while block := stream.read(_READ_BYTES):
        yield block


def _whole_frames(stream: Any, frames: ZstdFrames) -> Iterator[bytes]:
    """What Zstandard frames unpack to; its reader does not report a truncated last frame."""
    yield from _read(stream)
    if not frames.whole:
        raise EOFError("it is truncated")


class _Gunzip:
    """One gzip member, with the methods of the other decompressors."""

    def __init__(self) -> None:
        import zlib

        self._member = zlib.decompressobj(wbits=31)
        self._full = False

    def decompress(self, data: bytes, most: int) -> bytes:
        """At most ``most`` bytes of what it unpacks to."""
        plain = self._member.decompress(self._member.unconsumed_tail + data, most)
        self._full = len(plain) == most
        return plain

    @property
    def eof(self) -> bool:
        """Whether its end has been reached."""
        return self._member.eof

    @property
    def needs_input(self) -> bool:
        """Whether more output needs more input."""
        return not self._full and not self._member.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        """What follows its end."""
        return self._member.unused_data


def _members(
    file: Any, member: Callable[[], Any], magic: bytes, trailing: Callable[[int], None] | None
) -> Iterator[bytes]:
    """What concatenated compressed members unpack to; zeros between and after them are padding."""
    data: bytes = file.read(_READ_BYTES)
    while data:
        one = member()
        while not one.eof:
            plain = one.decompress(data, _READ_BYTES)
            if plain:
                yield plain
            data = b""
            if not one.eof and one.needs_input:
                data = file.read(_READ_BYTES)
                if not data:
                    raise EOFError("it is truncated")
        data = _behind_zeros(one.unused_data, file)
        if data and not (data + file.peek(len(magic))[: len(magic)]).startswith(magic):
            count = len(data) + sum(map(len, _read(file)))
            if trailing is not None:
                trailing(count)
            return


def _behind_zeros(data: bytes, file: Any) -> bytes:
    """What follows the zeros; empty at the end of the file."""
    data = data.lstrip(b"\0")
    while not data:
        block = file.read(_READ_BYTES)
        if not block:
            break
        data = block.lstrip(b"\0")
    return data


class _Rejoined(io.RawIOBase):
    """A stream with its first bytes put back."""

    def __init__(self, head: bytes, file: Readable, frames: ZstdFrames | None = None) -> None:
        super().__init__()
        self._head = head
        self._file = file
        self._frames = frames

    def readable(self) -> bool:
        """Always true."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # what BufferedReader passes
        """The next bytes."""
        data, self._head = self._head or self._file.read(len(buffer)), b""
        buffer[: len(data)] = data
        if self._frames is not None:
            self._frames.follow(data)
        return len(data)
