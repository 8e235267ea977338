"""Lists of the images of each split in a tree: ``train.txt``, ``meta/test.txt``, ``ImageSets/Main/val.txt``.

A line is the path or the name of an image, with or without its extension; anything after a comma, a tab or a space is ignored. A file is such a
list if its name says a split and most of its first lines name existing images.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wdstools.foreign.split_names import UNIONS, split_in_name
from wdstools.results import Skip
from wdstools.sources.base import join_path, shown
from wdstools.sources.partitions import partitions
from wdstools.sources.source_words import is_image
from wdstools.sources.tables_beside import open_member
from wdstools.units import counted, some_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from wdstools.sources.survey import Survey
    from wdstools.sources.table_paths import ImageNames
    from wdstools.sources.tree import Tree

#: Words for the entries of a list, in its name.
_NOUN_RE = re.compile(
    r"(?<=[A-Za-z0-9])[_-]?(images?|imgs?|lists?|ids?|files?|filenames?|names?|paths?)$", re.IGNORECASE
)
_ENDINGS = (".txt", ".lst", ".list")
_TRAINVAL_RE = re.compile(r"train[_-]val(?![a-z])", re.IGNORECASE)
_PROBED_LINES = 200
_WIDEST_LINE = 1 << 16


@dataclass(slots=True)
class SplitLists:
    """What lists say: the split of each image, by path. ``read`` are the lists, by folder."""

    tree: Tree
    found: Survey
    images: ImageNames
    split_of: dict[str, str] = field(default_factory=dict)
    read: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    skips: list[Skip] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    #: Lines of each list that name no image.
    _lost: dict[str, list[Skip]] = field(default_factory=lambda: defaultdict(list))
    #: Lists whose lines have more than names.
    _more: list[str] = field(default_factory=list)

    def run(self, taken: Mapping[str, list[str]]) -> None:
        """Read every list; ``taken`` are the tables, which are not lists."""
        named, beside = self._read(taken)
        if not named:
            return
        splits = {split for images in named.values() for split in images.values()}
        where = some_of(sorted(map(shown, named)))
        if len(splits) == 1:
            self.notes.append(
                f"{where} is not used: one list does not define splits; --split {next(iter(splits))}=FILE uses it"
            )
            return
        contradiction = self._divide(named)
        used = named if contradiction is None else self._of_one_folder(named)
        if not used:
            self.notes.append(
                f"lists of splits are not used: {contradiction}; choose the lists with --split NAME=FILE, repeated"
            )
            return
        if others := [path for path in named if path not in used]:
            self.notes.append(
                f"lists of another division into splits are not used: {some_of(sorted(map(shown, others)))}"
            )
        for folder, names in _by_folder((*used, *(name for path in used for name in beside.get(path, ())))).items():
            self.read[folder] += names
        self.skips += [skip for path in used for skip in self._lost[path]]
        self.notes.append(f"splits from {some_of(sorted(map(shown, used)))}: {counted(len(self.split_of), 'image')}")
        more = [path for path in self._more if path in used]
        if more:
            self.notes.append(f"text after the names of images in these lists is not packed, as in {shown(more[0])}")

    def _read(self, taken: Mapping[str, list[str]]) -> tuple[dict[str, dict[str, str]], dict[str, list[str]]]:
        """The split of each image in a list, by list; and other lists that were needed to read one."""
        named: dict[str, dict[str, str]] = {}
        beside: dict[str, list[str]] = {}
        for partition in partitions(self.tree, self.found, self.images):
            named[partition.path] = partition.split_of
            beside[partition.path] = [join_path(partition.path.rpartition("/")[0], name) for name in partition.read]
            for number, given in partition.lost:
                self._missing(partition.path, number, given, None)
        for folder, name, split in self._candidates(_together(taken, _by_folder(named))):
            listed = self._list(folder, name, split)
            if listed is not None:
                named[join_path(folder, name)] = dict.fromkeys(listed, split)
        return named, beside

    def _divide(self, named: Mapping[str, dict[str, str]]) -> str | None:
        """Give each image its split; if lists contradict each other, use none and return where, for people."""
        self.split_of.clear()
        splits = {split for images in named.values() for split in images.values()}
        for path, images in named.items():
            own = set(images.values())
            parts = UNIONS.get(next(iter(own), ""), ()) if len(own) == 1 else ()
            if parts and splits.issuperset(parts):
                continue  # its images are in the lists of its parts
            for image, split in images.items():
                other = self.split_of.setdefault(image, split)
                if other != split:
                    self.split_of.clear()
                    return f"{shown(image)} is in the lists of {other} and {split} ({shown(path)})"
        return None

    def _of_one_folder(self, named: Mapping[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        """The lists of the folder that divides the most images, if folders have different divisions, as VOC's Main and Segmentation."""
        folders: dict[str, dict[str, dict[str, str]]] = defaultdict(dict)
        for path, images in named.items():
            folders[path.rpartition("/")[0]][path] = images
        sizes = {
            folder: len({image for images in lists.values() for image in images}) for folder, lists in folders.items()
        }
        for folder in sorted(sizes, key=lambda name: (-sizes[name], name)) if len(folders) > 1 else ():
            if len({split for images in folders[folder].values() for split in images.values()}) > 1:
                return folders[folder] if self._divide(folders[folder]) is None else {}
        return {}

    def agree(self, split_of: Callable[[str], str | None]) -> None:
        """If folders are splits, use lists only if they agree with the folders."""
        other = next((image for image, split in self.split_of.items() if split_of(image) != split), None)
        if other is not None:
            self.notes = [f"lists of splits are not used: {shown(other)} is in another split by its folder"]
            self.read.clear()
        elif self.read:
            self.notes = []
        self.skips.clear()
        self.split_of.clear()

    def _candidates(self, taken: Mapping[str, list[str]]) -> Iterator[tuple[str, str, str]]:
        for folder, facts in self.found.folders.items():
            held = self.tree.list(folder) if facts.sides or facts.others else None
            if held is None:
                continue
            stems = {name.rpartition(".")[0] for name in held.files if is_image(name)} if facts.images else set()
            for name in held.files:
                stem = name.rpartition(".")[0]
                split = _split_of(stem) if name.lower().endswith(_ENDINGS) and stem not in stems else None
                if split is not None and name not in taken.get(folder, ()):
                    yield folder, name, split

    def _list(self, folder: str, name: str, split: str) -> list[str] | None:
        """The images in a list; None if it is not a list. Lines that name no image are skipped, each with its number."""
        path = join_path(folder, name)
        held = self.tree.list(folder)
        with open_member(self.tree, path, held.entry(name) if held else None) as file:
            lines = [
                (number, line.strip())
                for number, line in enumerate(file, 1)
                if line.strip() and len(line) < _WIDEST_LINE
            ]
        first = lines[:_PROBED_LINES]
        if 2 * sum(self._image(folder, line, split) is not None for _, line in first) <= len(first):
            return None
        images = []
        if all(len(line.replace(b",", b" ").split()) > 1 for _, line in first):
            self._more.append(path)
        for number, line in lines:
            image = self._image(folder, line, split)
            if image is not None:
                images.append(image)
            else:
                self._missing(path, number, line.decode("utf-8", "backslashreplace"), split)
        return images

    def _missing(self, path: str, number: int, given: str, split: str | None) -> None:
        detail = f"in {shown(path)}, line {number}, and no such image is there"
        self._lost[path].append(Skip("sample-missing", shown(given[:_SHOWN]), split, detail=detail))

    def _image(self, folder: str, line: bytes, split: str) -> str | None:
        try:
            text = line.decode()
        except UnicodeDecodeError:
            return None
        for name in dict.fromkeys((text, text.split(",")[0].strip(), text.split("\t")[0], text.split()[0])):
            match = self.images.find(folder, name, split)
            if match.path is not None:
                return match.path
        return None


_SHOWN = 200


def _together(one: Mapping[str, list[str]], other: Mapping[str, list[str]]) -> dict[str, list[str]]:
    return {folder: [*one.get(folder, ()), *other.get(folder, ())] for folder in (*one, *other)}


def _by_folder(paths: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for folder, _, name in (path.rpartition("/") for path in paths):
        found[folder].append(name)
    return found


def _split_of(stem: str) -> str | None:
    """The split in a list's name: ``train``, ``val_list``, ``Flickr_8k.trainImages``."""
    found = split_in_name(_TRAINVAL_RE.sub("trainval", _NOUN_RE.sub("", stem)))
    return found[0] if found else None
