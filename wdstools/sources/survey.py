"""Surveys a tree of files: where its images are, which folders are splits, and where captions may be.

Only names decide: a single folder at the top is passed through; a folder named like a split (``train``, ``Test``,
``val2017``, ``seg_train``) is one, also below or above a folder of images (``images/train``, ``train/images``); in a split whose
images all lie in folders these are labels. Everything else is part of the sample's id.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wdstools.foreign.split_names import beside_split, split_in_name, split_of_word
from wdstools.results import Skip
from wdstools.sources.base import join_path
from wdstools.sources.parallels import find_parallels
from wdstools.sources.source_words import (
    CAPTION_FOLDERS,
    IMAGE_FOLDERS,
    JSON_SUFFIXES,
    TEXT_SUFFIXES,
    caption_word,
    extension_of,
    is_image,
    is_paper,
)
from wdstools.sources.wrapping import begin
from wdstools.units import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wdstools.sources.tree import Folder, Tree

_SIDE_EXTENSIONS = frozenset(suffix[1:] for suffix in (*TEXT_SUFFIXES, *JSON_SUFFIXES))


@dataclass(frozen=True, slots=True)
class Place:
    """A folder of images: the split and label of its samples, the prefix of their stems in an id, and where captions may be.

    ``sides`` are folders of captions, nearest first, with the suffixes to try; an empty tuple means the usual ones.
    """

    folder: str
    split: str | None = None
    label: str | None = None
    id_dir: str = ""
    sides: tuple[tuple[str, tuple[str, ...]], ...] = ()
    template: str = ""
    #: Other folders whose files belong to the images, and the kind of their files: a mask, an embedding.
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
    """A tree after one pass. ``base`` is the folder where the layout begins; ``places`` are the folders of images in it."""

    base: str = ""
    places: list[Place] = field(default_factory=list)
    #: Folders in no split, though others are splits: their images are outside the layout.
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
    found.base, copies = begin(tree, found.folders)
    for copy in copies:
        found.folders = {path: facts for path, facts in found.folders.items() if not f"{path}/".startswith(f"{copy}/")}
        found.notes.append(f"{copy} contains a second copy of the images: it is outside the layout")
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
    described = [_Described(path, *splits.describe(splits.parts(path))) for path in given]
    if any(one.split is not None for one in described):
        found.outside = [one.path for one in described if one.split is None]
        described = [one for one in described if one.split is not None]
    flat = _flat_splits(found, described)
    kept = _kept_words(tree, found, described)
    for one in described:
        path, split, rest, pattern = one.path, one.split, one.rest, one.pattern
        label = rest[0] if split is not None and rest and split not in flat else None
        sides, renamed = splits.sides(path)
        if renamed is None and path in parallels:
            renamed = next(at for at, part in enumerate(splits.parts(path)) if part.lower() in IMAGE_FOLDERS)
        id_dir = "/".join(_without(rest, renamed) if split is None else rest[1:] if label is not None else rest)
        if one.word in kept:
            id_dir, pattern = join_path(one.word, id_dir).rstrip("/"), [part for part in pattern if part != "{split}"]
        before = pattern if split is not None or renamed != 0 else rest[:1]  # images/, which is not part of the id
        template = "/".join([*before, *(["{label}"] if label is not None else []), "{id}.*"])
        texts = tuple((side, ()) for side in sides)
        found.places.append(Place(path, split, label, id_dir, texts, template, tuple(parallels.get(path, ()))))
    splits.tell()
    return found


@dataclass(frozen=True, slots=True)
class _Described:
    """A folder of images: its split, the part of its path that names the split, the pattern up to there, and the parts after it."""

    path: str
    split: str | None
    word: str
    pattern: list[str]
    rest: list[str]


def _flat_splits(found: Survey, described: list[_Described]) -> set[str | None]:
    """The splits without folders of classes: at most a minority of their images is in one. Other single images are reported."""
    loose: Counter[str | None] = Counter()
    classed: Counter[str | None] = Counter()
    for one in described:
        (classed if one.rest else loose)[one.split] += found.folders[one.path].images
    flat = {split for split, count in loose.items() if count > classed[split]}
    for one in described:
        if one.split is not None and not one.rest and one.split not in flat:
            images = counted(found.folders[one.path].images, "image")
            found.notes.append(f"{images} in {one.path} next to its class folders: skipped for lack of a label")
    return flat


def _kept_words(tree: Tree, found: Survey, described: list[_Described]) -> set[str]:
    """Among folders of the same split, those whose names stay in the keys: they say more (``trainA``), or have files with equal names."""
    kept: set[str] = set()
    words: dict[str, set[str]] = {}
    for one in described:
        if one.split is not None:
            words.setdefault(one.split, set()).add(one.word)
    for split, names in sorted(words.items()):
        more = {name for name in names if beside_split(name)}
        mine = more if len({beside_split(name) for name in names}) > 1 else set[str]()
        mine |= {name for name in more if len(beside_split(name)) == 1}  # testA alone is treated as if testB were there
        if len(names) > 1 and not mine and _meet(tree, [one for one in described if one.split == split]):
            mine = names
        if mine:
            found.notes.append(f"keys of split {split} include the names of its folders: {', '.join(sorted(mine))}")
        kept |= mine
    return kept


def _meet(tree: Tree, described: list[_Described]) -> bool:
    """Whether images in folders with different words have the same path below these."""
    seen: dict[tuple[str, ...], str] = {}
    for one in described:
        held = tree.list(one.path)
        for name in filter(is_image, held.files if held else ()):
            if seen.setdefault((*one.rest, name.rpartition(".")[0]), one.word) != one.word:
                return True
    return False


def _without(rest: list[str], place: int | None) -> list[str]:
    return rest if place is None else rest[:place] + rest[place + 1 :]


class _Splits:
    """Interprets the parts of paths."""

    def __init__(self, found: Survey) -> None:
        self.found = found
        self._words: dict[str, set[str]] = {}
        self._captions: dict[str, list[tuple[str, bool]]] = {}
        tops = Counter(
            split
            for name in {path.split("/")[0] for path in map(self._below, found.folders) if path}
            if (split := _in_name(name)) is not None
        )
        self._by_part = len(tops) > 1
        self._numbered = _one_numbered({path.rpartition("/")[2] for path in found.folders})

    def holds(self, path: str) -> bool:
        """Whether a folder is below the base."""
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
        """The split for which a folder's whole name is a word."""
        return split_of_word(name)

    def behind_labels(self, given: list[str]) -> bool:
        """Whether every image is in LABEL/SPLIT/, and there are several splits."""
        parts = [self.parts(path) for path in given]
        if not parts or any(
            len(p) < _LABEL_AND_SPLIT or split_of_word(p[0]) or p[0].lower() in IMAGE_FOLDERS for p in parts
        ):
            return False
        splits = {split_of_word(p[1]) for p in parts}
        return None not in splits and len(splits) > 1

    def describe(self, parts: list[str]) -> tuple[str | None, str, list[str], list[str]]:
        """The split, the part that names it, the pattern of the parts up to it, and the parts after it."""
        at = 1 if len(parts) > 1 and parts[0].lower() in IMAGE_FOLDERS else 0
        split = self._split_of(parts[at]) if len(parts) > at else None
        if split is None:
            return None, "", [], parts
        pattern, rest = [*parts[:at], "{split}"], parts[at + 1 :]
        if rest and rest[0] == parts[at]:  # seg_train/seg_train/
            rest = rest[1:]
        if not at and rest and rest[0].lower() in IMAGE_FOLDERS:
            pattern, rest = [*pattern, rest[0]], rest[1:]
        return split, parts[at], pattern, rest

    def sides(self, path: str) -> tuple[list[str], int | None]:
        """The folders where captions of a folder's images may be, and the part of its path that the caption folder's replaces."""
        folders = self.found.folders
        parts, base = self.parts(path), self.found.base
        sides, renamed = [path], None
        for at in range(len(parts), -1, -1):
            above = "/".join([*([base] if base else []), *parts[:at]])
            for name, is_word in self._of_captions(above):
                if at < len(parts) and (name == parts[at] or (not is_word and not self._go_together(name, parts[at:]))):
                    continue
                for behind in (parts[at + 1 :], parts[at:]):
                    side = "/".join([*([above] if above else []), name, *behind])
                    if side not in folders or not folders[side].sides or side in sides:
                        continue
                    if is_word or not folders[side].images:
                        sides.append(side)
                    if is_word and at < len(parts) and behind == parts[at + 1 :] and parts[at].lower() in IMAGE_FOLDERS:
                        renamed = at
        return sides, renamed

    def _of_captions(self, above: str) -> list[tuple[str, bool]]:
        """The folders of captions in a folder, and whether their whole names say so; those come first."""
        if above not in self._captions:
            names = {name.lower(): name for name in reversed(self.found.folders[above].folders)}
            whole = [(names[word], True) for word in CAPTION_FOLDERS if word in names]
            others = [name for name in self.found.folders[above].folders if name.lower() not in CAPTION_FOLDERS]
            self._captions[above] = whole + [(name, False) for name in others if caption_word(name)]
        return self._captions[above]

    def _go_together(self, name: str, parts: list[str]) -> bool:
        """Whether a folder's name says no other split than the parts of a path: ``labels_val`` has nothing for ``images_train``."""
        split = _in_name(name)
        return split is None or split in map(_in_name, parts)

    def tell(self) -> None:
        """Report different words for one split, and words that look like splits but are not used as such."""
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
    """Folders named after a split with a digit (``test1``), if no other folder is that split."""
    splits = Counter(split for name in names if (split := split_of_word(name.rstrip(_DIGITS))) is not None)
    found = {name: split_of_word(name[:-1]) for name in names if name[-1:].isdigit() and split_of_word(name) is None}
    return {name: split for name, split in found.items() if split is not None and splits[split] == 1}


_DIGITS = "0123456789"


def _in_name(name: str) -> str | None:
    found = split_in_name(name)
    return found[0] if found else None
