"""What a store holds of a dataset, found out without a download: sizes, and the digests that its provider returns."""

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

#: All results of comparing an object with what it should be.
STATES = ("missing", "different", "same", "unverifiable", "extra")
#: Digests that no client can supply: an ETag is the store's own, and a file on disk is read.
_NEVER_CLAIMED = ("md5", "xxh3_128")
#: Digests that are computed from the source if a provider returns them and they are not known yet.
_COMPUTABLE = ("xxh3_128", "md5", "sha1")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file of a dataset: ``digests`` by name, lower-case hexadecimal, at least ``sha256``."""

    path: str
    bytes: int
    digests: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CompareTask:
    """One file to look for. ``found`` is its entry in the listing; ``listed`` says whether there was a listing.

    ``etag`` is the ETag of the object when it was last proved, or empty. ``believed`` is whether the store was seen to
    refuse a wrong checksum: if not, it may repeat what it was sent, and only what it computes itself counts.
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
    """The result of a comparison; ``state`` is one of STATES. ``computed`` are digests computed along the way."""

    wanted: Wanted
    state: str
    detail: str
    computed: Mapping[str, str]


def shard_file(entry: ShardEntry) -> Wanted:
    """A shard as a file, with the digests of the manifest."""
    digests = {name: getattr(entry, name) for name in ("sha256", "xxh3_128", "crc32c", "crc64nvme")}
    return Wanted(entry.path, entry.bytes, digests)


def compare_object(task: CompareTask, tick: Tick) -> ObjectState:
    """Compare one object with what it should be. Only headers are read from the store."""
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
            return ObjectState(wanted, "same", "it still has the ETag it was stored under", computed)
        return ObjectState(wanted, "unverifiable", "the store returns no digest that can be compared", computed)
    if differing:
        return ObjectState(wanted, "different", f"{differing[0]} is {given[differing[0]]}", computed)
    return ObjectState(wanted, "same", "", computed)


def listing(store: RemoteStore) -> dict[str, ObjectInfo] | None:
    """The objects of a store by key; None if the store cannot list."""
    try:
        return {info.key: info for info in store.list()}
    except NotFoundError:
        return {}
    except StoreError as error:
        if error.code == "store-cannot":
            return None
        raise


def evidence(given: Mapping[str, str], *, believed: bool) -> Mapping[str, str]:
    """The digests from a store that prove something."""
    return given if believed else {name: value for name, value in given.items() if name in _NEVER_CLAIMED}


def known_digests(
    dataset: Dataset, wanted: Wanted, given: Iterable[str]
) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """The digests of a file, and those among them that were computed from the source to compare with ``given``.

    Nothing is computed if a known digest can be compared.
    """
    given = set(given)
    if given & set(wanted.digests):
        return wanted.digests, {}
    names = [name for name in _COMPUTABLE if name in given]
    if not names:
        return wanted.digests, {}
    # as for uploads: the fast digest finds accidents; against forgery, or without a fast digest, SHA-256
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
    """The store that holds a file of a dataset: shards may be elsewhere, and their indexes with them."""
    if any(entry.path == path for _, entry in dataset.manifest.shards):
        return dataset.shards
    try:
        dataset.metadata.head(path)
    except NotFoundError:
        return dataset.shards
    return dataset.metadata
