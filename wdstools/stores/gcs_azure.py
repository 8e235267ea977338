"""Google Cloud Storage and Azure: obstore knows the provider's credentials and signs, and what is read comes by ``web``.

A signed address is good for reading one object for a while. Where nothing can be signed (public access, a plain token), and for
storing and listing, obstore's own clients connect. Then the bounds of ``web`` are set in its way: each request goes by a client
whose whole time is limited by the size of what it asks for, listings are held against the same limits, and a body is taken no
further than its announced end. obstore tries again what it knows to pass; what it then reports is final.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from wdstools.address import display, without_secrets
from wdstools.errors import NotFoundError, StoreError, TransientError, UsageError
from wdstools.stores.base import ABSENT, ANYTHING, Body, ObjectInfo
from wdstools.stores.buckets import held_in_memory, parts_of
from wdstools.stores.local import buffered_plain
from wdstools.stores.remote import STREAM_BLOCK, RemoteBase, cannot, changed, etag_md5, exactly, short_body
from wdstools.stores.web import Request, Web

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from obstore import GetResult

    from wdstools.stores.meter import Limits, Waits
    from wdstools.stores.web import Answer

_SIGNED_FOR = timedelta(minutes=15)
#: Seconds after which another one is signed.
_USED_FOR = 600
_PART_BYTES = 64 << 20
_ATTEMPTS = 5
#: Requests for up to so many bytes go by one client, with the time that so many may take.
_CLASSES = (64 << 10, 1 << 20, 8 << 20, 64 << 20, 1 << 30, 16 << 30, 1 << 43)


def open_signed(url: str, waits: Waits, limits: Limits | None = None) -> SignedStore:
    """The store at ``gs://BUCKET/PREFIX`` or ``az://CONTAINER/PREFIX`` (the account comes from the environment)."""
    from obstore.exceptions import BaseError
    from obstore.store import AzureStore, GCSStore

    bucket, prefix = parts_of(url)
    kind = GCSStore if url.startswith("gs:") else AzureStore

    def connect(seconds: float) -> Any:
        options: Any = {
            "allow_http": True,
            "connect_timeout": timedelta(seconds=waits.connect),
            "read_timeout": timedelta(seconds=waits.stall),
            "timeout": timedelta(seconds=seconds),
        }
        retry: Any = {"max_retries": 5, "retry_timeout": timedelta(seconds=waits.whole)}
        return kind(bucket, client_options=options, retry_config=retry)

    try:
        clients = _Clients(connect, waits)
    except BaseError as error:
        raise UsageError("this store cannot be used", code="store-settings", where=display(url), got=_first_line(error)) from error  # fmt: skip
    return SignedStore(url, clients, prefix, Web(waits, limits=limits))


class _Clients:
    """obstore's clients of one bucket, each with the time that answers of its size may take."""

    def __init__(self, connect: Callable[[float], Any], waits: Waits) -> None:
        self._connect = connect
        self._waits = waits
        self._clients = {_CLASSES[0]: connect(waits.deadline(_CLASSES[0]))}

    def of(self, size: int) -> Any:
        """The client for a request of this many bytes."""
        bound = next((bound for bound in _CLASSES if size <= bound), _CLASSES[-1])
        return self._clients.get(bound) or self._clients.setdefault(bound, self._connect(self._waits.deadline(bound)))

    @property
    def small(self) -> Any:
        """The client for what says only a little."""
        return self._clients[_CLASSES[0]]


class SignedStore(RemoteBase):
    """A prefix of a bucket.

    Digests stand in the headers of a HEAD request, which obstore signs. Both providers compute what they say themselves:
    Google crc32c (and md5 unless composed), Azure the MD5 of a single Put Blob.
    """

    def __init__(self, url: str, clients: _Clients, prefix: str, web: Web) -> None:
        self._url = url.rstrip("/")
        self._clients = clients
        self._prefix = prefix + "/" if prefix else ""
        self._web = web
        self._signs = True
        self._addresses: dict[tuple[str, str], tuple[str, float]] = {}

    def _signed(self, method: str, key: str) -> str:
        """An address by which one object may be read for a while; empty where nothing can be signed."""
        import obstore
        from obstore.exceptions import BaseError

        chosen: Any = "GET" if self._url.startswith("az") else method  # Azure signs for both at once
        address, until = self._addresses.get((chosen, key), ("", 0.0))
        if time.monotonic() < until:
            return address
        if self._signs:
            try:
                address = obstore.sign(self._clients.small, chosen, self._prefix + key, _SIGNED_FOR)
            except BaseError:
                self._signs = False
        self._addresses[chosen, key] = address if self._signs else "", time.monotonic() + _USED_FOR
        return self._addresses[chosen, key][0]

    def _ask_head(self, key: str) -> Answer | None:
        """The answer to a signed HEAD request; None where nothing can be signed."""
        signed = self._signed("HEAD", key)
        return self._web.succeed(Request("HEAD", signed, f"{self.url}/{key}")) if signed else None

    @property
    def url(self) -> str:
        """As it was given, without secrets."""
        return display(self._url)

    def head(self, key: str) -> ObjectInfo:
        """Size and ETag of one object."""
        import obstore

        if (answer := self._ask_head(key)) is not None and answer.size is not None:
            return ObjectInfo(key, answer.size, answer.headers.get("ETag", ""))
        with self._named(key) as name:
            meta = obstore.head(self._clients.small, name)
        return ObjectInfo(key, meta["size"], meta["e_tag"] or "")

    def open_body(self, key: str, start: int = 0, length: int | None = None, *, etag: str = "") -> Body:
        """Bytes of one version as they come; the answer is held against the request and against what it says itself."""
        if length == 0:
            return Body(etag, start, start, iter(()))
        if signed := self._signed("GET", key):
            return self._web.body(Request("GET", signed, f"{self.url}/{key}"), start, length, etag)
        if length is None:
            return self._open_rest(key, start, etag)
        size = length
        options: dict[str, Any] = {"range": (start, start + size)}
        if etag:
            options["if_match"] = etag
        answer = self._ask(key, options, size)
        if answer is None:
            return Body(etag, start, start, iter(()))
        where, (first, end), found = f"{self.url}/{key}", answer.range, answer.meta["e_tag"] or ""
        encoding = answer.attributes.get("Content-Encoding")
        if encoding not in (None, "", "identity"):
            raise StoreError("the body is encoded on its way", code="re-encoded", where=where, got=str(encoding)[:40])
        if etag and found != etag:
            raise changed(where, etag, found)
        if first != start or end > start + size:
            raise short_body(f"{where}, from {start}", start, first)
        return Body(found, first, end, self._blocks(key, answer, end - first))

    def _open_rest(self, key: str, start: int, etag: str) -> Body:
        """An object's bytes from ``start``: how many there are is asked first, for without that there is no bound."""
        for _ in range(_ATTEMPTS):
            there = self.head(key)
            if there.bytes <= start:
                break
            try:
                return self.open_body(key, start, there.bytes - start, etag=etag or there.etag)
            except StoreError as error:
                if error.code != "object-changed" or etag:
                    raise  # otherwise it was replaced between the two requests
        else:
            raise TransientError("the object is replaced again and again", where=f"{self.url}/{key}")
        if etag and there.etag != etag:
            raise changed(f"{self.url}/{key}", etag, there.etag)
        return Body(there.etag, start, start, iter(()))

    def _ask(self, key: str, options: Any, size: int) -> GetResult | None:
        """An answer to a range; None where that begins at the object's end or after it."""
        import obstore

        client = self._clients.of(size)
        try:
            with self._named(key) as name:
                return obstore.get(client, name, options=options)
        except NotFoundError:
            raise
        except StoreError:
            if self.head(key).bytes <= options["range"][0]:
                return None
            raise

    def _blocks(self, key: str, answer: GetResult, length: int) -> Iterator[memoryview]:
        from obstore.exceptions import BaseError

        where = f"{self.url}/{key}"
        try:
            yield from exactly(answer.stream(min_chunk_size=STREAM_BLOCK), length, where)
        except BaseError as error:  # the answer had begun: the rest can be asked for
            raise TransientError("the body broke off", code="short-body", where=where, got=_first_line(error)) from error  # fmt: skip

    def put_data(self, key: str, data: bytes, *, only_if: str = ANYTHING) -> ObjectInfo:
        """Store bytes by one PUT; readers see the old object, the new one, or none."""
        import obstore

        mode: Any = {ANYTHING: "overwrite", ABSENT: "create"}.get(only_if, {"e_tag": only_if})
        with self._named(key) as name:
            answer = obstore.put(self._clients.of(len(data)), name, data, mode=mode, use_multipart=False)
        # the bytes are in memory now: a digest that the store computed is compared here, and need not be asked for
        etag = answer["e_tag"] or ""
        sent = hashlib.md5(data, usedforsecurity=False).hexdigest() if etag_md5(etag) else ""
        return ObjectInfo(key, len(data), etag, md5=sent if sent == etag_md5(etag) else "")

    def put_file(self, key: str, path: str, digests: Mapping[str, str], *, only_if: str = ANYTHING) -> ObjectInfo:
        """Store a local file by one PUT, hashed on its way; one that is too large for memory by parts.

        These providers check each part, and their digest of the whole is compared afterwards.
        """
        import obstore

        data = held_in_memory(path, digests)
        if data is not None:
            return self.put_data(key, data, only_if=only_if)
        if only_if:
            raise cannot("a file above 1 GiB cannot be stored under a condition here", f"{self.url}/{key}")
        with self._named(key) as name, buffered_plain(path) as file:
            size = file.seek(0, 2)
            file.seek(0)
            answer = obstore.put(self._clients.of(size), name, file, use_multipart=True, chunk_size=_PART_BYTES)
            return ObjectInfo(key, size, answer["e_tag"] or "")

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Objects under a prefix, sorted by key; a listing whose pages repeat or go backwards raises TransientError."""
        import obstore

        folder, limits = (self._prefix + prefix).rpartition("/")[0], self._web.limits
        last, where, count = "", f"{self.url}/{prefix}", 0
        with self._named(prefix):
            for number, page in enumerate(obstore.list(self._clients.small, prefix=folder or None)):
                count += len(page)
                if number >= limits.pages or count > limits.entries:
                    raise StoreError("a listing that does not end", code="list-endless", where=where, got=f"page {number + 1}")  # fmt: skip
                for meta in page:
                    key = meta["path"].removeprefix(self._prefix)
                    if key <= last:
                        raise TransientError("a listing that repeats itself", code="list-torn", where=where, got=key[:200])  # fmt: skip
                    last = key
                    if key.startswith(prefix):
                        yield ObjectInfo(key, meta["size"], meta["e_tag"] or "")

    def delete(self, key: str) -> None:
        """Remove an object. Buckets do not tell whether there was one: that is asked first."""
        import obstore

        self.head(key)
        with self._named(key) as name:
            obstore.delete(self._clients.small, name)

    def remote_digests(self, key: str) -> Mapping[str, str]:
        """Digests of a whole object; none where nothing can be signed (public access, a plain token)."""
        answer = self._ask_head(key)
        if answer is None:
            self.head(key)
            return {}
        return header_digests(answer.headers)

    def put_wrong(self, key: str) -> bool:
        """No checksum is announced to these providers: what they say is what they computed."""
        raise cannot("no checksum is announced here", f"{self.url}/{key}")

    @contextlib.contextmanager
    def _named(self, key: str) -> Iterator[str]:
        """The key's name in the bucket; what obstore raises inside the block becomes a StoreError."""
        from obstore.exceptions import BaseError

        try:
            yield self._prefix + key
        except FileNotFoundError as error:
            if isinstance(error, StoreError):
                raise
            raise NotFoundError("nothing is stored here", where=f"{self.url}/{key}") from error
        except BaseError as error:
            raise translated(error, f"{self.url}/{key}") from error


def translated(error: Exception, where: str) -> StoreError:
    """The StoreError for what obstore raised, by its type. It has tried again what it knows to pass."""
    from obstore import exceptions

    said = _first_line(error)
    match error:
        case exceptions.NotFoundError():
            return NotFoundError("nothing is stored here", where=where)
        case exceptions.AlreadyExistsError():
            return StoreError("an object is already there", code="object-exists", where=where)
        case exceptions.PreconditionError():
            return StoreError("the object is not the one expected", code="object-changed", where=where)
        case exceptions.PermissionDeniedError() | exceptions.UnauthenticatedError():
            return StoreError("access is denied", code="denied", where=where, got=said, hint="check the credentials (the provider's own: environment, profile, instance role) and the bucket's policy")  # fmt: skip
        case exceptions.NotSupportedError():
            return StoreError("the store cannot do this", code="store-cannot", where=where, got=said)
        case _:
            return StoreError("the store did not do what it was asked for", where=where, got=said, hint="look at the address, the settings and the network; the same command goes on")  # fmt: skip


def _first_line(error: Exception) -> str:
    return without_secrets(" ".join(str(error).partition("\n")[0].split()))[:300]


def header_digests(headers: Mapping[str, str]) -> dict[str, str]:
    """Digests in headers: Google's ``x-goog-hash`` (crc32c=..., md5=...) and Azure's ``Content-MD5``, base64 both."""
    given = [part.strip().partition("=")[::2] for part in headers.get("x-goog-hash", "").split(",")]
    given.append(("md5", headers.get("Content-MD5", "")))
    found = {}
    for name, value in given:
        if name in ("crc32c", "md5") and value:
            try:
                found[name] = base64.b64decode(value, validate=True).hex()
            except binascii.Error:
                continue
    return found
