"""scan: what a source holds and what a pack would skip, by names alone."""

from __future__ import annotations

import os
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from wdstools.dataset import open_dataset
from wdstools.errors import NotFoundError, UsageError
from wdstools.formats.arrow import to_list
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.results import Inventory
from wdstools.sources.folder import FolderSource
from wdstools.sources.shards import ShardsSource, is_shards
from wdstools.sources.table import TABLE_EXTENSIONS, TableSource
from wdstools.sources.unpacked import UnpackedSource, find_tars, is_compressed
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from wdstools.sources.base import Listing, Source


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


def open_source(
    path: str,
    *,
    recipe: str | None = None,
    image: str | None = None,
    caption: str | None = None,
    captions: str | None = None,
    scratch: str | None = None,
) -> Source:
    """The source at a path: existing shards, a table, or a folder (or zip or tar of one) read through a layout.

    Compressed tars are unpacked into ``scratch``, else into a temporary folder, when they are listed.
    """
    if not os.path.exists(path):
        raise NotFoundError("no such file or folder", where=path)
    if os.path.isfile(path) and is_compressed(path):
        plain = partial(open_source, recipe=recipe, image=image, caption=caption, captions=captions)
        return UnpackedSource(path, plain, scratch)
    if recipe is None and image is None:
        if path.lower().endswith(TABLE_EXTENSIONS):
            return TableSource(path, captions=captions)
        if is_shards(path):
            return _shards(path, scratch)
    return FolderSource(path, recipe=recipe, image=image, caption=caption, captions=captions)


def _shards(path: str, scratch: str | None) -> Source:
    """Shards, or the tars that an adopted dataset's manifest is about, wherever they are."""
    if os.path.exists(os.path.join(path, MANIFEST_PATH)):
        dataset = open_dataset(path)
        if dataset.manifest.profile == "foreign" and isinstance(dataset.shards, LocalStore):
            path, adopted = dataset.shards.path, dataset.manifest
            if any(is_compressed(entry.path) for _, entry in adopted.shards):
                return UnpackedSource(path, lambda plain: ShardsSource(plain, adopted), scratch)
            return ShardsSource(path, adopted)
    elif os.path.isdir(path) and any(map(is_compressed, find_tars(path))):
        return UnpackedSource(path, ShardsSource, scratch)
    return ShardsSource(path)


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
