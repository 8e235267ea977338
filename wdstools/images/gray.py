"""Conversion to gray as in Pillow, compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wdstools.kernels import jit

if TYPE_CHECKING:
    from numpy.typing import NDArray


def gray_of(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pillow's integer luma (ITU-R 601-2) of [H, W, 3] pixels; gray pixels, [H, W, 1], are returned as they are."""
    height, width, channels = pixels.shape
    if channels == 1:
        return pixels[:, :, 0]
    made = np.empty(height * width, np.uint8)
    _gray(np.require(pixels, requirements=["C", "W"]).reshape(-1), made)
    return made.reshape(height, width)


@jit
def _gray(pixels, made):  # type: ignore[no-untyped-def]
    """(19595 R + 38470 G + 7471 B + 2**15) / 2**16, rounded down."""
    for at in range(len(made)):
        total = np.int32(19595) * np.int32(pixels[3 * at]) + np.int32(38470) * np.int32(pixels[3 * at + 1])
        total += np.int32(7471) * np.int32(pixels[3 * at + 2]) + np.int32(0x8000)
        made[at] = np.int32(total) >> np.int32(16)


KERNELS = (_gray,)
