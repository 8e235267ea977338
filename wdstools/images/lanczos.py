"""Lanczos-3 resampling of 8-bit images with the very bytes of Pillow's, several times faster.

Pillow's resampler is scalar, and below 1000 px it, not the decoder, limits resizing. This one does the same integer
arithmetic (coefficients of 22 bits, rounded half up, each pass clipped to 8 bits) on many rows at once. The passes
are always horizontal, then vertical: that is what every Pillow does for square and landscape images and what Pillow
before 13 did for portrait ones, so results do not depend on the installed Pillow.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from wdstools.kernels import jit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_PRECISION_BITS = 22
_SUPPORT = 3.0
_ROWS = 32
#: So many taps at a time: the sums are then read and written a third as often.
_UNROLLED = 3


def resize(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Resize [H, W, C] uint8 pixels to [height, width, C]; equal to Pillow's ``resize`` with LANCZOS, passes as above."""
    if pixels.shape[1] != width:
        pixels = _horizontal(np.ascontiguousarray(pixels), *_coefficients(pixels.shape[1], width))
    if pixels.shape[0] != height:
        pixels = _vertical(np.ascontiguousarray(pixels), *_coefficients(pixels.shape[0], height))
    return pixels


def resize_turned(turned: NDArray[np.uint8], sides: Sequence[int]) -> list[NDArray[np.uint8]]:
    """The same for one channel, to side x side for each side; ``turned`` is the image on its side, [W, H].

    With one channel a pass across is fastest as a pass down of the image on its side, and one turn serves every side.
    """
    width, height = turned.shape
    made = []
    for side in sides:
        across = _vertical(turned[:, :, None], *_coefficients(width, side)) if width != side else turned[:, :, None]
        upright = np.ascontiguousarray(across[:, :, 0].T)[:, :, None]
        down = _vertical(upright, *_coefficients(height, side)) if height != side else upright
        made.append(down[:, :, 0])
    return made


@lru_cache(maxsize=256)
def _coefficients(size: int, new_size: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """First input position of each output position, and its integer weights: rows of zeros at the end, in steps of _UNROLLED.

    Those zeros may stand for positions beyond the last.
    """
    scale = size / new_size
    stretch = max(scale, 1.0)
    support = _SUPPORT * stretch
    first = np.zeros(new_size, np.int32)
    taps = min(math.ceil(support) * 2 + 1, size)
    weights = np.zeros((new_size, -(-taps // _UNROLLED) * _UNROLLED), np.int32)
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
    return first, weights


def _lanczos(x: float) -> float:
    return _sinc(x) * _sinc(x / 3) if -_SUPPORT <= x < _SUPPORT else 0.0


def _sinc(x: float) -> float:
    x *= math.pi
    return math.sin(x) / x if x else 1.0


@jit
def _weigh(lines, first, weights, position, sums):  # type: ignore[no-untyped-def]
    """The weighted sum of the lines that an output position is made of, rounded and clipped to 8 bits."""
    sums[:] = 1 << (_PRECISION_BITS - 1)
    last = len(lines) - 1
    for tap in range(0, weights.shape[1], _UNROLLED):
        start = first[position] + tap
        # beyond the last line weights are zero: any line will do
        a, b, c = min(start, last), min(start + 1, last), min(start + 2, last)
        of_a, of_b, of_c = weights[position, tap], weights[position, tap + 1], weights[position, tap + 2]
        for lane in range(len(sums)):
            sums[lane] += (
                np.int32(lines[a, lane]) * of_a + np.int32(lines[b, lane]) * of_b + np.int32(lines[c, lane]) * of_c
            )
    for lane in range(len(sums)):
        sums[lane] = min(max(sums[lane] >> _PRECISION_BITS, 0), 255)


@jit
def _horizontal(pixels, first, weights):  # type: ignore[no-untyped-def]
    rows, width, channels = pixels.shape
    line = pixels.reshape(rows, -1)
    new_width = len(first)
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
            _weigh(tile, first, weights, position, sums)
            for row in range(count):
                for channel in range(channels):
                    result[top + row, position * channels + channel] = sums[row * channels + channel]
    return result.reshape(rows, new_width, channels)


@jit
def _vertical(pixels, first, weights):  # type: ignore[no-untyped-def]
    rows, width, channels = pixels.shape
    lines = pixels.reshape(rows, -1)
    new_height = len(first)
    result = np.empty((new_height, width * channels), np.uint8)
    sums = np.empty(width * channels, np.int32)
    for position in range(new_height):
        _weigh(lines, first, weights, position, sums)
        for x in range(width * channels):
            result[position, x] = sums[x]
    return result.reshape(new_height, width, channels)
