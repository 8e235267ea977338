"""Pictures of samples for a page: thumbnails, made here and cached, and media types of members."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from wdstools.errors import FormatError
from wdstools.formats.image_types import MEDIA_TYPE_OF, sniff
from wdstools.images.check import DamagedImageError, open_image
from wdstools.images.small import small_jpeg

if TYPE_CHECKING:
    from collections.abc import Callable

#: Pictures up to this size, in bytes and in pixels a side, are sent unchanged.
_SMALL_FILE, _SMALL_SIDE = 32 << 10, 1024
_QUALITY = 82
_MEMORY = 64 << 20
#: How many decoders run at once: each may need the memory of a large picture.
_DECODERS = 2


class Thumbnails:
    """Thumbnails by sample number and side; the last ones used are cached, in memory only."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._made: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._held = 0
        self._lock = threading.Lock()
        self._decoders = threading.BoundedSemaphore(_DECODERS)

    def get(self, number: int, side: int) -> bytes:
        """A picture for a page, unchanged if it is already small; raises FormatError (``image-damaged``)."""
        with self._lock:
            found = self._made.get((number, side))
            if found is not None:
                self._made.move_to_end((number, side))
                return found
        data = self._read(number)
        try:
            if not _is_small(data):
                with self._decoders:
                    data = small_jpeg(data, side, _QUALITY)
        except DamagedImageError as error:
            raise FormatError(error.detail, code=error.code, where=str(number)) from None
        with self._lock:
            if (number, side) not in self._made:
                self._made[number, side] = data
                self._held += len(data)
            while self._held > _MEMORY:
                _, oldest = self._made.popitem(last=False)
                self._held -= len(oldest)
        return data


def _is_small(data: bytes) -> bool:
    """Whether an image is small enough to be sent to the browser unchanged: in bytes, and when decoded."""
    if len(data) > _SMALL_FILE or sniff(data[:16]) not in MEDIA_TYPE_OF:
        return False
    with open_image(data) as image:
        return max(image.size) <= _SMALL_SIDE


def content_type(data: bytes) -> str:
    """The media type to send to a browser: a picture, or something to save; never a page or a script."""
    return MEDIA_TYPE_OF.get(sniff(data[:16]), "application/octet-stream")
