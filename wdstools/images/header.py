"""Type and dimensions from an image's first bytes, for images that are only listed, not packed."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from wdstools.formats.image_types import sniff
from wdstools.images.check import DamagedImageError, read_header

if TYPE_CHECKING:
    from wdstools.images.check import ImageInfo

_HEAD_BYTES = 2048
_MAX_HEAD_BYTES = 1 << 20
_SOF = frozenset((0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF))
_STANDALONE = frozenset((0x01, *range(0xD0, 0xD9)))
_SOS = 0xDA
_SIZE_BYTES = 4
_MOST_KNOWN, _MOST_LENGTHS = 1024, 4
_SIZE = struct.Struct(">HH").unpack_from
_LENGTH = struct.Struct(">H").unpack_from


class DimensionReader:
    """Reads dimensions. One instance serves one worker: it caches the bytes before them, which are the same in many images."""

    def __init__(self) -> None:
        self._known: set[bytes] = set()
        self._lengths: tuple[int, ...] = ()

    def read(self, payload: memoryview) -> tuple[str, int, int] | None:
        """Type, width and height (orientation not applied); None if the bytes do not tell."""
        head = bytes(payload[:_HEAD_BYTES])
        for length in self._lengths:
            if len(head) >= length + _SIZE_BYTES and head[:length] in self._known:
                height, width = _SIZE(head, length)
                return "jpg", width, height
        if head[:3] != b"\xff\xd8\xff":
            return _other_dimensions(payload, head)
        at = _jpeg_frame(head)
        if at is not None:
            self._remember(head[:at])
        elif len(payload) > len(head):
            head = bytes(payload[:_MAX_HEAD_BYTES])
            at = _jpeg_frame(head)
        if at is None:
            return None
        height, width = _SIZE(head, at)
        return "jpg", width, height

    def _remember(self, before: bytes) -> None:
        lengths = {*self._lengths, len(before)}
        if len(self._known) < _MOST_KNOWN and len(lengths) <= _MOST_LENGTHS:
            self._known.add(before)
            self._lengths = tuple(lengths)


def _other_dimensions(payload: memoryview, head: bytes) -> tuple[str, int, int] | None:
    kind = sniff(head)
    if not kind:
        return None
    try:
        info: ImageInfo = read_header(bytes(payload) if kind != "png" else head, kind)
    except DamagedImageError:
        return None
    return kind, info.width, info.height


def _jpeg_frame(data: bytes) -> int | None:
    """The position of height and width in the first frame header (ITU T.81, annex B); it depends only on the bytes before."""
    at, end = 2, len(data) - 9
    while at <= end:
        if data[at] != 0xFF:  # stray bytes
            at = data.find(b"\xff", at)
            if at < 0:
                return None
            continue
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _STANDALONE or not marker:
            at += 2
        elif marker in _SOF:
            return at + 5
        elif marker == _SOS:
            return None
        else:
            at += 2 + _LENGTH(data, at + 2)[0]
    return None
