"""JPEG: walks from the start marker to the end marker (ITU T.81, annex B), and decodes strictly.

Simplejpeg decodes, because it treats every warning of the decoder as an error. What it does not support (a chroma
subsampling unknown to it) is not damage: Pillow decodes that. Stray bytes between the segments before the first scan
are not damage either: every decoder skips them, and the image is decoded strictly without them.
"""

from __future__ import annotations

import re
import struct
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.images.check import DamagedImageError, ImageInfo, bound_pixels, first_line, load_pixels, open_image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from wdstools.images.check import Buffer

#: Encoders make about ten; each can be a few bytes long and costs the decoder a pass over the whole image.
MAX_JPEG_SCANS = 100
# Compiled patterns search any buffer in place, several times faster than find() does, and for any marker twice as
# fast as for a specific one, because the C library searches for a single byte.
_EOI_RE = re.compile(rb"\xff\xd9")
_SOI_RE = re.compile(rb"\xff\xd8")
_SOS_RE = re.compile(rb"\xff\xda")
_MARKER_RE = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]", re.DOTALL)
#: Without the fill bytes before it, of which there may be any number: a pattern with them would be tried from each.
_FILLED_MARKER_RE = re.compile(rb"\xff([^\xff])", re.DOTALL)
_SOF_SEQUENTIAL = frozenset((0xC0, 0xC1, 0xC9))
_SOF_BASELINE_TO_PROGRESSIVE = frozenset((0xC0, 0xC1, 0xC2, 0xC9, 0xCA))
_SOF_OTHERS = frozenset((0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF))
_STANDALONE = frozenset((0x01, *range(0xD0, 0xD8)))
_SOI, _SOS, _EOI, _FILL = 0xD8, 0xDA, 0xD9, 0xFF
_SOF_BYTES = 8
_KNOWN_COMPONENTS = (1, 3, 4)


def walk_header(
    buffer: Buffer | memoryview, start: int, end: int, stray: list[tuple[int, int]] | None = None
) -> tuple[ImageInfo, int, bool]:
    """Follow the markers from the start to the first scan.

    Returns the frame, where the scan begins, and whether that scan is the whole image (sequential, all components). The places of
    bytes between two segments are added to ``stray``. Raises DamagedImageError, ``image-unsupported`` for a process unknown to common decoders.
    """
    found: list[tuple[int, int]] = [] if stray is None else stray
    info, sequential = None, False
    for marker, at in _segments(buffer, start, end, found):
        segment = bytes(buffer[at : min(end, at + 10)])
        length = int.from_bytes(segment[:2], "big")
        if length < 2 or at + length > end:
            raise DamagedImageError("image-truncated", f"a segment at byte {at - start} runs past the end")
        if marker in _SOF_OTHERS:
            raise DamagedImageError("image-unsupported", _process(marker))
        if marker in _SOF_BASELINE_TO_PROGRESSIVE:
            info, sequential = _frame(segment, length), marker in _SOF_SEQUENTIAL
        if marker == _SOS:
            if info is None:
                raise DamagedImageError("image-damaged", "a scan before any frame header")
            if found:
                info = replace(info, stray=sum(stop - first for first, stop in found))
            return info, at + length, sequential and segment[2:3] == bytes([info.channels])
    raise DamagedImageError("image-truncated", "the image ends before its first scan")


def _segments(
    buffer: Buffer | memoryview, start: int, end: int, stray: list[tuple[int, int]]
) -> Iterator[tuple[int, int]]:
    """Each marker followed by a length, and the position of the length, up to the end marker; records stray bytes between them."""
    at = start + 2
    while True:
        behind = at
        marker, at, passed = _next_marker(buffer, at, end)
        if passed:
            stray.append((behind, behind + passed))
        if marker == _EOI:
            return
        if marker == _SOI:
            raise DamagedImageError("image-truncated", "another image begins before the first scan")
        if marker not in _STANDALONE:
            yield marker, at
            at += int.from_bytes(buffer[at : at + 2], "big")


def _process(marker: int) -> str:
    kind = "lossless JPEG" if marker & 3 == 3 else "hierarchical JPEG"
    return f"{kind} (SOF{marker - 0xC0}), which common decoders do not read: convert it with another program first"


def _frame(segment: bytes, length: int) -> ImageInfo:
    if length < _SOF_BYTES or len(segment) < _SOF_BYTES:
        raise DamagedImageError("image-damaged", "a frame header that is too short")
    bits, height, width, channels = struct.unpack(">BHHB", segment[2:8])
    if bits in (12, 16):
        raise DamagedImageError(
            "image-unsupported", f"{bits} bits a sample, where common decoders read 8: convert it first"
        )
    if channels == 2:
        raise DamagedImageError("image-unsupported", "two components, which no common decoder reads")
    if bits != 8 or channels not in _KNOWN_COMPONENTS:
        raise DamagedImageError("image-damaged", f"a frame of {bits} bits and {channels} components")
    return ImageInfo("jpg", width, height, channels)


def _next_marker(buffer: Buffer | memoryview, at: int, end: int) -> tuple[int, int, int]:
    """The next marker, where it ends, and how many other bytes come before it, which libjpeg would skip."""
    if at + 1 < end and buffer[at] == _FILL and 0 < buffer[at + 1] < _FILL:
        return buffer[at + 1], at + 2, 0  # nearly always it follows at once
    found = _FILLED_MARKER_RE.search(buffer, at, end)
    while found is not None and not found[1][0]:  # 0xFF00 is not a marker
        found = _FILLED_MARKER_RE.search(buffer, found.end(), end)
    if found is None:
        raise DamagedImageError("image-truncated", "no end-of-image marker")
    passed = bytes(buffer[at : found.start()]).rstrip(b"\xff")
    return found[1][0], found.end(), len(passed)


def without_stray(data: bytes | memoryview) -> bytes | None:
    """The JPEG without the bytes between segments, which are not part of the image; None if there are none."""
    stray: list[tuple[int, int]] = []
    try:
        walk_header(data, 0, len(data), stray)
    except DamagedImageError:
        return None
    if not stray:
        return None
    edges = [0, *(edge for place in stray for edge in place), len(data)]
    return b"".join(bytes(data[edges[at] : edges[at + 1]]) for at in range(0, len(edges), 2))


def end_behind_scan(buffer: Buffer, scan: int, end: int, *, single: bool) -> int:
    """The end of the image whose first scan begins at ``scan``; raises DamagedImageError if it has none.

    Nearly always the end marker is the last two bytes, and the first marker after the scan: then nothing is walked.
    """
    if buffer[end - 2 : end] == b"\xff\xd9":
        found = _MARKER_RE.search(buffer, scan, end)
        # with a single scan, stray markers in it do not matter; with several, an end marker may be inside a segment
        if single and found is not None and found.start() != end - 2 and not _SOI_RE.search(buffer, scan, end):
            found = _EOI_RE.search(buffer, scan, end)
        if found is not None and found.start() == end - 2:
            return end
    return _walk_scans(buffer, scan, end)


def _walk_scans(buffer: Buffer, at: int, end: int) -> int:
    """Follow scans and the segments between them; returns the position after the end marker."""
    scans = 1
    for marker, place in _markers_behind(buffer, at, end):
        if marker == _EOI:
            return place + 2
        if marker == _SOI:
            break  # the start of another image: the first was cut off
        scans += marker == _SOS
        _bound_scans(scans)
    raise DamagedImageError("image-truncated", "no end-of-image marker")


def _markers_behind(buffer: Buffer | memoryview, at: int, end: int) -> Iterator[tuple[int, int]]:
    """Each marker after the first scan, with its position."""
    while found := _MARKER_RE.search(buffer, at, end):
        at = found.start()
        yield found[0][1], at
        at += 2 + int.from_bytes(buffer[at + 2 : at + 4], "big")


def bound_scans(data: bytes | memoryview) -> None:
    """Raise DamagedImageError (``image-too-many-scans``) for a JPEG with too many scans, before it is decoded."""
    if len(_SOS_RE.findall(data)) <= MAX_JPEG_SCANS:
        return
    # these bytes may also be in metadata or after the end
    _, at, _ = walk_header(data, 0, len(data))
    markers = (marker for marker, _ in _markers_behind(data, at, len(data)))
    for scans, _ in enumerate(filter(_SOS.__eq__, takewhile(_EOI.__ne__, markers)), 2):
        _bound_scans(scans)


def _bound_scans(scans: int) -> None:
    if scans > MAX_JPEG_SCANS:
        raise DamagedImageError("image-too-many-scans", f"more than {MAX_JPEG_SCANS} scans")


def check_entropy_coded(data: bytes | memoryview, channels: int) -> None:
    """Decode strictly and discard the pixels: in gray at 1/8 scale, which reads all data at twice the speed."""
    colorspace = "CMYK" if channels == 4 else "GRAY"
    if decoded(data, colorspace=colorspace, min_height=1, min_width=1, min_factor=8) is None:
        load_pixels(open_image(data))


def decoded(data: bytes | memoryview, **how: Any) -> NDArray[np.uint8] | None:
    """The image decoded strictly by simplejpeg; None if it does not support it. Raises DamagedImageError."""
    import simplejpeg

    try:
        return simplejpeg.decode_jpeg(data, **how)  # type: ignore[no-any-return]
    except ValueError as error:
        clean = without_stray(data)
        if clean is not None:
            return decoded(clean, **how)
        raise_if_damaged(data, error)
    return None


def decode_jpeg(data: bytes | memoryview, colorspace: str, max_pixels: int) -> NDArray[np.uint8]:
    """Decode strictly to [H, W, 3] (``RGB``) or [H, W, 1] (``GRAY``) pixels as stored: no rotation, no profile.

    Not for a JPEG with four components. Raises DamagedImageError.
    """
    info, _, _ = walk_header(data, 0, len(data))
    bound_pixels(info.width, info.height, max_pixels)
    bound_scans(data)
    pixels = decoded(data, colorspace=colorspace)
    return _by_pillow(data, colorspace) if pixels is None else pixels


def _by_pillow(data: bytes | memoryview, colorspace: str) -> NDArray[np.uint8]:
    with open_image(data) as image:
        if colorspace == "GRAY":
            image.draft("L", image.size)  # the decoder's own luma, as simplejpeg returns it
        load_pixels(image)
        made = np.asarray(image.convert("L" if colorspace == "GRAY" else "RGB"))
    return made.reshape(*made.shape[:2], -1)


def raise_if_damaged(data: bytes | memoryview, error: ValueError) -> None:
    """Raise DamagedImageError for an error of the strict decoder, unless it could not even read a valid header."""
    if _is_readable(data):
        text = first_line(error)
        truncated = "premature end" in text.lower() or "input file" in text.lower()
        raise DamagedImageError("image-truncated" if truncated else "image-damaged", text) from None


def _is_readable(data: bytes | memoryview) -> bool:
    """Whether simplejpeg can read the header: it reads nothing if the chroma subsampling is unknown to it."""
    import simplejpeg

    try:
        simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return False
    except KeyError:  # a subsampling that the decoder accepts and simplejpeg has no name for
        return True
    return True
