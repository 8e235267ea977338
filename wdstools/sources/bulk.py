"""Captions of all images in one file that a recipe names, and lists of ids: data about many images, in one place."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from wdstools.errors import NotFoundError, UsageError
from wdstools.sources.base import join_path
from wdstools.sources.columns import CAPTION_COLUMNS, ID_COLUMNS, PATH_COLUMNS, Said, captions_in
from wdstools.sources.rows import BadRow, damaged, read_rows
from wdstools.sources.tables_beside import open_member

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wdstools.sources.tree import Tree


def read_captions(tree: Tree, path: str, caption: str | None) -> dict[str, Said]:
    """What one file of a tree says about each image, by id; ``caption`` is the field of the caption, by default a usual one.

    Raises FormatError (``table-damaged``) for a file that cannot be read or that repeats an id.
    """
    found: dict[str, Said] = {}
    with open_member(tree, path, _entry(tree, path)) as file:
        for number, row in read_rows(file, path):
            if isinstance(row, BadRow):
                raise damaged(path, f"row {number}: {row.detail}")
            name, column = _id_of(row, path)
            if name in found:
                raise damaged(path, f"{name} appears twice")
            found[name] = _said(row, caption, column)
    return found


def _said(row: Mapping[str, Any], caption: str | None, id_column: str) -> Said:
    name = (
        caption
        if caption is not None and caption in row
        else next((name for name in CAPTION_COLUMNS if name in row), "")
    )
    hidden = {name, id_column} if id_column in ID_COLUMNS else {name}
    captions = captions_in(row.get(name)) or []
    return Said(captions, more={column: value for column, value in row.items() if column not in hidden})


def has_lists(tree: Tree, base: str, lists: str) -> bool:
    """Whether there is a list of ids whose name matches the pattern."""
    return bool(split_lists(tree, base, lists))


def read_split_lists(tree: Tree, base: str, lists: str) -> dict[str, str]:
    """The split of each id, from lists whose names match the pattern: one id per line, up to the first comma.

    Raises UsageError (``split-lists``) for an id in two lists, and FormatError for a list that is not UTF-8.
    """
    split_of: dict[str, str] = {}
    for split, path in split_lists(tree, base, lists).items():
        with open_member(tree, path, _entry(tree, path)) as file:
            try:
                lines = file.read().decode("utf-8-sig").splitlines()
            except UnicodeDecodeError:
                raise damaged(path, "it is not UTF-8") from None
        for line in lines:
            sample = line.split(",", 1)[0].strip().removesuffix(".jpg")
            if sample and split_of.setdefault(sample, split) != split:
                got = f"{split_of[sample]} and {split}"
                raise UsageError("a sample is in two split lists", code="split-lists", where=sample, got=got)
    return split_of


def split_lists(tree: Tree, base: str, lists: str) -> dict[str, str]:
    """The lists' paths by split."""
    folder, _, pattern = lists.rpartition("/")
    before, after = map(re.escape, pattern.split("{split}", 1))
    place = join_path(base, folder) if folder else base
    held = tree.list(place)
    matches = ((re.fullmatch(f"{before}(.+){after}", name), name) for name in (held.files if held else ()))
    return {match[1]: join_path(place, name) for match, name in matches if match}


def _entry(tree: Tree, path: str) -> bytes | None:
    folder, _, name = path.rpartition("/")
    held = tree.list(folder)
    if held is None or name not in held.files:
        raise NotFoundError("no such file", where=path)
    return held.entry(name)


def _id_of(row: Mapping[str, Any], path: str) -> tuple[str, str]:
    """The id of a row and its column: the id itself, or the name of its file without the extension."""
    for name in ID_COLUMNS:
        if isinstance(row.get(name), str | int):
            return str(row[name]), name
    for name in PATH_COLUMNS:
        if isinstance(row.get(name), str):
            return str(row[name]).rpartition("/")[2].rpartition(".")[0], name
    raise damaged(path, f"a row without {' or '.join((*ID_COLUMNS, *PATH_COLUMNS))}")
