"""Checks whether an image is complete, in place in a buffer.

No decoder finds everything that a checksum finds, but a checksum of a damaged file certifies the damage: so every image
is checked before it is packed. Dimensions are read from the header and bounded before any decoder sees the bytes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from wdstools.errors import UsageError, option
from wdstools.formats.image_types import sniff
from wdstools.formats.sniff import SNIFF_BYTES, what_is
from wdstools.images.check import (
    DEFAULT_MAX_PIXELS,
    DamagedImageError,
    ImageInfo,
    bound_pixels,
    load_pixels,
    open_image,
    read_header,
)
from wdstools.images.jpeg import check_entropy_coded, end_behind_scan, walk_header
from wdstools.images.png import end_of_png
from wdstools.units import counted

if TYPE_CHECKING:
    from wdstools.images.check import Buffer

#: What to do with bytes after the end of a complete image.
KEEP, CUT, SKIP = "keep", "cut", "skip"
_KNOWN_HEADERS = 8
_LONGEST_KNOWN = 4096


class _JpegHeader(NamedTuple):
    """All bytes up to the first scan, their info, and whether that scan is the whole image."""

    data: bytes
    info: ImageInfo
    single: bool


class ImageChecker:
    """Checks images in place in a buffer. One instance serves one worker: it caches header bytes.

    ``level`` is ``header`` (size, type, dimensions, markers from start to end) or ``decode`` (also a strict decode).
    Images of more than ``max_pixels`` are refused before they are decoded.
    """

    def __init__(self, level: str = "decode", max_pixels: int = DEFAULT_MAX_PIXELS) -> None:
        if level not in ("header", "decode"):
            raise UsageError("no such check", where=option("check"), expected="header or decode", got=level)
        self.level = level
        self.max_pixels = max_pixels
        self._known: list[_JpegHeader] = []

    def check(self, buffer: Buffer, start: int, end: int, expected_type: str) -> ImageInfo:
        """Check the image at ``buffer[start:end]``; raises DamagedImageError with a reason code.

        Bytes after the end of the image are counted (``trailing``), and not checked.
        """
        if start == end:
            raise DamagedImageError("image-empty", "the file is empty")
        header = self._known_header(buffer, start) if expected_type == "jpg" else None
        if header is None:
            found = sniff(bytes(buffer[start : min(end, start + 16)]))
            if found != expected_type:
                sniffed = None if found else what_is(bytes(buffer[start : min(end, start + SNIFF_BYTES)]))
                hint = (
                    f"this is {sniffed}: {sniffed.hint}".removesuffix(": ")
                    if sniffed
                    else f"the bytes are {found or 'no known image'}"
                )
                raise DamagedImageError(f"image-not-{expected_type}", hint)
            if found == "jpg":
                header = self._learn_header(buffer, start, end)
        if header is not None:
            info = header.info
            stop = end_behind_scan(buffer, start + len(header.data), end, single=header.single)
        else:
            info, stop = self._check_other(buffer, start, end, found)
        if self.level == "decode" or info.stray:  # markers do not tell whether an image continues after stray bytes
            decode_strictly(memoryview(buffer)[start:stop], info)
        return info if stop == end else replace(info, trailing=end - stop)

    def _known_header(self, buffer: Buffer, start: int) -> _JpegHeader | None:
        """Images of one origin often share their header byte for byte, with tables and dimensions: it is walked once."""
        for header in self._known:
            if buffer[start : start + len(header.data)] == header.data:
                return header
        return None

    def _learn_header(self, buffer: Buffer, start: int, end: int) -> _JpegHeader:
        info, scan, single = walk_header(buffer, start, end)
        self._bound(info)
        header = _JpegHeader(bytes(buffer[start:scan]), info, single)
        if len(self._known) < _KNOWN_HEADERS and len(header.data) <= _LONGEST_KNOWN:
            self._known.append(header)
        return header

    def _check_other(self, buffer: Buffer, start: int, end: int, found: str) -> tuple[ImageInfo, int]:
        """The info from the header, and the end of the image."""
        data = bytes(buffer[start:end])
        info = read_header(data, found)
        self._bound(info)
        size = len(data)
        if found == "png":
            size = end_of_png(data)
            if not size:
                raise DamagedImageError("image-truncated", "no IEND chunk")
        elif found == "webp":
            size = int.from_bytes(data[4:8], "little") + 8
            if size > len(data):
                raise DamagedImageError("image-truncated", f"RIFF says {size} bytes, the file has {len(data)}")
        return info, start + size

    def _bound(self, info: ImageInfo) -> None:
        if info.width < 1 or info.height < 1:
            raise DamagedImageError("image-damaged", f"the header says {info.width}x{info.height} pixels")
        bound_pixels(info.width, info.height, self.max_pixels)


def trailing_refusal(info: ImageInfo) -> DamagedImageError:
    """The error for a complete image with bytes after its end."""
    return DamagedImageError("image-trailing-bytes", f"after the end of the image: {counted(info.trailing, 'byte')}")


def decode_strictly(data: memoryview | bytes, info: ImageInfo) -> None:
    """Decode once and discard the pixels; every warning of the decoder counts as damage."""
    if info.type == "jpg":
        check_entropy_coded(data, info.channels)
    else:
        load_pixels(open_image(data))
