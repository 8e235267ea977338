"""Shapes for images of many aspect ratios: each image gets the nearest shape, and each batch is of one shape.

An image's shape follows from its width and height in the index alone, so the number of samples and batches of each
shape is known before anything is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from wdstools.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_MOST_SIDE = 16_384
_MOST_SHAPES = 4096


@dataclass(frozen=True, slots=True)
class Buckets:
    """Shapes (height, width), from the tallest to the widest, and how images are fitted to them."""

    shapes: tuple[tuple[int, int], ...]
    fit: str = "crop"

    def of(self, sides: NDArray[np.int32]) -> NDArray[np.int64]:
        """The number of each image's shape, for sides [N, 2] of width and height; -1 where a side is unknown.

        It is the shape whose aspect ratio is nearest, as a quotient. IEEE 754 makes the result the same on every machine.
        """
        aspects = np.array([width / height for height, width in self.shapes])
        between = np.sqrt(aspects[1:] * aspects[:-1])
        known = (sides > 0).all(axis=1)
        widths, heights = (np.where(known, sides[:, side], 1) for side in (0, 1))
        found: NDArray[np.int64] = np.searchsorted(between, widths / heights, side="right")
        return np.where(known, found, -1)


def aspect_buckets(
    area: int, *, step: int = 64, max_aspect: float = 4.0, fit: Literal["crop", "stretch", "pad"] = "crop"
) -> Buckets:
    """Shapes of about the same area and many aspect ratios, for ``wt.loader(..., buckets=...)``: every batch has one shape.

    Args:
        area: The most pixels that a shape may have, such as ``512 * 512``.
        step: Sides are multiples of this.
        max_aspect: The largest ratio of the longer side to the shorter one.
        fit: How an image is fitted to its shape: ``crop`` fills it and cuts off the rest, ``stretch`` or ``pad``.

    Returns:
        The shapes.

    Raises:
        UsageError: There is no such shape, or there are too many.
    """
    numbers: tuple[tuple[str, Any, int], ...] = (("step", step, _MOST_SIDE), ("area", area, _MOST_SIDE**2))
    for name, value, most in numbers:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise UsageError("out of range", where=name, expected=f"a whole number, 1 to {most:,}", got=repr(value))
    if fit not in ("crop", "stretch", "pad"):
        raise UsageError("no such fit", where="fit", expected="crop, stretch or pad", got=str(fit))
    given: Any = max_aspect
    if not (isinstance(given, int | float) and given >= 1):
        raise UsageError("out of range", where="max_aspect", expected="at least 1", got=repr(max_aspect))
    shapes = {shape for long in _long_sides(area, step) for shape in _both_ways(area, step, long, max_aspect)}
    if not 0 < len(shapes) <= _MOST_SHAPES:
        raise UsageError(
            "there is no such shape" if not shapes else "there are too many shapes",
            where="area",
            expected=f"an area of at least {step * step:,} pixels: step times step" if not shapes else "a larger step",
            got=f"{len(shapes):,} shapes of {area:,} pixels with a step of {step}",
        )
    # of the shapes with one aspect ratio, the largest is enough
    largest: dict[float, tuple[int, int]] = {}
    for height, width in sorted(shapes):
        largest[width / height] = (height, width)
    return Buckets(tuple(largest[aspect] for aspect in sorted(largest)), fit)


def _long_sides(area: int, step: int) -> Iterator[int]:
    first = int(area**0.5) // step * step
    yield from range(max(first, step), min(area // step, _MOST_SIDE) + 1, step)


def _both_ways(area: int, step: int, long: int, max_aspect: float) -> Iterator[tuple[int, int]]:
    short = min(area // long // step * step, long)
    if short and long <= max_aspect * short:
        yield short, long
        yield long, short


@dataclass(frozen=True, slots=True)
class Bucket:
    """One shape of a loader's epoch: its samples, its batches on each rank, and the samples that do not fill a batch.

    ``left_out`` is how many samples ``remainder="drop"`` leaves out; ``padding`` is how many rows of all ranks repeat a
    sample with ``remainder="pad"``.
    """

    height: int
    width: int
    samples: int
    batches: int
    left_out: int
    padding: int


@dataclass(frozen=True, slots=True)
class BucketReport:
    """What each of a loader's buckets has, known before training: ``print(loader.buckets)``."""

    buckets: tuple[Bucket, ...]

    def __iter__(self) -> Iterator[Bucket]:
        return iter(self.buckets)

    def __len__(self) -> int:
        return len(self.buckets)

    def __str__(self) -> str:
        names = ("height", "width", "samples", "batches", "left out", "padding")
        rows = [(b.height, b.width, b.samples, b.batches, b.left_out, b.padding) for b in self.buckets]
        totals = [sum(column) for column in zip(*rows, strict=True)][2:] or [0] * 4
        lines = [names, *rows, ("all", "", *totals)]
        return "\n".join(
            "".join(f"{cell:>10,}" if isinstance(cell, int) else f"{cell:>10}" for cell in row) for row in lines
        )
