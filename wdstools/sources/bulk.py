"""Captions of all images in one file, and lists of ids: what lies beside the images rather than with each."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from wdstools.errors import FormatError, NotFoundError, UsageError
from wdstools.sources.base import is_text, join_path
from wdstools.sources.table import (
    CAPTION_COLUMNS,
    ID_COLUMNS,
    PATH_COLUMNS,
    TABLE_EXTENSIONS,
    Row,
    as_json,
    read_table,
    read_whole,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wdstools.sources.tree import Tree


def read_rows(tree: Tree, path: str, caption: str | None) -> dict[str, Row]:
    """What one file of a tree says of each image, by id; ``caption`` is the caption's field, else one that is usual.

    Raises FormatError (``table-damaged``) for a file that cannot be read or that gives an id twice.
    """
    data = _read(tree, path)
    rows: dict[str, Row] = {}
    for name, said in _entries(data, path):
        if name in rows:
            raise _damaged(path, f"{name} is there twice")
        rows[name] = _row(said, caption)
    return rows


def has_lists(tree: Tree, base: str, lists: str) -> bool:
    """Whether there is a list of ids called as the pattern says."""
    return bool(_lists(tree, base, lists))


def read_split_lists(tree: Tree, base: str, lists: str) -> dict[str, str]:
    """The split of each id, from lists called as the pattern says: a line an id, what follows a comma left out.

    Raises UsageError (``split-lists``) for an id in two lists, and FormatError for a list that is not UTF-8.
    """
    split_of: dict[str, str] = {}
    for split, path in _lists(tree, base, lists).items():
        try:
            lines = _read(tree, path).decode("utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise _damaged(path, "it is not UTF-8") from error
        for line in lines:
            sample = line.split(",", 1)[0].strip().removesuffix(".jpg")
            if sample and split_of.setdefault(sample, split) != split:
                got = f"{split_of[sample]} and {split}"
                raise UsageError("a sample is in two split lists", code="split-lists", where=sample, got=got)
    return split_of


def _lists(tree: Tree, base: str, lists: str) -> dict[str, str]:
    """The lists' paths by split."""
    folder, _, pattern = lists.rpartition("/")
    before, after = map(re.escape, pattern.split("{split}", 1))
    place = join_path(base, folder) if folder else base
    held = tree.list(place)
    matches = ((re.fullmatch(f"{before}(.+){after}", name), name) for name in (held.files if held else ()))
    return {match[1]: join_path(place, name) for match, name in matches if match}


def _read(tree: Tree, path: str) -> bytes:
    folder, _, name = path.rpartition("/")
    held = tree.list(folder)
    if held is None or name not in held.files:
        raise NotFoundError("no such file", where=path)
    reader = tree.opener.open()
    try:
        return read_whole(reader, path, held.entries[held.files.index(name)] if held.entries else None)
    finally:
        reader.close()


def _entries(data: bytes, path: str) -> Iterable[tuple[str, Any]]:
    """Ids and what is said of each."""
    if path.lower().endswith(TABLE_EXTENSIONS):
        return ((_id_of(row, path), row) for row in read_table(data, path).to_pylist())
    try:
        document = json.loads(data, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    if isinstance(document, list):
        return ((_id_of(row, path), row) for row in document)
    if not isinstance(document, dict):
        raise _damaged(path, f"it holds {type(document).__name__}")
    return document.items()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; of two values under one name JSON readers keep either, so there may be only one."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)} is there twice")
    return found


def _id_of(row: object, path: str) -> str:
    """The id of a row: what it says, or the name of its file without the extension."""
    if isinstance(row, dict):
        for name in ID_COLUMNS:
            if isinstance(row.get(name), (str, int)):
                return str(row[name])
        for name in PATH_COLUMNS:
            if isinstance(row.get(name), str):
                return str(row[name]).rpartition("/")[2].rpartition(".")[0]
    raise _damaged(path, f"a row without {' or '.join((*ID_COLUMNS, *PATH_COLUMNS))}")


def _row(said: object, caption: str | None) -> Row:
    if not isinstance(said, dict):
        return Row(caption=said if isinstance(said, str) else None)
    name = caption or next((name for name in CAPTION_COLUMNS if name in said), "")
    text = said.get(name)
    rest: Mapping[str, Any] = {key: value for key, value in said.items() if key != name}
    more = as_json(rest) if rest else None
    if more is not None and not is_text(more):  # half of a character that was cut: written as JSON escapes
        more = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return Row(text if isinstance(text, str) else None, more)


def _damaged(path: str, why: str) -> FormatError:
    return FormatError(
        f"the table cannot be read: {why}",
        code="table-damaged",
        where=path,
        expected="UTF-8; JSON: captions, or objects, by id, or a list of objects with an id",
    )
