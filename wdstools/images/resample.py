"""Resamples, mirrors, scales and stores a part of an image in one pass: what training does to every image.

The part is cut out and resized as torchvision does it with ``antialias=True`` (and Pillow, except for its rounding between
two passes): a triangle or cubic filter that widens where the image shrinks, and that sees nothing outside the part. Sums
are float32, in one order, without fused multiply-add: every machine gives the same numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.images.vectors import weigh_pixels
from wdstools.kernels import jit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wdstools.images.box import Box

_BYTE, _SINGLE, _HALF = range(3)
_KINDS = {"uint8": _BYTE, "float32": _SINGLE, "float16": _HALF}
#: How many values after the last pixel are read or written with it.
_BEHIND = 4


@dataclass(frozen=True, slots=True)
class Resampling:
    """The operation on a part of an image: ``value * factor + offset`` for each channel of the resized part.

    ``place`` is [H, W, C], or [C, H, W] with ``channels_first``. float16 is rounded to nearest, ties to
    even; uint8 half up, and clipped.
    """

    cubic: bool = False
    factors: tuple[float, ...] = (1.0, 1.0, 1.0)
    offsets: tuple[float, ...] = (0.0, 0.0, 0.0)
    channels_first: bool = False
    _lines: dict[tuple[int, int], Any] = field(default_factory=dict, compare=False, repr=False)

    def into(self, pixels: NDArray[np.uint8], box: Box, place: NDArray[Any], *, mirrored: bool) -> None:
        """Write a part of ``pixels``, uint8 [h, w, C] in C order with C 1 or 3, to ``place``, uint8, float16 or float32."""
        kind = _KINDS[place.dtype.name]
        height, width = place.shape[1:] if self.channels_first else place.shape[:2]
        rows = _weights(box.top, box.bottom, pixels.shape[0], height, self.cubic)
        columns = _weights(box.left, box.right, pixels.shape[1], width, self.cubic)
        target = place.view(np.uint16) if kind == _HALF else place
        scale = self._scale(width, pixels.shape[2])
        _resample(pixels, (rows, columns), mirrored, scale, target, (kind, self.channels_first))

    def _scale(self, width: int, channels: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Factors and offsets of a whole line."""
        found = self._lines.get((width, channels))
        if found is None:
            found = tuple(np.tile(np.array(of[:channels], np.float32), width) for of in (self.factors, self.offsets))
            self._lines[width, channels] = found
        return found


@jit
def _weights(start, stop, size, new_size, cubic):  # type: ignore[no-untyped-def]
    """The first input position of each output position, and the weights of it and of the following ones."""
    scale = (stop - start) / new_size
    stretch = max(scale, 1.0)
    support = (2.0 if cubic else 1.0) * stretch
    lowest, highest = max(math.floor(start), 0), min(math.ceil(stop), size)
    first = np.empty(new_size, np.int64)
    weights = np.zeros((new_size, math.ceil(support) * 2 + 1), np.float32)
    line = np.empty(weights.shape[1], np.float64)
    most = 1
    for position in range(new_size):
        center = start + (position + 0.5) * scale
        low = min(max(math.floor(center - support + 0.5), lowest), highest - 1)
        high = max(min(math.floor(center + support + 0.5), highest), low + 1)
        total = 0.0
        for tap in range(high - low):
            distance = abs((low + tap - center + 0.5) / stretch)
            if not cubic:
                line[tap] = max(0.0, 1.0 - distance)
            elif distance < 1.0:
                line[tap] = (1.5 * distance - 2.5) * distance * distance + 1.0
            elif distance < 2.0:
                line[tap] = ((-0.5 * distance + 2.5) * distance - 4.0) * distance + 2.0
            else:
                line[tap] = 0.0
            total += line[tap]
        if total == 0.0:  # less than a pixel, between the centres of two
            line[0] = total = 1.0
        for tap in range(high - low):
            weights[position, tap] = line[tap] / total
        first[position] = low
        most = max(most, high - low)
    return first, weights[:, :most].copy()


@jit
def _down(lines, begin, first, weights, sums):  # type: ignore[no-untyped-def]
    """The weighted sum of the input rows of an output row, over all columns and channels."""
    row = lines[first, begin : begin + len(sums)]
    for at in range(len(sums)):
        sums[at] = weights[0] * np.float32(row[at])
    for tap in range(1, len(weights)):
        weight = weights[tap]
        if weight != 0:
            row = lines[first + tap, begin : begin + len(sums)]
            for at in range(len(sums)):
                sums[at] += weight * np.float32(row[at])


@jit
def _resample(pixels, filters, mirrored, scale, place, how):  # type: ignore[no-untyped-def]
    height, width, channels = pixels.shape
    lines = pixels.reshape(height, width * channels)
    (first_row, row_weights), (first_column, column_weights) = filters
    kind, channels_first = how
    new_width, taps = column_weights.shape
    begin = first_column.min()
    count = min(first_column.max() + taps, width) - begin
    # taps beyond the last column have zero weight, but are read
    sums = np.zeros((count + taps + _BEHIND, channels), np.float32)
    line = np.zeros((new_width + _BEHIND, channels), np.float32)
    flat_sums, flat_line = sums.reshape(-1), line.reshape(-1)[: new_width * channels]
    planes = np.empty((channels, new_width), np.float32)
    first_column = first_column - begin
    if mirrored:
        first_column, column_weights = first_column[::-1].copy(), column_weights[::-1].copy()
    for y in range(len(first_row)):
        _down(lines, begin * channels, first_row[y], row_weights[y], flat_sums[: count * channels])
        for x in range(new_width):
            weigh_pixels(sums, first_column[x], column_weights, line, x)
        for at in range(len(flat_line)):
            flat_line[at] = flat_line[at] * scale[0][at] + scale[1][at]
        if channels_first:
            _split(flat_line, planes)
            for channel in range(channels):
                _put(planes[channel], place[channel, y], kind)
        else:
            _put(flat_line, place[y].reshape(-1), kind)


@jit
def _split(line, planes):  # type: ignore[no-untyped-def]
    """Split the channels of a line; three in one loop with fixed steps, which the compiler optimises."""
    if len(planes) == 3:
        red, green, blue = planes[0], planes[1], planes[2]
        for x in range(len(red)):
            red[x] = line[3 * x]
            green[x] = line[3 * x + 1]
            blue[x] = line[3 * x + 2]
    else:
        for channel in range(len(planes)):
            plane = planes[channel]
            for x in range(len(plane)):
                plane[x] = line[x * len(planes) + channel]


@jit
def _put(line, place, kind):  # type: ignore[no-untyped-def]
    """Store a line as bytes, as float32, or as the bits of float16."""
    if kind == _SINGLE:
        for at in range(len(place)):
            place[at] = line[at]
    elif kind == _BYTE:
        for at in range(len(place)):
            place[at] = np.uint8(min(max(line[at] + np.float32(0.5), np.float32(0)), np.float32(255)))
    else:
        bits = line.view(np.uint32)
        for at in range(len(place)):
            place[at] = _half(bits[at])


@jit
def _half(single):  # type: ignore[no-untyped-def]
    """Convert the bits of a float32 to those of the nearest float16, ties to even (IEEE 754)."""
    size = single & np.uint32(0x7FFFFFFF)
    exponent = np.int32(size >> np.uint32(23))
    one = np.uint32(1)
    normal = (size + np.uint32(0xC8000FFF) + ((size >> np.uint32(13)) & one)) >> np.uint32(13)
    shift = np.uint32(min(max(int(126 - exponent), 1), 25))
    fraction = (size & np.uint32(0x7FFFFF)) | np.uint32(0x800000)
    small = (fraction + (one << (shift - one)) - one + ((fraction >> shift) & one)) >> shift
    endless = np.uint32(0x7E00) if size > np.uint32(0x7F800000) else np.uint32(0x7C00)
    # all three are computed: selecting among them is vector code
    found = small if exponent < 113 else normal
    found = endless if exponent >= 143 else found
    return np.uint16(found | ((single >> np.uint32(16)) & np.uint32(0x8000)))
