"""The small gray images that perceptual hashes are made of: the very pixels that imagehash makes, several times faster."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wdstools.errors import UsageError
from wdstools.formats.image_types import sniff
from wdstools.images.check import DEFAULT_MAX_PIXELS, bound_pixels, load_pixels, open_image
from wdstools.images.jpeg import bound_scans, decoded
from wdstools.images.lanczos import resize_turned
from wdstools.images.resize import orientation_of
from wdstools.kernels import jit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from PIL import Image

#: Cells across and down of the small colour picture.
COLOUR_SIDE = 16
#: What simplejpeg calls the colours of JPEGs that Pillow reads as RGB or gray.
_SIMPLE_COLOURS = ("YCbCr", "RGB", "Gray")
_WITH_ALPHA = ("LA", "PA", "RGBA", "La", "RGBa")


def luma_images(
    data: bytes | memoryview, sides: Sequence[int], max_pixels: int = DEFAULT_MAX_PIXELS
) -> list[NDArray[np.uint8]]:
    """The image in gray, resized to side x side for each side: ``image.convert("L").resize((side, side), LANCZOS)``.

    As imagehash sees an image: the first frame, orientation and colour profile not applied, alpha dropped. Raises
    DamagedImageError.
    """
    return look_at(data, sides, max_pixels).lumas


class Look(NamedTuple):
    """What is compared of an image: its lumas, [16, 16, 4] cells of colour laid on white and alpha, its EXIF orientation."""

    lumas: list[NDArray[np.uint8]]
    colour: NDArray[np.uint8]
    turn: int


def look_at(data: bytes | memoryview, sides: Sequence[int], max_pixels: int = DEFAULT_MAX_PIXELS) -> Look:
    """The lumas of ``luma_images``, and the colours of the image; raises DamagedImageError."""
    pixels = _decode_jpeg(data, max_pixels) if sniff(bytes(data[:16])) == "jpg" else None
    if pixels is not None:
        turned = np.ascontiguousarray(pixels[:, :, 0].T) if pixels.shape[2] == 1 else _gray_turned(pixels)
    else:
        with open_image(data) as image:
            bound_pixels(*image.size, max_pixels)
            load_pixels(image)
            turned = np.ascontiguousarray(np.asarray(image.convert("L")).T)
            pixels = _colours(image)
    width, height = turned.shape
    # Pillow resizes portrait images along one axis or the other first, depending on its version: let it
    lumas = [_by_pillow(turned.T, side) for side in sides] if height > width else resize_turned(turned, sides)
    return Look(lumas, _cells(np.ascontiguousarray(pixels), COLOUR_SIDE), orientation_of(data))


def _colours(image: Image.Image) -> NDArray[np.uint8]:
    """[H, W, 3] pixels, or 4 with alpha: the colours are then laid on white."""
    if image.mode not in _WITH_ALPHA and "transparency" not in image.info:
        return np.asarray(image.convert("RGB"))
    pixels = np.asarray(image.convert("RGBA")).copy()
    alpha = pixels[:, :, 3:].astype(np.uint16)
    pixels[:, :, :3] = (pixels[:, :, :3] * alpha + 255 * (255 - alpha) + 127) // 255
    return pixels


def _decode_jpeg(data: bytes | memoryview, max_pixels: int) -> NDArray[np.uint8] | None:
    """The image, [H, W, 1] or [H, W, 3]; None: a JPEG for Pillow to judge.

    Simplejpeg has the pixels of Pillow, faster; what it warns of is damage.
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


def _by_pillow(gray: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    from PIL import Image

    resized: Image.Image = Image.fromarray(np.ascontiguousarray(gray)).resize((side, side), Image.Resampling.LANCZOS)
    return np.asarray(resized)


@lru_cache(maxsize=1)
def check_kernels() -> None:
    """Make sure, once a process, that these kernels and the installed Pillow agree; raises UsageError if not."""
    from importlib.metadata import version

    from PIL import Image

    pixels = (np.arange(61 * 47 * 3, dtype=np.int64).reshape(47, 61, 3) ** 2 * 7 % 253).astype(np.uint8)
    wanted = Image.fromarray(pixels).convert("L")
    ours = resize_turned(_gray_turned(pixels), (32,))[0]
    if not np.array_equal(ours, np.asarray(wanted.resize((32, 32), Image.Resampling.LANCZOS))):
        raise UsageError(
            "the installed Pillow resizes images otherwise than any that wdstools knows",
            code="pillow-differs",
            got=f"Pillow {version('pillow')}",
            hint="install the Pillow of wdstools' constraints.txt",
        )


@jit
def _gray_turned(pixels):  # type: ignore[no-untyped-def]
    """Pillow's integer luma (ITU-R 601-2) of [H, W, 3] pixels, on its side: [W, H].

    (19595 R + 38470 G + 7471 B + 2**15) / 2**16, rounded down; eight rows at a time, turned as soon as they are made.
    """
    height, width, _ = pixels.shape
    flat = pixels.reshape(-1)
    lines = np.zeros((8, -(-width // 8) * 8), np.uint8)
    blocks = lines.view(np.uint64)
    turned = np.empty((lines.shape[1], -(-height // 8)), np.uint64)
    for top in range(0, height, 8):
        for row in range(min(8, height - top)):
            source, line = flat[3 * width * (top + row) : 3 * width * (top + row + 1)], lines[row]
            for x in range(width):
                total = np.int32(19595) * np.int32(source[3 * x]) + np.int32(38470) * np.int32(source[3 * x + 1])
                total += np.int32(7471) * np.int32(source[3 * x + 2]) + np.int32(0x8000)
                line[x] = np.int32(total) >> np.int32(16)
        _turn(blocks, turned, top // 8)
    return turned.view(np.uint8)[:width, :height].copy()


@jit
def _cells(pixels, side):  # type: ignore[no-untyped-def]
    """The means of side x side cells of [H, W, C] pixels as [side, side, 4]: gray is three equal colours, alpha 255."""
    height, width, channels = pixels.shape
    made = np.full((side, side, 4), 255, np.uint8)
    sums = np.zeros(4, np.int64)
    for row in range(side):
        top = min(row * height // side, height - 1)
        bottom = max((row + 1) * height // side, top + 1)
        for column in range(side):
            left = min(column * width // side, width - 1)
            right = max((column + 1) * width // side, left + 1)
            sums[:] = 0
            for y in range(top, bottom):
                for x in range(left, right):
                    for channel in range(channels):
                        sums[channel] += pixels[y, x, channel]
            count = (bottom - top) * (right - left)
            for channel in range(channels):
                made[row, column, channel] = (sums[channel] + count // 2) // count
            if channels == 1:
                made[row, column, 1:3] = made[row, column, 0]
    return made


@jit
def _turn(rows, turned, column):  # type: ignore[no-untyped-def]
    """Turn eight rows of bytes, eight in a word, into a column of words: halves, quarters, eighths of 8x8 blocks change places."""
    for at in range(rows.shape[1]):
        a, b, c, d = rows[0, at], rows[1, at], rows[2, at], rows[3, at]
        e, f, g, h = rows[4, at], rows[5, at], rows[6, at], rows[7, at]
        (a, e), (b, f), (c, g), (d, h) = _swap(a, e, 32), _swap(b, f, 32), _swap(c, g, 32), _swap(d, h, 32)
        (a, c), (b, d), (e, g), (f, h) = _swap(a, c, 16), _swap(b, d, 16), _swap(e, g, 16), _swap(f, h, 16)
        (a, b), (c, d), (e, f), (g, h) = _swap(a, b, 8), _swap(c, d, 8), _swap(e, f, 8), _swap(g, h, 8)
        for row, word in enumerate((a, b, c, d, e, f, g, h)):
            turned[8 * at + row, column] = word


@jit
def _swap(a, b, bits):  # type: ignore[no-untyped-def]
    """Exchange every second run of ``bits`` bits: the upper ones of a pair of ``a`` with the lower ones of ``b``."""
    shift = np.uint64(bits)
    lower = np.uint64(0xFFFFFFFFFFFFFFFF) // ((np.uint64(1) << shift) + np.uint64(1))
    moved = ((a >> shift) ^ b) & lower
    return a ^ (moved << shift), b ^ moved
