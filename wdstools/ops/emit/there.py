"""Look at what is in the places of emitted files: whether it exists, what it is, and whether we may replace or delete it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wdstools.errors import NotFoundError, StoreError, UsageError
from wdstools.formats.card import CARD_PATH
from wdstools.formats.digest import sha256_hex
from wdstools.landing.inside import read_inside, refuse_read_only
from wdstools.plan import Step
from wdstools.stores.local import LocalStore
from wdstools.stores.reading import sha256_there

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wdstools.dataset import Dataset
    from wdstools.interop.emitted import Emitted


def refuse_only_read(dataset: object) -> None:
    """Refuse a read-only address before any request to its server; raises UsageError (``read-only``)."""
    refuse_read_only(dataset, "run emit on the original, then mirror it with --emitted")


def card_of(dataset: Dataset) -> str:
    """The dataset's card; empty if there is none. Raises UsageError if it is not UTF-8."""
    try:
        return read_inside(dataset.metadata, CARD_PATH).decode()
    except NotFoundError:
        return ""
    except UnicodeDecodeError:
        raise UsageError("the card is not UTF-8", where=CARD_PATH) from None


def links_needed(dataset: Dataset) -> Iterable[str]:
    """The shards to which links are needed; raises StoreError if something else has the name of one."""
    apart = dataset.manifest.profile == "foreign" and dataset.metadata.url != dataset.shards.url
    if not apart or not isinstance(dataset.shards, LocalStore):
        return
    for _, entry in dataset.manifest.shards:
        if (is_there(dataset, entry.path) or is_link(dataset, entry.path)) and not is_our_link(dataset, entry.path):
            raise in_the_way(entry.path)
        yield entry.path


def is_link(dataset: Dataset, path: str) -> bool:
    """Whether there is a symbolic link."""
    return isinstance(dataset.metadata, LocalStore) and dataset.metadata.is_link(path)


def is_our_link(dataset: Dataset, path: str) -> bool:
    """Whether there is a link that leads to the shard; no other link is ours."""
    metadata, shards = dataset.metadata, dataset.shards
    if not is_link(dataset, path) or not isinstance(metadata, LocalStore) or not isinstance(shards, LocalStore):
        return False
    return os.readlink(metadata.locate(path)) == os.path.abspath(shards.locate(path))


def digest_of(dataset: Dataset, path: str) -> str | None:
    """The SHA-256 of a file; None if there is none."""
    return sha256_there(dataset.metadata, path) or None


def still_ours(dataset: Dataset, old: Emitted, paths: Iterable[str]) -> dict[str, str]:
    """The digests of those emitted files that exist; raises StoreError if somebody has changed one."""
    found = {path: digest for path in paths if (digest := digest_of(dataset, path)) is not None}
    for path, digest in found.items():
        if not old.made(path, digest):
            raise changed(path)
    return found


def kept_steps(old: Emitted) -> list[Step]:
    """Steps for files that stay because only the list of another version names them."""
    return [
        Step("keep", path, detail="on the list of another version; not known to have been emitted")
        for path in old.others
    ]


def is_there(dataset: Dataset, path: str) -> bool:
    """Whether there is a file."""
    try:
        dataset.metadata.head(path)
    except NotFoundError:
        return False
    return True


def must_write(dataset: Dataset, path: str, data: bytes, old: Emitted) -> bool:
    """Whether a file must be written; raises StoreError if somebody else's is in the way."""
    there = digest_of(dataset, path)
    if there is None:
        return True
    same = there == sha256_hex(data)
    if not same and path != CARD_PATH and not old.made(path, there):
        raise changed(path) if path in old.files else in_the_way(path)
    return not same


def changed(path: str) -> StoreError:
    """The error for a file that somebody has changed since it was emitted."""
    return StoreError(
        "a file has been changed since it was emitted, and is left as it is",
        code="emitted-changed",
        where=path,
        hint="move it away or delete it, then run the same command again",
    )


def in_the_way(path: str) -> StoreError:
    """The error for a file that is not ours."""
    return StoreError(
        "a file that wdstools did not write is in the way",
        code="file-in-the-way",
        where=path,
        hint="move it away; wdstools does not overwrite it",
    )
