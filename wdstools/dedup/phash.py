"""Perceptual hashes in batches, equal to ``imagehash.phash`` bit for bit.

The hash of Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010), as imagehash 4
computes it: the lowest 8x8 (16x16) coefficients of the two-dimensional DCT-II of a 32x32 (64x64) gray image, each
compared with their median.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The sides of the gray images for hashes of 8x8 and 16x16 bits.
SIDES = {8: 32, 16: 64}
# A coefficient nearer to the median than this may fall on either side of it by rounding: imagehash then decides.
_TIE = 1e-6
#: How much re-encoding an image changes a coefficient, and how many coefficients within that are too many.
_NOISE, _MANY = 12.0, 12


def phash(luma: NDArray[np.uint8], size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The hashes of [N, 4 size, 4 size] uint8 gray images, and those of their mirror images.

    Both are [N, size**2 / 8] uint8, the first coefficient in the highest bit: ``row.tobytes().hex()`` is
    ``str(imagehash.phash(image, hash_size=size))``.
    """
    basis = _basis(size)
    low = basis @ luma.astype(np.float64) @ basis.T
    # mirroring a signal changes the sign of every odd coefficient of its DCT-II
    mirror = low * np.where(np.arange(size) % 2, -1.0, 1.0)
    return _hash(low, luma, size), _hash(mirror, luma[:, :, ::-1], size)


def is_undecided(luma: NDArray[np.uint8]) -> bool:
    """Whether noise decides many bits of the 64-bit hash of a 32x32 gray image, as for a symmetric or nearly blank one."""
    basis = _basis(8)
    low = (basis @ luma.astype(np.float64) @ basis.T).reshape(-1)
    return int(np.count_nonzero(np.abs(low - np.median(low)) < _NOISE)) >= _MANY


def deviation(luma: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The standard deviation of each of N small gray images, from exact integer sums."""
    flat = luma.reshape(len(luma), math.prod(luma.shape[1:])).astype(np.int64)
    count, total = flat.shape[1], flat.sum(axis=1)
    squares = np.einsum("ij,ij->i", flat, flat)
    made: NDArray[np.float32] = (np.sqrt(count * squares - total**2) / count).astype(np.float32)
    return made


def _hash(low: NDArray[np.float64], luma: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    flat = low.reshape(len(low), size * size)
    # the median is the mean of the two middle values; numpy vectorises sorting, but not partitioning
    middle = np.sort(flat, axis=1)[:, flat.shape[1] // 2 - 1 : flat.shape[1] // 2 + 1]
    bits = flat > middle.mean(axis=1, keepdims=True)
    for row in np.flatnonzero(middle[:, 1] - middle[:, 0] < 2 * _TIE):
        bits[row] = _reference(luma[row], size)
    return np.packbits(bits, axis=1)


def _reference(luma: NDArray[np.uint8], size: int) -> NDArray[np.bool_]:
    """The hash by imagehash itself: the image already has the right size, so that nothing is resized."""
    import imagehash
    from PIL import Image

    found: NDArray[np.bool_] = imagehash.phash(Image.fromarray(np.ascontiguousarray(luma)), hash_size=size).hash
    return found.reshape(-1)


@lru_cache(maxsize=2)
def _basis(size: int) -> NDArray[np.float64]:
    """The first ``size`` rows of the DCT-II, scaled as scipy.fftpack's."""
    side = SIDES[size]
    basis: NDArray[np.float64] = 2 * np.cos(np.pi * np.outer(np.arange(size), 2 * np.arange(side) + 1) / (2 * side))
    return basis
