"""Folders of images and captions, and zips and tars of them, recognised by names or read through path templates."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from wdstools.errors import NotFoundError, UsageError, option
from wdstools.formats.arrow import release_memory
from wdstools.sources.account import OUTSIDE
from wdstools.sources.base import (
    CAPTION_POLICIES,
    EmptySourceError,
    Listing,
    first_skips,
    join_path,
    other_members,
    shown,
)
from wdstools.sources.bulk import read_captions, read_split_lists, split_lists
from wdstools.sources.columns import NOT_TEXT, TableRules
from wdstools.sources.gather import Gathered, gather
from wdstools.sources.ignoring import IgnoringTree, unused
from wdstools.sources.layouts import bases, caption_folders, differences, fits, places_of
from wdstools.sources.members import MemberChoice, why_class_left
from wdstools.sources.open_tree import open_tree
from wdstools.sources.pairing import Pairing, Rules
from wdstools.sources.rare_class import class_left_out, count_of_classes, without_class
from wdstools.sources.recipe import DATASET_RECIPES, Layout, Recipe, load_recipe, parse_template, recipe_names
from wdstools.sources.source_words import extension_of
from wdstools.sources.survey import survey, walk_all
from wdstools.sources.tables_beside import IN_TABLE, Tables
from wdstools.sources.unsaid_splits import without_split
from wdstools.stores.open import is_bucket

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

    from wdstools.results import Skip
    from wdstools.sources.bucket_listing import BucketListing
    from wdstools.sources.tree import Tree

#: The name of the layout that is read without a recipe.
BY_NAMES = "folders"
#: Recipes whose layout begins at the root, or anywhere.
_GENERIC = ("pairs", "images")


class FolderSource:
    """A folder (or a .zip or .tar of one) of images with captions.

    ``recipe`` names a recipe or a TOML file; without it the layout is recognised. ``image`` and ``caption`` are path
    templates that replace those of the recipe (``img/{split}/{label}/{id}.jpg``); ``captions`` is ``required``
    (a sample without one is skipped), ``optional`` (it gets an empty caption) or ``none``. ``tables`` says how tables are read,
    ``ignore`` has patterns of files that are not part of the dataset; ``follow_links`` follows links anywhere;
    ``name_encoding`` is the encoding of names in a zip.
    """

    def __init__(
        self,
        path: str,
        *,
        recipe: str | None = None,
        image: str | None = None,
        caption: str | None = None,
        captions: str | None = None,
        tables: TableRules | None = None,
        members: MemberChoice | None = None,
        ignore: Sequence[str] = (),
        follow_links: bool = False,
        name_encoding: str | None = None,
        listing: BucketListing | None = None,
    ) -> None:
        if captions is not None and captions not in CAPTION_POLICIES:
            raise UsageError(
                "no such caption policy", where=option("captions"), expected=", ".join(CAPTION_POLICIES), got=captions
            )
        if caption is not None and image is None:
            raise UsageError(
                "a caption template needs an image template",
                where=option("caption"),
                hint=f"give {option('image')} too",
            )
        self.path = path.rstrip("/") or "/"
        self._recipe = None if recipe == BY_NAMES else recipe
        self._templates = (image, caption)
        self._captions = captions
        self._tables = tables or TableRules()
        self._members = members or MemberChoice()
        self._ignore = tuple(ignore)
        self._follow_links = follow_links
        self._name_encoding = name_encoding
        #: The listing of a bucket's prefix, if it was listed to find out what it is.
        self.listing = listing

    def list(self) -> Listing:
        """List the samples by name; only tables, and the first files of texts and metadata, are opened."""
        whole = open_tree(
            self.path, follow_links=self._follow_links, name_encoding=self._name_encoding, listing=self.listing
        )
        tree: Tree = IgnoringTree(whole, self._ignore) if self._ignore else whole
        recipe, layout, base = self._choose(tree)
        if layout is None:
            found = gather(
                tree, self._tables, self._captions, self._members, own=self._own_name() if recipe.by_names else None
            )
        else:
            found = self._by_recipe(tree, recipe, layout, base)
        pairing = found.pairing
        known = (*recipe.ignore, *(_TEXTS if self._captions == "none" else ()))
        known += tuple(f"*.{member}" for member in sorted(self._members.dropped))
        samples = pairing.builder.table() if pairing.image_types else None
        kept: tuple[str, ...] = ()
        lacking: Sequence[Skip] = ()
        if samples is not None and pairing.further is not None:
            samples, kept, lacking = pairing.further.finish(samples)
            _take_members(tree, pairing, kept)
        samples, rare = (samples, ()) if recipe.by_names else self._rare_class_left(samples)
        outside = pairing.account.close(walk_all(whole), self._ignore, known)
        used = pairing.account.used | (tree.used() if isinstance(tree, IgnoringTree) else set())
        found.notes += unused(self._ignore, used)
        known_lost = len(whole.skips) - len(tree.skips)
        pairing.account.counts.update(ignored=known_lost, files=known_lost)
        if samples is None:
            raise self._nothing(found, (*tree.skips, *found.skips, *pairing.skips, *outside), layout)
        labels = recipe.labels + tuple(sorted(pairing.labels - set(recipe.labels)))
        labels = labels if pairing.labels and not rare else ()
        tree.close()
        release_memory()
        skips = (*tree.skips, *found.skips, *pairing.skips, *lacking, *rare, *outside)
        listing = Listing(
            opener=tree.opener,
            samples=samples,
            labels=labels,
            captions=pairing.rules.captions,
            label_in_key=layout.image.has_label if layout else recipe.by_names or "{label}" in found.template,
            recipe=recipe.name,
            template=self._template(found, layout),
            name=recipe.dataset,
            version=recipe.version,
            image_types=dict(sorted(pairing.image_types.items())),
            skips=skips,
            unmatched=dict(sorted(Counter(extension_of(skip.path) for skip in outside).items())),
            side=int(recipe.expect.get("side", 0)),
            differences=tuple(differences(recipe, pairing.counts, pairing.labels)),
            account=_account(pairing.account.counts, len(tree.skips)),
            notes=(*tree.notes, *found.notes, *_labels_alike(labels), *without_split(samples)),
            several=self._tables.several_captions,
            caption_key=self._tables.caption_column,
        )
        others = [member for member in other_members(listing) if self._members.takes(member)]
        return replace(listing, members=(*others, *kept)) if kept or others != other_members(listing) else listing

    def _own_name(self) -> str:
        """The name of the source; that of an archive without its extension."""
        path = self.path if is_bucket(self.path) else os.path.abspath(self.path)
        name = path.rstrip("/").rpartition("/")[2]
        return name if is_bucket(path) or os.path.isdir(path) else name.partition(".")[0]

    def _rare_class_left(self, samples: pa.Table | None) -> tuple[pa.Table | None, tuple[Skip, ...]]:
        """The samples, with their class left out if few of them have one, and the skip for it."""
        if samples is None or self._tables.label_column is not None:
            return samples, ()
        count = count_of_classes(samples)
        why = why_class_left(count, samples.num_rows, self._members)
        return (samples, ()) if why is None else (without_class(samples), (class_left_out(count, why),))

    def _template(self, found: Gathered, layout: Layout | None) -> dict[str, str]:
        """The layout of the samples, and the options it took to read them, so that they can be read again."""
        said = {"base": found.base, "image": found.template, "caption": "", **found.sides}
        if layout is not None:
            said["caption"] = layout.caption.text if layout.caption else ""
            said |= {"table": layout.table.path} if layout.table else {}
        given: dict[str, str | None] = {
            **self._tables.given,
            "captions": self._captions,
            "name_encoding": self._name_encoding,
        }
        options = {name: value for name, value in given.items() if value is not None}
        return said | {f"--{name}": value for name, value in sorted(options.items())}

    def _choose(self, tree: Tree) -> tuple[Recipe, Layout | None, str]:
        """The requested recipe, or that of a recognised dataset, and its base; without a layout, names decide."""
        image, caption = self._templates
        if image is not None:
            policy = self._captions or ("required" if caption else "none")
            layout = Layout(parse_template(image), parse_template(caption) if caption else None)
            return Recipe("templates", (layout,), captions=policy), layout, ""
        for name in (self._recipe,) if self._recipe else DATASET_RECIPES:
            recipe = load_recipe(name)
            if recipe.by_names:
                return recipe, None, ""
            for base in bases(tree) if name not in _GENERIC else ("",):
                for layout in recipe.layouts:
                    if fits(tree, base, recipe, layout):
                        return recipe, layout, base
        if self._recipe is None:
            return Recipe(BY_NAMES, ()), None, ""
        raise NotFoundError(
            "the recipe does not fit this source",
            code="source-empty",
            where=self.path,
            expected="; ".join(layout.image.text for layout in load_recipe(self._recipe).layouts),
            hint=f"describe the layout with {option('image', 'img/{label}/{id}.jpg')}, leave out {option('recipe')}, or name another recipe: {', '.join(recipe_names())}",
        )

    def _by_recipe(self, tree: Tree, recipe: Recipe, layout: Layout, base: str) -> Gathered:
        """Read a tree through a layout."""
        captions = self._captions or recipe.captions
        found, table_name, read, row_name = (
            Gathered(Pairing(tree, Rules(captions, layout.image.stems)), base, layout.image.text),
            "",
            [],
            None,
        )
        rows = None
        if recipe.metadata:
            tables = Tables(tree, survey(tree), self._tables)
            tables.run()
            tables.refuse_absent()
            rows, table_name = tables.rows or None, tables.names
            read = [join_path(folder, name) for folder, names in tables.read.items() for name in names]
            found.skips += tables.skips
            found.notes += tables.notes
            if self._captions is None and any(said.captions for said in tables.rows.values()):
                captions = "required"
        if layout.table is not None:
            table_name = layout.table.path
            read = [join_path(base, table_name)]
            rows = read_captions(tree, read[0], layout.table.caption)
            row_name = _sample_id
        lists = None
        if layout.lists is not None:
            read += split_lists(tree, base, layout.lists).values()
            lists = read_split_lists(tree, base, layout.lists)
        rules = Rules(captions, layout.image.stems, self._tables.several_captions, sidecars=layout.caption is not None)
        found.pairing = Pairing(tree, rules, rows, row_name, table_name, lists)
        for path in read:
            folder, _, name = path.rpartition("/")
            held = tree.list(folder)
            if held is not None:
                found.pairing.account.take(folder, held, [name], "read")
        found.pairing.run(places_of(tree, base, layout, captions), caption_folders(tree, base, layout))
        return found

    def _nothing(self, found: Gathered, skips: Sequence[Skip], layout: Layout | None) -> EmptySourceError:
        """The error for a source without a sample that can be packed."""
        where = join_path(self.path, found.base).rstrip("/")
        if layout is not None and any(skip.reason == "caption-missing" for skip in skips):
            return EmptySourceError(
                "no image has a caption",
                code="source-empty",
                where=where,
                expected=layout.caption.text if layout.caption else "",
                got=first_skips(skips),
                hint=f"correct the template of {option('caption')}, or pack without captions: {option('captions', 'optional')}",
                skips=tuple(skips),
            )
        if not skips:
            return EmptySourceError("the source is empty", code="source-empty", where=self.path)
        without = next(
            (reason for reason in (NOT_TEXT, "caption-missing") if any(skip.reason == reason for skip in skips)), None
        )
        if without is not None:
            return EmptySourceError(
                "no image has a caption that can be packed",
                code="source-empty",
                where=where,
                got=first_skips([skip for skip in skips if skip.reason == without]),
                hint=f"pack without captions: {option('captions', 'none' if without == NOT_TEXT else 'optional')}",
                skips=tuple(skips),
            )
        kinds = Counter(skip.detail for skip in skips if skip.reason == OUTSIDE)
        archives = kinds["archives"] and not kinds["images"]
        return EmptySourceError(
            "no images",
            code="source-empty",
            where=where,
            expected=layout.image.text if layout else "images, in any folders",
            got=first_skips(skips),
            hint=f"{shown(found.holding[0])}: {IN_TABLE}"
            if found.holding
            else "it contains archives: unpack them first, or pack each of them"
            if archives
            else f"name the layout with {option('recipe')}, or with the templates {option('image')} and {option('caption')}",
            skips=tuple(skips),
        )


def _labels_alike(labels: Sequence[str]) -> Iterator[str]:
    """Notes about labels that differ only in case: each is a separate class."""
    alike: dict[str, list[str]] = {}
    for label in labels:
        alike.setdefault(label.casefold(), []).append(label)
    for names in alike.values():
        if len(names) > 1:
            yield f"labels {', '.join(map(shown, names))} differ only in case and are separate classes"


_TEXTS = ("*.txt", "*.TXT", "*.caption", "*.text", "*.json", "*.csv")


def _account(counts: Mapping[str, int], unreadable: int) -> dict[str, int]:
    """The classes of the source's files; unreadable files count as skipped."""
    names = ("samples", "read", "skipped", "outside", "ignored", "hidden")
    account = {name: counts.get(name, 0) + (unreadable if name == "skipped" else 0) for name in names}
    return {"files": counts.get("files", 0) + counts.get("hidden", 0) + unreadable, **account}


def _take_members(tree: Tree, pairing: Pairing, kept: Sequence[str]) -> None:
    """Record the files of packed members as used; those of other members are outside the layout."""
    assert pairing.further is not None
    for member in kept:
        for folder, names in pairing.further.files[member].items():
            held = tree.list(folder)
            if held is not None:
                pairing.account.take(folder, held, names, "samples")


def _sample_id(path: str, sample_id: str) -> str:
    del path
    return sample_id
