"""Repair added columns: each damaged file is taken from a copy that has it with the listed digest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wdstools.columns.sets import listed_files, names_in, read_set, sums_in
from wdstools.errors import FormatError, StoreError
from wdstools.formats.columns import set_path
from wdstools.formats.manifest import COLUMNS_LIST
from wdstools.ops.repair.copies import read_or_none
from wdstools.ops.repair.files import CopiedFile, SmallFile
from wdstools.results import Finding
from wdstools.stores.reading import sha256_there

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wdstools.ops.repair.copies import StoreCopy
    from wdstools.ops.repair.truth import Truth
    from wdstools.stores.base import Store
    from wdstools.stores.local import LocalStore


def mend_columns(
    store: LocalStore, copies: Sequence[StoreCopy], truth: Truth
) -> tuple[list[SmallFile | CopiedFile], list[Finding]]:
    """Replacements for column files that differ from their list, and findings for those that no copy has.

    The files are compared block by block: none of them is in memory whole.
    """
    own = read_or_none(store, COLUMNS_LIST)
    if own is None:
        return [], []
    lists = [("", own), *((copy.name, data) for copy in copies if (data := copy.file(COLUMNS_LIST)) is not None)]
    origin, data = next(((name, found) for name, found in lists if _is_list(found)), ("", None))
    if data is None:
        return [], [Finding("columns", COLUMNS_LIST, "no copy has it", cause="no-copy")]
    files: list[SmallFile | CopiedFile] = [SmallFile(COLUMNS_LIST, data, origin)] if origin else []
    unsolved: list[Finding] = []
    sums = sums_in(data)
    for path, digest in ((path, sums[path]) for path in listed_files(sums)):
        here = _digest_in(store, path)
        if here == digest:
            continue
        places = (copy.store for copy in copies if copy.only is None)
        whole = next((place for place in places if _digest_in(place, path) == digest), None)
        if whole is not None:
            files.append(CopiedFile(path, digest, whole.head(path).bytes, whole))
        else:
            kind = "columns" if here else "missing"
            unsolved.append(Finding(kind, path, "no copy has it", expected=digest, cause="no-copy"))
    return files, [*unsolved, *_stale(store, sums, truth)]


def _digest_in(store: Store, path: str) -> str:
    """The SHA-256 of a file, read block by block; empty if it cannot be read."""
    try:
        return sha256_there(store, path)
    except StoreError:
        return ""


def columns_here(store: LocalStore) -> list[str]:
    """The names of the column sets stored with a dataset; none if their list cannot be read."""
    data = read_or_none(store, COLUMNS_LIST)
    return names_in(sums_in(data)) if data is not None and _is_list(data) else []


def _is_list(data: bytes) -> bool:
    try:
        return bool(sums_in(data))
    except FormatError:
        return False


def _stale(store: LocalStore, sums: Mapping[str, str], truth: Truth) -> list[Finding]:
    """Findings for sets made for another version of the dataset: undamaged, but of no use here."""
    found = []
    for name in names_in(sums):
        try:
            columns = read_set(store, name, sums[set_path(name)])
        except (FormatError, StoreError):
            continue
        if columns.root != truth.manifest.root:
            message = "these columns were made for another version of the dataset; wdstools columns rm removes them"
            found.append(Finding("columns", columns.path, message, got=columns.root, cause="columns-of-another"))
    return found
