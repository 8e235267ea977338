"""What a store really does, found out by trying: words like "supported" are not believed."""

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
    """What a store was seen to do. A False was tried and failed.

    ``refuses_wrong_checksum``: a put whose bytes are not those of the announced checksum is refused (None: no checksum
    can be announced there). ``creates``: a put that wants nothing there is refused where something is. ``replaces``:
    so is one that wants another version there. ``ranges``: a range is answered by exactly that range. ``digests``: the
    digests that the store gives and that were right.
    """

    refuses_wrong_checksum: bool | None
    creates: bool
    replaces: bool
    ranges: bool
    digests: tuple[str, ...]

    @property
    def believed(self) -> tuple[str, ...]:
        """The digests that prove something, also of objects that others stored under other checksums.

        A store that accepts a wrong checksum may only repeat what it was told: of it count those it was never told.
        """
        if self.refuses_wrong_checksum:
            return _ALL
        never_told = ("md5", "xxh3_128") if self.refuses_wrong_checksum is False else _ALL
        return tuple(name for name in self.digests if name in never_told)


def probe(store: RemoteStore, folder: str = ".wdstools/probe") -> Capabilities:
    """Try everything on small objects below ``folder``, and remove them. Raises StoreError where nothing can be written."""
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
    """The digests given for an object whose digests are known; one that is wrong is left out."""
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
    """A key whose object is gone after the block."""
    try:
        yield key
    finally:
        with contextlib.suppress(StoreError):
            store.delete(key)
