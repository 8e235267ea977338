"""Pictures of kinds that have been taken for one another, though each is another: made up, on a photograph where one is needed."""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Callable

_WORDS = [
    "sun",
    "sea",
    "love",
    "city",
    "night",
    "light",
    "happy",
    "travel",
    "food",
    "friends",
    "beach",
    "coffee",
    "morning",
    "music",
]


def _jpeg(image: Image.Image, quality: int) -> bytes:
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=quality)
    return sink.getvalue()


def _png(image: Image.Image) -> bytes:
    sink = io.BytesIO()
    image.save(sink, "PNG")
    return sink.getvalue()


def _captioned(picture: Image.Image, number: int) -> bytes:
    draw = random.Random(number)
    image = picture.copy()
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 0, 300, 40), fill="white")
    text = " ".join(draw.choice(_WORDS) for _ in range(4))
    pen.text((10, 8), text, fill="black", font=ImageFont.load_default(22))
    return _jpeg(image, 90)


def _plain(_: Image.Image, number: int) -> bytes:
    """Of one brightness, to Pillow's integer: 19595 R + 38470 G + 7471 B."""
    shades = [(128, 128, 128), (200, 95, 100), (60, 160, 130), (128, 120, 170), (180, 120, 30), (40, 180, 90)]
    return _png(Image.new("RGB", (64, 64), shades[number]))


def _logo(_: Image.Image, number: int) -> bytes:
    """Black throughout: all that is seen lies in the alpha."""
    alpha = Image.new("L", (200, 200), 0)
    pen = ImageDraw.Draw(alpha)
    places = [(20, 20, 90, 90), (100, 20, 180, 90), (20, 110, 90, 180), (110, 110, 180, 180), (60, 60, 140, 140)]
    (pen.ellipse if number % 2 else pen.rectangle)(places[number % 5], fill=255)
    return _png(Image.merge("RGBA", [Image.new("L", (200, 200), 0)] * 3 + [alpha]))


def _form(_: Image.Image, number: int) -> bytes:
    draw = random.Random(number)
    image = Image.new("RGB", (800, 1000), "white")
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(20)
    for row in range(20):
        pen.text((40, 40 + row * 45), f"Field {row}", fill="black", font=font)
        pen.line((200, 65 + row * 45, 760, 65 + row * 45), fill="black")
        filled = " ".join(draw.choice(_WORDS) for _ in range(draw.randint(1, 4)))
        pen.text((210, 40 + row * 45), filled, fill=(30, 30, 120), font=font)
    return _jpeg(image, 85)


def _hue_turned(picture: Image.Image, number: int) -> bytes:
    light, blue, red = picture.convert("YCbCr").split()
    bands = [(blue, red), (red, blue), (blue.point(lambda v: 255 - v), red), (red, blue.point(lambda v: 255 - v))]
    return _png(Image.merge("YCbCr", (light, *bands[number])).convert("RGB"))


def _moving(picture: Image.Image, number: int) -> bytes:
    image = picture.copy()
    left, top = 20 + 60 * (number % 4), 30 + 90 * (number // 4)
    ImageDraw.Draw(image).ellipse((left, top, left + 20, top + 20), fill=(20, 20, 20))
    return _jpeg(image, 85)


def _several(make: Callable[[Image.Image, int], bytes], count: int) -> Callable[[Image.Image], list[bytes]]:
    return lambda picture: [make(picture, number) for number in range(count)]


#: Kind -> the pictures of it, all different, that are made with a photograph of 300x300.
KINDS: dict[str, Callable[[Image.Image], list[bytes]]] = {
    "captioned pictures": _several(_captioned, 12),
    "plain colours of one brightness": _several(_plain, 6),
    "logos on transparency": _several(_logo, 5),
    "forms filled in differently": _several(_form, 5),
    "hue turned": _several(_hue_turned, 4),
    "a small thing that moves": _several(_moving, 8),
}
