"""Lanczos-3 resampling that begins at once: the first images by Pillow, the others by our own, with the same bytes several times faster.

Our own has to be compiled, which takes seconds once on a machine, and to be loaded, which takes a part of one in each
process. Whoever resizes only some images never waits for either, and a first batch does not. One thread of one process
then compiles, and the others go on with Pillow meanwhile.
"""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

#: So many images are resized before anything is compiled.
_FIRST = 256


class Resampler:
    """Resizes, by whatever is ready. Safe to use from many threads."""

    def __init__(self, first: int = _FIRST) -> None:
        self._first = first
        self._numbers = itertools.count()
        self._compiling = threading.Lock()
        self._compiled: Callable[[NDArray[np.uint8], int, int], NDArray[np.uint8]] | None = None

    @property
    def is_compiled(self) -> bool:
        """Whether our own is at work."""
        return self._compiled is not None

    def resize(self, pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
        """Resize [H, W, C] uint8 pixels, C 1 or 3, to [height, width, C]."""
        if self._compiled is not None:
            return self._compiled(pixels, width, height)
        if next(self._numbers) < self._first or not self._compiling.acquire(blocking=False):
            return by_pillow(pixels, width, height)
        try:
            return self._compile(pixels, width, height)
        finally:
            self._compiling.release()

    def _compile(self, pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
        from wdstools import kernels
        from wdstools.images import lanczos

        with kernels.alone() as is_alone:
            if not is_alone:
                return by_pillow(pixels, width, height)
            made = lanczos.resize(pixels, width, height)
        self._compiled = lanczos.resize
        return made


def by_pillow(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """The same by Pillow: across, then down, whatever its version would choose."""
    from PIL import Image

    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    image = image.resize((width, image.height), Image.Resampling.LANCZOS)
    made = np.array(image.resize((width, height), Image.Resampling.LANCZOS))
    return made.reshape(height, width, pixels.shape[2])


_RESAMPLER = Resampler()


def resize(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Resize [H, W, C] uint8 pixels, C 1 or 3, to [height, width, C]; the bytes are Pillow's with LANCZOS, across first."""
    return _RESAMPLER.resize(pixels, width, height)
