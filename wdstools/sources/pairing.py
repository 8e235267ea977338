"""One pass over a tree: images with their captions, folder by folder."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wdstools.images.check import STORABLE_TYPES, TYPE_OF_EXTENSION
from wdstools.results import Skip
from wdstools.sources.base import SamplesBuilder, is_text, join_path, shown
from wdstools.sources.bulk import read_rows, read_split_lists
from wdstools.sources.recipe import Layout
from wdstools.sources.table import METADATA_NAMES, Row, load_metadata
from wdstools.sources.tree import Folder, Tree

if TYPE_CHECKING:
    from collections.abc import Iterator


def leaves(tree: Tree, base: str, layout: Layout) -> Iterator[tuple[dict[str, str], str]]:
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


def walk(tree: Tree, base: str, folder: str) -> Iterator[tuple[str, Folder]]:
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
class Pairing:
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
    #: What tables say, by path of the image; by id where the layout names one table for all.
    rows: dict[str, Row] = field(default_factory=dict)
    has_rows: bool = False
    #: Splits that lists give, by id; None where there are no lists.
    split_of: dict[str, str] | None = None
    caption_folders: set[str] = field(default_factory=set)

    def run(self) -> None:
        """List everything that the layout names."""
        if self.metadata:
            self._read_metadata()
        if self.layout.table is not None:
            self.rows = read_rows(self.tree, join_path(self.base, self.layout.table.path), self.layout.table.caption)
            self.has_rows = True
        if self.layout.lists is not None:
            self.split_of = read_split_lists(self.tree, self.base, self.layout.lists)
        for fields, folder in leaves(self.tree, self.base, self.layout):
            for below, held in walk(self.tree, self.base, folder):
                self._folder({**fields, "id": below}, join_path(folder, below) if below else folder, held)
        if self.captions != "none" and self.layout.caption is not None:
            self._orphan_folders()
        if self.rows:
            self.skips += [
                Skip("image-missing", path, detail=f"named in {self._table_name}") for path in sorted(self.rows)
            ]
        self.skips += [
            Skip("sample-missing", name, split, detail="in a split list, but no sample with this id can be packed")
            for name, split in sorted((self.split_of or {}).items())
        ]

    @property
    def _table_name(self) -> str:
        return self.layout.table.path if self.layout.table else "the metadata table"

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
        for stem, ext in sorted(found, key=lambda image: TYPE_OF_EXTENSION[image[1][1:].lower()] not in STORABLE_TYPES):
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
            row = self.rows.pop(join_path(fields["id"], stem) if self.layout.table else path, Row())
            if row.caption is None and self.captions == "required":
                detail = f"not in {self._table_name}"
                self.skips.append(Skip("caption-missing", path, self._split(fields, stem), detail=detail))
            elif row.caption is not None and not is_text(row.caption):
                detail = "half of a character: a lone surrogate"
                self.skips.append(Skip("caption-not-utf8", path, self._split(fields, stem), detail=detail))
            else:
                rows[stem] = row
        own = self._image_parts({stem: images[stem] for stem in rows}, held)
        captions, jsons = [row.caption for row in rows.values()], [row.json for row in rows.values()]
        own |= {
            part: values
            for part, values in (("caption", captions), ("json", jsons))
            if any(v is not None for v in values)
        }
        return own

    def _split(self, fields: dict[str, str], stem: str) -> str | None:
        """The split of a sample, whose line of a list counts as used."""
        if self.split_of is None:
            return fields.get("split")
        return self.split_of.pop(join_path(fields["id"], stem), None)

    def _add(self, fields: dict[str, str], folder: str, caption_folder: str | None, own: dict[str, list[Any]]) -> None:
        """Add samples of a folder; where lists give the splits, those of each split apart."""
        if self.split_of is None:
            self._add_run(fields, folder, caption_folder, own)
            return
        places: dict[str, list[int]] = {}
        for place, stem in enumerate(own["stem"]):
            split = self._split(fields, stem)
            if split is None:
                path = join_path(folder, stem + own["image_suffix"][place])
                self.skips.append(Skip("split-not-listed", path))
            else:
                places.setdefault(split, []).append(place)
        for split, chosen in places.items():
            part = {name: [values[place] for place in chosen] for name, values in own.items()}
            self._add_run({**fields, "split": split}, folder, caption_folder, part)

    def _add_run(
        self, fields: dict[str, str], folder: str, caption_folder: str | None, own: dict[str, list[Any]]
    ) -> None:
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
        for fields, folder in leaves(self.tree, self.base, Layout(self.layout.caption, splits=self.layout.splits)):
            if folder in self.caption_folders:
                continue
            for below, held in walk(self.tree, self.base, folder):
                stems = [stem for stem, _ in self.layout.caption.stems(held.files)]
                self._orphans(join_path(folder, below) if below else folder, stems, fields.get("split"))

    def _orphans(self, folder: str, stems: list[str], split: str | None) -> None:
        assert self.layout.caption is not None
        paths = (join_path(folder, stem + self.layout.caption.suffix) for stem in stems)
        self.skips += [
            Skip("image-missing", path, split) if is_text(path) else Skip("name-not-utf8", shown(path))
            for path in paths
        ]
