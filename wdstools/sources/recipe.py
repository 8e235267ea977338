"""Recipes: named layouts of folders, as data. A layout is a pair of path templates.

A template is a path with ``{split}``, ``{label}`` and ``{id}``; ``{id}`` is in the last part and may span
folders. ``{id}.*`` means any image extension. The caption template uses the same fields.
"""

from __future__ import annotations

import functools
import os
import re
import tomllib
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any

from wdstools.errors import NotFoundError, UsageError
from wdstools.foreign.split_names import SPLIT_WORDS
from wdstools.formats.image_types import TYPE_OF_EXTENSION
from wdstools.sources.base import CAPTION_POLICIES
from wdstools.stores.local import read_file

if TYPE_CHECKING:
    from collections.abc import Mapping

_FIELD_RE = re.compile(r"\{(\w+)\}")
_FIELDS = ("split", "label", "id")
#: Recipes of datasets, which are recognised; tried in this order.
DATASET_RECIPES = ("instacities1m", "instany100k", "mmhs150k", "instabarcelona")
#: The generic ones are only used on request: without a recipe, layouts are recognised by names.
_RECIPE_ORDER = (*DATASET_RECIPES, "split-folders", "split-pairs", "imagefolder", "pairs", "images", "labels")


@dataclass(frozen=True, slots=True)
class Template:
    """One path template, split into its folder part and the suffix that follows ``{id}``."""

    text: str
    folder: str
    suffix: str

    @property
    def has_label(self) -> bool:
        """Whether the label is in the path."""
        return "{label}" in self.folder

    def parts(self) -> list[str]:
        """The folder part, folder by folder."""
        return self.folder.split("/") if self.folder else []

    def match(self, folder: str) -> dict[str, str] | None:
        """The fields of a folder's path; ``id`` is the part that the id spans. None if it does not match."""
        given = folder.split("/") if folder else []
        parts = self.parts()
        if len(given) < len(parts):
            return None
        found = {"id": "/".join(given[len(parts) :])}
        for part, actual in zip(parts, given, strict=False):
            match = _part_pattern(part).fullmatch(actual)
            if match is None:
                return None
            for name, value in match.groupdict().items():
                if found.setdefault(name, value) != value:
                    return None
        return found

    def fits_so_far(self, folder: str) -> bool:
        """Whether a folder may contain files of this template, directly or further below."""
        given = folder.split("/") if folder else []
        return all(_part_pattern(part).fullmatch(actual) for part, actual in zip(self.parts(), given, strict=False))

    def locate(self, fields: Mapping[str, str]) -> str:
        """The folder for these fields."""
        folder = _FIELD_RE.sub(lambda m: fields[m[1]], self.folder)
        return "/".join(part for part in (folder, fields["id"]) if part)

    def stems(self, files: list[str]) -> list[tuple[str, str]]:
        """(stem, suffix) of each file that matches the template's last part."""
        if self.suffix != ".*":
            size = len(self.suffix)
            return [(name[:-size], self.suffix) for name in files if name.endswith(self.suffix) and len(name) > size]
        found = []
        for name in files:
            stem, dot, extension = name.rpartition(".")
            if stem and extension.lower() in TYPE_OF_EXTENSION:
                found.append((stem, dot + extension))
        return found


def parse_template(text: str) -> Template:
    """Parse a template; raises UsageError that says what is wrong."""
    folder, _, last = text.strip("/").rpartition("/")
    fields = _FIELD_RE.findall(text)
    suffix = last.removeprefix("{id}")
    wrong = ""
    if not last.startswith("{id}") or not suffix.startswith(".") or "{" in suffix:
        wrong = "the last part must be {id} and an extension, as in {id}.jpg or {id}.*"
    elif set(fields) - set(_FIELDS) or len(set(fields)) != len(fields):
        wrong = "only {split}, {label} and {id} are known, each once"
    elif ".." in text.split("/"):
        wrong = "a template must stay below the source's folder"
    if wrong:
        raise UsageError(f"not a path template: {wrong}", code="template-invalid", where=text)
    return Template(text.strip("/"), folder, suffix)


@dataclass(frozen=True, slots=True)
class CaptionTable:
    """One file with the captions of all images, by id: ``path`` is the file, ``caption`` the field of the caption.

    JSON: an object of captions, or of objects, by id; or a list of objects. Or CSV, JSON Lines or Parquet. Fields without a
    meaning become the sample's ``json``.
    """

    path: str
    caption: str | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """Where images and captions are; ``caption`` is None if there are no caption files."""

    image: Template
    caption: Template | None = None
    #: Only folders with one of these splits match this layout; empty: any.
    splits: tuple[str, ...] = ()
    table: CaptionTable | None = None
    #: Where lists of ids are, one per split: ``splits/{split}_ids.txt``.
    lists: str | None = None
    #: No other dataset has folders with these names: it is this one, whatever its labels.
    known: bool = False


@dataclass(frozen=True, slots=True)
class Recipe:
    """A named way to read a folder.

    ``by_names``: files are recognised by their names, and the layout only says what the folders mean.
    ``expect`` is what the dataset should have; ``scan`` prints differences. ``ignore`` has patterns of files that come with
    the dataset and are not part of it.
    """

    name: str
    layouts: tuple[Layout, ...]
    captions: str = "required"
    labels: tuple[str, ...] = ()
    dataset: str = ""
    version: int = 1
    metadata: bool = False
    expect: Mapping[str, Any] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    by_names: bool = False


def parse_recipe(text: str, *, where: str) -> Recipe:
    """Parse a recipe from TOML; raises UsageError that says what is wrong."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"the recipe is not TOML: {error}", code="recipe-invalid", where=where) from None
    unknown = set(document) - {
        "name",
        "dataset",
        "version",
        "captions",
        "labels",
        "layouts",
        "metadata",
        "expect",
        "ignore",
        "by_names",
    }
    captions = document.get("captions", "required")
    entries = document.get("layouts")
    if unknown or captions not in CAPTION_POLICIES or not isinstance(entries, list) or not entries:
        raise UsageError(
            "the recipe is not valid",
            code="recipe-invalid",
            where=where,
            expected=f"name, captions ({', '.join(CAPTION_POLICIES)}), labels, [[layouts]] with image and caption",
            got=f"unknown {', '.join(sorted(unknown))}" if unknown else f"captions {captions!r}",
        )
    try:
        return _recipe(document, entries, captions, where)
    except (TypeError, ValueError, AttributeError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(
            f"a field of the recipe has the wrong type: {error}", code="recipe-invalid", where=where
        ) from None


def _recipe(document: dict[str, Any], entries: list[Any], captions: str, where: str) -> Recipe:
    layouts = [_layout(entry, where) for entry in entries]
    return Recipe(
        name=str(document.get("name", where)),
        layouts=tuple(layouts),
        captions=captions,
        labels=_names(document.get("labels", ())),
        dataset=str(document.get("dataset", "")),
        version=int(document.get("version", 1)),
        metadata=bool(document.get("metadata", False)),
        expect=_expectation(document.get("expect", {})),
        ignore=_names(document.get("ignore", ())),
        by_names=bool(document.get("by_names", False)),
    )


def _layout(entry: Any, where: str) -> Layout:
    if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
        raise UsageError("a layout has no image template", code="recipe-invalid", where=where)
    unknown = set(entry) - {"image", "caption", "splits", "table", "lists", "known"}
    caption, lists = entry.get("caption"), entry.get("lists")
    table = CaptionTable(**entry["table"]) if "table" in entry else None
    outside = any(".." in path.split("/") or path[:1] == "/" for path in (table.path if table else "", lists or ""))
    if unknown or outside or (caption and table) or (lists and "{split}" not in lists.rpartition("/")[2]):
        raise UsageError(
            "a layout is not valid",
            code="recipe-invalid",
            where=where,
            expected="image; caption, or table = { path = 'x.json', caption = 'field' }; splits; lists = 'x/{split}.txt'",
            got=", ".join(sorted(unknown)) or str(entry),
        )
    return Layout(
        parse_template(entry["image"]),
        parse_template(caption) if caption else None,
        tuple(SPLIT_WORDS) if entry.get("splits") == "usual" else _names(entry.get("splits", ())),
        table,
        lists,
        bool(entry.get("known", False)),
    )


def _names(given: Any) -> tuple[str, ...]:
    if isinstance(given, str) or not all(isinstance(name, str) for name in given):
        raise TypeError(f"{given!r} is not a list of names")
    return tuple(given)


def _expectation(given: Any) -> dict[str, Any]:
    whole = {name: int(given[name]) for name in ("samples_per_label", "side") if name in given}
    by_split = {str(split): int(count) for split, count in dict(given.get("splits_per_label", {})).items()}
    return {**whole, "splits_per_label": by_split}


def recipe_names() -> tuple[str, ...]:
    """The recipes that come with wdstools."""
    return _RECIPE_ORDER


def load_recipe(name: str) -> Recipe:
    """A recipe by name, or from the path of a TOML file."""
    if name in _RECIPE_ORDER:
        text = resources.files("wdstools.sources").joinpath("recipes", f"{name}.toml").read_text("utf-8")
        return parse_recipe(text, where=name)
    try:
        return parse_recipe(read_file(name).decode(), where=name)
    except (NotFoundError, UnicodeDecodeError):
        if os.path.exists(name) and not os.path.isfile(name):
            raise
        raise UsageError(
            "no such recipe", code="recipe-unknown", where=name, expected=", ".join(_RECIPE_ORDER) + ", or a TOML file"
        ) from None


@functools.cache
def _part_pattern(part: str) -> re.Pattern[str]:
    return re.compile(
        "".join(
            f"(?P<{piece}>.+)" if number % 2 else re.escape(piece) for number, piece in enumerate(_FIELD_RE.split(part))
        )
    )
