"""Buckets through obstore: S3, Google Cloud Storage, Azure. What a provider says of an object is asked in ``s3`` and ``signed``."""

from __future__ import annotations

import contextlib
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from wdstools.errors import SourceChangedError, StoreError, TransientError, UsageError
from wdstools.formats.digest import sha256_hex, xxh3_128_hexdigest
from wdstools.stores.base import ObjectInfo
from wdstools.stores.http_status import answer_error, unreachable
from wdstools.stores.local import storage_error
from wdstools.stores.remote import (
    ABSENT,
    ANYTHING,
    STREAM_BLOCK,
    Body,
    RemoteBase,
    Upload,
    changed,
    etag_md5,
    exactly,
    short_body,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from obstore import GetResult

    from wdstools.stores.remote import RemoteStore

_STATUS_RE = re.compile(r"status code: (\d{3}) ?[^:\n]*:?\s*(.*?)(?:\n\s*\nDebug source|\Z)", re.DOTALL)
_MESSAGE_RE = re.compile(r'(?:message|error): "([^"]+)"')
_BUCKET_RE = re.compile(r"[A-Za-z0-9$][A-Za-z0-9._$-]{0,221}")  # with Azure's $root and $web
_HOST_RE = re.compile(r"\b(https?://[^/\s?,]+)")
#: Files up to this size are held in memory while they are sent; the provider takes larger ones as a stream.
_MEMORY_BYTES = 1 << 30
#: Ranges from this size on are worth the cheaper way that a provider may have: there obstore takes twice the processor time
#: of Python's own sockets, for small ones half (``python -m benchmarks.bodies``).
LARGE_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Waits:
    """How long to wait for a network, in seconds: to connect, and for the next bytes before a connection is stalled."""

    connect: float = 10
    stall: float = 30

    @property
    def client_options(self) -> Any:
        """As obstore takes them. The whole request has no limit of its own: large shards over slow links are fine."""
        return {
            "allow_http": True,
            "connect_timeout": f"{int(self.connect * 1000)}ms",
            "read_timeout": f"{int(self.stall * 1000)}ms",
            "timeout": "12h",
        }


class Provider(Protocol):
    """What obstore does not hand out: a provider's own view of an object. Keys are those of the bucket."""

    def digests(self, key: str) -> Mapping[str, str]:
        """Digests of a whole object, without a download."""

    def put_large(self, key: str, path: str, digests: Mapping[str, str], only_if: str) -> str:
        """Store a large file as a stream; gives the ETag."""

    def unfinished(self, prefix: str) -> list[Upload]:
        """Multipart uploads that were not finished."""

    def abort(self, upload: Upload) -> None:
        """Give one up."""

    def put_wrong(self, key: str) -> bool:
        """Try to store bytes under a wrong checksum; tells whether that was refused."""


class CloudStore(RemoteBase):
    """A prefix of a bucket. Nothing is retried here: see ``layers.Retrying``.

    ``large`` is the bucket by a way that is cheaper for large bodies, if there is one.
    ``refused_hint`` is what to do where the server refuses, if opening the store has told that.
    """

    def __init__(
        self,
        url: str,
        bucket: Any,
        prefix: str,
        provider: Provider,
        *,
        large: RemoteStore | None = None,
        refused_hint: str = "",
    ) -> None:
        self._url = url.rstrip("/")
        self._bucket = bucket
        self._prefix = prefix + "/" if prefix else ""
        self._provider = provider
        self._large = large
        self._refused_hint = refused_hint

    @property
    def url(self) -> str:
        """As it was given; it holds no credentials."""
        return self._url

    def head(self, key: str) -> ObjectInfo:
        """Size and ETag of one object."""
        import obstore

        with self._named(key) as name:
            meta = obstore.head(self._bucket, name)
        return ObjectInfo(key, meta["size"], meta["e_tag"] or "")

    def open_body(self, key: str, start: int = 0, length: int | None = None, *, etag: str = "") -> Body:
        """Bytes of one version as they come; the answer is held against the request and against what it says itself."""
        if length == 0:
            return Body(etag, start, start, iter(()))
        if self._large is not None and length is not None and length >= LARGE_BYTES:
            with self._named(key) as name:
                return self._large.open_body(name, start, length, etag=etag)
        wanted: Any = {"offset": start} if length is None else (start, start + length)
        options: dict[str, Any] = {"range": wanted} if start or length is not None else {}
        if etag:
            options["if_match"] = etag
        try:
            answer = self._ask(key, options)
        except StoreError as error:
            if error.got.startswith("416"):  # the range begins at the object's end or after it
                return Body(etag, start, start, iter(()))
            raise
        where, (first, end), found = f"{self.url}/{key}", answer.range, answer.meta["e_tag"] or ""
        encoding = answer.attributes.get("Content-Encoding")
        if encoding not in (None, "", "identity"):
            raise StoreError("the body is encoded on its way", code="re-encoded", where=where, got=str(encoding))
        if etag and found != etag:
            raise changed(where, etag, found)
        if first != start:
            raise short_body(f"{where}, from {start}", start, first)
        return Body(found, first, end, self._blocks(key, answer, end - first))

    def _ask(self, key: str, options: Any) -> GetResult:
        import obstore

        with self._named(key) as name:
            return obstore.get(self._bucket, name, options=options)

    def _blocks(self, key: str, answer: GetResult, length: int) -> Iterator[memoryview]:
        with self._named(key):
            yield from exactly(answer.stream(min_chunk_size=STREAM_BLOCK), length, f"{self.url}/{key}")

    def put_data(self, key: str, data: bytes, *, only_if: str = ANYTHING) -> ObjectInfo:
        """Store bytes by one PUT with a checksum; readers see the old object, the new one, or none."""
        import obstore

        mode: Any = {ANYTHING: "overwrite", ABSENT: "create"}.get(only_if, {"e_tag": only_if})
        with self._named(key) as name:
            etag = obstore.put(self._bucket, name, data, mode=mode, use_multipart=False)["e_tag"] or ""
        # the bytes are in memory now: a digest that the store computed is compared here, and need not be asked for
        sent = hashlib.md5(data, usedforsecurity=False).hexdigest() if etag_md5(etag) else ""
        return ObjectInfo(key, len(data), etag, md5=sent if sent == etag_md5(etag) else "")

    def put_file(self, key: str, path: str, digests: Mapping[str, str], *, only_if: str = ANYTHING) -> ObjectInfo:
        """Store a local file by one PUT, hashed on its way."""
        try:
            with open(path, "rb", buffering=0) as file:
                file.seek(0, 2)
                size = file.tell()
                file.seek(0)
                if size > _MEMORY_BYTES:
                    return ObjectInfo(key, size, self._provider.put_large(self._prefix + key, path, digests, only_if))
                data = file.readall()
        except OSError as error:
            raise storage_error(error, path) from error
        check_source(data, path, digests)
        return self.put_data(key, data, only_if=only_if)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Objects under a prefix, sorted by key; a listing whose pages repeat or go backwards raises TransientError."""
        import obstore

        folder = (self._prefix + prefix).rpartition("/")[0]
        last = ""
        with self._named(prefix):
            for page in obstore.list(self._bucket, prefix=folder or None):
                for meta in page:
                    key = meta["path"].removeprefix(self._prefix)
                    if key <= last:
                        raise TransientError("a listing that repeats itself", code="list-torn", where=f"{self.url}/{prefix}", got=key)  # fmt: skip
                    last = key
                    if key.startswith(prefix):
                        yield ObjectInfo(key, meta["size"], meta["e_tag"] or "")

    def delete(self, key: str) -> None:
        """Remove an object. Buckets do not tell whether there was one: that is asked first."""
        import obstore

        self.head(key)
        with self._named(key) as name:
            obstore.delete(self._bucket, name)

    def remote_digests(self, key: str) -> Mapping[str, str]:
        """As the provider gives them."""
        return self._provider.digests(self._prefix + key)

    def unfinished(self, prefix: str = "") -> tuple[Upload, ...]:
        """Multipart uploads that were not finished."""
        found = self._provider.unfinished(self._prefix + prefix)
        return tuple(Upload(upload.key.removeprefix(self._prefix), upload.id, upload.started) for upload in found)

    def abort(self, upload: Upload) -> None:
        """Give one up."""
        self._provider.abort(Upload(self._prefix + upload.key, upload.id, upload.started))

    def put_wrong(self, key: str) -> bool:
        """Try to store bytes under a wrong checksum; tells whether that was refused."""
        return self._provider.put_wrong(self._prefix + key)

    @contextlib.contextmanager
    def _named(self, key: str) -> Iterator[str]:
        """The key's name in the bucket; what obstore raises inside the block becomes a StoreError."""
        from obstore import exceptions

        where = f"{self.url}/{key}"
        try:
            yield self._prefix + key
        except StoreError as error:
            self._advise(error)
            raise
        except FileNotFoundError as error:
            raise answer_error(404, str(error), where) from error
        except exceptions.AlreadyExistsError as error:
            raise StoreError("an object is already there", code="object-exists", where=where) from error
        except exceptions.PreconditionError as error:
            raise answer_error(412, "", where) from error
        except exceptions.BaseError as error:
            refusal = translated(str(error), where)
            self._advise(refusal)
            raise refusal from error

    def _advise(self, refusal: StoreError) -> None:
        if refusal.code in ("denied", "refused") and self._refused_hint:
            refusal.hint = self._refused_hint


def parts_of(url: str) -> tuple[str, str]:
    """Bucket and prefix of ``SCHEME://BUCKET/PREFIX``; raises UsageError for what providers or obstore do not take."""
    scheme, _, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    prefix = prefix.strip("/")
    if not _BUCKET_RE.fullmatch(bucket):
        raise UsageError("no bucket in this URL", where=url, expected=f"{scheme}://BUCKET/PREFIX", got=bucket or "none")
    if not prefix.isprintable() or (prefix and {"", ".", ".."} & set(prefix.split("/"))):
        raise UsageError("not a prefix that can be used", where=url, expected="names with one / between them")
    return bucket, prefix


def translated(text: str, where: str) -> StoreError:
    """The StoreError for what obstore says."""
    found = _STATUS_RE.search(text)
    if found:
        return answer_error(int(found.group(1)), found.group(2), where)
    first = text.partition("\n")[0]
    if "range" in first.lower() and ("NotPartial" in text or "UnexpectedRange" in text or "partial" in first.lower()):
        return TransientError("a range was answered with something else", code="not-partial", where=where, got=first[:200])  # fmt: skip
    return unreachable(_reason(text), where)


def _reason(text: str) -> str:
    """Why a connection failed: the innermost message of what obstore's debug text nests, and who was asked."""
    if said := _MESSAGE_RE.findall(text):
        reason = said[-1]
    elif "TimedOut" in text:
        reason = "no answer in time"
    else:
        reason = text.partition("\n")[0].rpartition(" - ")[2]
    host = _HOST_RE.search(text)
    return f"{reason} ({host.group(1)})" if host else reason


def check_source(data: bytes, path: str, digests: Mapping[str, str]) -> None:
    """Raise SourceChangedError where the bytes of a file are not those that its digests say."""
    for name, hexdigest in (("xxh3_128", xxh3_128_hexdigest), ("sha256", sha256_hex)):
        if name in digests:
            if (got := hexdigest(data)) != digests[name]:
                raise SourceChangedError("a file is not what its digest says", where=path, expected=digests[name], got=got)  # fmt: skip
            return
    raise UsageError("a file without a digest is not sent", where=path, expected="xxh3_128 or sha256")
