"""Folders whose files belong to the images of another folder: ``masks/x.png`` and ``embeddings/x.npy`` for ``images/x.jpg``.

They are arranged like ``images``: next to it, or with the same subfolders (``images/train`` and ``masks/train``).
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from wdstools.sources.base import join_path
from wdstools.sources.source_words import IMAGE_FOLDERS, METADATA_OF_ONE, extension_of, is_image, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping

    from wdstools.sources.tree import Tree
    from wdstools.sources.wrapping import Facts

_KINDS = ("images", "arrays", "sound and video")


def find_parallels(
    tree: Tree, folders: Mapping[str, Facts], given: list[str], parts_of: Callable[[str], list[str]]
) -> dict[str, list[tuple[str, str]]]:
    """Folders of further members, each with the kind of its files, by the folder of images to which they belong."""
    parallels: dict[str, list[tuple[str, str]]] = {}
    counts: Counter[tuple[str, bool]] = Counter()
    for path in given:
        candidates = list(_candidates(folders, path, parts_of(path)))
        if candidates:
            held = tree.list(path)
            stems = {name.rpartition(".")[0] for name in held.files if is_image(name)} if held else set()
            for folder, word in candidates:
                counts.update(_owned(tree, folder, word, stems))
            parallels[path] = candidates
    words = {word for word, _ in counts if counts[word, True] > counts[word, False]}
    chosen = {path: [one for one in folders if one[1] in words] for path, folders in parallels.items()}
    parallels = {path: folders for path, folders in chosen.items() if folders}
    taken = {folder for folders in parallels.values() for folder, _ in folders}
    return {path: folders for path, folders in parallels.items() if path not in taken}


def _candidates(folders: Mapping[str, Facts], path: str, parts: list[str]) -> Iterator[tuple[str, str]]:
    """Folders in the same position as a folder of images, with another name in place of ``images``; or one level deeper."""
    for at, part in enumerate(parts):
        if part.lower() not in IMAGE_FOLDERS:
            continue
        behind = parts[at + 1 :]
        above = path.removesuffix("/".join(parts[at:])).rstrip("/")
        for name in folders[above].folders:
            if name.lower() in IMAGE_FOLDERS:
                continue
            beside = join_path(above, name)
            deeper = [join_path(beside, inner) for inner in folders[beside].folders] if beside in folders else []
            for root in (beside, *deeper):
                place = "/".join([root, *behind])
                if place in folders and (folders[place].images or folders[place].others):
                    yield place, singular(root.rpartition("/")[2])


def _owned(tree: Tree, folder: str, word: str, stems: set[str]) -> Counter[tuple[str, bool]]:
    """How many of a folder's possible member files are named after images, and how many are not."""
    held = tree.list(folder)
    names = [name for name in held.files if is_member_file(name)] if held else []
    return Counter((word, owner_of(name, word, stems) is not None) for name in names)


def is_member_file(name: str) -> bool:
    """Whether a file may be a further member of an image in another folder."""
    return kind_of(name) in _KINDS or extension_of(name) in METADATA_OF_ONE


def owner_of(name: str, word: str, stems: Container[str]) -> str | None:
    """The stem of the image to which a file belongs: ``x.png``, or ``x_mask.png`` among masks; None if there is none."""
    stem = name.rpartition(".")[0]
    if stem in stems:
        return stem
    for end in (f"_{word}", f"-{word}", f".{word}"):
        if stem.lower().endswith(end) and stem[: -len(end)] in stems:
            return stem[: -len(end)]
    return None


def singular(name: str) -> str:
    """The kind of a folder's files, as part of a member's name: a file in ``masks`` is a ``mask``."""
    word = re.sub(r"[^a-z0-9_]", "_", name.lower()).strip("_") or "more"
    return word[:-1] if len(word) > 1 and word[-1] == "s" and word[-2] != "s" else word


def member_called(name: str, word: str) -> str:
    """The member name of a file in such a folder: the extension of an array or a document, with the folder's word for an image."""
    extension = extension_of(name)
    return f"{word}.{extension}" if kind_of(name) == "images" else extension
