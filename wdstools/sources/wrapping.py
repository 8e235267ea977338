"""Where a layout begins: below folders that only wrap it, and without folders that contain a second copy of everything."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Protocol, TypeAlias

from wdstools.errors import WdsError
from wdstools.foreign.split_names import split_in_name, split_of_word
from wdstools.sources.base import MAX_FILE_BYTES, DamagedEntryError, NeedSpaceError, join_path
from wdstools.sources.readers import crc_of_entry
from wdstools.sources.source_words import CAPTION_FOLDERS, IMAGE_FOLDERS, is_image
from wdstools.sources.tree import Folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wdstools.sources.base import SourceReader
    from wdstools.sources.tree import Tree


class Facts(Protocol):
    """Facts about a folder: the names of its subfolders, and how many images, texts and other files it contains."""

    @property
    def folders(self) -> tuple[str, ...]:
        """The names of the subfolders."""

    @property
    def images(self) -> int:
        """The number of images."""

    @property
    def sides(self) -> int:
        """The number of texts."""

    @property
    def others(self) -> int:
        """The number of other files."""


def begin(tree: Tree, folders: Mapping[str, Facts]) -> tuple[str, list[str]]:
    """The folder where the layout begins, and folders in and above it that contain the same images as their neighbours.

    Archives often contain one folder, sometimes nested twice, sometimes with a text next to it; and some contain everything a second time,
    in a folder (``archive/dataset`` and ``archive/archive/dataset``).
    """
    files, images = (_below(folders, images=only) for only in (False, True))
    base, copies = "", list[str]()
    while True:
        facts = folders.get(base)
        if facts is None:
            return base, copies
        again = [
            path
            for name in facts.folders
            if 2 * images[path := join_path(base, name)] == images[base] >= _LEAST_COPIED
            and _holds_the_rest(tree, folders, base, path)
        ]
        copies += again
        below = [name for name in facts.folders if files[path := join_path(base, name)] and path not in again]
        if facts.images or len(below) != 1 or is_word(below[0]):
            return base, copies
        only = join_path(base, below[0])
        if (facts.sides or facts.others) and not _holds_splits(folders, only):
            return base, copies
        base = only


#: Fewer images do not count as a second copy.
_LEAST_COPIED = 4
#: A path, and its entry in an archive.
_File: TypeAlias = "tuple[str, bytes | None]"


def is_word(name: str) -> bool:
    """Whether a folder's name says what it is for, so that it is not just a wrapper."""
    lower = name.lower()
    return lower in IMAGE_FOLDERS or lower in CAPTION_FOLDERS or split_of_word(name) is not None


def _below(folders: Mapping[str, Facts], *, images: bool) -> Counter[str]:
    """The number of files, or of images, in and below each folder."""
    held: Counter[str] = Counter()
    for path in reversed(list(folders)):
        facts = folders[path]
        held[path] += facts.images if images else facts.images + facts.sides + facts.others
        if path:
            held[path.rpartition("/")[0]] += held[path]
    return held


def _holds_splits(folders: Mapping[str, Facts], path: str) -> bool:
    """Whether a chain of single folders leads from a folder to splits, so that it is not a class."""
    while path in folders:
        names = folders[path].folders
        inner = [
            join_path(name, below)
            for name in names
            if name.lower() in IMAGE_FOLDERS
            for below in folders[join_path(path, name)].folders
        ]
        if any(split_of_word(name.rpartition("/")[2]) for name in (*names, *inner)):
            return True
        if len({split_in_name(name) for name in names} - {None}) > 1:
            return True
        if len(names) != 1 or folders[path].images:
            return False
        path = join_path(path, names[0])
    return False


def _holds_the_rest(tree: Tree, folders: Mapping[str, Facts], base: str, copy: str) -> bool:
    """Whether a folder contains the same images as everything else below a base, by names and bytes."""
    start = len(base) + 1 if base else 0
    own, rest = dict[str, _File](), dict[str, _File]()
    for path, entry in _images_below(tree, folders, base):
        if path.startswith(f"{copy}/"):
            own[path[len(copy) + 1 :]] = path, entry
        else:
            rest[path[start:]] = path, entry
    return own.keys() == rest.keys() and _are_same(tree, [(rest[name], own[name]) for name in sorted(own)])


def _images_below(tree: Tree, folders: Mapping[str, Facts], path: str) -> Iterator[_File]:
    for folder, facts in folders.items():
        if facts.images and (not path or folder == path or folder.startswith(f"{path}/")):
            held = tree.list(folder) or Folder()
            for name, entry in held.placed():
                if is_image(name):
                    yield join_path(folder, name), entry


def _are_same(tree: Tree, pairs: list[tuple[_File, _File]]) -> bool:
    """Whether the files of each pair have the same bytes: in a zip by size and CRC-32, otherwise by reading them."""
    reader = tree.opener.open()
    try:
        sizes = [reader.stat(*one)[0] for one, _ in pairs]  # the cheapest test
        if max(sizes) > MAX_FILE_BYTES or sizes != [reader.stat(*other)[0] for _, other in pairs]:
            return False
        views = memoryview(bytearray(max(sizes))), memoryview(bytearray(max(sizes)))
        return all(_is_same(reader, pair, views) for pair in pairs)
    except (WdsError, DamagedEntryError, NeedSpaceError):
        return False
    finally:
        reader.close()


def _is_same(reader: SourceReader, pair: tuple[_File, _File], views: tuple[memoryview, memoryview]) -> bool:
    crcs = [crc_of_entry(entry) for _, entry in pair]
    if None not in crcs:
        return crcs[0] == crcs[1]
    first, second = (view[: reader.read_into(*file, view)[0]] for file, view in zip(pair, views, strict=True))
    return first == second
