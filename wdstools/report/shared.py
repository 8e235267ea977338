"""The page of ``duplicates --against``: the images that sets share, in pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wdstools.dedup.levels import LIMITS
from wdstools.report.page import render_page

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wdstools.dedup.results import Thumbnail
    from wdstools.ops.duplicates.against import SharedImage, SharedImages


def render_shared(found: SharedImages, pairs: Iterable[tuple[SharedImage, Thumbnail, Thumbnail]]) -> str:
    """The HTML text. It loads nothing from outside, whatever keys and captions contain."""
    return render_page("shared.html", found=found, pairs=list(pairs), limit=LIMITS[found.level])
