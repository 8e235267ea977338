"""What a store really does, found out by trying: a claim of support is not enough."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import xxhash

from wdstools.errors import StoreError
from wdstools.stores.base import ABSENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wdstools.stores.base import RemoteStore

_ALL = ("sha256", "sha1", "md5", "xxh3_128", "crc32c", "crc32", "crc64nvme")
_CONTENT = bytes(range(256)) * 16


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a store was seen to do. False means tried and failed.

    ``refuses_wrong_checksum``: it refuses a put whose bytes do not match the checksum sent with them (None: no checksum
    can be sent). ``creates``: it refuses a put that requires a new key if the key exists. ``replaces``: it refuses a
    put that requires another version. ``ranges``: it answers a range with exactly that range. ``digests``: the digests
    that it returned correctly.
    """

    refuses_wrong_checksum: bool | None
    creates: bool
    replaces: bool
    ranges: bool
    digests: tuple[str, ...]

    @property
    def believed(self) -> tuple[str, ...]:
        """The digests that prove something, even about objects that others stored under other checksums.

        A store that accepts a wrong checksum may merely repeat what it was sent: only digests that it was never sent
        count.
        """
        if self.refuses_wrong_checksum:
            return _ALL
        never_told = ("md5", "xxh3_128") if self.refuses_wrong_checksum is False else _ALL
        return tuple(name for name in self.digests if name in never_told)


def probe(store: RemoteStore, folder: str = ".wdstools/probe") -> Capabilities:
    """Try everything on small objects below ``folder``, then remove them; raises StoreError if it cannot write."""
    with _object(store, f"{folder}/object") as key:
        first = store.put_data(key, _CONTENT)
        creates = _refused(store, key, ABSENT)
        store.put_data(key, _CONTENT[::-1])
        replaces = _refused(store, key, first.etag) if first.etag else False
        store.put_data(key, _CONTENT)
        return Capabilities(_refuses(store, f"{folder}/wrong"), creates, replaces, _ranges(store, key), _right_digests(store, key))  # fmt: skip


def _refused(store: RemoteStore, key: str, only_if: str) -> bool:
    try:
        store.put_data(key, b"this must not be stored", only_if=only_if)
    except StoreError as error:
        return error.code in ("object-exists", "object-changed")
    return False


def _refuses(store: RemoteStore, key: str) -> bool | None:
    with _object(store, key):
        try:
            return store.put_wrong(key)
        except StoreError as error:
            if error.code == "store-cannot":
                return None
            raise


def _ranges(store: RemoteStore, key: str) -> bool:
    try:
        return store.fetch(key, 100, 50) == _CONTENT[100:150]
    except StoreError:
        return False


def _right_digests(store: RemoteStore, key: str) -> tuple[str, ...]:
    """The digests that the store returns correctly for an object whose digests are known."""
    from awscrt import checksums

    known = {
        "sha256": hashlib.sha256(_CONTENT).hexdigest(),
        "sha1": hashlib.sha1(_CONTENT).hexdigest(),  # noqa: S324  # what a provider computes, not what is trusted
        "md5": hashlib.md5(_CONTENT).hexdigest(),  # noqa: S324
        "xxh3_128": xxhash.xxh3_128_hexdigest(_CONTENT),
        "crc32c": f"{checksums.crc32c(_CONTENT):08x}",
        "crc32": f"{checksums.crc32(_CONTENT):08x}",
        "crc64nvme": f"{checksums.crc64nvme(_CONTENT):016x}",
    }
    return tuple(sorted(name for name, value in store.remote_digests(key).items() if known.get(name) == value))


@contextlib.contextmanager
def _object(store: RemoteStore, key: str) -> Iterator[str]:
    """A key whose object is removed after the block."""
    try:
        yield key
    finally:
        with contextlib.suppress(StoreError):
            store.delete(key)
