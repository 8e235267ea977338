"""Folders of images and captions, and zips and tars of them, read through path templates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wdstools.errors import NotFoundError, UsageError
from wdstools.formats.arrow import release_memory
from wdstools.sources.base import CAPTION_POLICIES, Listing, join_path
from wdstools.sources.bulk import has_lists
from wdstools.sources.pairing import Pairing, leaves, walk
from wdstools.sources.recipe import Layout, Recipe, load_recipe, parse_template, recipe_names
from wdstools.sources.table import METADATA_NAMES
from wdstools.sources.tree import open_tree

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from wdstools.sources.tree import Tree

_MAX_NESTING = 2
_GENERIC = ("pairs", "images", "labels")


class FolderSource:
    """A folder (or a .zip or .tar of one) of images with captions.

    ``recipe`` names a recipe or a TOML file; without it the layout is recognised. ``image`` and ``caption`` are path
    templates that replace those of the recipe (``img/{split}/{label}/{id}.jpg``); ``captions`` is ``required``
    (a sample without one is skipped), ``optional`` (its caption is empty) or ``none``.
    """

    def __init__(
        self,
        path: str,
        *,
        recipe: str | None = None,
        image: str | None = None,
        caption: str | None = None,
        captions: str | None = None,
    ) -> None:
        if captions is not None and captions not in CAPTION_POLICIES:
            raise UsageError(
                "no such caption policy", where="--captions", expected=", ".join(CAPTION_POLICIES), got=captions
            )
        if caption is not None and image is None:
            raise UsageError("a caption template needs an image template", where="--caption", hint="give --image too")
        self.path = path.rstrip("/") or "/"
        self._recipe = recipe
        self._templates = (image, caption)
        self._captions = captions

    def list(self) -> Listing:
        """List the samples by name; no file but metadata tables is opened."""
        tree = open_tree(self.path)
        recipe, layout, base = self._choose(tree)
        captions = self._captions or recipe.captions
        scan = Pairing(tree, base, layout, captions, recipe.metadata)
        scan.run()
        if not scan.image_types and any(skip.reason == "caption-missing" for skip in scan.skips):
            raise NotFoundError(
                "no image has a caption",
                code="source-empty",
                where=join_path(self.path, base),
                expected=layout.caption.text if layout.caption else "",
                hint="mend the --caption template, or pack without captions: --captions optional",
            )
        if not scan.image_types:
            raise NotFoundError(
                "no images",
                code="source-empty",
                where=join_path(self.path, base),
                expected=layout.image.text,
                hint="name the layout with --recipe, or with --image and --caption templates",
            )
        labels = recipe.labels + tuple(sorted(scan.labels - set(recipe.labels)))
        tree.close()
        release_memory()  # the table needs room beside its parts
        samples = scan.builder.table()
        return Listing(
            opener=tree.opener,
            samples=samples,
            labels=labels if scan.labels else (),
            captions=scan.captions,
            label_in_key=layout.image.has_label,
            recipe=recipe.name,
            template={
                "base": base,
                "image": layout.image.text,
                "caption": layout.caption.text if layout.caption else "",
                **({"table": layout.table.path} if layout.table else {}),
            },
            name=recipe.dataset,
            version=recipe.version,
            image_types=dict(sorted(scan.image_types.items())),
            skips=(*tree.skips, *scan.skips),
            unmatched=dict(sorted(scan.unmatched.items())),
            side=int(recipe.expect.get("side", 0)),
            differences=tuple(_differences(recipe, scan.counts, scan.labels)),
        )

    def _choose(self, tree: Tree) -> tuple[Recipe, Layout, str]:
        image, caption = self._templates
        if image is not None:
            policy = self._captions or ("required" if caption else "none")
            layout = Layout(parse_template(image), parse_template(caption) if caption else None)
            return Recipe("templates", (layout,), captions=policy), layout, ""
        names = (self._recipe,) if self._recipe else recipe_names()
        for name in names:
            recipe = load_recipe(name)
            for base in _bases(tree) if name not in _GENERIC else ("",):
                for layout in recipe.layouts:
                    if _recognised(tree, base, recipe, layout):
                        return recipe, layout, base
        root = tree.list("")
        if root is not None and not root.files and not root.folders:
            raise NotFoundError("there is nothing in it", code="source-empty", where=self.path)
        raise NotFoundError(
            "no layout of images is recognised here" if self._recipe is None else "the recipe does not fit",
            code="source-empty",
            where=self.path,
            expected="; ".join(dict.fromkeys(layout.image.text for n in names for layout in load_recipe(n).layouts)),
            hint="describe the layout with --image 'img/{label}/{id}.jpg' --caption 'txt/{label}/{id}.txt'",
        )


def _bases(tree: Tree) -> Iterator[str]:
    """The root and the folders a little below it: archives often hold one folder, sometimes nested twice."""
    level = [""]
    for _ in range(_MAX_NESTING + 1):
        yield from level
        folders = ((base, tree.list(base)) for base in level)
        level = [join_path(base, name) for base, folder in folders if folder for name in folder.folders][:64]


def _recognised(tree: Tree, base: str, recipe: Recipe, layout: Layout) -> bool:
    places = list(leaves(tree, base, layout))
    labels = {fields["label"] for fields, _ in places if "label" in fields}
    if not places or (recipe.labels and labels - set(recipe.labels)):
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


def _holds(tree: Tree, base: str, path: str) -> bool:
    folder, _, name = join_path(base, path).rpartition("/")
    held = tree.list(folder)
    return held is not None and name in held.files


def _has_metadata(tree: Tree, base: str) -> bool:
    folder = tree.list(base)
    return folder is not None and any(name in METADATA_NAMES for name in folder.files)


def _differences(recipe: Recipe, counts: Counter[tuple[str, str]], labels: set[str]) -> Iterator[str]:
    """Where the source is not what its recipe expects."""
    for label in sorted(labels - set(recipe.labels)) if recipe.labels else ():
        yield f"label {label} is not one of the recipe's"
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
            yield f"{where}{labels_off} other than {count:,} samples ({spread})"
