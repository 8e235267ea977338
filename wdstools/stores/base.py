"""What a store is: protocols, and the values that they speak of. Nothing here opens, reads or writes.

A ``Store`` holds objects under ``/``-separated keys. A ``RemoteStore`` can besides be told what it is to hold, and asked
what it holds, so that no byte that comes over a network is believed. What only some stores can do is a protocol of its
own (``ReadsInBlocks``, ``OpensBodies``): ask with ``isinstance``.

All digests are lower-case hexadecimal under the names ``sha256``, ``crc64nvme``, ``crc32c``, ``crc32``, ``sha1`` and ``md5``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: ``only_if`` of a put: whatever is there is replaced, or nothing may be there; any other value is an ETag.
ANYTHING, ABSENT = "", "absent"


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object's key and size in bytes; ``etag`` names its version where the store has such names.

    ``md5`` is given after a put whose answer proves that the store holds what was sent: its ETag is the MD5 of that.
    """

    key: str
    bytes: int
    etag: str = field(default="", compare=False)
    md5: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Upload:
    """A multipart upload that nobody has finished: it costs money and is no object. ``started`` is ISO 8601, UTC."""

    key: str
    id: str
    started: str


@dataclass(frozen=True, slots=True)
class Body:
    """An answer under way: the bytes ``start`` to ``end`` of the version ``etag`` (empty where versions have no name).

    ``blocks`` raises TransientError where the body breaks off or is not as long as it said; each block is valid for as
    long as it is held.
    """

    etag: str
    start: int
    end: int
    blocks: Iterator[memoryview] = field(repr=False)


class Store(Protocol):
    """A place of objects. Every method raises StoreError; a key that is not there raises NotFoundError."""

    @property
    def url(self) -> str:
        """Where this is, for people; it holds no credentials."""

    def head(self, key: str) -> ObjectInfo:
        """Size of one object."""

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """The bytes of an object from ``start``; to its end without ``length``, fewer at the end of the object."""

    def put(self, key: str, data: bytes) -> None:
        """Store an object atomically: readers see the old one, the new one, or none."""

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Every object whose key begins with ``prefix``, sorted by key."""

    def delete(self, key: str) -> None:
        """Remove an object."""


@runtime_checkable
class ReadsInBlocks(Protocol):
    """A store near by: it hands an object out in blocks, in one buffer that is used again."""

    def blocks(self, key: str) -> Iterator[memoryview]:
        """An object's bytes in blocks; each is valid until the next is asked for."""


@runtime_checkable
class Creates(Protocol):
    """A store near by that lets one of many writers make an object: buckets do so by a condition of a put (ABSENT)."""

    def create(self, key: str, data: bytes) -> None:
        """Store an object where nothing is, atomically; raises StoreError (``object-exists``) where something is."""


@runtime_checkable
class ListsLevels(Protocol):
    """A store that lists one level of its keys, as a folder is listed: so that many listings can run at once."""

    def level(self, prefix: str = "") -> tuple[tuple[ObjectInfo, ...], tuple[str, ...]]:
        """The objects whose keys have no ``/`` behind ``prefix``, and the prefixes, which end in one, of all others; sorted."""


@runtime_checkable
class OpensBodies(Protocol):
    """A store that tells the size of an object by the same request that asks for its bytes."""

    def open_body(self, key: str, start: int = 0, length: int | None = None, *, etag: str = "") -> Body:
        """Ask for bytes from ``start`` and take them as they come: one request, fewer bytes at the end of the object."""


@runtime_checkable
class RemoteStore(Store, OpensBodies, Protocol):
    """A store that can be told what it is to hold, and asked what it holds.

    Errors are those of Store, and: TransientError (trying again may help; ``retry_after`` seconds if the server said so: ``unavailable``,
    ``unreachable``, ``refused-checksum``, ``short-body``, ``not-partial``, ``list-torn``, ``too-slow``),
    StoreError ``object-changed`` (an ETag no longer true), ``object-exists``, ``denied``, ``clock-skew``,
    ``re-encoded`` (a body with a Content-Encoding), ``answer-too-long``, ``redirect-refused``, ``store-cannot`` (this
    kind of store has no such thing).
    """

    def put_file(self, key: str, path: str, digests: Mapping[str, str], *, only_if: str = ANYTHING) -> ObjectInfo:
        """Store a local file by one PUT, atomically, with a checksum the server verifies; gives size and ETag.

        The file is hashed on its way: bytes that are not those of ``digests`` (``xxh3_128`` or ``sha256``) raise
        SourceChangedError and nothing is stored. Above 1 GiB it is streamed instead of held in memory.
        """

    def put_data(self, key: str, data: bytes, *, only_if: str = ANYTHING) -> ObjectInfo:
        """Store bytes by one PUT on the same terms."""

    def fetch(self, key: str, start: int, length: int, *, etag: str = "") -> bytes:
        """Exactly ``length`` bytes (fewer raise TransientError ``short-body``), of the version ``etag`` if given."""

    def stream(self, key: str, start: int = 0, length: int | None = None, *, etag: str = "") -> Iterator[memoryview]:
        """The blocks of ``open_body``.

        All are of one version: that of ``etag``, or the one that was there at the first request.
        """

    def remote_digests(self, key: str) -> Mapping[str, str]:
        """Digests of the whole object as the provider gives them without a download; empty where it gives none.

        What covers parts instead of the whole object is left out.
        """

    def unfinished(self, prefix: str = "") -> tuple[Upload, ...]:
        """Multipart uploads under a prefix that were not finished, anybody's; sorted by key and start."""

    def abort(self, upload: Upload) -> None:
        """Give up an unfinished upload and free what it holds."""

    def copy(self, source: Store, key: str) -> ObjectInfo:
        """Have the server copy an object from another place, under its key and whatever is there; no byte comes here.

        ``md5`` is given where size and ETag of the copy are those of the original. StoreError (``store-cannot``) where the
        places are not of one service.
        """

    def put_wrong(self, key: str) -> bool:
        """Try to store bytes that are not those of the checksum sent with them; tells whether that was refused."""
