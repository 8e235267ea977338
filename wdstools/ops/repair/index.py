"""Indexes in a repair: find one to repair a shard with, and replace damaged ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wdstools.checks.metadata import few_bits_apart, read_list, undo_flipped_bit
from wdstools.checks.rebuild import first_difference, rebuild_index
from wdstools.errors import FormatError, StoreError
from wdstools.formats.digest import sha256_hex
from wdstools.formats.index import check_bounds, misplaced, read_index, unlike, write_index
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.ops.repair.copies import StoreCopy, read_or_none
from wdstools.stores.reading import read_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from wdstools.formats.manifest import Manifest, ShardEntry
    from wdstools.ops.repair.copies import Copy
    from wdstools.ops.repair.truth import Truth
    from wdstools.stores.base import Store
    from wdstools.stores.local import LocalStore

_MAX_INDEX_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class IndexRepair:
    """An index to write: ``data`` or, if that is None, one rebuilt from its shard."""

    split: str
    entry: ShardEntry
    data: bytes | None
    origin: str


def usable_index(
    store: LocalStore, entry: ShardEntry, split: str, manifest: Manifest, copies: Sequence[Copy]
) -> pa.Table | None:
    """An index that the manifest's ``rows`` and ``values`` prove: the dataset's own, a copy's, or one rebuilt from a shard."""
    own = read_or_none(store, entry.index_path, _MAX_INDEX_BYTES)
    for data in (own, *(copy.file(entry.index_path) for copy in copies)):
        table = _proved(data, entry, split)
        if table is not None:
            return table
    for place, path in _shards(store, entry, copies):
        table = _rebuilt((place, path), split, entry, manifest)
        if table is not None and unlike(table, entry) is None:
            return table
    for copy in copies:
        table = copy.index(split, entry)
        if table is not None and unlike(table, entry) is None:
            return table
    return None


def _shards(store: LocalStore, entry: ShardEntry, copies: Sequence[Copy]) -> Iterator[tuple[Store, str]]:
    yield store, entry.path
    for copy in copies:
        if isinstance(copy, StoreCopy) and (path := copy.locate(entry)) is not None:
            yield copy.store, path


def _rebuilt(place: tuple[Store, str], split: str, entry: ShardEntry, manifest: Manifest) -> pa.Table | None:
    store, path = place
    try:
        return rebuild_index(
            read_blocks(store, path),
            path=entry.path,
            split=split,
            labels=manifest.labels,
            authenticated=manifest.authenticated_ranges,
        ).table
    except StoreError:
        return None


def _proved(data: bytes | None, entry: ShardEntry, split: str) -> pa.Table | None:
    """The index in ``data``, if it matches the manifest."""
    if data is None:
        return None
    try:
        table = read_index(data, where=entry.index_path)
        check_bounds(table, entry.samples, entry.bytes, where=entry.index_path)
    except FormatError:
        return None
    return table if unlike(table, entry) is None and misplaced(table, split) is None else None


def listed_digests(store: LocalStore, truth: Truth) -> dict[str, str]:
    """The dataset's checksum list, path -> SHA-256; empty if it belongs to another manifest."""
    listed = read_list(store)[0]
    return listed if listed.get(MANIFEST_PATH) == truth.manifest.root else {}


def choose_index(
    store: LocalStore, copies: Sequence[StoreCopy], shard: tuple[str, ShardEntry], digest: str | None, truth: Truth
) -> IndexRepair | None:
    """What to replace an index with; None if it is whole.

    Its rows and values must match the manifest, and its bytes ``digest``, which is the checksum list's, where that has one.
    If the manifest has no digest of values and its root was given, the values are compared with the shard.
    """
    split, entry = shard
    path = entry.index_path
    own = read_or_none(store, path, _MAX_INDEX_BYTES)
    table = _proved(own, entry, split)
    if table is not None and truth.anchored and not entry.values:
        rebuilt = _rebuilt((store, entry.path), split, entry, truth.manifest)
        if rebuilt is None or unlike(rebuilt, entry) is not None or first_difference(rebuilt, table) is not None:
            return IndexRepair(split, entry, None, "its shard")
    if own is not None and table is not None and digest in (None, sha256_hex(own)):
        return None
    for copy in copies:
        data = copy.file(path)
        if data is not None and _proved(data, entry, split) is not None and digest in (None, sha256_hex(data)):
            return IndexRepair(split, entry, data, copy.name)
    mended = undo_flipped_bit(own, digest) if own is not None and digest is not None else None
    if mended is not None:
        return IndexRepair(split, entry, mended, "undoing one bit")
    if (
        own is not None
        and digest is not None
        and few_bits_apart(sha256_hex(own), digest)
        and _proved(own, entry, split)
    ):
        return None  # it is the list's line that is damaged
    return IndexRepair(split, entry, None, "its shard")


def make_index(store: LocalStore, repair: IndexRepair, manifest: Manifest) -> bytes:
    """The bytes of an index to write; raises FormatError if the one rebuilt from its shard does not match the manifest."""
    if repair.data is not None:
        return repair.data
    table = _rebuilt((store, repair.entry.path), repair.split, repair.entry, manifest)
    if table is None or unlike(table, repair.entry) is not None:
        raise FormatError(
            "the index rebuilt from its shard does not match the manifest",
            code="index-damaged",
            where=repair.entry.index_path,
        )
    return write_index(table)
