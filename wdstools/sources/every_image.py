"""Every image file of a source, for comparing images: whatever its caption, label or layout."""

from __future__ import annotations

from dataclasses import dataclass
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

#: Prefixes of reasons of skips that are not about the image itself.
_BESIDE = ("caption-", "json-", "label-", "member-")


class ImageFile(NamedTuple):
    """A file below the root of its tree, and its place in an archive."""

    folder: str
    stem: str
    suffix: str
    entry: bytes | None


@dataclass(frozen=True, slots=True)
class MoreImages:
    """Image files that are not samples, and those that cannot be read, each with the reason. ``opener`` reads them."""

    opener: SourceOpener
    files: tuple[ImageFile, ...]
    lost: tuple[tuple[str, str], ...]

    def table(self) -> pa.Table:
        """The files as a table of samples, with the path of each file as its key."""
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
    """A source, and its listing if captions are optional; None if it has no sample."""
    source = open_source(path, captions="optional")
    try:
        return source, source.list()
    except EmptySourceError:
        return source, None


def more_images(source: Source, listing: Listing | None, known: Collection[str]) -> MoreImages | None:
    """The image files that are not ``known``; None if the source is not a folder or an archive of one."""
    folder = source.inner if isinstance(source, UnpackedSource) else source
    if not isinstance(folder, FolderSource):
        return None
    tree = open_tree(folder.path, listing=folder.listing)
    files: list[ImageFile] = []
    lost: list[tuple[str, str]] = []
    for place, held in walk_all(tree):
        for name, entry in held.placed():
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
    """The images among a source's skips, each with the reason."""
    return [
        (shown(skip.path), skip.reason + (f": {skip.detail}" if skip.detail else ""))
        for skip in skips
        if is_loss(skip) and kind_of(skip.path) in ("images", "") and not skip.reason.startswith(_BESIDE)
    ]
