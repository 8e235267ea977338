"""Decodes images to pixels, into given memory: JPEG by simplejpeg in strict mode, others by Pillow.

A JPEG's pixels are taken as stored (no EXIF rotation, no colour profile), as loaders do; other types become
upright sRGB on white.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.errors import UsageError
from wdstools.formats.image_types import sniff
from wdstools.images.check import DEFAULT_MAX_PIXELS, DamagedImageError
from wdstools.images.jpeg import decode_jpeg, walk_header
from wdstools.images.resize import decode_rgb, fit_box

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLORSPACES = {"rgb": "RGB", "gray": "GRAY"}
FITS = ("stretch", "crop", "pad", "list")
MAX_SIDE = 65_500


class Decoder:
    """Decodes to uint8 [H, W, C], C = 3 for ``rgb`` and 1 for ``gray``.

    ``fit`` is how an image of another size is fitted to the requested one; None refuses it. Every method raises
    DamagedImageError for bytes that are not a whole image.
    """

    def __init__(self, mode: str, fit: str | None) -> None:
        import simplejpeg

        self._decode = simplejpeg.decode_jpeg
        self.colorspace = COLORSPACES[mode]
        self.channels = 3 if mode == "rgb" else 1
        self._fit = fit

    def into(self, data: memoryview, place: NDArray[np.uint8]) -> None:
        """Decode into ``place``, [H, W, C], contiguous."""
        try:
            if self._decode(data, self.colorspace, buffer=place).shape == place.shape:
                return
        except ValueError:
            pass  # of another size or type, or damaged: the code below finds out which
        pixels = self.alone(data)
        if pixels.shape != place.shape:
            pixels = self._fitted(pixels, place.shape[0], place.shape[1])
        place[:] = pixels

    def _fitted(self, pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
        if self._fit is None:
            raise sizes_differ((width, height), (pixels.shape[1], pixels.shape[0]))
        return fit_box(pixels, width, height, self._fit)

    def alone(self, data: memoryview) -> NDArray[np.uint8]:
        """Decode at the image's own size."""
        if bytes(data[:2]) == b"\xff\xd8":
            if walk_header(data, 0, len(data))[0].channels != 4:
                return decode_jpeg(data, self.colorspace, DEFAULT_MAX_PIXELS)
        elif not sniff(bytes(data[:16])):
            raise DamagedImageError("image-unknown", "the bytes are not an image of a known type")
        rgb = decode_rgb(bytes(data))
        return rgb if self.channels == 3 else _gray(rgb)

    def size(self, data: memoryview) -> tuple[int, int]:
        """Height and width."""
        height, width, _ = self.alone(data).shape
        return height, width


def _gray(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    from PIL import Image

    return np.asarray(Image.fromarray(rgb).convert("L"))[:, :, np.newaxis]


def sizes_differ(expected: tuple[int, int], got: tuple[int, int]) -> UsageError:
    """The error for images of different sizes where one size was expected; sizes are (width, height)."""
    return UsageError(
        "the images differ in size",
        code="image-sizes-differ",
        where="image_size",
        expected=f"{expected[0]}x{expected[1]}",
        got=f"{got[0]}x{got[1]}",
        hint='give image_size=... with fit="stretch", "crop" or "pad"; or fit="list" to get each at its own size',
    )


def is_size(size: Any) -> bool:
    """Whether this is a valid (height, width) of an image."""
    return (
        isinstance(size, tuple | list)
        and len(size) == 2
        and all(isinstance(side, int) and not isinstance(side, bool) and 1 <= side <= MAX_SIDE for side in size)
    )
