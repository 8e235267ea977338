"""The small gray images from which perceptual hashes are computed: identical to imagehash's, several times faster."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from xxhash import xxh3_64_hexdigest

from wdstools.errors import UsageError
from wdstools.formats.image_types import sniff
from wdstools.images.check import DEFAULT_MAX_PIXELS, bound_pixels, load_pixels, open_image
from wdstools.images.jpeg import bound_scans, decoded
from wdstools.images.resize import orientation_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from PIL import Image

#: The side of the small colour picture, in cells.
COLOUR_SIDE = 16
#: Simplejpeg's names for the colour spaces of JPEGs that Pillow reads as RGB or gray.
_SIMPLE_COLOURS = ("YCbCr", "RGB", "Gray")
#: How many pixels Pillow converts before compiled loops are loaded; and how many an image of unknown size counts for.
FEW_PIXELS, USUAL_PIXELS = 1 << 26, 300 * 300
#: XXH3-64 of the luma of ``check_pillow``'s picture, the same in every Pillow known to wdstools.
_PIXELS_OF_PILLOW = "c93aec6bf54fb33c"
_MOST_32_BITS = (1 << 32) // 255
_WITH_ALPHA = ("LA", "PA", "RGBA", "La", "RGBa")


def luma_images(
    data: bytes | memoryview, sides: Sequence[int], max_pixels: int = DEFAULT_MAX_PIXELS
) -> list[NDArray[np.uint8]]:
    """The image in gray, resized to side x side for each side: ``image.convert("L").resize((side, side), LANCZOS)``.

    As in imagehash: the first frame, without orientation and colour profile, alpha dropped. Raises
    DamagedImageError.
    """
    return look_at(data, sides, max_pixels).lumas


class Look(NamedTuple):
    """What is compared of an image: its lumas, [16, 16, 4] cells of colour on white and alpha, and its EXIF orientation."""

    lumas: list[NDArray[np.uint8]]
    colour: NDArray[np.uint8]
    turn: int


def look_at(data: bytes | memoryview, sides: Sequence[int], max_pixels: int = DEFAULT_MAX_PIXELS) -> Look:
    """The lumas of ``luma_images``, and the colours of the image; raises DamagedImageError."""
    pixels = _decode_jpeg(data, max_pixels) if sniff(bytes(data[:16])) == "jpg" else None
    if pixels is not None:
        lumas = _LUMAS.of(pixels, sides)
    else:
        with open_image(data) as image:
            bound_pixels(*image.size, max_pixels)
            load_pixels(image)
            lumas = _LUMAS.of(np.asarray(image.convert("L"))[:, :, None], sides)
            pixels = _colours(image)
    return Look(lumas, _cells(np.ascontiguousarray(pixels), COLOUR_SIDE), orientation_of(data))


class Lumas:
    """Makes lumas: at first by Pillow, then by compiled loops, which give the same bytes several times faster.

    Compiling takes a second, once per machine, and loading half a second in each process: as much as the loops
    save in the first ``pixels`` pixels. If more are expected, they are loaded immediately.
    """

    def __init__(self, pixels: int = FEW_PIXELS) -> None:
        self._left = pixels

    def expect(self, images: int) -> None:
        """Announce how many images will come."""
        if images * USUAL_PIXELS > self._left:
            self._left = 0

    def of(self, pixels: NDArray[np.uint8], sides: Sequence[int]) -> list[NDArray[np.uint8]]:
        """Lumas of [H, W, C] pixels in C order, C 1 or 3."""
        height, width, channels = pixels.shape
        few = self._left > 0
        self._left -= height * width
        # which axis Pillow resizes first in a portrait image depends on its version: leave that to Pillow
        if few or height > width:
            from PIL import Image

            return by_pillow(Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels), sides)
        return compiled(pixels, sides)


_LUMAS = Lumas()


def expect(images: int) -> None:
    """Announce how many images will be looked at."""
    _LUMAS.expect(images)


def compiled(pixels: NDArray[np.uint8], sides: Sequence[int]) -> list[NDArray[np.uint8]]:
    """Lumas of [H, W, C] pixels of a landscape-format image, C 1 or 3."""
    from wdstools.images.gray import gray_of
    from wdstools.images.lanczos import resize_turned

    return resize_turned(np.ascontiguousarray(gray_of(pixels).T), sides)


def by_pillow(image: Image.Image, sides: Sequence[int]) -> list[NDArray[np.uint8]]:
    """Lumas of an image, as imagehash makes them."""
    from PIL.Image import Resampling

    gray = image.convert("L")
    return [np.asarray(gray.resize((side, side), Resampling.LANCZOS)) for side in sides]


def _colours(image: Image.Image) -> NDArray[np.uint8]:
    """[H, W, 3] pixels, or 4 channels with alpha; the colours are then composited on white."""
    if image.mode not in _WITH_ALPHA and "transparency" not in image.info:
        return np.asarray(image.convert("RGB"))
    pixels = np.asarray(image.convert("RGBA")).copy()
    alpha = pixels[:, :, 3:].astype(np.uint16)
    pixels[:, :, :3] = (pixels[:, :, :3] * alpha + 255 * (255 - alpha) + 127) // 255
    return pixels


def _decode_jpeg(data: bytes | memoryview, max_pixels: int) -> NDArray[np.uint8] | None:
    """The image, [H, W, 1] or [H, W, 3]; None: a JPEG for Pillow to judge.

    Simplejpeg gives the same pixels as Pillow, faster; its warnings count as damage.
    """
    import simplejpeg

    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except (ValueError, KeyError):
        return None
    if colours not in _SIMPLE_COLOURS:
        return None
    bound_pixels(width, height, max_pixels)
    bound_scans(data)
    return decoded(data, colorspace="GRAY" if colours == "Gray" else "RGB")


@lru_cache(maxsize=1)
def check_pillow() -> None:
    """Check, once per process, that the installed Pillow gives the pixels that hashes are based on; raises UsageError if not."""
    from importlib.metadata import version

    from PIL import Image

    pixels = (np.arange(61 * 47 * 3, dtype=np.int64).reshape(47, 61, 3) ** 2 * 7 % 253).astype(np.uint8)
    if xxh3_64_hexdigest(by_pillow(Image.fromarray(pixels), (32,))[0].tobytes()) != _PIXELS_OF_PILLOW:
        raise UsageError(
            "the installed Pillow resizes images differently from every version that wdstools knows",
            code="pillow-differs",
            got=f"Pillow {version('pillow')}",
            hint="install the version of Pillow in wdstools' constraints.txt",
        )


def _cells(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The means of side x side cells of [H, W, C] pixels as [side, side, 4]: gray is three equal colours, alpha 255."""
    height, width, channels = pixels.shape
    tops, bottoms = _bounds(height, side)
    lefts, rights = _bounds(width, side)
    lines = pixels.reshape(height, width * channels)
    sums = np.empty((side, width * channels), np.uint64 if height * width > _MOST_32_BITS else np.uint32)
    for row in range(side):
        np.add.reduce(lines[tops[row] : bottoms[row]], axis=0, dtype=sums.dtype, out=sums[row])
    down = sums.reshape(side, width, channels)
    # for a small image, cells may share a column
    totals = np.add.reduceat(down, lefts, axis=1, dtype=sums.dtype)
    counts = ((bottoms - tops)[:, None] * (rights - lefts))[:, :, None].astype(sums.dtype)
    made = np.full((side, side, 4), 255, np.uint8)
    made[:, :, :channels] = (totals + counts // 2) // counts
    if channels == 1:
        made[:, :, 1:3] = made[:, :, :1]
    return made


@lru_cache(maxsize=256)
def _bounds(size: int, cells: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each cell begins and ends; each has at least one pixel."""
    starts = np.minimum(np.arange(cells) * size // cells, size - 1)
    return starts, np.maximum(np.arange(1, cells + 1) * size // cells, starts + 1)
