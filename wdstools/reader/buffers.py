"""Memory for batches, used again only when nobody refers to it any more."""

from __future__ import annotations

import math
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.memory import page_aligned

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import DTypeLike, NDArray

_SPARE = 8


class Buffers:
    """Arrays of one size. A fresh array costs the first touch of its pages, 10 to 15 % of a batch's time.

    Every view, tensor or memoryview made of a leased array refers to it, so when the array itself is collected nobody
    can see its memory: only then may the next lease have it.
    """

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike, allocate: Callable[[int], Any] = page_aligned) -> None:
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self._bytes = max(1, math.prod(shape) * self.dtype.itemsize)
        self._allocate = allocate
        self._spare: deque[Any] = deque(maxlen=_SPARE)

    def lease(self) -> NDArray[Any]:
        """An array whose contents are whatever they were."""
        try:
            memory = self._spare.pop()
        except IndexError:
            memory = self._allocate(self._bytes)
        array: NDArray[Any] = np.ndarray(self.shape, self.dtype, buffer=memory)
        weakref.finalize(array, self._spare.append, memory).atexit = False
        return array
