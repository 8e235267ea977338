"""Names that are the same on a file system that ignores case or Unicode composition (macOS, Windows, exFAT, SMB)."""

from __future__ import annotations

import os
import unicodedata
from typing import TYPE_CHECKING

from wdstools.errors import UsageError, option
from wdstools.stores.abilities import TEMP_SUFFIX
from wdstools.stores.local import storage_error, temporary_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

#: The name to test a file system with. Temporary files of this name are ours, left by a run that was stopped.
PROBE = "\u00e9"


def name_folding(folder: str) -> Callable[[str], str] | None:
    """How a folder's file system folds names: two with the same result are one name there. None: it keeps all apart.

    Found out with a temporary file: macOS ignores case and Unicode composition, other file systems only case.
    """
    probe = temporary_name(PROBE)
    place = os.path.join(folder, probe)
    try:
        with open(place, "xb"):
            pass
        ignores_case = os.path.lexists(os.path.join(folder, probe.replace(TEMP_SUFFIX, TEMP_SUFFIX.upper())))
        composes = os.path.lexists(os.path.join(folder, unicodedata.normalize("NFD", probe)))
        os.unlink(place)
    except OSError as error:
        raise storage_error(error, folder) from None
    if not ignores_case and not composes:
        return None
    return lambda name: fold(name, case=ignores_case, composition=composes)


def fold(name: str, *, case: bool = True, composition: bool = True) -> str:
    """A name without case (Unicode's caseless matching), in a single Unicode composition, or both."""
    if name.isascii():
        return name.lower() if case else name
    name = unicodedata.normalize("NFD", name) if composition else name
    name = name.casefold() if case else name
    return unicodedata.normalize("NFD", name) if composition else name


def refuse_clashes(paths: Iterable[str], folding: Callable[[str], str] | None) -> None:
    """Refuse files that would overwrite each other, or whose folders would merge; raises UsageError.

    ``folding`` folds names as the file system does; None if it keeps all apart. Folders count, because one may be a
    label.
    """
    fold_name = folding or str
    files: dict[str, str] = {}
    parents: set[str] = set()
    for path in paths:
        name = fold_name(path)
        if name in files:
            raise _clash(files[name], path)
        files[name] = path
        parents.add(os.path.dirname(path))
    folders: dict[str, str] = {}
    for folder in sorted({above for parent in parents for above in _lineage(parent)}):
        name = fold_name(folder)
        if name in folders or name in files:
            raise _clash(folders.get(name) or files[name], f"{folder}/")
        folders[name] = folder


def _lineage(folder: str) -> Iterator[str]:
    """A folder and all its parents."""
    while folder:
        yield folder
        folder = os.path.dirname(folder)


def _clash(first: str, second: str) -> UsageError:
    if first == second:
        message = "two samples have the same file name"
        hint = f"extract one split at a time with {option('splits')}, or some samples with {option('keys')}"
    else:
        message = "two names are the same on this file system"
        hint = (
            f"choose a folder on a file system that keeps them apart, or some samples at a time with {option('keys')}"
        )
    return UsageError(message, code="names-collide", where=ascii(first), got=ascii(second), hint=hint)


def refuse_clashes_at(folder: str, paths: Iterable[str]) -> None:
    """``refuse_clashes`` as a folder's file system folds names, which is only tested if some names could clash."""
    known = sorted(set(paths))
    try:
        refuse_clashes(known, fold)
    except UsageError:
        refuse_clashes(known, name_folding(folder))
