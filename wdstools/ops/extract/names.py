"""The names of the files that a dataset is extracted to, and which of them cannot be in one folder together."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from wdstools.errors import FormatError, option
from wdstools.landing.names import fold, name_folding, refuse_clashes
from wdstools.landing.small_files import read_provenance
from wdstools.sources.base import is_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wdstools.dataset import Dataset
    from wdstools.formats.manifest import ShardEntry


__all__ = ["Names", "fold", "name_folding", "refuse_clashes"]

#: The longest name that every file system accepts, and more levels of folders than any dataset has.
_MAX_NAME_BYTES, _MAX_PARTS = 255, 64
#: How many characters of a foreign name an error shows.
_SHOWN = 200


class Names:
    """The file names of a sample's members."""

    def __init__(self, dataset: Dataset) -> None:
        self._image_extension = dataset.manifest.image_extension if dataset.manifest.members else ""
        made = read_provenance(dataset.metadata)
        self.from_files = made.get("recipe") != "shards"
        template = made.get("template")
        known = template if isinstance(template, dict) else {}
        base = str(known.get("base") or "")
        self._image = _below(base, str(known.get("image") or ""))
        self._sides = {
            extension: _below(base, text)
            for extension, name in (("txt", "caption"), ("json", "json"), *_further(known))
            if isinstance(text := known.get(name), str) and "{id}" in text
        }
        self._labelled = "{label}" in self._image

    def of_sample(
        self,
        split: str,
        entry: ShardEntry,
        key: str,
        label: str | None,
        source: str | None,
        members: list[dict[str, Any]],
    ) -> tuple[str | None, ...]:
        """The path of each member, in tar order; None for a label that is already in the image's path."""
        extensions = [member["ext"] for member in members]
        image = self._image_path(split, key, label, source)
        paths: list[str | None]
        if image is None:
            paths = [f"{split}/{key}.{extension}" for extension in extensions]
        else:
            stem = image.rpartition(".")[0]
            paths = [self._member(extension, image, stem, (split, label)) for extension in extensions]
            if (
                "txt" in extensions and paths.count(paths[extensions.index("txt")]) > 1
            ):  # the caption came from the document
                paths[extensions.index("txt")] = f"{stem}.txt"
        for path in paths:
            if path is not None:
                _refuse_odd(path, f"{entry.index_path}, sample {key[:_SHOWN]}")
        return tuple(paths)

    def _image_path(self, split: str, key: str, label: str | None, source: str | None) -> str | None:
        if not self.from_files:
            return None  # it was packed from other shards
        if source is not None:
            return source
        if "{id}" not in self._image or "*" in self._image:
            return None
        identity = key.removeprefix(f"{label}/") if label is not None and self._labelled else key
        return _filled(self._image, split, label, identity)

    def _member(self, extension: str, image: str, stem: str, place: tuple[str, str | None]) -> str | None:
        if extension == self._image_extension:
            return image if image.lower().endswith((f".{extension}", ".jpeg")) else f"{stem}.{extension}"
        if extension in self._sides:
            identity = _identity(self._image, image, *place)
            if identity is not None:
                return _filled(self._sides[extension], *place, identity)
        if extension == "cls" and self._labelled:
            return None
        return f"{stem}.{extension}"


def _further(known: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The extra members that have a template of their own, each with the template's name."""
    return [(name.removeprefix(_MEMBER), name) for name in known if name.startswith(_MEMBER)]


#: The prefix of the name of an extra member's template in provenance.
_MEMBER = "member "


def _below(base: str, template: str) -> str:
    return f"{base}/{template}" if base and template else template


def _filled(template: str, split: str, label: str | None, identity: str) -> str:
    return template.replace("{split}", split).replace("{label}", label or "").replace("{id}", identity)


def _identity(template: str, image: str, split: str, label: str | None) -> str | None:
    """What ``{id}`` stands for in an image's path; None if the path does not match the template."""
    before, _, after = template.partition("{id}")
    before, after = _filled(before, split, label, ""), _filled(after, split, label, "")
    if not image.startswith(before) or len(image) < len(before) + len(after):
        return None
    after = after if image.endswith(after) else "." + image.rpartition(".")[2]
    return image[len(before) : len(image) - len(after)]


def _refuse_odd(path: str, where: str) -> None:
    """Refuse a path that leads outside, is empty, or is not accepted by file systems; raises FormatError."""
    parts = path.split("/")
    if os.path.isabs(path) or not is_text(path) or "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise FormatError(
            "a name in an index is not a path inside the folder",
            code="path-unsafe",
            where=where,
            got=repr(path[:_SHOWN]),
            hint="get the dataset again from its origin",
        )
    if len(parts) > _MAX_PARTS or max(len(os.fsencode(part)) for part in parts) > _MAX_NAME_BYTES:
        raise FormatError(
            "a name in an index is too long for a file name",
            code="name-too-long",
            where=where,
            expected=f"at most {_MAX_NAME_BYTES} bytes, in at most {_MAX_PARTS - 1} folders",
            got=repr(path[:_SHOWN]),
            hint=f"leave this sample out: {option('where')} or {option('keys')}",
        )
