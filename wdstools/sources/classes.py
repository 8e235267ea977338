"""Classes of images, from the folders they are in."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from wdstools.foreign.split_names import says_nothing
from wdstools.sources.base import join_path, shown
from wdstools.sources.source_words import IMAGE_FOLDERS
from wdstools.units import some_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from wdstools.sources.survey import Place, Survey


def one_way_of_labels(places: list[Place]) -> tuple[list[Place], list[str]]:
    """Either every sample of a dataset has a class or none has: if a split has no classes, they remain only in the keys."""
    with_label = {place.split for place in places if place.label is not None}
    without = {
        place.split for place in places
    } - with_label  # single images next to folders of classes are reported and skipped
    if not with_label or not without:
        return places, []
    note = (
        f"no cls: split {', '.join(sorted(filter(None, without)))} has no class folders; those of"
        f" {', '.join(sorted(filter(None, with_label)))} are part of the keys"
    )
    plain = [
        place
        if place.label is None
        else replace(place, label=None, id_dir=join_path(place.label, place.id_dir).rstrip("/"))
        for place in places
    ]
    return plain, [note]


def classes_in_lists(found: Survey, places: list[Place]) -> list[Place]:
    """Take folders as classes if lists define the splits and all images lie in folders below a folder of images."""
    parts = _class_parts(places)
    if _are_classes(parts.values()):
        return _with_classes(found, places, parts)
    return places


def classes_of_folders(found: Survey, own: str) -> list[Place]:
    """Take folders as classes because the user says so: the first folder below the base of the layout, or below a folder of images.

    If there is none, the folder of the images is the class; ``own`` is the name of the whole source.
    """
    places = found.places
    if any(place.label is not None for place in places):
        return places
    parts = _class_parts(places)
    if not any(parts.values()):
        return [replace(place, label=found.base.rpartition("/")[2] or own) for place in places]
    return _with_classes(found, places, parts)


def note_of_classes(places: list[Place]) -> list[str]:
    """The note about folders that may be classes, but are not taken as such unless the user says so."""
    parts = _class_parts(places)
    names = sorted({rest[0] for rest in parts.values() if len(rest) == 1})
    if any(place.split is not None or place.label is not None for place in places) or not _are_classes(parts.values()):
        return []
    if any(len(rest) != 1 for rest in parts.values()) or any(name.isdigit() for name in names):
        return []
    return [f"folders are part of the keys ({some_of(list(map(shown, names)))}): --recipe labels makes them classes"]


def _class_parts(places: Sequence[Place]) -> dict[str, list[str]]:
    """For each folder, the parts of its path that may be the name of a class, and those below it."""
    parts = {place.folder: [part for part in place.id_dir.split("/") if part] for place in places}
    for rest in parts.values():
        if rest and rest[0].lower() in IMAGE_FOLDERS:
            del rest[0]
    return parts


def _are_classes(parts: Collection[list[str]]) -> bool:
    if not all(parts) or len({rest[0] for rest in parts}) < _LEAST_CLASSES:
        return False
    return not any(  # a dataset in parts: images_001/images/
        says_nothing(_NUMBER_RE.sub("", rest[0])) or not _IMAGE_FOLDERS.isdisjoint(rest[1:]) for rest in parts
    )


def _with_classes(found: Survey, places: list[Place], parts: Mapping[str, list[str]]) -> list[Place]:
    return [
        replace(
            place,
            label=rest[0],
            id_dir="/".join(rest[1:]),
            template=join_path(_before_label(found, place, rest), "{label}/{id}.*"),
        )
        if rest
        else place
        for place in places
        for rest in (parts[place.folder],)
    ]


_LEAST_CLASSES = 2
#: The number of a part, after a word; a number alone may be a class.
_NUMBER_RE = re.compile(r"(?<=[^\d_-])[_-]?\d+$")
_IMAGE_FOLDERS = frozenset(IMAGE_FOLDERS)


def _before_label(found: Survey, place: Place, rest: list[str]) -> str:
    """The folders below the base that come before the folder of a class."""
    below = place.folder.removeprefix(found.base).strip("/")
    return below.removesuffix("/".join(rest)).rstrip("/")
