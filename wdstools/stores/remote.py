"""The RemoteStore protocol: what copying a dataset needs beyond a Store, so that no byte from afar is believed.

``remote(store)`` gives it for any store. All digests are lower-case hexadecimal under the names ``sha256``,
``crc64nvme``, ``crc32c``, ``crc32``, ``sha1`` and ``md5``.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from wdstools.errors import StoreError, TransientError
from wdstools.stores.base import Store
from wdstools.stores.open import open_store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from _typeshed import ReadableBuffer

    from wdstools.stores.base import ObjectInfo

#: ``only_if`` of a put: whatever is there is replaced, or nothing may be there; any other value is an ETag.
ANYTHING, ABSENT = "", "absent"
#: Bytes that are taken from a body at once: what has just been copied is still in the processor's cache when it is hashed.
STREAM_BLOCK = 1 << 20
_MD5_RE = re.compile(r'"?([0-9a-f]{32})"?')


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


class RemoteStore(Store, Protocol):
    """A store that can be told what it is to hold, and asked what it holds.

    Errors are those of Store, and: TransientError (trying again may help; ``retry_after`` seconds if the server said so: ``unavailable``,
    ``unreachable``, ``refused-checksum``, ``short-body``, ``not-partial``, ``list-torn``),
    StoreError ``object-changed`` (an ETag no longer true), ``object-exists``, ``denied``, ``clock-skew``,
    ``re-encoded`` (a body with a Content-Encoding), ``store-cannot`` (this kind of store has no such thing).
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

    def open_body(self, key: str, start: int = 0, length: int | None = None, *, etag: str = "") -> Body:
        """Ask for bytes from ``start`` and take them as they come: one request, fewer bytes at the end of the object."""

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

    def put_wrong(self, key: str) -> bool:
        """Try to store bytes that are not those of the checksum sent with them; tells whether that was refused."""


class RemoteBase(ABC):
    """What every RemoteStore has in common, made of what each has of its own."""

    @property
    @abstractmethod
    def url(self) -> str:
        """Where this is."""

    @abstractmethod
    def head(self, key: str) -> ObjectInfo:
        """Size and ETag of one object."""

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """The bytes of an object from ``start``; one request."""
        if length == 0:
            self.head(key)
            return b""
        return b"".join(self.open_body(key, start, length).blocks)

    def fetch(self, key: str, start: int, length: int, *, etag: str = "") -> bytes:
        """Exactly ``length`` bytes of one version; one request."""
        data = b"".join(self.open_body(key, start, length, etag=etag).blocks)
        if len(data) != length:
            raise short_body(f"{self.url}/{key}, bytes {start}..{start + length}", length, len(data))
        return data

    @abstractmethod
    def put_data(self, key: str, data: bytes, *, only_if: str = ANYTHING) -> ObjectInfo:
        """Store bytes by one PUT."""

    def put(self, key: str, data: bytes) -> None:
        """Store an object atomically, replacing what is there."""
        self.put_data(key, data)

    @abstractmethod
    def open_body(self, key: str, start: int = 0, length: int | None = None, *, etag: str = "") -> Body:
        """Bytes of one version as they come."""

    def stream(self, key: str, start: int = 0, length: int | None = None, *, etag: str = "") -> Iterator[memoryview]:
        """The blocks of a body."""
        yield from self.open_body(key, start, length, etag=etag).blocks

    def remote_digests(self, key: str) -> Mapping[str, str]:
        """None, unless the store knows better; raises NotFoundError."""
        self.head(key)
        return {}

    def unfinished(self, prefix: str = "") -> tuple[Upload, ...]:
        """None, unless the store has such things."""
        del prefix
        return ()

    def abort(self, upload: Upload) -> None:
        """Nothing to give up, unless the store has such things."""
        raise cannot("there are no unfinished uploads", f"{self.url}/{upload.key}")


def etag_md5(etag: str) -> str:
    """What an ETag of S3 is where an object came by one PUT and no key encrypts it: an MD5; empty for all other forms."""
    found = _MD5_RE.fullmatch(etag)
    return found.group(1) if found else ""


def changed(where: str, expected: str, got: str) -> StoreError:
    """The error for an object that was replaced since it was first looked at."""
    return StoreError("the object was replaced meanwhile", code="object-changed", where=where, expected=expected, got=got or "no ETag", hint="run the same command again: it starts from what is there now")  # fmt: skip


def cannot(what: str, where: str) -> StoreError:
    """The error for something that this kind of store has no way to do."""
    return StoreError(what, code="store-cannot", where=where)


def short_body(where: str, expected: int, got: int) -> TransientError:
    """The error for a body that ended early (or went on too long)."""
    return TransientError("a body of another length than asked for", code="short-body", where=where, expected=f"{expected} bytes", got=f"{got} bytes")  # fmt: skip


def exactly(blocks: Iterable[ReadableBuffer], length: int, where: str) -> Iterator[memoryview]:
    """Blocks as they come; raises TransientError (``short-body``) at their end where they were not ``length`` bytes."""
    count = 0
    for block in blocks:
        view = memoryview(block)
        count += len(view)
        yield view
    if count != length:
        raise short_body(where, length, count)


def remote(store: Store) -> RemoteStore:
    """A store as a RemoteStore: itself if it is one, else (local, memory) with what it lacks done here."""
    from wdstools.stores.plain import PlainRemote

    return store if hasattr(store, "remote_digests") else PlainRemote(store)  # type: ignore[return-value]  # it has the methods


def open_remote(url: str) -> RemoteStore:
    """The RemoteStore at a URL or local path; those behind a network try again (``layers.Retrying``)."""
    return remote(open_store(url))
