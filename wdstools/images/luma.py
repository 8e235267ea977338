"""The small gray images that perceptual hashes are made of: the very pixels that imagehash makes, several times faster."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from wdstools.errors import UsageError
from wdstools.images.check import (
    DEFAULT_MAX_PIXELS,
    bound_pixels,
    bound_scans,
    damaged_jpeg,
    load_pixels,
    open_image,
    sniff,
)
from wdstools.images.lanczos import resize_gray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from PIL import Image

#: What simplejpeg calls the colours of JPEGs that Pillow reads as RGB or gray.
_SIMPLE_COLOURS = ("YCbCr", "RGB", "Gray")


def luma_images(
    data: bytes | memoryview, sides: Sequence[int], max_pixels: int = DEFAULT_MAX_PIXELS
) -> list[NDArray[np.uint8]]:
    """The image in gray, resized to side x side for each side: ``image.convert("L").resize((side, side), LANCZOS)``.

    As imagehash sees an image: the first frame, orientation and colour profile not applied, alpha dropped. Raises
    DamagedImageError.
    """
    gray = _decode_jpeg(data, max_pixels) if sniff(bytes(data[:16])) == "jpg" else None
    if gray is None:
        with open_image(data) as image:
            bound_pixels(*image.size, max_pixels)
            load_pixels(image)
            gray = np.asarray(image.convert("L"))
    if gray.shape[0] > gray.shape[1]:
        # Pillow resizes portrait images along one axis or the other first, depending on its version: let it
        return [_by_pillow(gray, side) for side in sides]
    return resize_gray(gray, sides)


def _decode_jpeg(data: bytes | memoryview, max_pixels: int) -> NDArray[np.uint8] | None:
    """Simplejpeg has the pixels of Pillow, faster; what it warns of is damage. None: a JPEG for Pillow to judge."""
    import simplejpeg

    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    if colours not in _SIMPLE_COLOURS:
        return None
    bound_pixels(width, height, max_pixels)
    bound_scans(data)
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, colorspace="GRAY" if colours == "Gray" else "RGB")
    except ValueError as error:
        raise damaged_jpeg(error) from error
    return pixels[:, :, 0] if colours == "Gray" else _gray(pixels)


def _by_pillow(gray: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    from PIL import Image

    resized: Image.Image = Image.fromarray(gray).resize((side, side), Image.Resampling.LANCZOS)
    return np.asarray(resized)


@lru_cache(maxsize=1)
def check_kernels() -> None:
    """Make sure, once a process, that these kernels and the installed Pillow agree; raises UsageError if not."""
    from importlib.metadata import version

    from PIL import Image

    pixels = (np.arange(61 * 47 * 3, dtype=np.int64).reshape(47, 61, 3) ** 2 * 7 % 253).astype(np.uint8)
    wanted = Image.fromarray(pixels).convert("L")
    ours = resize_gray(_gray(pixels), (32,))[0]
    if not np.array_equal(ours, np.asarray(wanted.resize((32, 32), Image.Resampling.LANCZOS))):
        raise UsageError(
            "the installed Pillow resizes images otherwise than any that wdstools knows",
            code="pillow-differs",
            got=f"Pillow {version('pillow')}",
            hint="install the Pillow of wdstools' constraints.txt",
        )


def _jit(function: Any) -> Any:
    return numba.njit(function, nogil=True, cache=True, boundscheck=False)


@_jit
def _gray(pixels):  # type: ignore[no-untyped-def]
    """Pillow's integer luma (ITU-R 601-2): (19595 R + 38470 G + 7471 B + 2**15) / 2**16, rounded down."""
    rows, width, _ = pixels.shape
    flat = pixels.reshape(-1)
    gray = np.empty(rows * width, np.uint8)
    for at in range(rows * width):
        total = np.int32(19595) * np.int32(flat[3 * at]) + np.int32(38470) * np.int32(flat[3 * at + 1])
        total += np.int32(7471) * np.int32(flat[3 * at + 2]) + np.int32(0x8000)
        gray[at] = np.int32(total) >> np.int32(16)
    return gray.reshape(rows, width)
