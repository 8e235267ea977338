"""What a tree of files looks like: where its images lie, which folders are splits, and where captions may be.

Names decide, and only these: a single folder at the top is passed through; a folder called like a split (``train``, ``Test``,
``val2017``, ``seg_train``) is one, also below or above a folder of images (``images/train``, ``train/images``); in a split whose
images all lie in folders these are labels. Everything else is part of the sample's id.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wdstools.foreign.split_names import split_in_name, split_of_word
from wdstools.results import Skip
from wdstools.sources.base import join_path
from wdstools.sources.parallels import find_parallels
from wdstools.sources.source_words import (
    CAPTION_FOLDERS,
    IMAGE_FOLDERS,
    JSON_SUFFIXES,
    TEXT_SUFFIXES,
    extension_of,
    is_image,
    is_paper,
)
from wdstools.units import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wdstools.sources.tree import Folder, Tree

_SIDE_EXTENSIONS = frozenset(suffix[1:] for suffix in (*TEXT_SUFFIXES, *JSON_SUFFIXES))


@dataclass(frozen=True, slots=True)
class Place:
    """A folder of images: the split and label of its samples, what stands before their stems in an id, and where captions may lie.

    ``sides`` are folders of captions, nearest first, with the suffixes to try; an empty tuple of suffixes: the usual ones.
    """

    folder: str
    split: str | None = None
    label: str | None = None
    id_dir: str = ""
    sides: tuple[tuple[str, tuple[str, ...]], ...] = ()
    template: str = ""
    #: Folders beside that of the images whose files belong to them, and what each file is: a mask, an embedding.
    parallels: tuple[tuple[str, str], ...] = ()


_LABEL_AND_SPLIT = 2


@dataclass(slots=True)
class _Facts:
    folders: tuple[str, ...]
    images: int
    sides: int
    others: int


@dataclass(slots=True)
class Survey:
    """A tree after one pass. ``base`` is the folder in which the layout begins; ``places`` are the folders of images in it."""

    base: str = ""
    places: list[Place] = field(default_factory=list)
    #: Folders that no split holds though others are splits: their images are outside the layout.
    outside: list[str] = field(default_factory=list)
    #: Every folder, in order.
    folders: dict[str, _Facts] = field(default_factory=dict)
    skips: list[Skip] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def has_splits(self) -> bool:
        """Whether folders are splits."""
        return any(place.split is not None for place in self.places)


def walk_all(tree: Tree) -> Iterator[tuple[str, Folder]]:
    """Every folder of a tree, from the top down, in order."""
    waiting = [""]
    while waiting:
        path = waiting.pop()
        held = tree.list(path)
        if held is not None:
            yield path, held
            waiting += [join_path(path, name) for name in reversed(held.folders)]


def survey(tree: Tree) -> Survey:
    """Look at a tree's names."""
    found = Survey()
    for path, held in walk_all(tree):
        files = [name for name in held.files if not is_paper(name)]
        images = sum(map(is_image, files))
        beside = sum(extension_of(name) in _SIDE_EXTENSIONS for name in files)
        found.folders[path] = _Facts(tuple(held.folders), images, beside, len(files) - images - beside)
    found.base = _base(found.folders)
    splits = _Splits(found)
    given = [path for path, facts in found.folders.items() if facts.images and splits.holds(path)]
    parallels = find_parallels(tree, found.folders, given, splits.parts)
    members = {folder for folders in parallels.values() for folder, _ in folders}
    given = [path for path in given if path not in members]
    if splits.behind_labels(given):
        found.places = [
            Place(
                path,
                splits.split_of(parts[1]),
                parts[0],
                "/".join(parts[2:]),
                tuple((side, ()) for side in splits.sides(path)[0]),
                "{label}/{split}/{id}.*",
                tuple(parallels.get(path, ())),
            )
            for path in given
            for parts in (splits.parts(path),)
        ]
        splits.tell()
        return found
    described = [(path, *splits.describe(splits.parts(path))) for path in given]
    if any(split is not None for _, split, *_ in described):
        found.outside = [path for path, split, *_ in described if split is None]
        described = [entry for entry in described if entry[1] is not None]
    flat = _flat_splits(found, described)
    for path, split, pattern, rest in described:
        label = rest[0] if split is not None and rest and split not in flat else None
        sides, renamed = splits.sides(path)
        if renamed is None and path in parallels:
            renamed = next(at for at, part in enumerate(splits.parts(path)) if part.lower() in IMAGE_FOLDERS)
        id_dir = "/".join(_without(rest, renamed) if split is None else rest[1:] if label is not None else rest)
        before = pattern if split is not None or renamed != 0 else rest[:1]  # images/, which is no part of the id
        template = "/".join([*before, *(["{label}"] if label is not None else []), "{id}.*"])
        texts = tuple((side, ()) for side in sides)
        found.places.append(Place(path, split, label, id_dir, texts, template, tuple(parallels.get(path, ()))))
    splits.tell()
    return found


def _flat_splits(found: Survey, described: list[tuple[str, str | None, list[str], list[str]]]) -> set[str | None]:
    """The splits whose images lie in no folders of classes: none, or not most of them do. Strays beside classes are told."""
    loose: Counter[str | None] = Counter()
    classed: Counter[str | None] = Counter()
    for path, split, _, rest in described:
        (classed if rest else loose)[split] += found.folders[path].images
    flat = {split for split, count in loose.items() if count > classed[split]}
    for path, split, _, rest in described:
        if split is not None and not rest and split not in flat:
            images = counted(found.folders[path].images, "image")
            found.notes.append(f"{images} in {path} beside its folders of classes: without a label, skipped")
    return flat


def _without(rest: list[str], place: int | None) -> list[str]:
    return rest if place is None else rest[:place] + rest[place + 1 :]


def _base(folders: dict[str, _Facts]) -> str:
    """Down through folders that are alone: archives often hold one folder, sometimes nested twice."""
    held = _held(folders)
    base = ""
    while True:
        facts = folders.get(base)
        if facts is None or facts.images or facts.sides or facts.others:
            return base
        below = [name for name in facts.folders if held[join_path(base, name)]]
        if len(below) != 1 or _is_word(below[0]):
            return base
        base = join_path(base, below[0])


def _held(folders: dict[str, _Facts]) -> Counter[str]:
    """How many files lie in and below each folder."""
    held: Counter[str] = Counter()
    for path in reversed(list(folders)):
        facts = folders[path]
        held[path] += facts.images + facts.sides + facts.others
        if path:
            held[path.rpartition("/")[0]] += held[path]
    return held


def _is_word(name: str) -> bool:
    """Whether a folder's name says what it is for, so that it is more than a wrapping."""
    lower = name.lower()
    return lower in IMAGE_FOLDERS or lower in CAPTION_FOLDERS or split_of_word(name) is not None


class _Splits:
    """Reads the parts of paths."""

    def __init__(self, found: Survey) -> None:
        self.found = found
        self._words: dict[str, set[str]] = {}
        tops = Counter(
            split
            for name in {path.split("/")[0] for path in map(self._below, found.folders) if path}
            if (split := _in_name(name)) is not None
        )
        self._by_part = len(tops) > 1
        self._numbered = _one_numbered({path.rpartition("/")[2] for path in found.folders})

    def holds(self, path: str) -> bool:
        """Whether a folder lies below the base."""
        base = self.found.base
        return not base or path == base or path.startswith(base + "/")

    def _below(self, path: str) -> str:
        base = self.found.base
        if not base:
            return path
        return path[len(base) + 1 :] if path.startswith(base + "/") else ""

    def parts(self, path: str) -> list[str]:
        """A folder's path below the base, part by part."""
        below = self._below(path)
        return below.split("/") if below else []

    def _split_of(self, name: str) -> str | None:
        split = split_of_word(name) or (_in_name(name) if self._by_part else None) or self._numbered.get(name)
        if split is not None:
            self._words.setdefault(split, set()).add(name)
        return split

    def split_of(self, name: str) -> str | None:
        """The split that a folder's whole name is a word for."""
        return split_of_word(name)

    def behind_labels(self, given: list[str]) -> bool:
        """Whether every image lies in LABEL/SPLIT/, and there are several splits."""
        parts = [self.parts(path) for path in given]
        if not parts or any(
            len(p) < _LABEL_AND_SPLIT or split_of_word(p[0]) or p[0].lower() in IMAGE_FOLDERS for p in parts
        ):
            return False
        splits = {split_of_word(p[1]) for p in parts}
        return None not in splits and len(splits) > 1

    def describe(self, parts: list[str]) -> tuple[str | None, list[str], list[str]]:
        """Split, the pattern of the parts that lead to it, and the parts behind."""
        at = 1 if len(parts) > 1 and parts[0].lower() in IMAGE_FOLDERS else 0
        split = self._split_of(parts[at]) if len(parts) > at else None
        if split is None:
            return None, [], parts
        pattern, rest = [*parts[:at], "{split}"], parts[at + 1 :]
        if rest and rest[0] == parts[at]:  # seg_train/seg_train/
            rest = rest[1:]
        if not at and rest and rest[0].lower() in IMAGE_FOLDERS:
            pattern, rest = [*pattern, rest[0]], rest[1:]
        return split, pattern, rest

    def sides(self, path: str) -> tuple[list[str], int | None]:
        """Folders in which captions of a folder's images may lie; and which part of its path stands for the caption folder's."""
        folders = self.found.folders
        parts, base = self.parts(path), self.found.base
        sides, renamed = [path], None
        for at in range(len(parts), -1, -1):
            above = "/".join([*([base] if base else []), *parts[:at]])
            names = {name.lower(): name for name in reversed(folders[above].folders)}
            for word in CAPTION_FOLDERS:
                name = names.get(word)
                if name is None or (at < len(parts) and name == parts[at]):
                    continue
                for behind in (parts[at + 1 :], parts[at:]):
                    side = "/".join([*([above] if above else []), name, *behind])
                    if side in folders and folders[side].sides and side not in sides:
                        sides.append(side)
                        if at < len(parts) and behind == parts[at + 1 :] and parts[at].lower() in IMAGE_FOLDERS:
                            renamed = at
        return sides, renamed

    def tell(self) -> None:
        """Different words that lead to one split; and words that look like splits and are not taken for them."""
        found = self.found
        for split, names in sorted(self._words.items()):
            if found.has_splits and len({name.lower() for name in names}) > 1:
                found.notes.append(f"folders {' and '.join(sorted(names))} are all split {split}")
        if found.has_splits:
            return
        depth = 1 + found.base.count("/") + (1 if found.base else 0)
        near = [path for path in found.folders if path and path.count("/") <= depth and self.holds(path)]
        words = {path: _in_name(path.rpartition("/")[2]) for path in near}
        alike = {path: word for path, word in words.items() if word is not None}
        if len(set(alike.values())) > 1:
            detail = "looks like a split and is not taken for one: say what is with --image '{split}/{id}.*', or --split NAME"
            found.skips += [Skip("split-unread", path, detail=detail) for path in sorted(alike)]


def _one_numbered(names: set[str]) -> dict[str, str]:
    """Folders called as a split and a digit (``test1``), where no other folder is of that split."""
    splits = Counter(split for name in names if (split := split_of_word(name.rstrip(_DIGITS))) is not None)
    found = {name: split_of_word(name[:-1]) for name in names if name[-1:].isdigit() and split_of_word(name) is None}
    return {name: split for name, split in found.items() if split is not None and splits[split] == 1}


_DIGITS = "0123456789"


def _in_name(name: str) -> str | None:
    found = split_in_name(name)
    return found[0] if found else None
