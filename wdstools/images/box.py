"""A part of an image."""

from __future__ import annotations

from typing import NamedTuple


class Box(NamedTuple):
    """A part of an image, in pixels, which need not be integers."""

    top: float
    left: float
    bottom: float
    right: float
