"""How to read the source of an append: as the options say, or else as the dataset's source was read, or else by its content."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wdstools.dataset import open_dataset
from wdstools.errors import FormatError, NotFoundError, StoreError, UsageError, option
from wdstools.options.declare import part, settle
from wdstools.options.pack import LayoutChoices
from wdstools.sources.base import other_members
from wdstools.sources.open import open_source
from wdstools.sources.recipe import recipe_names
from wdstools.sources.table import TABLE_EXTENSIONS
from wdstools.units import some_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wdstools.formats.manifest import Manifest
    from wdstools.options.declare import StrPath
    from wdstools.options.pack import AppendChoices
    from wdstools.planning.made_with import MadeWith
    from wdstools.sources.base import Listing, Source


def read_source(
    path: StrPath, manifest: Manifest, made: MadeWith, chosen: AppendChoices
) -> tuple[Source, Listing, tuple[str, ...]]:
    """The source, its listing, and notes on how it was read. Raises as ``open_source`` and ``list`` do.

    If the dataset has labels, a way of reading that gives labels is preferred.
    """
    given = _given(manifest, made, chosen)
    if given["recipe"] is None and given["image"] is None and not os.fspath(path).lower().endswith(TABLE_EXTENSIONS):
        for guessed, way in _as_the_dataset(made, given):
            try:
                source = _open(path, way, chosen)
                listing = source.list()
            except (NotFoundError, UsageError):
                continue
            if (guessed and listing.skips) or _is_new_by_its_own_name(listing, manifest):
                continue
            if "cls" not in manifest.members or "cls" in other_members(listing):
                return source, listing, _told(way, listing, guessed=guessed)
    source = _open(path, given, chosen)
    return source, source.list(), ()


def _open(path: StrPath, layout: LayoutChoices, chosen: AppendChoices) -> Source:
    """The source; if an option has no effect on this kind of source, those that the user did not set are left out."""
    try:
        return open_source(path, **layout)
    except UsageError as error:
        if error.code != "option-idle":
            raise
    plain: LayoutChoices = {
        **layout,
        "members_missing": None,  # decided later, when the samples are fitted to the dataset
        "several_captions": chosen["several_captions"],
    }
    return open_source(path, **plain)


def is_canonical(path: StrPath) -> bool:
    """Whether a source is a dataset packed by wdstools."""
    try:
        return os.path.isdir(path) and open_dataset(path).manifest.profile == "canonical"
    except (StoreError, FormatError):
        return False


def _given(manifest: Manifest, made: MadeWith, chosen: AppendChoices) -> LayoutChoices:
    """The options given, completed by those of the dataset that do not depend on its folders."""
    layout = part(LayoutChoices, chosen)
    usual = settle(LayoutChoices, {})
    for name, value in made.kept.items():
        if name in ("captions", "several_captions") and layout[name] == usual[name]:  # type: ignore[literal-required]
            layout[name] = value  # type: ignore[literal-required]
    if "txt" not in manifest.members and layout["captions"] is None:
        layout["captions"] = "optional"  # so that no sample is skipped for lacking a caption
    if layout["members_missing"] == "drop":
        raise UsageError(
            "every sample of a dataset has every member",
            where=option("members_missing", "drop"),
            expected="skip or empty",
        )
    layout["members_missing"] = "empty"  # missing members of the dataset are dealt with later
    return layout


def _as_the_dataset(made: MadeWith, given: LayoutChoices) -> Iterator[tuple[bool, LayoutChoices]]:
    """The recipe or templates that the dataset was read with; then by content; then the templates without splits.

    Each comes with whether it is a guess, which holds only if it leaves nothing out.
    """
    image, caption = (made.template.get(name) for name in ("image", "caption"))
    image, caption = (text if isinstance(text, str) and text else None for text in (image, caption))
    if made.recipe in recipe_names():
        yield False, _with(given, recipe=made.recipe)
    elif made.recipe == "templates":
        yield False, _with(given, image=image, caption=caption)
    yield False, given
    if image is not None and "{label}" in image:
        yield True, _with(given, image=_without_split(image), caption=caption and _without_split(caption))
    yield True, _with(given, recipe=_LABELS)


#: The recipe in which a single folder may be a class.
_LABELS = "labels"


def _is_new_by_its_own_name(listing: Listing, manifest: Manifest) -> bool:
    """Whether the only label is the source's own name and new to the dataset: then it may be no label at all."""
    alone = listing.recipe == _LABELS and not listing.template["base"] and "{label}" not in listing.template["image"]
    return alone and not set(listing.labels) <= set(manifest.labels)


def _with(given: LayoutChoices, **more: str | None) -> LayoutChoices:
    layout: LayoutChoices = {**given}
    for name, value in more.items():
        layout[name] = value  # type: ignore[literal-required]
    return layout


def _without_split(template: str) -> str:
    return "/".join(folder for folder in template.split("/") if "{split}" not in folder)


def _told(way: LayoutChoices, listing: Listing, *, guessed: bool) -> tuple[str, ...]:
    image = way["image"]
    if guessed and image is None:
        return (f"its folders are read as classes: {some_of(list(listing.labels))}",)
    return () if image is None else (f"read as {image}, as the dataset was",)
