"""A part of an image."""

from __future__ import annotations

from typing import NamedTuple


class Box(NamedTuple):
    """A part of an image, in pixels of it, not always whole ones."""

    top: float
    left: float
    bottom: float
    right: float
