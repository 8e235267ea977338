"""The rules for an image before it is packed, and what is done with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wdstools.formats.image_types import sniff
from wdstools.images.check import DEFAULT_MAX_PIXELS
from wdstools.images.whole import CUT, KEEP, SKIP, ImageChecker, trailing_refusal

if TYPE_CHECKING:
    from wdstools.images.check import Buffer, ImageInfo
    from wdstools.images.encoding import Encoding


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRules:
    """The rules for all images of a pack. They come from its options, or from what provenance says of an earlier one.

    ``check`` is ``header`` or ``decode``, see ``ImageChecker``; an image with more than ``max_pixels`` is skipped;
    ``encoding`` re-encodes images; ``trailing`` says what to do with bytes after the end of an image.
    Fields have the names of the options in ``PackChoices`` and in provenance.
    """

    check: str = "header"
    max_pixels: int = DEFAULT_MAX_PIXELS
    encoding: Encoding | None = None
    trailing: str = KEEP


class ImageMaker:
    """Turns a source's image into the bytes for a shard, by the rules. One instance serves one worker.

    Its methods raise DamagedImageError with a reason code for an image that must not be packed.
    """

    def __init__(self, rules: ImageRules) -> None:
        self.rules = rules
        self._checker = ImageChecker(rules.check, rules.max_pixels)

    def keeps(self, head: bytes) -> bool:
        """Whether an image that begins with ``head`` goes into a shard as it is, without re-encoding."""
        encoding = self.rules.encoding
        return encoding is None or (encoding.only_others and sniff(head) == encoding.image_type)

    def check(self, buffer: Buffer, start: int, end: int, expected_type: str) -> tuple[ImageInfo, int]:
        """Check the image at ``buffer[start:end]``; returns its info, and how many bytes at its end are not packed."""
        info = self._checker.check(buffer, start, end, expected_type)
        if info.trailing and self.rules.trailing == SKIP:
            raise trailing_refusal(info)
        return info, info.trailing if self.rules.trailing == CUT else 0

    def reencode(self, data: bytes) -> tuple[bytes, ImageInfo]:
        """The image, re-encoded."""
        from wdstools.images.resize import reencode  # late, because it loads Pillow

        assert self.rules.encoding is not None
        return reencode(data, self.rules.encoding)

    def make(self, data: bytes) -> bytes:
        """The bytes for a shard of an image of any type."""
        if not self.keeps(data[:16]):
            return self.reencode(data)[0]
        _, cut = self.check(data, 0, len(data), sniff(data[:16]))
        return data[: len(data) - cut]
