"""Streams of bytes, decompressed where they are gzip or zstandard."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Protocol

from wdstools.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterator

GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_READ_BYTES = 1 << 20


class Readable(Protocol):
    """What a stream must be able to do."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; none at the end."""


def plain_blocks(file: Readable, name: str) -> Iterator[bytes]:
    """A stream's blocks, decompressed as its first bytes say; memory stays bounded whatever they unpack to.

    Raises FormatError (``compression-damaged``) where the compressed bytes are damaged or cut.
    """
    import gzip
    import zlib

    import zstandard

    head = file.read(len(ZSTD))
    whole = io.BufferedReader(_Rejoined(head, file), _READ_BYTES)
    stream: Any = whole
    if head[: len(GZIP)] == GZIP:
        stream = gzip.GzipFile(fileobj=whole, mode="rb")
    elif head == ZSTD:
        stream = zstandard.ZstdDecompressor().stream_reader(whole, read_across_frames=True)
    try:
        while block := stream.read(_READ_BYTES):
            yield block
    except (zstandard.ZstdError, zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise FormatError(
            f"the compressed stream is damaged: {error}",
            code="compression-damaged",
            where=name,
            hint="get it again: what is compressed cannot be checked further",
        ) from error


class _Rejoined(io.RawIOBase):
    """A stream with its first bytes put back."""

    def __init__(self, head: bytes, file: Readable) -> None:
        super().__init__()
        self._head = head
        self._file = file

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # what BufferedReader hands over
        """The next bytes."""
        data, self._head = self._head or self._file.read(len(buffer)), b""
        buffer[: len(data)] = data
        return len(data)
