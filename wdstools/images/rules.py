"""What is asked of an image before it is packed, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wdstools.images.check import DEFAULT_MAX_PIXELS
from wdstools.images.whole import KEEP

if TYPE_CHECKING:
    from wdstools.images.resize import Encoding


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRules:
    """The rules for all images of a pack. They come from its options, or from what provenance says of an earlier one.

    ``check`` is ``header`` or ``decode``, see ``ImageChecker``; an image with more than ``max_pixels`` is skipped;
    ``encoding`` re-encodes images; ``trailing`` says what becomes of bytes that follow the end of an image.
    A field's name is that of the option in ``PackChoices`` and in provenance.
    """

    check: str = "header"
    max_pixels: int = DEFAULT_MAX_PIXELS
    encoding: Encoding | None = None
    trailing: str = KEEP
