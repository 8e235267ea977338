"""Memory for batches, reused only once nothing refers to it any more."""

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


class Spare:
    """Memory that nothing refers to any more, for arrays of one or several sizes; at most ``most`` pieces are kept."""

    def __init__(self, most: int = _SPARE) -> None:
        self.most = most
        self._pieces: deque[tuple[int, Any]] = deque()

    def put(self, size: int, memory: Any) -> None:
        """Take memory back. Called wherever an array is garbage-collected, so it must not take a lock."""
        self._pieces.append((size, memory))
        while len(self._pieces) > self.most:
            try:
                self._pieces.popleft()
            except IndexError:
                return

    def get(self, size: int) -> tuple[int, Any] | None:
        """Memory of at least this size, if there is any."""
        for _ in range(len(self._pieces)):
            try:
                piece = self._pieces.popleft()
            except IndexError:
                return None
            if piece[0] >= size:
                return piece
            self._pieces.append(piece)
        return None


class Buffers:
    """Arrays of one size, reused: touching the pages of a fresh array takes 10 to 15 % of a batch's time.

    Every view, tensor or memoryview of a leased array refers to it, so once the array itself is collected nothing
    can see its memory: only then is it leased again.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: DTypeLike,
        allocate: Callable[[int], Any] = page_aligned,
        spare: Spare | None = None,
    ) -> None:
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self._bytes = max(1, math.prod(shape) * self.dtype.itemsize)
        self._allocate = allocate
        self._spare = Spare() if spare is None else spare

    @property
    def bytes(self) -> int:
        """How many bytes one array takes."""
        return self._bytes

    def lease(self) -> NDArray[Any]:
        """An array with undefined contents."""
        size, memory = self._spare.get(self._bytes) or (self._bytes, self._allocate(self._bytes))
        array: NDArray[Any] = np.ndarray(self.shape, self.dtype, buffer=memory)
        weakref.finalize(array, self._spare.put, size, memory).atexit = False
        return array
