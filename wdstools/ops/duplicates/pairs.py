"""Thumbnails of images that two sets share, side by side, for a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wdstools.dedup.results import Thumbnail
from wdstools.ops.duplicates.contact_sheet import MOST_THUMBNAILS, small_picture
from wdstools.planning.prints import images_with_keys
from wdstools.reader.hashes import image_extension
from wdstools.reader.split import reader_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from wdstools.dataset import Dataset
    from wdstools.ops.duplicates.against import SharedImage, SharedImages

_CAPTION_CHARACTERS = 300
_NOTHING = Thumbnail("", "")


def pair_pictures(
    found: SharedImages, mine: Dataset | str, others: Mapping[str, Dataset | str]
) -> Iterator[tuple[SharedImage, Thumbnail, Thumbnail]]:
    """Each pair with its thumbnails, the least certain first, until there are enough.

    A set that is not a dataset is given by its path. For a file of hashes, the small gray pictures in it are shown.
    """
    doubtful = sorted(found.shared, key=lambda image: (-image.phash16, image.key, image.other))
    shown = doubtful[: MOST_THUMBNAILS // 2]
    here = _pictures(mine, {image.key for image in shown})
    there = {
        name: _pictures(other, {image.other_key for image in shown if image.other == name})
        for name, other in others.items()
    }
    for image in shown:
        yield image, here(image.key, image.place), there[image.other](image.other_key, image.other_place)


def _pictures(one: Dataset | str, keys: set[str]) -> Callable[[str, tuple[int, int] | None], Thumbnail]:
    """A function that returns a thumbnail by key, or by place in a dataset."""
    if not isinstance(one, str):
        return lambda _, place: _picture(one, place)
    small = {key: Thumbnail(small_picture(data), "") for key, data in images_with_keys(one, keys)} if keys else {}
    return lambda key, _: small.get(key, _NOTHING)


def _picture(dataset: Dataset, place: tuple[int, int] | None) -> Thumbnail:
    if place is None:
        return _NOTHING
    shard, row = place
    sample = reader_of(dataset, dataset.manifest.shards[shard][1]).sample(row)
    text = str(sample.view("txt"), "utf-8", "replace") if "txt" in sample else ""
    return Thumbnail(small_picture(sample[image_extension(dataset)]), text[:_CAPTION_CHARACTERS])
