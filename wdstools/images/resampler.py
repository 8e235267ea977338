"""Lanczos-3 resampling that starts immediately: the first images with Pillow, the others with our own code, which gives the same bytes several times faster.

Our own code must be compiled, which takes seconds once per machine, and loaded, which takes a fraction of a second in each
process. A few images, or a first batch, never wait for either. One thread of one process
then compiles, while the others continue with Pillow.
"""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

#: How many images are resized before anything is compiled.
_FIRST = 256


class Resampler:
    """Resizes with whatever is ready. Thread-safe."""

    def __init__(self, first: int = _FIRST) -> None:
        self._first = first
        self._numbers = itertools.count()
        self._compiling = threading.Lock()
        self._compiled: Callable[[NDArray[np.uint8], int, int], NDArray[np.uint8]] | None = None

    @property
    def is_compiled(self) -> bool:
        """Whether our own code is in use."""
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
    """The same with Pillow: horizontally, then vertically, whatever order its version would choose."""
    from PIL import Image

    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    image = image.resize((width, image.height), Image.Resampling.LANCZOS)
    made = np.array(image.resize((width, height), Image.Resampling.LANCZOS))
    return made.reshape(height, width, pixels.shape[2])


_RESAMPLER = Resampler()


def resize(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Resize [H, W, C] uint8 pixels, C 1 or 3, to [height, width, C]; the bytes are Pillow's with LANCZOS, horizontal pass first."""
    return _RESAMPLER.resize(pixels, width, height)
