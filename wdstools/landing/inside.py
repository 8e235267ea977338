"""A dataset may have come from anywhere: nothing is written or passed on through a link that leads out of it."""

from __future__ import annotations

import os
from shlex import quote
from typing import TYPE_CHECKING

from wdstools.address import display, is_address
from wdstools.errors import NotFoundError, StoreError, UsageError
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.stores.folders import refuse_nul
from wdstools.stores.local import LocalStore
from wdstools.stores.open import READ_ONLY, is_bucket
from wdstools.stores.reading import get_whole
from wdstools.units import some_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wdstools.dataset import Dataset
    from wdstools.options.declare import StrPath
    from wdstools.stores.base import Store

_MAX_BYTES = 1 << 30


def require_inside(root: str, paths: Iterable[str]) -> None:
    """Refuse to write or delete files whose folders are links that lead out of ``root``; raises StoreError (``path-unsafe``)."""
    inside = os.path.realpath(root)
    for folder in sorted({os.path.dirname(path) for path in paths}):
        place = os.path.realpath(os.path.join(root, folder))
        if os.path.commonpath((inside, place)) != inside:
            raise StoreError(
                "a folder of this dataset is a link that leads outside it: nothing was changed",
                code="path-unsafe",
                where=os.path.join(root, folder),
                got=place,
                hint="replace the link by a folder, or mount one there; verify reads through links",
            )


def read_inside(store: Store, path: str, limit: int = _MAX_BYTES) -> bytes:
    """A small file of a dataset that is passed on to another place; raises as ``get_whole`` and ``refuse_outside`` do."""
    refuse_outside(store, (path,))
    return get_whole(store, path, limit)


def refuse_outside(store: Store, paths: Iterable[str]) -> None:
    """Refuse files that are links out of the dataset's folder; raises StoreError (``path-unsafe``).

    The maker of a dataset must not be able to choose which of our files are copied or published with it.
    """
    if not isinstance(store, LocalStore):
        return
    inside = os.path.realpath(store.url)
    for path in paths:
        place = os.path.realpath(store.locate(path))
        if os.path.commonpath((inside, place)) != inside:
            raise StoreError(
                "a file of this dataset is a link that leads outside it: its target is not passed on",
                code="path-unsafe",
                where=store.locate(path),
                got=place,
                hint="replace the link by the file, or delete the link",
            )


def taken(dest: str, held: Iterable[str], *, is_dataset: bool, choose: str) -> StoreError:
    """The error for a destination that is not empty; ``choose`` says what to do if it does not hold a dataset."""
    return StoreError(
        "the destination already holds a dataset" if is_dataset else "the destination is not empty",
        code="destination-not-empty",
        where=dest,
        got=some_of(list(held)),
        hint=f"{choose}, or check the dataset that is here: wdstools verify {quote(dest)}"
        if is_dataset
        else f"{choose}; nothing was changed",
    )


def refuse_in_the_way(target: str, paths: Iterable[str], message: str, hint: str) -> None:
    """Raise StoreError (``file-in-the-way``) if any file to be written exists: nothing shows that it is ours."""
    there = [path for path in paths if os.path.lexists(os.path.join(target, path))]
    if there:
        raise StoreError(
            f"{message}: nothing was changed", code="file-in-the-way", where=target, got=some_of(there), hint=hint
        )


def lies(store: Store, key: str) -> bool:
    """Whether anything exists at a key; on a disk, a broken link counts too. Raises StoreError."""
    if isinstance(store, LocalStore):
        return os.path.lexists(store.locate(key))
    try:
        store.head(key)
    except NotFoundError:
        return False
    return True


def refuse_elsewhere(dest: str) -> None:
    """Refuse a destination that is not a folder on this machine; raises UsageError (``destination-elsewhere``)."""
    refuse_nul(dest)
    if not dest or is_address(dest):
        raise UsageError(
            "the destination must be a folder on this machine",
            code="destination-elsewhere",
            where=display(dest),
            hint="create it here, then send it with wdstools mirror; nothing was written",
        )


def refuse_read_only(place: object, hint: str) -> None:
    """Refuse a place that can only be read, before any request to its server; raises UsageError (``read-only``)."""
    address = os.fspath(place) if isinstance(place, str | os.PathLike) else ""
    if "://" in address and address.partition("://")[0] in READ_ONLY:
        raise UsageError("this place can only be read", code="read-only", where=display(address), hint=hint)


def require_here(dataset: object, message: str, hint: str) -> None:
    """Refuse an address where only a folder on this machine can be changed, before any request; raises UsageError."""
    address = os.fspath(dataset) if isinstance(dataset, str | os.PathLike) else ""
    if is_address(address) and not address.startswith("file://") and not os.path.exists(address):
        raise UsageError(message, where=display(address), expected="a folder on this machine", hint=hint)


def refuse_own_place(dataset: Dataset, dest: StrPath) -> None:
    """Refuse to write what is made from a dataset over the dataset itself, or inside it; raises UsageError."""
    place = dataset.metadata.url
    if dataset.manifest_key != MANIFEST_PATH or not (isinstance(dataset.metadata, LocalStore) or "://" in place):
        return  # only the manifest is there, or the dataset is in memory
    refuse_inside(place, dest)
    here, there = display(place).rstrip("/"), os.fspath(dest).rstrip("/")
    if here == there or (not is_address(there) and os.path.realpath(place) == os.path.realpath(there)):
        raise UsageError(
            "the destination is the dataset itself",
            code="destination-in-source",
            where=display(there),
            hint="choose another folder; nothing was written",
        )


def refuse_inside(source: str, dest: StrPath | Store) -> None:
    """Refuse a destination inside the source: the next scan would find shards among the images."""
    if not isinstance(dest, str | os.PathLike):
        return
    dest = os.fspath(dest)
    if is_bucket(source) or is_bucket(dest):
        outer, inner = f"{source.rstrip('/')}/", f"{dest.rstrip('/')}/"
        is_inside = inner.startswith(outer)
    else:
        refuse_nul(source)
        refuse_nul(dest)
        inner, outer = os.path.realpath(dest), os.path.realpath(source)
        is_inside = os.path.isdir(source) and inner != outer and inner.startswith(f"{outer.rstrip('/')}/")
    if is_inside:
        raise UsageError(
            "the destination is inside the source",
            code="destination-in-source",
            where=display(dest),
            got=f"source {display(source)}",
            hint="choose a folder outside the source; nothing was written",
        )
