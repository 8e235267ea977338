"""Files that belong to images: the captions and metadata in a folder, found by the stem of an image."""

from __future__ import annotations

import functools
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wdstools.formats.image_types import TYPE_OF_EXTENSION
from wdstools.sources.base import join_path
from wdstools.sources.gallery_names import asked_names, documents
from wdstools.sources.source_words import is_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wdstools.sources.tree import Folder

_INNER = frozenset((*TYPE_OF_EXTENSION, "json"))


@dataclass(frozen=True, slots=True)
class Side:
    """A file that belongs to an image: its folder, and the stem by which it was found."""

    files: SideFolder
    name: str
    stem: str

    @property
    def place(self) -> tuple[str, str]:
        """The folder and the suffix."""
        return self.files.folder, self.name[len(self.stem) :]

    @property
    def path(self) -> str:
        """The path below the source's root."""
        return join_path(self.files.folder, self.name)


class SideFolder:
    """The files of a folder by name, with extensions in lower case and, if needed, in one Unicode form."""

    def __init__(self, folder: str, held: Folder) -> None:
        self.folder = folder
        self.held = held
        self._by_name: dict[str, str] = {}
        #: Names that differ from one of these only in the case of their extension.
        self._twins: dict[str, list[str]] = {}
        self._ends: set[str] = set()
        usual_ends: dict[str, bool] = {}
        for name in held.files:
            stem, _, extension = name.rpartition(".")
            is_usual = usual_ends.get(extension)
            if is_usual is None:
                is_usual = extension == extension.lower() and extension not in TYPE_OF_EXTENSION
                usual_ends[extension] = is_usual
            if stem and is_usual and "." not in stem:  # nearly all names: the fast path
                if self._by_name.setdefault(name, name) != name:
                    self._twins.setdefault(self._by_name[name], []).append(name)
            elif not is_image(name):
                lower = _lower_end(name)
                self._ends.update(_ends_of(lower))
                if self._by_name.setdefault(lower, name) != name:
                    self._twins.setdefault(self._by_name[lower], []).append(name)
        self._ends.update("." + extension for extension, is_usual in usual_ends.items() if is_usual)
        self._there: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._by_form: dict[str, str] | None = None
        self._documents: dict[str, str] | None = None

    @property
    def is_plain(self) -> bool:
        """Whether each name stands for one file."""
        return not self._twins

    def there(self, suffixes: tuple[str, ...]) -> tuple[str, ...]:
        """The suffixes among these that names here may have: usually one or two of ten."""
        found = self._there.get(suffixes)
        if found is None:
            found = self._there[suffixes] = tuple(s for s in suffixes if len(suffixes) == 1 or s.lower() in self._ends)
        return found

    def holds(self, names: Sequence[str]) -> list[bool]:
        """Which of some names are names of files, exactly as written."""
        return [there == name for there, name in zip(map(self._by_name.get, names), names, strict=True)]

    def find(self, stem: str, suffixes: tuple[str, ...]) -> list[Side]:
        """The files stem + suffix, in the order of the suffixes."""
        there = self.there(suffixes)
        names = [self._by_name.get(stem + s) or self._by_name.get(stem + s.lower()) for s in there]
        alike = [twin for name in names if name is not None and self._twins for twin in self._twins.get(name, ())]
        found = [Side(self, name, name[: len(stem)]) for name in dict.fromkeys((*names, *alike)) if name is not None]
        if found or stem.isascii() or not there:
            return found
        if self._by_form is None:
            self._by_form = {in_form(name): real for name, real in self._by_name.items()}
        formed = [(self._by_form.get(in_form(stem + s.lower())), s) for s in there]
        return [Side(self, name, name[: -len(s)]) for name, s in formed if name is not None]

    def document_of(self, stem: str, ext: str) -> list[Side]:
        """The metadata of a photograph, under the names of Google Takeout."""
        if self._documents is None:
            self._documents = documents(self.held.files)
        names = (self._documents.get(name) for name in asked_names(stem, ext)) if self._documents else ()
        name = next((name for name in names if name is not None), None)
        return [] if name is None else [Side(self, name, _common(stem, name))]

    def entry(self, name: str) -> bytes | None:
        """The entry of a file in an archive."""
        return self.held.entry(name)


@functools.cache
def usual(suffixes: tuple[str, ...], ext: str) -> tuple[str, ...]:
    """The suffixes that may follow the stem of an image: ``.txt``, ``.jpg.txt``."""
    return (*suffixes, *(ext.lower() + suffix for suffix in suffixes))


def _ends_of(name: str) -> tuple[str, ...]:
    """The suffixes of a name whose end is in lower case: ``.txt``; ``.jpg.txt`` and ``.txt``; ``.json.xz`` and ``.xz``."""
    stem, dot, extension = name.rpartition(".")
    inner = stem.rpartition(".")[2]
    two = f".{inner}{dot}{extension}" if inner != stem else ""
    third = stem.rpartition(".")[0].rpartition(".")[2]
    return dot + extension, two, f".{third}{two}"


def _common(one: str, other: str) -> str:
    """The common prefix."""
    count = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return one[:count]


def in_form(name: str) -> str:
    """A name in the Unicode form in which names are compared."""
    return unicodedata.normalize("NFC", name)


def _lower_end(name: str) -> str:
    """A name with its extension in lower case, and the one before too if that is an image's (``x.JPG.TXT``)."""
    stem, dot, extension = name.rpartition(".")
    inner, inner_dot, inner_extension = stem.rpartition(".")
    if inner_dot and inner_extension.lower() in _INNER:
        stem = inner + inner_dot + inner_extension.lower()
    return stem + dot + extension.lower() if dot else name
