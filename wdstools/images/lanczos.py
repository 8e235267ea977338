"""Lanczos-3 resampling of 8-bit images with the very bytes of Pillow's, several times faster.

Pillow's resampler is scalar, and below 1000 px it, not the decoder, limits resizing. This one does the same integer
arithmetic (coefficients of 22 bits, rounded half up, each pass clipped to 8 bits) on many rows at once. The passes
are always horizontal, then vertical: that is what every Pillow does for square and landscape images and what Pillow
before 13 did for portrait ones, so results do not depend on the installed Pillow.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numba
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_PRECISION_BITS = 22
_SUPPORT = 3.0
_ROWS = 32


def resize(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Resize [H, W, C] uint8 pixels to [height, width, C]; equal to Pillow's ``resize`` with LANCZOS, passes as above."""
    if pixels.shape[1] != width:
        pixels = _horizontal(np.ascontiguousarray(pixels), *_coefficients(pixels.shape[1], width))
    if pixels.shape[0] != height:
        pixels = _vertical(np.ascontiguousarray(pixels), *_coefficients(pixels.shape[0], height))
    return pixels


def resize_gray(pixels: NDArray[np.uint8], sides: Sequence[int]) -> list[NDArray[np.uint8]]:
    """The same for [H, W] pixels, to side x side for each side.

    With one channel a pass across is fastest as a pass down of the image on its side, and one turn serves every side.
    """
    height, width = pixels.shape
    turned = np.ascontiguousarray(pixels.T)[:, :, None]
    made = []
    for side in sides:
        across = _vertical(turned, *_coefficients(width, side)) if width != side else turned
        upright = np.ascontiguousarray(across[:, :, 0].T)[:, :, None]
        down = _vertical(upright, *_coefficients(height, side)) if height != side else upright
        made.append(down[:, :, 0])
    return made


@lru_cache(maxsize=256)
def _coefficients(size: int, new_size: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """First input position of each output position, and its integer weights (zero-padded rows)."""
    scale = size / new_size
    stretch = max(scale, 1.0)
    support = _SUPPORT * stretch
    first = np.zeros(new_size, np.int32)
    weights = np.zeros((new_size, min(math.ceil(support) * 2 + 1, size)), np.int32)
    for position in range(new_size):
        center = (position + 0.5) * scale
        low = max(int(center - support + 0.5), 0)
        high = min(int(center + support + 0.5), size)
        raw = [_lanczos((x - center + 0.5) / stretch) for x in range(low, high)]
        total = sum(raw)
        first[position] = low
        for tap, weight in enumerate(raw):
            scaled = weight / total * (1 << _PRECISION_BITS)
            weights[position, tap] = int(scaled - 0.5 if scaled < 0 else scaled + 0.5)
        # rows that end at the border are padded with zero weights: keep their reads inside the image
        spare = first[position] + weights.shape[1] - size
        if spare > 0:
            first[position] -= spare
            weights[position] = np.roll(weights[position], spare)
    return first, weights


def _lanczos(x: float) -> float:
    return _sinc(x) * _sinc(x / 3) if -_SUPPORT <= x < _SUPPORT else 0.0


def _sinc(x: float) -> float:
    x *= math.pi
    return math.sin(x) / x if x else 1.0


def _jit(function: Any) -> Any:
    return numba.njit(function, nogil=True, cache=True, boundscheck=False)


@_jit
def _horizontal(pixels, first, weights):  # type: ignore[no-untyped-def]
    rows, width, channels = pixels.shape
    line = pixels.reshape(rows, -1)
    new_width, taps = weights.shape
    result = np.empty((rows, new_width * channels), np.uint8)
    # A block of rows is turned on its side, so that the innermost loop runs over neighbours in memory: vector code.
    block = _ROWS * channels
    tile = np.zeros((width, block), np.uint8)
    sums = np.empty(block, np.int32)
    for top in range(0, rows, _ROWS):
        count = min(_ROWS, rows - top)
        for row in range(count):
            for x in range(width):
                for channel in range(channels):
                    tile[x, row * channels + channel] = line[top + row, x * channels + channel]
        for position in range(new_width):
            sums[:] = 1 << (_PRECISION_BITS - 1)
            for tap in range(taps):
                weight = weights[position, tap]
                at = first[position] + tap
                for lane in range(block):
                    sums[lane] += np.int32(tile[at, lane]) * weight
            for row in range(count):
                for channel in range(channels):
                    total = sums[row * channels + channel] >> _PRECISION_BITS
                    result[top + row, position * channels + channel] = min(max(total, 0), 255)
    return result.reshape(rows, new_width, channels)


@_jit
def _vertical(pixels, first, weights):  # type: ignore[no-untyped-def]
    rows, width, channels = pixels.shape
    line = pixels.reshape(rows, -1)
    new_height, taps = weights.shape
    result = np.empty((new_height, width * channels), np.uint8)
    sums = np.empty(width * channels, np.int32)
    for position in range(new_height):
        sums[:] = 1 << (_PRECISION_BITS - 1)
        for tap in range(taps):
            weight = weights[position, tap]
            at = first[position] + tap
            for x in range(width * channels):
                sums[x] += np.int32(line[at, x]) * weight
        for x in range(width * channels):
            result[position, x] = min(max(sums[x] >> _PRECISION_BITS, 0), 255)
    return result.reshape(new_height, width, channels)
