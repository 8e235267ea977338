"""What bucket stores have in common: objects by GET, HEAD, PUT and DELETE, and listings in pages of XML.

Every request is made here and goes out through ``web``, so one place limits what a server may answer, and one place
decides where credentials may go. A PUT is one request with a digest of its bytes, which the server checks. Providers
differ in which digest that is, how a condition is expressed, and what the elements of a listing are called.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlencode

from wdstools.errors import StoreError, TransientError
from wdstools.stores.base import ABSENT, ANYTHING, Body, ObjectInfo
from wdstools.stores.bucket_urls import held_in_memory
from wdstools.stores.local import buffered_plain, translated
from wdstools.stores.remote import RemoteBase, etag_md5
from wdstools.stores.web import Answer, Request, Web

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import IO
    from xml.etree.ElementTree import Element

#: XML elements per object of a listing, at most.
_ELEMENTS = 16
#: Elements that each name something in a listing.
_NAMING = {"Contents", "CommonPrefixes", "Blob", "BlobPrefix", "Upload"}
_SIZE_RE = re.compile("[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where a bucket is: its URL for people, its address, the prefix of all keys, and the query of every request."""

    url: str
    address: str
    prefix: str
    query: str = ""


class BucketStore(RemoteBase):
    """A prefix of a bucket. Nothing is retried here: see ``retry.Retrying``.

    ``refused_hint`` says what to do if the server refuses, where opening the store has shown the likely cause.
    """

    def __init__(self, bucket: Bucket, web: Web, *, refused_hint: str = "") -> None:
        self._bucket = bucket
        self._prefix = bucket.prefix + "/" if bucket.prefix else ""
        self._web = web
        self._refused_hint = refused_hint

    @property
    def url(self) -> str:
        """As it was given; it holds no credentials."""
        return self._bucket.url

    def _request(
        self,
        method: str,
        key: str,
        headers: Mapping[str, str] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        body: IO[bytes] | None = None,
    ) -> Request:
        """A request for an object."""
        address = f"{self._bucket.address}/{quote(self._prefix + key, safe='/-_.~')}"
        return Request(method, self._asked(address, query), f"{self.url}/{key}", self._with_own(headers), body)

    def _asked(self, address: str, query: Mapping[str, str] | None) -> str:
        said = urlencode(query, quote_via=quote, safe="-_.~") if query else ""
        parts = [part for part in (said, self._bucket.query) if part]
        return f"{address}?{'&'.join(parts)}" if parts else address

    def _with_own(self, headers: Mapping[str, str] | None) -> Mapping[str, str]:
        """The headers of a request, with those that every request to this provider has."""
        return headers or {}

    def _succeed(self, request: Request) -> Answer:
        try:
            return self._web.succeed(request)
        except StoreError as refusal:
            self._advise(refusal)
            raise

    def _advise(self, refusal: StoreError) -> None:
        if refusal.code in ("denied", "refused") and self._refused_hint:
            refusal.hint = self._refused_hint

    def head(self, key: str) -> ObjectInfo:
        """Size and ETag of one object."""
        answer = self._succeed(self._request("HEAD", key))
        return ObjectInfo(key, answer.size or 0, answer.headers.get("ETag", ""))

    def open_body(self, key: str, start: int = 0, length: int | None = None, *, etag: str = "") -> Body:
        """Bytes of one version as they come; the answer is checked against the request and against its own headers."""
        try:
            return self._web.body(self._request("GET", key), start, length, etag)
        except StoreError as refusal:
            self._advise(refusal)
            raise

    def put_data(self, key: str, data: bytes, *, only_if: str = ANYTHING) -> ObjectInfo:
        """Store bytes by one PUT with a digest; readers see the old object, the new one, or none."""
        etag = self._put(key, (io.BytesIO(data), len(data)), self._seal(data), only_if)
        # the bytes are in memory now: comparing the digest that the store computed here saves a request later
        sent = hashlib.md5(data, usedforsecurity=False).hexdigest() if etag_md5(etag) else ""
        return ObjectInfo(key, len(data), etag, md5=sent if sent == etag_md5(etag) else "")

    def put_file(self, key: str, path: str, digests: Mapping[str, str], *, only_if: str = ANYTHING) -> ObjectInfo:
        """Store a local file by one PUT; one that is too large for memory is sent as a stream, with its digest."""
        data = held_in_memory(path, digests)
        if data is not None:
            return self.put_data(key, data, only_if=only_if)
        seal = self._seal_file(path, digests)
        with translated(path), buffered_plain(path) as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(0)  # /dev/fd/N may share its position with whoever wrote the file
            return ObjectInfo(key, size, self._put(key, (file, size), seal, only_if))

    def _put(self, key: str, content: tuple[IO[bytes], int], seal: Mapping[str, str], only_if: str) -> str:
        """One PUT of a body and its size, whose digest the server checks; returns the ETag."""
        body, size = content
        condition = self._condition(key, only_if) if only_if else {}
        headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream", **seal, **condition}
        try:
            answer = self._succeed(self._request("PUT", key, headers, body=body))
        except StoreError as refusal:
            if only_if == ABSENT and refusal.code == "object-changed":
                where = f"{self.url}/{key}"
                raise StoreError("an object with this key already exists", code="object-exists", where=where) from None
            raise
        answer.read_start(self._web.limits.error)
        return str(answer.headers.get("ETag", ""))

    @abstractmethod
    def _seal(self, data: bytes) -> Mapping[str, str]:
        """The headers that tell the server which digest these bytes must have."""

    @abstractmethod
    def _seal_file(self, path: str, digests: Mapping[str, str]) -> Mapping[str, str]:
        """The same for a file; raises SourceChangedError if it does not match ``digests``."""

    @abstractmethod
    def _wrong_seal(self) -> Mapping[str, str]:
        """Headers with a digest that does not match the bytes sent."""

    def _condition(self, key: str, only_if: str) -> Mapping[str, str]:
        """The headers that say what must be there before a PUT: nothing, or a version."""
        del key
        return {"If-None-Match": "*"} if only_if == ABSENT else {"If-Match": only_if}

    def put_wrong(self, key: str) -> bool:
        """Try to store bytes under another text's digest; returns whether the store refused."""
        data = b"not these bytes"
        headers = {"Content-Length": str(len(data)), **self._seal(data), **self._wrong_seal()}
        try:
            self._succeed(self._request("PUT", key, headers, body=io.BytesIO(data)))
        except StoreError as error:
            if error.code == "refused-checksum" or error.got.startswith("400"):
                return True
            raise
        return False

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Objects under a prefix, sorted by key; a listing whose pages repeat or go backwards raises TransientError."""
        last, where = "", f"{self.url}/{prefix}"
        for name, size, etag in self._entries(self._prefix + prefix, where):
            key = name.removeprefix(self._prefix)
            if key <= last or not name.startswith(self._prefix + prefix) or not _SIZE_RE.fullmatch(size):
                if not key or name == self._prefix:  # the folder itself, which some tools store as an object
                    continue
                raise TransientError("the listing repeats itself", code="list-torn", where=where, got=key[:200])
            last = key
            if not key.endswith("/"):
                yield ObjectInfo(key, int(size), etag)

    def level(self, prefix: str = "") -> tuple[tuple[ObjectInfo, ...], tuple[str, ...]]:
        """One level of the keys, by listings that stop at the next ``/``."""
        whole, where = self._prefix + prefix, f"{self.url}/{prefix}"
        found: dict[str, ObjectInfo] = {}
        folders: dict[str, None] = {}
        for number, (name, size, etag) in enumerate(self._entries(whole, where, "/")):
            if number - len(found) - len(folders) > self._web.limits.idle:
                raise TransientError("the listing repeats itself", code="list-torn", where=where, got=name[:200])
            if not name.startswith(whole):
                raise TransientError(
                    "the listing has keys outside the prefix", code="list-torn", where=where, got=name[:200]
                )
            key = name.removeprefix(self._prefix)
            if not size:
                folders[key] = None
            elif key != prefix and _SIZE_RE.fullmatch(size) and not key.endswith("/"):
                found[key] = ObjectInfo(key, int(size), etag)
        return tuple(found[key] for key in sorted(found)), tuple(sorted(folders))

    def _entries(self, prefix: str, where: str, delimiter: str = "") -> Iterator[tuple[str, str, str]]:
        """Name, size and ETag of everything under a prefix of the bucket, in the listing's order.

        With a ``delimiter``, everything below one is a single name that ends in it and has no size.
        """
        query = {"list-type": "2", "encoding-type": "url", "prefix": prefix}
        query |= {"delimiter": delimiter} if delimiter else {}
        for page in self._pages(query, (("continuation-token", "NextContinuationToken"),), where):
            decode = unquote if text_of(page, "EncodingType") == "url" else str
            for entry in page.iterfind("{*}Contents"):
                yield decode(text_of(entry, "Key")), text_of(entry, "Size"), text_of(entry, "ETag")
            for entry in page.iterfind("{*}CommonPrefixes"):
                yield decode(text_of(entry, "Prefix")), "", ""

    def _pages(self, query: Mapping[str, str], markers: tuple[tuple[str, str], ...], where: str) -> Iterator[Element]:
        """The pages of a listing. No page is requested twice: such a listing would never end.

        ``markers`` pairs the parameters that request the next page with the elements that hold their values.
        """
        limits, asked, count, idle = self._web.limits, dict(query), 0, 0
        seen: set[tuple[str, ...]] = set()
        while True:
            # to the bucket, not to an object
            request = Request("GET", self._asked(self._bucket.address, asked), where, self._with_own(None))
            answer = self._succeed(request)
            answer.read(limits.page)
            page = _parsed(answer.body, where)
            count += sum(1 for _ in page.iter())
            idle = 0 if any(one.tag.rpartition("}")[2] in _NAMING for one in page.iter()) else idle + 1
            yield page
            marks = tuple(text_of(page, element) for _, element in markers)
            if not self._is_truncated(page, marks):
                return
            long = len(seen) >= limits.pages or count > limits.entries * _ELEMENTS or idle > limits.idle
            if not any(marks) or marks in seen or long:
                raise _endless(where, len(seen) + 2)
            seen.add(marks)
            asked = {**query, **{name: mark for (name, _), mark in zip(markers, marks, strict=True) if mark}}

    def _is_truncated(self, page: Element, marks: tuple[str, ...]) -> bool:
        """Whether a page of a listing says that more follow."""
        del marks
        return text_of(page, "IsTruncated") == "true"

    def delete(self, key: str) -> None:
        """Remove an object. A DELETE does not say whether there was one, so a HEAD asks first."""
        self.head(key)
        self._succeed(self._request("DELETE", key, self._delete_headers())).read_start(self._web.limits.error)

    def _delete_headers(self) -> Mapping[str, str]:
        """Additional headers of a DELETE."""
        return {}


def _endless(where: str, page: int) -> StoreError:
    return StoreError("the listing does not end", code="list-endless", where=where, got=f"page {page}")


def _parsed(body: bytes, where: str) -> Element:
    """A listing's XML; a document type is refused, because it may refer to other files or expand without end."""
    from xml.etree import ElementTree as ET

    reason: object = "a document type"
    if b"<!DOCTYPE" not in body and b"<!ENTITY" not in body:
        try:
            return ET.fromstring(body)  # noqa: S314  # the dangerous parts of XML are refused
        except (ET.ParseError, ValueError, LookupError) as error:
            reason = error
    raise TransientError("the server's listing cannot be parsed", code="list-torn", where=where, got=str(reason)[:200])


def text_of(element: Element, name: str) -> str:
    """The text of an element below another, in any namespace; empty where there is none."""
    return element.findtext(f"{{*}}{name}") or ""
