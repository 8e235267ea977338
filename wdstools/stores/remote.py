"""What remote stores have in common: methods built from others, and the errors that all of them raise."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from wdstools.errors import SourceChangedError, StoreError, TransientError, UsageError
from wdstools.formats.digest import sha256_hex, xxh3_128_hexdigest
from wdstools.stores.base import ANYTHING, Body, Upload

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from _typeshed import ReadableBuffer

    from wdstools.stores.base import ObjectInfo, Store

#: Bytes read from a body at once: what was just copied is still in the processor's cache when it is hashed.
STREAM_BLOCK = 1 << 20
_MD5_RE = re.compile(r'"?([0-9a-f]{32})"?')


class RemoteBase(ABC):
    """What every RemoteStore has in common, built from the methods that each defines itself."""

    @property
    @abstractmethod
    def url(self) -> str:
        """The location, for people."""

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

    def level(self, prefix: str = "") -> tuple[tuple[ObjectInfo, ...], tuple[str, ...]]:
        """One level of the keys, taken from a whole listing unless the store has a better way."""
        there = tuple(self.list(prefix))
        direct = tuple(info for info in there if "/" not in info.key[len(prefix) :])
        deeper = (info.key[len(prefix) :].partition("/") for info in there)
        return direct, tuple(sorted({f"{prefix}{name}/" for name, slash, _ in deeper if slash}))

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Every object whose key begins with ``prefix``, sorted by key."""

    def remote_digests(self, key: str) -> Mapping[str, str]:
        """None, unless the store has some; raises NotFoundError."""
        self.head(key)
        return {}

    def copy(self, source: Store, key: str) -> ObjectInfo:
        """Refused, unless the server can copy objects itself."""
        del source
        raise cannot("this server does not copy objects", f"{self.url}/{key}")

    def unfinished(self, prefix: str = "") -> tuple[Upload, ...]:
        """None, unless the store has multipart uploads."""
        del prefix
        return ()

    def abort(self, upload: Upload) -> None:
        """Refused, unless the store has multipart uploads."""
        raise cannot("this store has no unfinished uploads", f"{self.url}/{upload.key}")


def etag_md5(etag: str) -> str:
    """The MD5 that an S3 ETag is, if the object came by one PUT and no key encrypts it; empty for other forms."""
    found = _MD5_RE.fullmatch(etag)
    return found.group(1) if found else ""


def changed(where: str, expected: str, got: str) -> StoreError:
    """The error for an object that has been replaced since it was first read."""
    return StoreError("the object was replaced in the meantime", code="object-changed", where=where, expected=expected, got=got or "no ETag", hint="run the same command again: it starts from the new object")  # fmt: skip


def cannot(what: str, where: str) -> StoreError:
    """The error for something that this kind of store cannot do."""
    return StoreError(what, code="store-cannot", where=where)


def short_body(where: str, expected: int, got: int) -> TransientError:
    """The error for a body that ended too early or too late."""
    return TransientError("the answer does not have the length asked for", code="short-body", where=where, expected=f"{expected} bytes", got=f"{got} bytes")  # fmt: skip


def exactly(blocks: Iterable[ReadableBuffer], length: int, where: str) -> Iterator[memoryview]:
    """Blocks as they come; raises TransientError (``short-body``) at the end if they were not ``length`` bytes."""
    count = 0
    for block in blocks:
        view = memoryview(block)
        count += len(view)
        if count > length:
            break
        yield view
    if count != length:
        raise short_body(where, length, count)


def upload_damaged(where: str, expected: str, got: str) -> StoreError:
    """The error for a store that does not hold a file as it was sent."""
    return StoreError(
        "the store holds something other than what was sent",
        code="upload-damaged",
        where=where,
        expected=expected,
        got=got,
        hint="run the same command again; if this happens again, the connection or the store is faulty",
    )


def proves(where: str, known: Mapping[str, str], given: Mapping[str, str]) -> bool:
    """Whether the digests that a store returns prove an object; False if none can be compared.

    Raises StoreError (``upload-damaged``) if one differs from the known digest.
    """
    differing = disagreements(known, given)
    if differing:
        name = differing[0]
        raise upload_damaged(where, f"{name} {known[name]}", f"{name} {given[name]}")
    return differing is not None


def disagreements(known: Mapping[str, str], given: Mapping[str, str]) -> list[str] | None:
    """The names of the digests in which two sets differ; None if they have no names in common."""
    common = sorted(set(known) & set(given))
    return [name for name in common if known[name] != given[name]] if common else None


def check_source(data: bytes, path: str, digests: Mapping[str, str]) -> None:
    """Raise SourceChangedError if the bytes of a file do not match its digests."""
    for name, hexdigest in (("xxh3_128", xxh3_128_hexdigest), ("sha256", sha256_hex)):
        if name in digests:
            if (got := hexdigest(data)) != digests[name]:
                raise SourceChangedError("a file does not match its digest", where=path, expected=digests[name], got=got)  # fmt: skip
            return
    raise UsageError("a file is not sent without a digest", where=path, expected="xxh3_128 or sha256")
