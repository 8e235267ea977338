"""Lists of the images of each split, as they lie in a tree: ``train.txt``, ``meta/test.txt``, ``ImageSets/Main/val.txt``.

A line is the path or the name of an image, with or without its extension; what follows a comma, a tab or a space is left out. A file is such a
list where its name tells a split and most of its first lines name images that are there.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wdstools.foreign.split_names import UNIONS, split_in_name
from wdstools.results import Skip
from wdstools.sources.base import join_path, shown
from wdstools.sources.tables_beside import open_member
from wdstools.sources.words import is_image
from wdstools.units import counted, some_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wdstools.sources.image_names import ImageNames
    from wdstools.sources.survey import Survey
    from wdstools.sources.tree import Tree

#: What the entries of a list may be called in its name.
_NOUN_RE = re.compile(
    r"(?<=[A-Za-z0-9])[_-]?(images?|imgs?|lists?|ids?|files?|filenames?|names?|paths?)$", re.IGNORECASE
)
_ENDINGS = (".txt", ".lst", ".list")
_PROBED_LINES = 200
_WIDEST_LINE = 1 << 16


@dataclass(slots=True)
class SplitLists:
    """What lists say: the split of each image by path. ``read`` are the lists, by folder."""

    tree: Tree
    found: Survey
    images: ImageNames
    split_of: dict[str, str] = field(default_factory=dict)
    read: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    skips: list[Skip] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    #: Lists whose lines say more than names.
    _more: list[str] = field(default_factory=list)

    def run(self, taken: dict[str, list[str]]) -> None:
        """Read every list; ``taken`` are the tables, which are none."""
        named: dict[str, dict[str, str]] = {}
        for folder, name, split in self._candidates(taken):
            listed = self._list(folder, name, split)
            if listed is not None:
                named[join_path(folder, name)] = dict.fromkeys(listed, split)
        if not named:
            return
        where = some_of(sorted(map(shown, named)))
        splits = {split for images in named.values() for split in images.values()}
        if len(splits) == 1:
            self.notes.append(f"{where} is not used: one list divides nothing; --split {next(iter(splits))}=FILE does")
            self.skips.clear()
        elif self._divide(named, splits):
            for folder, _, name in (path.rpartition("/") for path in named):
                self.read[folder].append(name)
            self.notes.append(f"splits from {where}: {counted(len(self.split_of), 'image')}")
            if self._more:
                first = shown(self._more[0])
                self.notes.append(f"what follows the names of images in them is not packed, as in {first}")

    def _divide(self, named: dict[str, dict[str, str]], splits: set[str]) -> bool:
        """Give each image its split; whether the lists agree."""
        for path, images in named.items():
            parts = UNIONS.get(next(iter(images.values()), ""), ())
            if parts and splits.issuperset(parts):
                continue  # what is in it is in the lists of its parts
            for image, split in images.items():
                if self.split_of.setdefault(image, split) != split:
                    self._refuse(path, image, split)
                    return False
        return True

    def agree(self, split_of: Callable[[str], str | None]) -> None:
        """Where folders are splits, lists that say the same are read, and others are not used."""
        other = next((image for image, split in self.split_of.items() if split_of(image) != split), None)
        if other is not None:
            self.notes = [f"lists of splits are not used: {shown(other)} is in another split by its folder"]
            self.read.clear()
        elif self.read:
            self.notes = []
        self.skips.clear()
        self.split_of.clear()

    def _refuse(self, path: str, image: str, split: str) -> None:
        """An image in the lists of two splits: they are no division, and none is used."""
        self.notes.append(
            f"lists of splits are not used: {shown(image)} is in those of {self.split_of[image]} and {split} ({shown(path)});"
            " --split NAME=FILE, repeated, says which lists divide it"
        )
        self.split_of.clear()
        self.skips.clear()

    def _candidates(self, taken: dict[str, list[str]]) -> Iterator[tuple[str, str, str]]:
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
        """The images that a list names; None where it is none. Lines that name none are skipped, each with its number."""
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
                given = line.decode("utf-8", "backslashreplace")
                detail = f"in {shown(path)}, line {number}, and no such image is there"
                self.skips.append(Skip("sample-missing", given[:_SHOWN], split, detail=detail))
        return images

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


def _split_of(stem: str) -> str | None:
    """The split in a list's name: ``train``, ``val_list``, ``Flickr_8k.trainImages``."""
    found = split_in_name(_NOUN_RE.sub("", stem))
    return found[0] if found else None
