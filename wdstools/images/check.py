"""Image bytes: known types, headers, and opening an image with Pillow, with a code for every failure.

``images.whole`` checks whether an image is complete; JPEG has its own module, ``images.jpeg``.
"""

from __future__ import annotations

import io
import mmap
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wdstools.formats.image_types import sniff
from wdstools.images.png import without_large_metadata
from wdstools.options.pack import MAX_PIXELS
from wdstools.quiet import quiet
from wdstools.version import pillow_codecs

if TYPE_CHECKING:
    from PIL import Image

DEFAULT_MAX_PIXELS = MAX_PIXELS
#: Bytes that can be sliced and searched in place.
Buffer = bytes | bytearray | mmap.mmap


class DamagedImageError(Exception):
    """An image that must not be packed. ``code`` is a stable reason; ``detail`` is for people."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What an image's header says. ``channels`` is 0 if the header alone does not tell.

    ``trailing`` is how many bytes follow the end of the image, ``stray`` how many lie between its parts, ``frames`` whether
    there are more frames after the first, if that was checked.
    """

    type: str
    width: int
    height: int
    channels: int = 0
    trailing: int = 0
    stray: int = 0
    frames: bool = False


def bound_pixels(width: int, height: int, limit: int) -> None:
    """Raise DamagedImageError (``image-too-large``) for an image of more pixels, before it is decoded."""
    if width * height > limit:
        raise DamagedImageError("image-too-large", f"{width}x{height} pixels, the limit is {limit}")


def read_header(data: bytes, image_type: str) -> ImageInfo:
    """The dimensions from the header of any type but JPEG; raises DamagedImageError if Pillow cannot tell."""
    if image_type == "png":
        if data[12:16] == b"CgBI":
            raise DamagedImageError(
                "image-unsupported", "a PNG as Apple's Xcode crushes it: convert it with pngcrush first"
            )
        if data[12:16] != b"IHDR" or len(data) < 33:
            raise DamagedImageError("image-truncated", "no IHDR chunk")
        return ImageInfo("png", *struct.unpack(">II", data[16:24]))
    with open_image(data) as image:
        return ImageInfo(image_type, image.width, image.height)


def open_image(data: bytes | memoryview) -> Image.Image:
    """Open with Pillow, reading only the header. Only our own limits apply; every failure is a DamagedImageError.

    Pillow refuses a PNG with a large colour profile or large texts: it is opened without them, and the profile is put back.
    """
    kind = sniff(bytes(data[:16]))
    if kind == "jxl":
        raise DamagedImageError("image-unsupported", "JPEG XL is not read here: convert it with djxl first")
    if kind == "heic":
        return _open_heic(data)
    if kind != "png":
        return _open(data)
    plain, profile = without_large_metadata(bytes(data))
    image = _open(plain)
    if profile is not None:
        image.info["icc_profile"] = profile
    return image


_NOT_OPENED = (OSError, ValueError, SyntaxError, struct.error)


def _open(data: bytes | memoryview) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    try:
        with quiet:
            return Image.open(io.BytesIO(data))
    except Image.DecompressionBombError as error:
        raise DamagedImageError("image-too-large", first_line(error)) from None
    except UnidentifiedImageError:  # its text contains a memory address, which always differs
        raise DamagedImageError("image-damaged", "Pillow cannot tell what image it is: its header is damaged") from None
    except _NOT_OPENED as error:
        raise DamagedImageError("image-damaged", first_line(error)) from None


def _open_heic(data: bytes | memoryview) -> Image.Image:
    """Open HEIC with pillow-heif, an extra; nothing is registered with Pillow."""
    try:
        from pillow_heif.as_plugin import HeifImageFile
    except ImportError:
        hint = "HEIC is read with pillow-heif: pip install 'wdstools[heic]'"
        raise DamagedImageError("image-unsupported", hint) from None
    try:
        with quiet:
            image: Image.Image = HeifImageFile(io.BytesIO(data))
    except _NOT_OPENED as error:
        raise DamagedImageError("image-damaged", first_line(error)) from None
    return image


def load_pixels(image: Image.Image) -> None:
    """Decode with Pillow; every failure is a DamagedImageError."""
    from PIL import Image as PillowImage

    try:
        with quiet:
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
        text = first_line(error)
        raise DamagedImageError("image-truncated" if "truncated" in text else "image-damaged", text) from None


def first_line(error: BaseException) -> str:
    """The first line of an error's text, for people."""
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


def codec_versions() -> dict[str, Any]:
    """The versions of the codecs that determine the bytes of a re-encoded image."""
    from importlib.metadata import version

    versions = {name: version(name) for name in ("pillow", "simplejpeg", "numba")}
    return versions | {name: found for name, found in pillow_codecs().items() if found}
