"""scan: what a source holds and what a pack would skip, by names alone."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from wdstools.formats.arrow import to_list
from wdstools.results import Inventory
from wdstools.sources.open import open_source

if TYPE_CHECKING:
    from wdstools.sources.base import Listing, Source


def scan(source: Source | str) -> Inventory:
    """List a source and count; nothing is written and no image is opened."""
    return inventory(open_source(source).list() if isinstance(source, str) else source.list(), str(source))


def inventory(listing: Listing, source: str) -> Inventory:
    """The counts of a listing."""
    columns = (to_list(listing.samples.column(name)) for name in ("split", "label"))
    counts = Counter(zip(*columns, strict=True))
    samples: dict[str, dict[str, int]] = {}
    for (split, label), count in sorted(counts.items(), key=lambda item: tuple(name or "" for name in item[0])):
        samples.setdefault(split or "", {})[label or ""] = count
    members = [*sorted(listing.image_types), *listing.members]
    if not listing.members:
        members += ["txt"] if listing.captions != "none" else []
        members += ["cls"] if listing.labels else []
        members += ["json"] if "json" in listing.samples.column_names else []
    return Inventory(
        source=source,
        recipe=listing.recipe,
        layout=listing.template.get("image", ""),
        samples=samples,
        image_types=listing.image_types,
        members=tuple(members),
        skipped=dict(sorted(Counter(skip.reason for skip in listing.skips).items())),
        skips=listing.skips,
        unmatched=listing.unmatched,
        differences=listing.differences,
    )
