"""Lists that give the split of each image: ``train_test_split.txt`` of CUB, ``list_eval_partition.txt`` of CelebA and DeepFashion.

A line is a name and a word or a number. The name is the path or the name of an image, or its number in ``images.txt`` next to the list.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wdstools.foreign.split_names import split_of_word
from wdstools.sources.base import join_path
from wdstools.sources.tables_beside import open_member

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wdstools.sources.survey import Survey
    from wdstools.sources.table_paths import ImageNames
    from wdstools.sources.tree import Tree

_CALLED_RE = re.compile(r"(?:.*[_-])?(?:partition|split)s?(?:[_-].*)?\.(?:txt|lst|list)", re.IGNORECASE)
#: The meaning of numbers in lists whose name is a question (is it in train?), and in partitions.
_YES_NO = {"1": "train", "0": "test"}
_NUMBERED = {"0": "train", "1": "val", "2": "test"}
#: In some lists, a number of lines and the names of columns come before the first image.
_MOST_BEFORE = 2
_LEAST_SPLITS = 2
_PROBED_LINES = 200


@dataclass(frozen=True, slots=True)
class Partition:
    """A list that was read: the split of each image by path, the lines that name no image, and other lists that were needed."""

    path: str
    split_of: dict[str, str]
    lost: tuple[tuple[int, str], ...]
    read: tuple[str, ...]


def is_called_partition(name: str) -> bool:
    """Whether a file is named like a list of this kind."""
    return _CALLED_RE.fullmatch(name) is not None


def partitions(tree: Tree, found: Survey, images: ImageNames) -> Iterator[Partition]:
    """The lists of this kind in a tree."""
    for folder, facts in found.folders.items():
        held = tree.list(folder) if facts.sides or facts.others else None
        for name in filter(is_called_partition, held.files if held is not None else ()):
            partition = _partition(tree, folder, name, images)
            if partition is not None:
                yield partition


def _partition(tree: Tree, folder: str, name: str, images: ImageNames) -> Partition | None:
    lines = list(_lines(tree, folder, name))
    words = Counter(word for _, _, word in lines)
    meaning = _meaning(words, name)
    while lines and lines[0][2] not in meaning and lines[0][0] <= _MOST_BEFORE:
        del lines[0]
    if len(set(meaning.values())) < _LEAST_SPLITS or not all(word in meaning for _, _, word in lines):
        return None
    numbered, read = _numbered(tree, folder)
    if not all(given in numbered for _, given, _ in lines[:_PROBED_LINES]):
        numbered, read = {}, ()
    split_of: dict[str, str] = {}
    lost: list[tuple[int, str]] = []
    for number, given, word in lines:
        match = images.find(folder, numbered.get(given, given))
        if match.path is None:
            lost.append((number, numbered.get(given, given)))
        else:
            split_of[match.path] = meaning[word]
        if number <= _PROBED_LINES and len(lost) > _PROBED_LINES // 2:
            return None
    if len(split_of) <= len(lost):
        return None
    if read:
        read += tuple(_of_classes(tree, folder, numbered))
    return Partition(join_path(folder, name), split_of, tuple(lost), read)


def _meaning(words: Counter[str], name: str) -> dict[str, str]:
    """The split that each word of a list means."""
    named = {word: split for word in words if (split := split_of_word(word)) is not None}
    if len(named) >= _LEAST_SPLITS:
        return named
    if re.search(r"train[_-]?test", name, re.IGNORECASE):
        return {word: split for word, split in _YES_NO.items() if word in words}
    if "partition" in name.lower():
        return {word: split for word, split in _NUMBERED.items() if word in words}
    return {}


def _lines(tree: Tree, folder: str, name: str) -> Iterator[tuple[int, str, str]]:
    """Number, first words and last word of each line of two or more words; other lines are allowed only at the top."""
    held = tree.list(folder)
    with open_member(tree, join_path(folder, name), held.entry(name) if held else None) as file:
        for number, line in enumerate(file, 1):
            words = line.decode("utf-8", "surrogateescape").replace(",", " ").split()
            if words:
                yield number, " ".join(words[:-1]), words[-1]


def _numbered(tree: Tree, folder: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """The paths in ``images.txt`` by number, and the list itself."""
    held = tree.list(folder)
    if held is None or "images.txt" not in held.files:
        return {}, ()
    paths = {given: path for _, given, path in _lines(tree, folder, "images.txt")}
    return paths, ("images.txt",)


def _of_classes(tree: Tree, folder: str, paths: dict[str, str]) -> list[str]:
    """Lists of classes next to it, if they say the same as the folders of the images."""
    held = tree.list(folder)
    names = ["image_class_labels.txt", "classes.txt"]
    if held is None or not all(name in held.files for name in names):
        return []
    class_of, called = ({given: word for _, given, word in _lines(tree, folder, name)} for name in names)
    folders = {number: path.rpartition("/")[0].rpartition("/")[2] for number, path in paths.items()}
    same = all(called.get(class_of.get(number, "")) == name for number, name in folders.items())
    return names if same else []
