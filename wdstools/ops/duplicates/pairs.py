"""Small pictures of images that two sets share, side by side, for a page."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from wdstools.dedup.results import Thumbnail
from wdstools.ops.duplicates.contact_sheet import MOST_THUMBNAILS, small_picture
from wdstools.reader.hashes import image_extension
from wdstools.reader.split import reader_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wdstools.dataset import Dataset
    from wdstools.ops.duplicates.against import SharedImage, SharedImages

_CAPTION_CHARACTERS = 300


def pair_pictures(
    found: SharedImages, mine: Dataset | None, others: Mapping[str, Dataset | None]
) -> Iterator[tuple[SharedImage, Thumbnail, Thumbnail]]:
    """Each pair with its pictures, the least certain first, until there are enough; no picture where there is no dataset."""
    doubtful = sorted(found.shared, key=lambda image: (-image.phash16, image.key, image.other))
    for image in itertools.islice(doubtful, MOST_THUMBNAILS // 2):
        yield image, _picture(mine, image.place), _picture(others.get(image.other), image.other_place)


def _picture(dataset: Dataset | None, place: tuple[int, int] | None) -> Thumbnail:
    if dataset is None or place is None:
        return Thumbnail("", "")
    shard, row = place
    sample = reader_of(dataset, dataset.manifest.shards[shard][1]).sample(row)
    text = str(sample.view("txt"), "utf-8", "replace") if "txt" in sample else ""
    return Thumbnail(small_picture(sample[image_extension(dataset)]), text[:_CAPTION_CHARACTERS])
