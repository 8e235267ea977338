"""Image bytes: what they claim to be, whether they are whole, and making them another size.

No decoder finds what a checksum finds, but a checksum taken of a damaged file certifies the damage: so every image
is checked before it is packed. Dimensions are read from the header and bounded before any decoder sees the bytes.
"""

from __future__ import annotations

import contextlib
import io
import mmap
import re
import struct
import warnings
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

from wdstools.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image

#: File extensions that are taken for images, and the type each stands for.
TYPE_OF_EXTENSION = {
    "jpg": "jpg",
    "jpeg": "jpg",
    "jpe": "jpg",
    "jfif": "jpg",
    "png": "png",
    "webp": "webp",
    "gif": "gif",
    "bmp": "bmp",
    "tif": "tiff",
    "tiff": "tiff",
}
#: Types that may lie in a shard as they are.
STORABLE_TYPES = ("jpg", "png", "webp")
DEFAULT_MAX_PIXELS = 50_000_000
#: Encoders make ten or so; each can be a few bytes long and costs the decoder a pass over the whole image.
MAX_JPEG_SCANS = 100
# Compiled patterns search any buffer where it lies, several times faster than find() does, and for any marker twice as
# fast as for a certain one: the search for one byte is the C library's.
_JPEG_EOI_RE = re.compile(rb"\xff\xd9")
_JPEG_SOS_RE = re.compile(rb"\xff\xda")
_JPEG_MARKER_RE = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]", re.DOTALL)
_MARKER_RE = re.compile(rb"\xff+([^\xff])", re.DOTALL)
_SOF_SEQUENTIAL = frozenset((0xC0, 0xC1, 0xC9))
_SOF_BASELINE_TO_PROGRESSIVE = frozenset((0xC0, 0xC1, 0xC2, 0xC9, 0xCA))
_SOF_OTHERS = frozenset((0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF))
_STANDALONE = frozenset((0x01, *range(0xD0, 0xD8)))
_SOS, _EOI = 0xDA, 0xD9
_SOF_BYTES = 8
_KNOWN_HEADERS = 8
_LONGEST_KNOWN = 4096


#: Bytes that can be sliced and searched where they lie.
Buffer = bytes | bytearray | mmap.mmap


class DamagedImageError(Exception):
    """An image that must not be packed. ``code`` is a stable reason; ``detail`` is for people."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What an image's header says. ``channels`` is 0 where the header alone does not tell."""

    type: str
    width: int
    height: int
    channels: int = 0


def sniff(head: bytes) -> str:
    """The type that the first 16 bytes tell, by magic number; "" if unknown."""
    if head[:3] == b"\xff\xd8\xff":
        return "jpg"
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if head[:2] == b"BM":
        return "bmp"
    return "tiff" if head[:4] in (b"II*\0", b"MM\0*") else ""


class _JpegHeader(NamedTuple):
    """All bytes up to the first scan, what they say, and whether that scan is the whole image."""

    data: bytes
    info: ImageInfo
    single: bool


class ImageChecker:
    """Checks images where they lie in a buffer. One instance serves one worker: it remembers header bytes.

    ``level`` is ``header`` (size, type, dimensions, JPEG markers from start to end) or ``decode`` (and a strict
    decode). Images of more than ``max_pixels`` are refused before they are decoded.
    """

    def __init__(self, level: str = "decode", max_pixels: int = DEFAULT_MAX_PIXELS) -> None:
        if level not in ("header", "decode"):
            raise UsageError("no such check", where="--check", expected="header or decode", got=level)
        self.level = level
        self.max_pixels = max_pixels
        self._known: list[_JpegHeader] = []

    def check(self, buffer: Buffer, start: int, end: int, expected_type: str) -> ImageInfo:
        """Check the image at ``buffer[start:end]``; raises DamagedImageError with a reason code."""
        if start == end:
            raise DamagedImageError("image-empty", "the file is empty")
        header = self._known_header(buffer, start) if expected_type == "jpg" else None
        if header is None:
            found = sniff(bytes(buffer[start : min(end, start + 16)]))
            if found != expected_type:
                raise DamagedImageError(f"image-not-{expected_type}", f"the bytes are {found or 'no known image'}")
            if found == "jpg":
                header = self._learn_header(buffer, start, end)
        if header is not None:
            info = header.info
            scan = start + len(header.data)
            if not _ends_behind_scan(buffer, scan, end, single=header.single):
                _walk_jpeg_scans(buffer, scan, end)
        else:
            info = self._check_other(buffer, start, end, found)
        if self.level == "decode":
            decode_strictly(memoryview(buffer)[start:end], info)
        return info

    def _known_header(self, buffer: Buffer, start: int) -> _JpegHeader | None:
        """Images of one origin share their header byte for byte, tables and dimensions: the walk is done once."""
        for header in self._known:
            if buffer[start : start + len(header.data)] == header.data:
                return header
        return None

    def _learn_header(self, buffer: Buffer, start: int, end: int) -> _JpegHeader:
        info, scan, single = _walk_jpeg_header(buffer, start, end)
        self._bound(info)
        header = _JpegHeader(bytes(buffer[start:scan]), info, single)
        if len(self._known) < _KNOWN_HEADERS and len(header.data) <= _LONGEST_KNOWN:
            self._known.append(header)
        return header

    def _check_other(self, buffer: Buffer, start: int, end: int, found: str) -> ImageInfo:
        data = bytes(buffer[start:end])
        info = read_header(data, found)
        self._bound(info)
        if found == "png" and data[-12:] != b"\0\0\0\0IEND\xaeB`\x82":
            code = "image-trailing-bytes" if b"IEND\xaeB`\x82" in data else "image-truncated"
            raise DamagedImageError(code, "the file does not end with the IEND chunk")
        if found == "webp":
            size = int.from_bytes(data[4:8], "little") + 8
            if size != len(data):
                code = "image-truncated" if size > len(data) else "image-trailing-bytes"
                raise DamagedImageError(code, f"RIFF says {size} bytes, the file has {len(data)}")
        return info

    def _bound(self, info: ImageInfo) -> None:
        if info.width < 1 or info.height < 1:
            raise DamagedImageError("image-damaged", f"the header says {info.width}x{info.height} pixels")
        bound_pixels(info.width, info.height, self.max_pixels)


def bound_pixels(width: int, height: int, limit: int) -> None:
    """Refuse an image of more pixels, before any decoder makes them; raises DamagedImageError (``image-too-large``)."""
    if width * height > limit:
        raise DamagedImageError("image-too-large", f"{width}x{height} pixels, the limit is {limit}")


def _walk_jpeg_header(buffer: Buffer | memoryview, start: int, end: int) -> tuple[ImageInfo, int, bool]:
    """Follow the markers from SOI to the first scan (ITU T.81, annex B).

    Gives the frame, where the scan begins, and whether that scan is the whole image (sequential, all components).
    """
    at = start + 2
    info, sequential = None, False
    while True:
        marker, at = _next_marker(buffer, at, end)
        if marker == _EOI:
            raise DamagedImageError("image-truncated", "the image ends before its first scan")
        if marker in _STANDALONE:
            continue
        segment = bytes(buffer[at : min(end, at + 10)])
        length = int.from_bytes(segment[:2], "big")
        if length < 2 or at + length > end:
            raise DamagedImageError("image-truncated", f"a segment at byte {at - start} runs past the end")
        if marker in _SOF_OTHERS:
            raise DamagedImageError("image-damaged", f"a JPEG process that few readers know (SOF{marker - 0xC0})")
        if marker in _SOF_BASELINE_TO_PROGRESSIVE:
            if length < _SOF_BYTES or len(segment) < _SOF_BYTES:
                raise DamagedImageError("image-damaged", "a frame header that is too short")
            height, width, channels = struct.unpack(">HHB", segment[3:8])
            info, sequential = ImageInfo("jpg", width, height, channels), marker in _SOF_SEQUENTIAL
        at += length
        if marker == _SOS:
            if info is None:
                raise DamagedImageError("image-damaged", "a scan before any frame header")
            return info, at, sequential and segment[2:3] == bytes([info.channels])


def _next_marker(buffer: Buffer | memoryview, at: int, end: int) -> tuple[int, int]:
    found = _MARKER_RE.match(buffer, at, end)
    if found is not None:
        return found[1][0], found.end()
    if at < end and buffer[at : at + 1] != b"\xff":
        raise DamagedImageError("image-damaged", "bytes between two markers")
    raise DamagedImageError("image-truncated", "no end-of-image marker")


def _ends_behind_scan(buffer: Buffer, scan: int, end: int, *, single: bool) -> bool:
    """Whether the end marker is the last two bytes, and the first marker behind the scan; nearly always it is.

    Where one scan is all there is, stray markers in it do not matter: else an end marker may stand inside a segment.
    """
    if buffer[end - 2 : end] != b"\xff\xd9":
        return False
    found = _JPEG_MARKER_RE.search(buffer, scan, end)
    if single and found is not None and found.start() != end - 2:
        found = _JPEG_EOI_RE.search(buffer, scan, end)
    return found is not None and found.start() == end - 2


def _walk_jpeg_scans(buffer: Buffer, at: int, end: int) -> None:
    """Follow scans and the segments between them to the end marker; it must be the last two bytes."""
    scans = 1
    for marker, place in _markers_behind(buffer, at, end):
        if marker == _EOI:
            if place + 2 != end:
                raise DamagedImageError("image-trailing-bytes", f"{end - place - 2} bytes follow the end of the image")
            return
        scans += marker == _SOS
        _bound_scans(scans)
    raise DamagedImageError("image-truncated", "no end-of-image marker")


def _markers_behind(buffer: Buffer | memoryview, at: int, end: int) -> Iterator[tuple[int, int]]:
    """Each marker behind the first scan, with its place."""
    while found := _JPEG_MARKER_RE.search(buffer, at, end):
        at = found.start()
        yield found[0][1], at
        at += 2 + int.from_bytes(buffer[at + 2 : at + 4], "big")


def bound_scans(data: bytes | memoryview) -> None:
    """Refuse a JPEG of too many scans before it is decoded; raises DamagedImageError (``image-too-many-scans``)."""
    if len(_JPEG_SOS_RE.findall(data)) <= MAX_JPEG_SCANS:
        return
    # these bytes may also lie in metadata or behind the end
    _, at, _ = _walk_jpeg_header(data, 0, len(data))
    markers = (marker for marker, _ in _markers_behind(data, at, len(data)))
    for scans, _ in enumerate(filter(_SOS.__eq__, takewhile(_EOI.__ne__, markers)), 2):
        _bound_scans(scans)


def _bound_scans(scans: int) -> None:
    if scans > MAX_JPEG_SCANS:
        raise DamagedImageError("image-too-many-scans", f"more than {MAX_JPEG_SCANS} scans")


def read_header(data: bytes, image_type: str) -> ImageInfo:
    """Dimensions from the header of a PNG, WebP, GIF, BMP or TIFF; raises DamagedImageError if Pillow cannot tell."""
    if image_type == "png":
        if data[12:16] != b"IHDR" or len(data) < 33:
            raise DamagedImageError("image-truncated", "no IHDR chunk")
        return ImageInfo("png", *struct.unpack(">II", data[16:24]))
    with open_image(data) as image:
        return ImageInfo(image_type, image.width, image.height)


def open_image(data: bytes | memoryview) -> Image.Image:
    """Open with Pillow, reading the header only. No limit but ours applies; every failure is a DamagedImageError."""
    from PIL import Image

    try:
        with quiet():
            return Image.open(io.BytesIO(data))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, struct.error) as error:
        code = "image-too-large" if isinstance(error, Image.DecompressionBombError) else "image-damaged"
        raise DamagedImageError(code, _first_line(error)) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Pillow's warnings (many pixels, odd metadata) are not news: limits and checks here are our own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def decode_strictly(data: memoryview | bytes, info: ImageInfo) -> None:
    """Decode once and throw the pixels away; every warning of the decoder counts as damage.

    A JPEG is decoded in gray at 1/8 scale, which reads all of its entropy-coded data at twice the speed.
    """
    if info.type != "jpg":
        load_pixels(open_image(data))
        return
    import simplejpeg

    try:
        if info.channels == 4:
            simplejpeg.decode_jpeg(data, colorspace="CMYK", min_height=1, min_width=1, min_factor=8)
        else:
            simplejpeg.decode_jpeg(data, colorspace="GRAY", min_height=1, min_width=1, min_factor=8)
    except ValueError as error:
        raise damaged_jpeg(error) from error


def damaged_jpeg(error: ValueError) -> DamagedImageError:
    """The reason code for what a strict JPEG decoder said."""
    text = _first_line(error)
    truncated = "premature end" in text.lower() or "input file" in text.lower()
    return DamagedImageError("image-truncated" if truncated else "image-damaged", text)


def load_pixels(image: Image.Image) -> None:
    """Decode with Pillow; every failure is a DamagedImageError."""
    from PIL import Image as PillowImage

    try:
        with quiet():
            image.load()
    except (
        OSError,
        ValueError,
        SyntaxError,
        IndexError,
        struct.error,
        MemoryError,
        PillowImage.DecompressionBombError,
    ) as error:
        text = _first_line(error)
        raise DamagedImageError("image-truncated" if "truncated" in text else "image-damaged", text) from error


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


def codec_versions() -> dict[str, Any]:
    """Versions of the codecs that decide the bytes of a re-encoded image."""
    from importlib.metadata import version

    from PIL import features

    versions = {"pillow": version("pillow"), "simplejpeg": version("simplejpeg"), "numba": version("numba")}
    for name, kind in (
        ("libjpeg_turbo", features.version_feature),
        ("webp", features.version_module),
        ("zlib", features.version_codec),
        ("littlecms2", features.version_module),
    ):
        found = kind(name)
        if found:
            versions[name] = found
    return versions
