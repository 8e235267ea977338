"""The RemoteStore protocol: what copying a dataset needs beyond a Store, so that no byte from afar is believed.

``remote(store)`` gives it for any store. All digests are lower-case hexadecimal under the names ``sha256``,
``crc64nvme``, ``crc32c``, ``crc32``, ``sha1`` and ``md5``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from wdstools.stores.base import ObjectInfo, Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: ``only_if`` of a put: whatever is there is replaced, or nothing may be there; any other value is an ETag.
ANYTHING, ABSENT = "", "absent"


@dataclass(frozen=True, slots=True)
class Upload:
    """A multipart upload that nobody has finished: it costs money and is no object. ``started`` is ISO 8601, UTC."""

    key: str
    id: str
    started: str


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a store was seen to do, by trying it under ``probe``'s prefix. A False was tried and failed.

    ``refuses_wrong_checksum``: a put whose bytes are not those of the announced checksum is refused.
    ``creates``: ``only_if=ABSENT`` is refused where something is. ``replaces``: an ETag that is no longer true is.
    ``ranges``: a range is answered with 206 and the Content-Range that was asked for.
    ``digests``: names of the digests that ``remote_digests`` gives and that were right; believed only where
    ``refuses_wrong_checksum`` (a store may echo what it was told).
    """

    refuses_wrong_checksum: bool
    creates: bool
    replaces: bool
    ranges: bool
    digests: tuple[str, ...]


class RemoteStore(Store, Protocol):
    """A store that can be told what it is to hold, and asked what it holds. Errors are those of Store, and:

    TransientError (``unavailable``; trying again may help, ``retry_after`` seconds if the server said so),
    StoreError ``object-changed`` (an ETag no longer true), ``object-exists``, ``refused-checksum``, ``denied``,
    ``not-partial`` (a range answered with something else), ``re-encoded`` (a body with a Content-Encoding).
    """

    def put_file(self, key: str, path: str, digests: Mapping[str, str], *, only_if: str = ANYTHING) -> ObjectInfo:
        """Store a local file by one PUT, atomically, with a checksum the server verifies; gives size and ETag.

        The file is hashed on its way: bytes that are not those of ``digests`` (``sha256``, and others for stores
        that speak them) raise StoreError ``source-changed`` and nothing is stored. Above 5 GB: by parts, hashed as well;
        the server then checks part by part, and an interrupted upload is found by ``unfinished``.
        """

    def put_data(self, key: str, data: bytes, *, only_if: str = ANYTHING) -> ObjectInfo:
        """Store bytes by one PUT on the same terms."""

    def fetch(self, key: str, start: int, length: int, *, etag: str = "") -> bytes:
        """Exactly ``length`` bytes (fewer raise TransientError ``short-body``), of the version ``etag`` if given."""

    def stream(self, key: str, start: int = 0, length: int | None = None, *, etag: str = "") -> Iterator[memoryview]:
        """Bytes in order, fetched ahead; each block is valid for as long as it is held.

        All blocks are of one version: that of ``etag``, or the one that was there at the first request.
        """

    def remote_digests(self, key: str) -> Mapping[str, str]:
        """Digests of the whole object as the provider gives them without a download; empty where it gives none.

        What a client only claimed, and what covers parts instead of the whole object, is left out.
        """

    def unfinished(self, prefix: str = "") -> tuple[Upload, ...]:
        """Multipart uploads under a prefix that were not finished, anybody's; sorted by key and start."""

    def abort(self, upload: Upload) -> None:
        """Give up an unfinished upload and free what it holds."""

    def probe(self, prefix: str = ".wdstools/probe") -> Capabilities:
        """Find out what the store does, by writing small objects under a prefix and removing them again."""


def remote(store: Store) -> RemoteStore:
    """A store as a RemoteStore: itself if it is one, else (local, memory) with what it lacks done here.

    For local and memory stores ETags are made of size, time and inode, and checksums are checked by reading back.
    """
    raise NotImplementedError


def open_remote(url: str) -> RemoteStore:
    """The RemoteStore at a URL or local path, with retries (see ``layers.Retrying``)."""
    raise NotImplementedError
