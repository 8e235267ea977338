"""How images are re-encoded: type, size, quality."""

from __future__ import annotations

from dataclasses import dataclass

from wdstools.errors import UsageError, option
from wdstools.formats.image_types import STORABLE_TYPES
from wdstools.images.check import DEFAULT_MAX_PIXELS

RESIZE_MODES = ("stretch", "crop", "pad", "keep")
#: The longest side that libjpeg encodes, in pixels.
JPEG_MAX_SIDE = 65_500


@dataclass(frozen=True, slots=True)
class Encoding:
    """How images are re-encoded.

    ``side`` in pixels, or None to keep the size. ``mode``: ``stretch`` to side x side whatever the aspect ratio; ``crop``
    the central square, then resize; ``pad`` with black to fit; ``keep`` the aspect ratio, the shorter side becomes
    ``side``. ``quality`` as in libjpeg and libwebp, 1 to 100; PNG has none. ``only_others`` leaves images alone that
    already have type ``image_type``.
    """

    image_type: str = "jpg"
    side: int | None = None
    mode: str = "stretch"
    quality: int = 75
    max_pixels: int = DEFAULT_MAX_PIXELS
    only_others: bool = False

    def __post_init__(self) -> None:
        if self.image_type not in STORABLE_TYPES:
            raise UsageError(
                "no such image type", where=option("convert"), expected=", ".join(STORABLE_TYPES), got=self.image_type
            )
        if self.mode not in RESIZE_MODES:
            raise UsageError("no such mode", where=option("mode"), expected=", ".join(RESIZE_MODES), got=self.mode)
        if self.side is not None and not 1 <= self.side <= JPEG_MAX_SIDE:
            raise UsageError(
                "side out of range", where=option("resize"), expected=f"1 to {JPEG_MAX_SIDE}", got=str(self.side)
            )
        if not 1 <= self.quality <= 100:
            raise UsageError(
                "quality out of range", where=option("quality"), expected="1 to 100", got=str(self.quality)
            )
