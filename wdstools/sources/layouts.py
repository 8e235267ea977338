"""Applies layouts of recipes to a tree: whether one fits, and the places of images in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wdstools.sources.base import join_path
from wdstools.sources.bulk import has_lists
from wdstools.sources.recipe import Layout, Recipe
from wdstools.sources.survey import Place
from wdstools.sources.table import METADATA_NAMES

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from wdstools.sources.tree import Folder, Tree

_MAX_NESTING = 2


def bases(tree: Tree) -> Iterator[str]:
    """The root and the folders a few levels below: archives often contain a single folder, sometimes nested twice."""
    level = [""]
    for _ in range(_MAX_NESTING + 1):
        yield from level
        folders = ((base, tree.list(base)) for base in level)
        level = [join_path(base, name) for base, folder in folders if folder for name in folder.folders][:64]


def fits(tree: Tree, base: str, recipe: Recipe, layout: Layout) -> bool:
    """Whether a layout of a recipe fits at a base.

    A recipe with labels needs one of them to be there; others may be missing, and there may be unknown ones. If the
    layout's folder names are unique to it (``known``), it needs none.
    """
    places = list(leaves(tree, base, layout))
    labels = {fields["label"] for fields, _ in places if "label" in fields}
    if not places or (recipe.labels and not layout.known and not labels & set(recipe.labels)):
        return False
    if layout.table is not None and not _holds(tree, base, layout.table.path):
        return False
    if layout.lists is not None and not has_lists(tree, base, layout.lists):
        return False
    if recipe.metadata and not layout.splits and not _has_metadata(tree, base):
        return False
    for fields, folder in places:
        for below, held in walk(tree, base, folder):
            stems = layout.image.stems(held.files)
            if not stems:
                continue
            if layout.caption is None or recipe.captions != "required":
                return True
            place = tree.list(join_path(base, layout.caption.locate({**fields, "id": below})))
            captions = {stem for stem, _ in layout.caption.stems(place.files)} if place else set()
            if any(stem in captions for stem, _ in stems):
                return True
    return False


def places_of(tree: Tree, base: str, layout: Layout, captions: str) -> Iterator[Place]:
    """The folders of images in a layout, each with the folder of its captions."""
    for fields, folder in leaves(tree, base, layout):
        for below, _ in walk(tree, base, folder):
            place = join_path(base, join_path(folder, below) if below else folder)
            sides: tuple[tuple[str, tuple[str, ...]], ...] = ()
            if layout.caption is not None and captions != "none":
                side = join_path(base, layout.caption.locate({**fields, "id": below}))
                sides = ((side, (layout.caption.suffix,)),)
            yield Place(place.strip("/"), fields.get("split"), fields.get("label"), below, sides)


def caption_folders(tree: Tree, base: str, layout: Layout) -> dict[str, tuple[str | None, tuple[str, ...]]]:
    """The folders of captions in a layout, whether or not they belong to an image."""
    if layout.caption is None or layout.caption.folder == layout.image.folder:
        return {}
    found: dict[str, tuple[str | None, tuple[str, ...]]] = {}
    for fields, folder in leaves(tree, base, Layout(layout.caption, splits=layout.splits)):
        for below, _ in walk(tree, base, folder):
            path = join_path(base, join_path(folder, below) if below else folder)
            found[path] = (fields.get("split"), (layout.caption.suffix,))
    return found


def leaves(tree: Tree, base: str, layout: Layout) -> Iterator[tuple[dict[str, str], str]]:
    """The folders that match the folder part of the image template, with their fields; files are not looked at."""
    folders = [""]
    for part in layout.image.parts():
        folders = [
            below
            for folder in folders
            for below in (_folders_below(tree, base, folder) if "{" in part else [join_path(folder, part)])
            if layout.image.fits_so_far(below)
        ]
    for folder in folders:
        fields = layout.image.match(folder)
        if fields is not None and (not layout.splits or fields.get("split") in layout.splits):
            yield fields, folder


def _folders_below(tree: Tree, base: str, folder: str) -> list[str]:
    found = tree.list(join_path(base, folder))
    return [join_path(folder, name) for name in found.folders] if found else []


def walk(tree: Tree, base: str, folder: str) -> Iterator[tuple[str, Folder]]:
    """A folder and all folders below it: (path below ``folder``, contents)."""
    stack = [""]
    while stack:
        below = stack.pop()
        held = tree.list(join_path(base, join_path(folder, below)) if below else join_path(base, folder))
        if held is None:
            continue
        yield below, held
        stack += [join_path(below, name) for name in reversed(held.folders)]


def _holds(tree: Tree, base: str, path: str) -> bool:
    folder, _, name = join_path(base, path).rpartition("/")
    held = tree.list(folder)
    return held is not None and name in held.files


def _has_metadata(tree: Tree, base: str) -> bool:
    folder = tree.list(base)
    return folder is not None and any(name in METADATA_NAMES for name in folder.files)


def differences(recipe: Recipe, counts: Counter[tuple[str, str]], labels: set[str]) -> Iterator[str]:
    """Notes where the source differs from what its recipe expects."""
    for label in sorted(labels - set(recipe.labels)) if recipe.labels else ():
        yield f"label {label} is not in the recipe"
    expected = recipe.expect.get("samples_per_label")
    by_split = recipe.expect.get("splits_per_label", {})
    given = {split for split, _ in counts}
    wanted = {"": expected} if given <= {""} else by_split
    for split, count in wanted.items() if recipe.labels else ():
        found = [counts[split, label] for label in recipe.labels]
        off = sum(number != count for number in found)
        if count is not None and off:
            where = f"split {split}: " if split else ""
            labels_off = f"{off} of {len(found)} labels have" if len(found) > 1 else "the label has"
            spread = f"{min(found):,} to {max(found):,}" if min(found) != max(found) else f"{min(found):,}"
            yield f"{where}{labels_off} a number of samples other than {count:,} ({spread})"
