"""The page of ``duplicates --against``: what two sets of images share, in pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wdstools.dedup.levels import LIMITS
from wdstools.report.page import render_page

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wdstools.dedup.results import Thumbnail
    from wdstools.ops.duplicates.against import SharedImage, SharedImages


def render_shared(found: SharedImages, pairs: Iterable[tuple[SharedImage, Thumbnail, Thumbnail]]) -> str:
    """The HTML text. It asks for nothing from outside, whatever keys and captions hold."""
    return render_page("shared.html", found=found, pairs=list(pairs), limit=LIMITS[found.level])
