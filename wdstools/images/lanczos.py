"""Lanczos-3 resampling of 8-bit images, byte-identical to Pillow's, several times faster.

Pillow's resampler is scalar, and below 1000 px it, not the decoder, is the bottleneck of resizing. This one does the same integer
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
#: How many taps are applied at a time: the sums are then read and written a third as often.
_UNROLLED = 3


def resize(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Resize [H, W, C] uint8 pixels, C 1 or 3, to [height, width, C]; equal to Pillow's ``resize`` with LANCZOS, with passes as above."""
    pixels = np.require(
        pixels, requirements=["C", "W"]
    )  # always the same kind of array, as loops are compiled for each kind
    if pixels.shape[2] == 1:
        flat = pixels[:, :, 0]
        return _down(np.ascontiguousarray(_down(np.ascontiguousarray(flat.T), width).T), height)[:, :, None]
    if pixels.shape[1] != width:
        pixels = _across(pixels, width)
    return _down(pixels.reshape(len(pixels), -1), height).reshape(height, width, pixels.shape[2])


def resize_turned(turned: NDArray[np.uint8], sides: Sequence[int]) -> list[NDArray[np.uint8]]:
    """The same for one channel, to side x side for each side; ``turned`` is the transposed image, [W, H].

    With one channel a horizontal pass is fastest as a vertical pass over the transposed image, and one transposition serves every side.
    """
    return [_down(np.ascontiguousarray(_down(turned, side).T), side) for side in sides]


def _down(lines: NDArray[np.uint8], height: int) -> NDArray[np.uint8]:
    """Resample [H, N] to ``height`` lines."""
    if len(lines) == height:
        return lines
    made = np.empty((height, lines.shape[1]), np.uint8)
    _weigh(lines, *_coefficients(len(lines), height), np.empty(lines.shape[1], np.int32), made)
    return made


def _across(pixels: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """Resample the rows of [H, W, 3] to another width.

    A block of rows is transposed, so that the innermost loop runs over neighbours in memory and becomes vector code.
    """
    rows, old_width, channels = pixels.shape
    made = np.empty((rows, width, channels), np.uint8)
    columns, new_columns = (np.zeros((size, _ROWS, channels), np.uint8) for size in (old_width, width))
    lines, new_lines = columns.reshape(old_width, -1), new_columns.reshape(width, -1)
    first, weights = _coefficients(old_width, width)
    sums = np.empty(lines.shape[1], np.int32)
    for top in range(0, rows, _ROWS):
        _turn(pixels[top : top + _ROWS], columns)
        _weigh(lines, first, weights, sums, new_lines)
        _turn(new_columns, made[top : top + _ROWS])
    return made


@lru_cache(maxsize=256)
def _coefficients(size: int, new_size: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The first input position of each output position, and its integer weights, padded with zeros to a multiple of _UNROLLED.

    The padding may refer to positions beyond the last.
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
def _weigh(lines, first, weights, sums, result):  # type: ignore[no-untyped-def]
    """Compute each output line: the weighted sum of its input lines, rounded and clipped to 8 bits."""
    last = len(lines) - 1
    for position in range(len(result)):
        for lane in range(len(sums)):
            sums[lane] = 1 << (_PRECISION_BITS - 1)
        for tap in range(0, weights.shape[1], _UNROLLED):
            # beyond the last line weights are zero: any line will do
            a = min(first[position] + tap, last)
            b = min(a + 1, last)
            c = min(a + 2, last)
            of_a, of_b, of_c = weights[position, tap], weights[position, tap + 1], weights[position, tap + 2]
            for lane in range(len(sums)):
                sums[lane] += (
                    np.int32(lines[a, lane]) * of_a + np.int32(lines[b, lane]) * of_b + np.int32(lines[c, lane]) * of_c
                )
        for lane in range(len(sums)):
            result[position, lane] = min(max(sums[lane] >> _PRECISION_BITS, 0), 255)


@jit
def _turn(pixels, turned):  # type: ignore[no-untyped-def]
    """Transpose [H, W, 3] pixels: rows become columns, as many as there is room for."""
    for row in range(min(len(pixels), turned.shape[1])):
        for column in range(len(turned)):
            turned[column, row, 0] = pixels[row, column, 0]
            turned[column, row, 1] = pixels[row, column, 1]
            turned[column, row, 2] = pixels[row, column, 2]


#: The kernels for lumas; resizing colours also needs ``_turn``.
KERNELS = (_weigh,)
