"""What a store holds of a dataset, found out without a download: sizes, and the digests that its provider gives."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import xxhash

from wdstools.errors import NotFoundError, StoreError
from wdstools.stores.reading import read_blocks
from wdstools.stores.remote import disagreements, etag_md5

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wdstools.dataset import Dataset
    from wdstools.executors.base import Tick
    from wdstools.formats.manifest import ShardEntry
    from wdstools.stores.base import ObjectInfo, RemoteStore, Store

#: Everything that an object can be, compared with what it should be.
STATES = ("missing", "different", "same", "unverifiable", "extra")
#: Digests that no client can claim: an ETag is the store's own, and a disk is read.
_NEVER_CLAIMED = ("md5", "xxh3_128")
#: Digests that are worked out from the source when a provider gives them and nobody has noted them.
_COMPUTABLE = ("xxh3_128", "md5", "sha1")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file of a dataset: ``digests`` by name, lower-case hexadecimal, at least ``sha256``."""

    path: str
    bytes: int
    digests: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CompareTask:
    """One file to look for. ``found`` is its line of a listing; ``listed`` tells whether there was a listing.

    ``etag`` is what the object had when it was last proved, or empty. ``believed`` is whether the store was seen to
    refuse a wrong checksum: if not, it may repeat what it was told, and only what it computes itself counts.
    """

    dataset: Dataset
    target: RemoteStore
    wanted: Wanted
    found: ObjectInfo | None
    listed: bool
    believed: bool
    etag: str = ""


@dataclass(frozen=True, slots=True)
class ObjectState:
    """What became of a comparison; ``state`` is one of STATES. ``computed`` are digests worked out on the way."""

    wanted: Wanted
    state: str
    detail: str
    computed: Mapping[str, str]


def shard_file(entry: ShardEntry) -> Wanted:
    """A shard as a file, with the digests of the manifest."""
    digests = {name: getattr(entry, name) for name in ("sha256", "xxh3_128", "crc32c", "crc64nvme")}
    return Wanted(entry.path, entry.bytes, digests)


def compare_object(task: CompareTask, tick: Tick) -> ObjectState:
    """Compare one object with what it should be. Nothing but headers is read from the store."""
    wanted, found = task.wanted, task.found
    tick(1)
    try:
        if found is None:
            if task.listed:
                return ObjectState(wanted, "missing", "", {})
            found = task.target.head(wanted.path)
        if found.bytes != wanted.bytes:
            return ObjectState(wanted, "different", f"{found.bytes:,} bytes instead of {wanted.bytes:,}", {})
        if "md5" in wanted.digests and etag_md5(found.etag) == wanted.digests["md5"]:
            return ObjectState(wanted, "same", "", {})
        given = evidence(task.target.remote_digests(wanted.path), believed=task.believed)
    except NotFoundError:
        return ObjectState(wanted, "missing", "", {})
    known, computed = known_digests(task.dataset, wanted, given)
    differing = disagreements(known, given)
    if differing is None:
        if task.etag and found.etag == task.etag:
            return ObjectState(wanted, "same", "its ETag is the one it was stored under", computed)
        return ObjectState(wanted, "unverifiable", "the store gives no digest that can be compared", computed)
    if differing:
        return ObjectState(wanted, "different", f"{differing[0]} is {given[differing[0]]}", computed)
    return ObjectState(wanted, "same", "", computed)


def listing(store: RemoteStore) -> dict[str, ObjectInfo] | None:
    """What lies in a store by key; None where a store cannot list."""
    try:
        return {info.key: info for info in store.list()}
    except NotFoundError:
        return {}
    except StoreError as error:
        if error.code == "store-cannot":
            return None
        raise


def evidence(given: Mapping[str, str], *, believed: bool) -> Mapping[str, str]:
    """Those of a store's digests that prove something."""
    return given if believed else {name: value for name, value in given.items() if name in _NEVER_CLAIMED}


def known_digests(
    dataset: Dataset, wanted: Wanted, given: Iterable[str]
) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """The digests of a file, and those of them that had to be computed from the source to compare with ``given``.

    Nothing is computed if one that can be compared is known.
    """
    given = set(given)
    if given & set(wanted.digests):
        return wanted.digests, {}
    names = [name for name in _COMPUTABLE if name in given]
    if not names:
        return wanted.digests, {}
    # as for what is sent, the fast digest finds accidents; where forgers count, or there is none, the other
    proof = "sha256" if dataset.anchored or "xxh3_128" not in wanted.digests else "xxh3_128"
    running = {name: _running(name) for name in {*names, proof}}
    for block in read_blocks(holder(dataset, wanted.path), wanted.path):
        for digest in running.values():
            digest.update(block)
    if running[proof].hexdigest() != wanted.digests[proof]:
        return wanted.digests, {}  # a damaged source proves nothing
    computed = {name: str(running[name].hexdigest()) for name in names}
    return {**wanted.digests, **computed}, computed


def _running(name: str) -> Any:
    return xxhash.xxh3_128() if name == "xxh3_128" else hashlib.new(name)


def holder(dataset: Dataset, path: str) -> Store:
    """The store in which a file of a dataset lies: shards may be elsewhere, and indexes with them."""
    if any(entry.path == path for _, entry in dataset.manifest.shards):
        return dataset.shards
    try:
        dataset.metadata.head(path)
    except NotFoundError:
        return dataset.shards
    return dataset.metadata
