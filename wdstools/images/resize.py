"""Re-encodes images: one colour space, one orientation, one size, one encoder.

Guarantee: for the recorded versions of the codecs, the same input bytes and the same options give the same output
bytes, in any process and on any machine.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.formats.image_types import sniff
from wdstools.images.check import (
    DEFAULT_MAX_PIXELS,
    DamagedImageError,
    ImageInfo,
    bound_pixels,
    load_pixels,
    open_image,
)
from wdstools.images.encoding import JPEG_MAX_SIDE
from wdstools.images.jpeg import bound_scans, check_entropy_coded, decode_jpeg, walk_header
from wdstools.images.png import end_of_png
from wdstools.quiet import quiet

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from wdstools.images.encoding import Encoding

_EXIF_ORIENTATION = 0x0112
#: How many bytes are searched for EXIF: in a JPEG it is a segment near the start.
_METADATA_BYTES = 1 << 17
_SIXTEEN_BIT_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I")


def reencode(data: bytes, encoding: Encoding) -> tuple[bytes, ImageInfo]:
    """Decode an image strictly, convert it to upright 8-bit sRGB, resize and encode it; metadata is dropped.

    Raises DamagedImageError for an image that cannot be decoded completely. Of several frames or pages the first is kept, and ``frames``
    of the result says that there are more.
    """
    if not data:
        raise DamagedImageError("image-empty", "the file is empty")
    if not sniff(data[:16]):
        raise DamagedImageError("image-unknown", "the bytes are not an image of a known type")
    if sniff(data[:16]) == "png" and not end_of_png(data):
        raise DamagedImageError("image-truncated", "no IEND chunk")
    pixels = decode_rgb(data, encoding.max_pixels)
    if encoding.side is not None:
        pixels = fit(pixels, encoding.side, encoding.mode)
    info = ImageInfo(encoding.image_type, pixels.shape[1], pixels.shape[0], 3, frames=_has_more_frames(data))
    return encode(pixels, encoding), info


def _has_more_frames(data: bytes) -> bool:
    """Whether an image has more frames or pages; not for a JPEG, where anything after the end is trailing bytes."""
    if sniff(data[:16]) == "jpg":
        return False
    try:
        with open_image(data) as image, quiet:
            return bool(getattr(image, "is_animated", False))
    except (DamagedImageError, OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError):
        return False  # the first frame was decoded; what follows cannot be


def decode_rgb(data: bytes, max_pixels: int = DEFAULT_MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode to [H, W, 3] uint8 sRGB: EXIF orientation applied, ICC profile converted, alpha composited on white."""
    jpeg = sniff(data[:16]) == "jpg"
    if jpeg:
        walk_header(data, 0, len(data))  # raises for what no decoder here reads
    with open_image(data) as image:
        bound_pixels(image.width, image.height, max_pixels)
        if not jpeg:
            load_pixels(image)  # first: looking for EXIF reads a PNG to its end, and would hide damage there
        orientation = _orientation(image)
        profile = image.info.get("icc_profile")
        if jpeg:
            if image.mode in ("RGB", "L") and not profile:
                return upright(decode_jpeg(data, "RGB", max_pixels), orientation)
            bound_scans(data)
            # Pillow alone would accept a damaged JPEG
            check_entropy_coded(data, len(image.getbands()))
            load_pixels(image)
        return upright(np.asarray(_to_rgb(image, profile)), orientation)


def _to_rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    from PIL import Image as PillowImage

    if image.mode in _SIXTEEN_BIT_MODES:
        wide = np.asarray(image)
        image = PillowImage.fromarray((np.clip(wide, 0, 65535) >> 8).astype(np.uint8))
    alpha = None
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        image = image.convert("RGB")
    elif image.mode == "P":
        image = image.convert("RGB")
    if profile:
        image = _to_srgb(image, profile)
    image = image.convert("RGB")
    if alpha is not None:
        paper = PillowImage.new("RGB", image.size, (255, 255, 255))
        paper.paste(image, mask=alpha)
        image = paper
    return image


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert with the embedded profile; a profile that does not fit or cannot be read is ignored."""
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
    return converted or image


def orientation_of(data: bytes | memoryview) -> int:
    """The EXIF orientation of an image, 1 if it has none."""
    head = bytes(data[:_METADATA_BYTES])
    if b"xif" not in head and b"XIF" not in head:
        return 1
    try:
        with open_image(data) as image:
            found = _orientation(image)
    except DamagedImageError:
        return 1
    return found if 1 <= found <= 8 else 1


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF":
        return 1  # Pillow rotates these itself when it loads them
    try:
        with quiet:
            value = image.getexif().get(_EXIF_ORIENTATION, 1)
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, IndexError, OverflowError):
        return 1  # an unreadable EXIF block says nothing about the pixels
    return value if isinstance(value, int) else 1


def upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undo an EXIF orientation (values 1 to 8, EXIF 2.3, tag 0x0112)."""
    turned: dict[int, Any] = {
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.transpose(1, 0, 2),
        6: lambda p: p.transpose(1, 0, 2)[:, ::-1],
        7: lambda p: p.transpose(1, 0, 2)[::-1, ::-1],
        8: lambda p: p.transpose(1, 0, 2)[::-1],
    }
    undo = turned.get(orientation)
    return np.ascontiguousarray(undo(pixels)) if undo else pixels


def fit(pixels: NDArray[np.uint8], side: int, mode: str) -> NDArray[np.uint8]:
    """Resize [H, W, 3] pixels to the requested size; see Encoding for the modes."""
    if mode != "keep":
        return fit_box(pixels, side, side, mode)
    from wdstools.images.resampler import resize

    height, width = pixels.shape[:2]
    shorter = min(height, width)
    # rounded half up, in integers: the same on every machine
    new_width, new_height = ((2 * edge * side + shorter) // (2 * shorter) for edge in (width, height))
    if max(new_width, new_height) > JPEG_MAX_SIDE:
        raise DamagedImageError("image-too-large", f"{width}x{height} becomes {new_width}x{new_height} pixels")
    return resize(pixels, new_width, new_height)


def fit_box(pixels: NDArray[np.uint8], width: int, height: int, mode: str) -> NDArray[np.uint8]:
    """Fit [H, W, C] pixels to [height, width, C]: ``stretch``; ``crop`` the central part of that aspect ratio; ``pad`` with black."""
    from wdstools.images.resampler import resize

    old_height, old_width = pixels.shape[:2]
    wide = old_width * height >= old_height * width  # wider than the box
    if mode == "crop":
        new_width, new_height = old_width, old_height
        if wide:
            new_width = max(1, old_height * width // height)
        else:
            new_height = max(1, old_width * height // width)
        top, left = (old_height - new_height) // 2, (old_width - new_width) // 2
        pixels = pixels[top : top + new_height, left : left + new_width]
    if mode != "pad":
        return resize(pixels, width, height)
    new_width, new_height = width, height
    if wide:
        new_height = max(1, (2 * old_height * width + old_width) // (2 * old_width))
    else:
        new_width = max(1, (2 * old_width * height + old_height) // (2 * old_height))
    padded = np.zeros((height, width, pixels.shape[2]), np.uint8)
    top, left = (height - new_height) // 2, (width - new_width) // 2
    padded[top : top + new_height, left : left + new_width] = resize(pixels, new_width, new_height)
    return padded


def encode(pixels: NDArray[np.uint8], encoding: Encoding) -> bytes:
    """Encode [H, W, 3] pixels. Pillow's JPEG bytes are the same in every version tried (9.5 to 13.0)."""
    from PIL import Image as PillowImage

    formats: dict[str, dict[str, Any]] = {
        "jpg": {"format": "JPEG", "quality": encoding.quality},
        "png": {"format": "PNG"},
        "webp": {"format": "WEBP", "quality": encoding.quality, "method": 4},
    }
    options = formats[encoding.image_type]
    sink = io.BytesIO()
    PillowImage.fromarray(pixels).save(sink, **options)
    return sink.getvalue()
