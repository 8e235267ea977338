"""Folders of images and captions, and zips and tars of them, read through path templates."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wdstools.errors import NotFoundError, UsageError
from wdstools.formats.arrow import release_memory
from wdstools.images.check import TYPE_OF_EXTENSION
from wdstools.results import Skip
from wdstools.sources.base import CAPTION_POLICIES, Listing, SamplesBuilder, is_text, join_path, shown
from wdstools.sources.recipe import Layout, Recipe, load_recipe, parse_template, recipe_names
from wdstools.sources.table import METADATA_NAMES, Row, load_metadata
from wdstools.sources.tree import Folder, Tree, open_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        scan = _Scan(tree, base, layout, captions, recipe.metadata)
        scan.run()
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


def _leaves(tree: Tree, base: str, layout: Layout) -> Iterator[tuple[dict[str, str], str]]:
    """The folders that the image template's folder part names, with their fields; files are not looked at."""
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


def _recognised(tree: Tree, base: str, recipe: Recipe, layout: Layout) -> bool:
    leaves = list(_leaves(tree, base, layout))
    labels = {fields["label"] for fields, _ in leaves if "label" in fields}
    if not leaves or (recipe.labels and labels - set(recipe.labels)):
        return False
    if recipe.metadata and not layout.splits and not _has_metadata(tree, base):
        return False
    for fields, folder in leaves:
        for below, held in _walk(tree, base, folder):
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


def _has_metadata(tree: Tree, base: str) -> bool:
    folder = tree.list(base)
    return folder is not None and any(name in METADATA_NAMES for name in folder.files)


def _walk(tree: Tree, base: str, folder: str) -> Iterator[tuple[str, Folder]]:
    """A folder and all below it: (path below ``folder``, what it holds)."""
    stack = [""]
    while stack:
        below = stack.pop()
        held = tree.list(join_path(base, join_path(folder, below)) if below else join_path(base, folder))
        if held is None:
            continue
        yield below, held
        stack += [join_path(below, name) for name in reversed(held.folders)]


@dataclass(slots=True)
class _Scan:
    """One pass over a tree: pairs images with captions, folder by folder."""

    tree: Tree
    base: str
    layout: Layout
    captions: str
    metadata: bool
    builder: SamplesBuilder = field(default_factory=SamplesBuilder)
    skips: list[Skip] = field(default_factory=list)
    labels: set[str] = field(default_factory=set)
    image_types: Counter[str] = field(default_factory=Counter)
    unmatched: Counter[str] = field(default_factory=Counter)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    rows: dict[str, Row] = field(default_factory=dict)
    has_rows: bool = False
    caption_folders: set[str] = field(default_factory=set)

    def run(self) -> None:
        """List everything that the layout names."""
        if self.metadata:
            self._read_metadata()
        for fields, folder in _leaves(self.tree, self.base, self.layout):
            for below, held in _walk(self.tree, self.base, folder):
                self._folder({**fields, "id": below}, join_path(folder, below) if below else folder, held)
        if self.captions != "none" and self.layout.caption is not None:
            self._orphan_folders()
        if self.rows:
            self.skips += [
                Skip("image-missing", path, detail="named in the metadata table") for path in sorted(self.rows)
            ]

    def _read_metadata(self) -> None:
        places = [""] + [join_path("", name) for name in (self.tree.list(self.base) or Folder()).folders]
        for place in places:
            rows = load_metadata(self.tree, join_path(self.base, place) if place else self.base)
            self.rows |= {join_path(place, name): row for name, row in rows.items()}
        self.has_rows = bool(self.rows)
        if any(row.caption is not None for row in self.rows.values()):
            self.captions = "required" if all(row.caption is not None for row in self.rows.values()) else "optional"

    def _folder(self, fields: dict[str, str], folder: str, held: Folder) -> None:
        images = self._images(held, folder)
        if self.captions == "none" or self.layout.caption is None:
            own = self._inline(images, held, folder, fields) if self.has_rows else self._image_parts(images, held)
            self._add(fields, folder, None, own)
            return
        caption_folder = self.layout.caption.locate(fields)
        place = held if caption_folder == folder else self.tree.list(join_path(self.base, caption_folder)) or Folder()
        self.caption_folders.add(caption_folder)
        suffix = self.layout.caption.suffix
        captions = {name[: -len(suffix)] for name in place.files if name.endswith(suffix)}
        paired = {stem: ext for stem, ext in images.items() if stem in captions}
        own = self._image_parts(paired, held)
        if place.entries:
            entry_of = dict(zip(place.files, place.entries, strict=True))
            own["caption_entry"] = [entry_of[stem + suffix] for stem in paired]
        self._add(fields, folder, caption_folder, own)
        alone = {stem: ext for stem, ext in images.items() if stem not in captions}
        if self.captions == "optional":
            self._add(fields, folder, None, self._image_parts(alone, held))
        else:
            self.skips += [
                Skip(
                    "caption-missing",
                    join_path(folder, stem + ext),
                    fields.get("split"),
                    detail=f"no {join_path(caption_folder, stem + suffix)}",
                )
                for stem, ext in alone.items()
            ]
        if len(paired) != len(captions):
            captions.difference_update(stem for stem, _ in self.layout.image.stems(held.files))
            self._orphans(caption_folder, sorted(captions), fields.get("split"))

    def _images(self, held: Folder, folder: str) -> dict[str, str]:
        """Stem -> suffix of the images of a folder, sorted by name."""
        found = self.layout.image.stems(held.files)
        if len(found) != len(held.files):
            self._count_unmatched(held, {stem + suffix for stem, suffix in found})
        images = dict(found)
        if len(images) == len(found) and is_text(folder + "".join(images)):
            return images
        images = {}
        for stem, ext in found:
            if not is_text(folder + stem):
                self.skips.append(Skip("name-not-utf8", shown(join_path(folder, stem + ext))))
            elif stem in images:
                detail = f"same id as {stem + images[stem]}"
                self.skips.append(Skip("key-duplicate", join_path(folder, stem + ext), detail=detail))
            else:
                images[stem] = ext
        return images

    @staticmethod
    def _image_parts(images: dict[str, str], held: Folder) -> dict[str, list[Any]]:
        own: dict[str, list[Any]] = {"stem": list(images), "image_suffix": list(images.values())}
        if held.entries:
            entry_of = dict(zip(held.files, held.entries, strict=True))
            own["image_entry"] = [entry_of[stem + ext] for stem, ext in images.items()]
        return own

    def _count_unmatched(self, held: Folder, images: set[str]) -> None:
        """Count, by extension, the files that are no part of the layout."""
        suffix = self.layout.caption.suffix if self.layout.caption else None
        self.unmatched.update(
            name.rpartition(".")[2].lower() if "." in name else ""
            for name in held.files
            if name not in images
            and not (suffix and name.endswith(suffix))
            and not (self.metadata and name in METADATA_NAMES)
        )

    def _inline(
        self, images: dict[str, str], held: Folder, folder: str, fields: dict[str, str]
    ) -> dict[str, list[Any]]:
        """Captions and metadata from a table beside the images."""
        rows: dict[str, Row] = {}
        for stem, ext in images.items():
            path = join_path(folder, stem + ext)
            row = self.rows.pop(path, Row())
            if row.caption is None and self.captions == "required":
                self.skips.append(
                    Skip("caption-missing", path, fields.get("split"), detail="not in the metadata table")
                )
                continue
            rows[stem] = row
        own = self._image_parts({stem: images[stem] for stem in rows}, held)
        captions, jsons = [row.caption for row in rows.values()], [row.json for row in rows.values()]
        own |= {
            part: values
            for part, values in (("caption", captions), ("json", jsons))
            if any(v is not None for v in values)
        }
        return own

    def _add(self, fields: dict[str, str], folder: str, caption_folder: str | None, own: dict[str, list[Any]]) -> None:
        if not own["stem"]:
            return
        shared = {
            "split": fields.get("split"),
            "label": fields.get("label"),
            "id_dir": fields["id"],
            "image_dir": join_path(self.base, folder) if folder else self.base,
            "caption_dir": None
            if caption_folder is None
            else join_path(self.base, caption_folder)
            if caption_folder
            else self.base,
            "caption_suffix": self.layout.caption.suffix
            if caption_folder is not None and self.layout.caption
            else None,
        }
        self.builder.add(shared, own)
        self.counts[fields.get("split", ""), fields.get("label", "")] += len(own["stem"])
        for suffix, count in Counter(own["image_suffix"]).items():
            self.image_types[TYPE_OF_EXTENSION[str(suffix)[1:].lower()]] += count
        if "label" in fields:
            self.labels.add(fields["label"])

    def _orphan_folders(self) -> None:
        """Caption folders that no image folder led to."""
        assert self.layout.caption is not None
        if self.layout.caption.folder == self.layout.image.folder:
            return
        for fields, folder in _leaves(self.tree, self.base, Layout(self.layout.caption, splits=self.layout.splits)):
            if folder in self.caption_folders:
                continue
            for below, held in _walk(self.tree, self.base, folder):
                stems = [stem for stem, _ in self.layout.caption.stems(held.files)]
                self._orphans(join_path(folder, below) if below else folder, stems, fields.get("split"))

    def _orphans(self, folder: str, stems: list[str], split: str | None) -> None:
        assert self.layout.caption is not None
        paths = (join_path(folder, stem + self.layout.caption.suffix) for stem in stems)
        self.skips += [
            Skip("image-missing", path, split) if is_text(path) else Skip("name-not-utf8", shown(path))
            for path in paths
        ]


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
            yield (
                f"{where}{off} of {len(found)} labels have other than {count:,} samples "
                f"({min(found):,} to {max(found):,})"
            )
