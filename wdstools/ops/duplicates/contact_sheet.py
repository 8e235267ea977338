"""Thumbnails of duplicates for a page: read, verified, scaled down, and limited in number."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from wdstools.dedup.results import Thumbnail
from wdstools.errors import NotFoundError
from wdstools.images.check import DamagedImageError
from wdstools.images.small import small_jpeg
from wdstools.reader.hashes import image_extension
from wdstools.reader.split import reader_of

if TYPE_CHECKING:
    from wdstools.dataset import Dataset
    from wdstools.dedup.results import DuplicateGroups

_SIDE = 128
_QUALITY = 70
#: About 4 KB each, so that a page with all of them is still only 3 MB.
MOST_THUMBNAILS = 600
_OF_A_GROUP = 12
_CAPTION_CHARACTERS = 300


def thumbnails(dataset: Dataset, found: DuplicateGroups, most: int = MOST_THUMBNAILS) -> dict[str, Thumbnail]:
    """Thumbnails and captions by key, from the largest and the least certain groups, until there are ``most``.

    Each group contributes its first few. An image that cannot be decoded has no thumbnail.
    """
    entries = {entry.path: entry for _, entry in dataset.manifest.shards}
    extension = image_extension(dataset)
    made: dict[str, Thumbnail] = {}
    for group in found.to_look_at():
        for member in group.members[:_OF_A_GROUP]:
            if len(made) >= most:
                return made
            entry = entries.get(member.shard)
            if entry is None:
                raise NotFoundError("no such shard", where=member.shard)
            sample = reader_of(dataset, entry).sample(member.row)
            text = str(sample.view("txt"), "utf-8", "replace") if "txt" in sample else ""
            made[member.key] = Thumbnail(small_picture(sample[extension]), text[:_CAPTION_CHARACTERS])
    return made


def small_picture(data: bytes, side: int = _SIDE) -> str:
    """A small version of the picture as a data URI of a JPEG; "" if it cannot be decoded."""
    try:
        small = small_jpeg(data, side, _QUALITY)
    except DamagedImageError:
        return ""
    return "data:image/jpeg;base64," + base64.b64encode(small).decode()
