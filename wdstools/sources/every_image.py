"""Every image file of a source, for who compares images: no caption, label or layout decides which of them count."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from wdstools.sources.account import is_loss
from wdstools.sources.base import EmptySourceError, is_text, join_path, shown
from wdstools.sources.folder import FolderSource
from wdstools.sources.open import open_source
from wdstools.sources.open_tree import open_tree
from wdstools.sources.source_words import kind_of
from wdstools.sources.survey import walk_all
from wdstools.sources.unpacked import UnpackedSource

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from wdstools.results import Skip
    from wdstools.sources.base import Listing, Source, SourceOpener

#: Skips that are about something beside an image.
_BESIDE = ("caption-", "json-", "label-", "member-")


class ImageFile(NamedTuple):
    """A file below the root of its tree, and where an archive holds it."""

    folder: str
    stem: str
    suffix: str
    entry: bytes | None


@dataclass(frozen=True, slots=True)
class MoreImages:
    """Image files that are no samples, and those that cannot be had, each with why. ``opener`` reads them."""

    opener: SourceOpener
    files: tuple[ImageFile, ...]
    lost: tuple[tuple[str, str], ...]

    def table(self) -> pa.Table:
        """The files as a table of samples, of which a file's path is the key."""
        folders, stems, suffixes, entries = zip(*self.files, strict=True) if self.files else ((), (), (), ())
        paths = [join_path(folder, stem + suffix) for folder, stem, suffix, _ in self.files]
        return pa.table(
            {
                "key": pa.array(paths, pa.large_string()),
                "image_dir": pa.array(folders, pa.string()),
                "stem": pa.array(stems, pa.large_string()),
                "image_suffix": pa.array(suffixes, pa.string()),
                "image_entry": pa.array(entries, pa.large_binary()),
            }
        )


def listed(path: str) -> tuple[Source, Listing | None]:
    """A source, and what it lists where no image needs a caption; None where no image of it makes a sample."""
    source = open_source(path, captions="optional")
    try:
        return source, source.list()
    except EmptySourceError:
        return source, None


def more_images(source: Source, listing: Listing | None, known: Collection[str]) -> MoreImages | None:
    """The image files that are not ``known``; None where the source is no folder, and no archive of one."""
    folder = source.inner if isinstance(source, UnpackedSource) else source
    if not isinstance(folder, FolderSource):
        return None
    tree = open_tree(folder.path, listing=folder.listing)
    files: list[ImageFile] = []
    lost: list[tuple[str, str]] = []
    for place, held in walk_all(tree):
        for name, entry in zip(held.files, held.entries or repeat(None), strict=False):
            path = join_path(place, name)
            if kind_of(name) != "images" or path in known:
                continue
            if is_text(path):
                stem, dot, extension = name.rpartition(".")
                files.append(ImageFile(place, stem, dot + extension, entry))
            else:
                lost.append((shown(path), "name-not-utf8"))
    lost += lost_images(tree.skips)
    opener = listing.opener if listing is not None else tree.opener
    tree.close()
    return MoreImages(opener, tuple(files), tuple(lost))


def lost_images(skips: Iterable[Skip]) -> list[tuple[str, str]]:
    """Of what a source skips, the images, each with why."""
    return [
        (shown(skip.path), skip.reason + (f": {skip.detail}" if skip.detail else ""))
        for skip in skips
        if is_loss(skip) and kind_of(skip.path) in ("images", "") and not skip.reason.startswith(_BESIDE)
    ]
