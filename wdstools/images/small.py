"""A small picture of an image for display: upright, in colour, as a JPEG; never part of a dataset."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from wdstools.formats.image_types import sniff
from wdstools.images.check import DEFAULT_MAX_PIXELS, bound_pixels, load_pixels, open_image
from wdstools.images.jpeg import bound_scans
from wdstools.images.resize import decode_rgb, orientation_of, upright

if TYPE_CHECKING:
    from PIL import Image

_QUALITY = 80


def small_jpeg(data: bytes, side: int, quality: int = _QUALITY) -> bytes:
    """A JPEG whose longer side is ``side`` pixels, or the image's if that is smaller; raises DamagedImageError.

    Alpha is composited on white.
    """
    from PIL import Image

    small = _drafted(data, side) if sniff(data[:16]) == "jpg" else Image.fromarray(decode_rgb(data))
    small.thumbnail((side, side))
    sink = io.BytesIO()
    small.save(sink, "JPEG", quality=quality)
    return sink.getvalue()


def _drafted(data: bytes, side: int) -> Image.Image:
    """A JPEG decoded at the scale nearest to ``side``, which takes a fraction of the time of decoding it in full."""
    from PIL import Image

    with open_image(data) as image:
        bound_pixels(image.width, image.height, DEFAULT_MAX_PIXELS)
        bound_scans(data)
        image.draft("RGB", (side, side))
        load_pixels(image)
        pixels = np.asarray(image.convert("RGB"))
    return Image.fromarray(np.ascontiguousarray(upright(pixels, orientation_of(data))))
