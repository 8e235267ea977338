"""Writing into a dataset that may have come from anywhere: never through a link that leads out of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wdstools.errors import StoreError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable


def require_inside(root: str, paths: Iterable[str]) -> None:
    """Refuse to write or delete files whose folders are links that lead out of ``root``; raises StoreError (``path-unsafe``)."""
    inside = os.path.realpath(root)
    for folder in sorted({os.path.dirname(path) for path in paths}):
        place = os.path.realpath(os.path.join(root, folder))
        if os.path.commonpath((inside, place)) != inside:
            raise StoreError(
                "a folder of this dataset is a link that leads outside: nothing was changed",
                code="path-unsafe",
                where=os.path.join(root, folder),
                got=place,
                hint="put a folder in the link's place, or mount it there; verify reads through links",
            )


def refuse_inside(source: str, dest: str) -> None:
    """Refuse a destination inside the source: the next scan would find shards among the images."""
    inner, outer = os.path.realpath(dest), os.path.realpath(source)
    if os.path.isdir(source) and inner != outer and inner.startswith(f"{outer.rstrip('/')}/"):
        raise UsageError(
            "the destination lies inside the source",
            code="destination-in-source",
            where=dest,
            got=f"source {source}",
            hint="choose a folder outside of it; nothing was written",
        )
