"""What lies where emitted files go: whether it is there, what it is, and whether it is ours to replace or delete."""

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
    """Refuse an address at which nothing can be written, before its server is asked; raises UsageError (``read-only``)."""
    refuse_read_only(dataset, "emit beside the original, and mirror it with --emitted")


def card_of(dataset: Dataset) -> str:
    """The dataset's card; empty where there is none. Raises UsageError where it is not UTF-8."""
    try:
        return read_inside(dataset.metadata, CARD_PATH).decode()
    except NotFoundError:
        return ""
    except UnicodeDecodeError:
        raise UsageError("the card is not UTF-8", where=CARD_PATH) from None


def links_needed(dataset: Dataset) -> Iterable[str]:
    """The shards to which links are needed; raises StoreError where something else has the name of one."""
    apart = dataset.manifest.profile == "foreign" and dataset.metadata.url != dataset.shards.url
    if not apart or not isinstance(dataset.shards, LocalStore):
        return
    for _, entry in dataset.manifest.shards:
        if (is_there(dataset, entry.path) or is_link(dataset, entry.path)) and not is_our_link(dataset, entry.path):
            raise in_the_way(entry.path)
        yield entry.path


def is_link(dataset: Dataset, path: str) -> bool:
    """Whether a symbolic link lies there."""
    return isinstance(dataset.metadata, LocalStore) and dataset.metadata.is_link(path)


def is_our_link(dataset: Dataset, path: str) -> bool:
    """Whether a link leads to where the shard lies: no other one is ours."""
    metadata, shards = dataset.metadata, dataset.shards
    if not is_link(dataset, path) or not isinstance(metadata, LocalStore) or not isinstance(shards, LocalStore):
        return False
    return os.readlink(metadata.locate(path)) == os.path.abspath(shards.locate(path))


def digest_of(dataset: Dataset, path: str) -> str | None:
    """The SHA-256 of what lies there; None where nothing does."""
    return sha256_there(dataset.metadata, path) or None


def still_ours(dataset: Dataset, old: Emitted, paths: Iterable[str]) -> dict[str, str]:
    """The digests of those of the emitted files that are there; raises StoreError where somebody has changed one."""
    found = {path: digest for path in paths if (digest := digest_of(dataset, path)) is not None}
    for path, digest in found.items():
        if not old.made(path, digest):
            raise changed(path)
    return found


def kept_steps(old: Emitted) -> list[Step]:
    """What stays because only the list of another version names it."""
    return [Step("keep", path, detail="on the list of another version: not known to be emitted") for path in old.others]


def is_there(dataset: Dataset, path: str) -> bool:
    """Whether a file lies there."""
    try:
        dataset.metadata.head(path)
    except NotFoundError:
        return False
    return True


def must_write(dataset: Dataset, path: str, data: bytes, old: Emitted) -> bool:
    """Whether a file must be written; raises StoreError where another's is in the way."""
    there = digest_of(dataset, path)
    if there is None:
        return True
    same = there == sha256_hex(data)
    if not same and path != CARD_PATH and not old.made(path, there):
        raise changed(path) if path in old.files else in_the_way(path)
    return not same


def changed(path: str) -> StoreError:
    """The error of a file that somebody changed since it was emitted."""
    return StoreError(
        "an emitted file was changed since: it stays as it is",
        code="emitted-changed",
        where=path,
        hint="move it away or delete it; then run the same command again",
    )


def in_the_way(path: str) -> StoreError:
    """The error of a file that is not ours."""
    return StoreError(
        "a file that wdstools did not write is in the way",
        code="file-in-the-way",
        where=path,
        hint="move it away; it is not overwritten",
    )
