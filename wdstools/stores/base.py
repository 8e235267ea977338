"""What a store is: protocols and the values they exchange. Nothing here opens, reads or writes.

A ``Store`` holds objects under ``/``-separated keys. A ``RemoteStore`` also takes the digest of what it is to
store and can be asked for the digests of what it holds, so that nothing that comes over a network is trusted unchecked.
What only some stores can do is a protocol of its own (``ReadsInBlocks``, ``OpensBodies``): ask with ``isinstance``.

All digests are lower-case hexadecimal under the names ``sha256``, ``crc64nvme``, ``crc32c``, ``crc32``, ``sha1`` and
``md5``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: ``only_if`` of a put: replace whatever is there, or require that nothing is. Any other value is the ETag to replace.
ANYTHING, ABSENT = "", "absent"


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object's key and size in bytes; ``etag`` names its version where the store names versions.

    ``md5`` is set after a put whose answer proves that the store holds what was sent: the ETag is its MD5.
    """

    key: str
    bytes: int
    etag: str = field(default="", compare=False)
    md5: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Upload:
    """An unfinished multipart upload: it costs money and is not an object. ``started`` is ISO 8601, UTC."""

    key: str
    id: str
    started: str


@dataclass(frozen=True, slots=True)
class Body:
    """An answer in progress: bytes ``start`` to ``end`` of the version ``etag`` (empty where versions have no names).

    ``blocks`` raises TransientError where the body breaks off or is not as long as announced. A block stays valid for
    as long as it is referenced.
    """

    etag: str
    start: int
    end: int
    blocks: Iterator[memoryview] = field(repr=False)


class Store(Protocol):
    """A place that holds objects. Any method may raise StoreError, and NotFoundError for a key that does not exist."""

    @property
    def url(self) -> str:
        """The location, for people; it contains no credentials."""

    def head(self, key: str) -> ObjectInfo:
        """Size of one object."""

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Bytes of an object from ``start``: ``length`` of them or all to its end, fewer where the object ends first."""

    def put(self, key: str, data: bytes) -> None:
        """Store an object atomically: readers see the old one, the new one, or none."""

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Every object whose key begins with ``prefix``, sorted by key."""

    def delete(self, key: str) -> None:
        """Remove an object."""


@runtime_checkable
class ReadsInBlocks(Protocol):
    """A local store that reads an object in blocks, all through one reused buffer."""

    def blocks(self, key: str) -> Iterator[memoryview]:
        """An object's bytes in blocks, each valid until the next is requested."""


@runtime_checkable
class Creates(Protocol):
    """A local store in which only one of many writers creates an object; in buckets a conditional put does it (ABSENT)."""

    def create(self, key: str, data: bytes) -> None:
        """Store a new object atomically; raises StoreError (``object-exists``) if the key is taken."""


@runtime_checkable
class ListsLevels(Protocol):
    """A store that can list one level of its keys, like a folder, so that many listings can run in parallel."""

    def level(self, prefix: str = "") -> tuple[tuple[ObjectInfo, ...], tuple[str, ...]]:
        """The objects without a ``/`` after ``prefix``, and the prefixes (ending in ``/``) of all others; both sorted."""


@runtime_checkable
class OpensBodies(Protocol):
    """A store that learns an object's size from the request that fetches its bytes."""

    def open_body(self, key: str, start: int = 0, length: int | None = None, *, etag: str = "") -> Body:
        """Request bytes from ``start`` and read them as they arrive: one request, fewer bytes where the object ends first."""


@runtime_checkable
class RemoteStore(Store, OpensBodies, Protocol):
    """A store that takes digests with what it is sent, and returns digests of what it holds.

    Errors are those of Store, and TransientError (trying again may help, after ``retry_after`` seconds if the server
    says so): ``unavailable``, ``unreachable``, ``refused-checksum``, ``short-body``, ``not-partial``, ``list-torn``,
    ``too-slow``; and StoreError: ``object-changed`` (the ETag no longer matches), ``object-exists``, ``denied``,
    ``clock-skew``, ``re-encoded`` (a body with a Content-Encoding), ``answer-too-long``, ``redirect-refused``,
    ``store-cannot`` (this kind of store does not support it).
    """

    def put_file(self, key: str, path: str, digests: Mapping[str, str], *, only_if: str = ANYTHING) -> ObjectInfo:
        """Store a local file by one PUT, atomically, with a checksum that the server verifies; returns size and ETag.

        The file is hashed as it is read: if it does not match ``digests`` (``xxh3_128`` or ``sha256``),
        SourceChangedError is raised and nothing is stored. Above 1 GiB it is streamed rather than held in memory.
        """

    def put_data(self, key: str, data: bytes, *, only_if: str = ANYTHING) -> ObjectInfo:
        """Store bytes by one PUT, on the same terms."""

    def fetch(self, key: str, start: int, length: int, *, etag: str = "") -> bytes:
        """Exactly ``length`` bytes (fewer raise TransientError ``short-body``), of the version ``etag`` if given."""

    def stream(self, key: str, start: int = 0, length: int | None = None, *, etag: str = "") -> Iterator[memoryview]:
        """The blocks of ``open_body``.

        All belong to one version: that of ``etag``, or the one found by the first request.
        """

    def remote_digests(self, key: str) -> Mapping[str, str]:
        """Digests of the whole object that the provider returns without a download; empty where it has none.

        Digests of parts are left out.
        """

    def unfinished(self, prefix: str = "") -> tuple[Upload, ...]:
        """Unfinished multipart uploads under a prefix, whoever began them; sorted by key and start."""

    def abort(self, upload: Upload) -> None:
        """Abort an unfinished upload and free its storage."""

    def copy(self, source: Store, key: str) -> ObjectInfo:
        """Have the server copy an object from another place, to the same key, replacing what is there.

        No data passes through here. ``md5`` is set where the copy has the size and ETag of the original. Raises
        StoreError (``store-cannot``) where the two places are not of one service.
        """

    def put_wrong(self, key: str) -> bool:
        """Try to store bytes under a checksum that is not theirs; returns whether the store refused."""
