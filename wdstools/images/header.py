"""Type and dimensions from an image's first bytes, and nothing more: for images that are only listed, not packed."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from wdstools.images.check import DamagedImageError, read_header, sniff

if TYPE_CHECKING:
    from wdstools.images.check import ImageInfo

_HEAD_BYTES = 2048
_MAX_HEAD_BYTES = 1 << 20
_SOF = frozenset((0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF))
_STANDALONE = frozenset((0x01, *range(0xD0, 0xD9)))
_SOS = 0xDA
_SIZE = struct.Struct(">HH").unpack_from
_LENGTH = struct.Struct(">H").unpack_from


def read_dimensions(payload: memoryview) -> tuple[str, int, int] | None:
    """Type, width and height (orientation not applied); None where the bytes do not tell."""
    head = bytes(payload[:_HEAD_BYTES])
    kind = sniff(head)
    if kind == "jpg":
        found = _jpeg_size(head)
        if found is None and len(payload) > len(head):
            found = _jpeg_size(bytes(payload[:_MAX_HEAD_BYTES]))
        return None if found is None else ("jpg", *found)
    if not kind:
        return None
    try:
        info: ImageInfo = read_header(bytes(payload) if kind != "png" else head, kind)
    except DamagedImageError:
        return None
    return kind, info.width, info.height


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Width and height from the first frame header (ITU T.81, annex B)."""
    at, end = 2, len(data) - 9
    while at <= end:
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _STANDALONE:
            at += 2
        elif marker in _SOF:
            height, width = _SIZE(data, at + 5)
            return width, height
        elif marker == _SOS:
            return None
        else:
            at += 2 + _LENGTH(data, at + 2)[0]
    return None
