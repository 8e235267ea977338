"""Finds the image of a tree that a row of a table means: by its path, else by its name, split and label."""

from __future__ import annotations

import contextlib
import posixpath
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from wdstools.foreign.split_names import split_of_word
from wdstools.sources.base import join_path
from wdstools.sources.source_words import is_image

if TYPE_CHECKING:
    from wdstools.sources.survey import Place, Survey
    from wdstools.sources.tree import Tree

_NAMED = 3


def plain_path(name: str) -> str:
    """A path from a table as a path below the source: ``./a/../x.jpg`` is ``x.jpg``, backslashes are slashes."""
    if "://" in name:
        with contextlib.suppress(ValueError):  # "Invalid IPv6 URL"
            name = unquote(urlsplit(name).path).lstrip("/")
    if "\\" in name:
        name = name.replace("\\", "/")
    return posixpath.normpath(name) if name else name


def leads_outside(path: str) -> bool:
    """Whether a plain path is outside the source."""
    return path.startswith(("/", "../")) or path == ".." or path[1:2] == ":"


@dataclass(frozen=True, slots=True)
class Match:
    """The image that a name means; or None, with a stable reason and a detail for people. ``how`` says in what the name differs."""

    path: str | None = None
    reason: str = ""
    detail: str = ""
    how: str = ""


@dataclass(slots=True)
class ImageNames:
    """The images of a tree, by path, name and stem."""

    tree: Tree
    found: Survey
    _names: dict[str, frozenset[str]] = field(default_factory=dict)
    _places: dict[str, Place] = field(default_factory=dict)
    _by: tuple[dict[str, list[str]], ...] = ()
    #: Folders of images that are members of others, such as masks.
    _members: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Exclude masks, which are not samples."""
        self._members = frozenset(folder for place in self.found.places for folder, _ in place.parallels)

    def find(self, folder: str, given: object, split: str | None = None, label: str | None = None) -> Match:
        """The image that a row of a table in ``folder`` names: by path from there, by path from the base, or by name.

        Of several with one name it is the one below ``folder``, whose path ends like the given one, or that is in the row's split or label.
        """
        if given is None or given == "" or isinstance(given, dict | list | bytes) or "\0" in str(given):
            return Match(reason="path-missing")
        name = plain_path(str(given))
        outside = leads_outside(name)
        if not outside:
            for root in dict.fromkeys((folder, self.found.base)):
                path = posixpath.normpath(join_path(root, name))
                if self._is_there(path):
                    return Match(path)
        tail = name.lstrip("./") if outside else name
        for how, alike in self._alike(posixpath.basename(tail)):
            if alike:
                below = [path for path in alike if path.startswith(f"{folder}/")] if folder and len(alike) > 1 else []
                chosen = self._narrow(below or alike, tail, split, label)
                if len(chosen) == 1:
                    return Match(chosen[0], how=how)
                several = ", ".join(chosen[:_NAMED]) + (", ..." if len(chosen) > _NAMED else "")
                return Match(reason="image-ambiguous", detail=f"{len(chosen):,} images are called so: {several}")
        return Match(reason="path-outside" if outside else "image-missing")

    def _alike(self, base: str) -> list[tuple[str, list[str]]]:
        """Images that a name without folders may mean, the most likely first."""
        names, stems, folded = self._by or self._index()
        return [
            ("", names.get(base, [])),
            ("", stems.get(base, [])),
            ("in another case", folded.get(base.lower(), [])),
            ("with another extension", stems.get(base.rpartition(".")[0], []) if is_image(base) else []),
        ]

    def _narrow(self, alike: list[str], tail: str, split: str | None, label: str | None) -> list[str]:
        """The images whose paths share the longest end with the given one; of these, those in the split, and with the label."""
        if len(alike) > 1 and "/" in tail:
            wanted = tail.lower().split("/")[-2::-1]
            ends = {path: _common(path.lower().split("/")[-2::-1], wanted) for path in alike}
            best = max(ends.values())
            alike = [path for path in alike if ends[path] == best]
        if len(alike) > 1 and split is not None:
            named = split_of_word(split) or split
            alike = [path for path in alike if self._place(path).split == named] or alike
        if len(alike) > 1 and label is not None:
            alike = [path for path in alike if label in (self._place(path).label, _folder_name(path))] or alike
        return alike

    def _place(self, path: str) -> Place:
        if not self._places:
            self._places = {place.folder: place for place in self.found.places}
        return self._places.get(path.rpartition("/")[0]) or _no_place()

    def _is_there(self, path: str) -> bool:
        folder, _, name = path.rpartition("/")
        if folder not in self.found.folders or folder in self._members:
            return False
        if folder not in self._names:
            held = self.tree.list(folder)
            self._names[folder] = frozenset(filter(is_image, held.files if held else ()))
        return name in self._names[folder]

    def _index(self) -> tuple[dict[str, list[str]], ...]:
        names: dict[str, list[str]] = defaultdict(list)
        stems: dict[str, list[str]] = defaultdict(list)
        folded: dict[str, list[str]] = defaultdict(list)
        for folder, facts in self.found.folders.items():
            held = self.tree.list(folder) if facts.images and folder not in self._members else None
            for image in filter(is_image, held.files if held else ()):
                path = join_path(folder, image)
                names[image].append(path)
                stems[image.rpartition(".")[0]].append(path)
                folded[image.lower()].append(path)
        self._by = (names, stems, folded)
        return self._by


def _no_place() -> Place:
    from wdstools.sources.survey import Place

    return Place("")


def _folder_name(path: str) -> str:
    return path.rpartition("/")[0].rpartition("/")[2]


def _common(one: list[str], other: list[str]) -> int:
    """How many leading parts are equal."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count
