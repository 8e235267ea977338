"""S3 and what speaks it: every request is made here and signed by ``s3_account``, and goes out by ``web``.

So that one place bounds all that a server may answer, and one place knows where credentials may go. A PUT is one request with
the SHA-256 of its bytes, which the server compares.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import os
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlencode

from wdstools.errors import StoreError, TransientError, UsageError
from wdstools.formats.digest import sha256_hex
from wdstools.stores.base import ABSENT, ANYTHING, Body, ObjectInfo, Upload
from wdstools.stores.buckets import held_in_memory, parts_of
from wdstools.stores.local import buffered_plain, translated
from wdstools.stores.remote import RemoteBase, etag_md5
from wdstools.stores.s3_account import PAYLOAD_HEADER, Account
from wdstools.stores.web import Answer, Request, Web

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import IO
    from xml.etree.ElementTree import Element

    from wdstools.stores.meter import Limits, Waits

_UNSIGNED_HINT = "no credentials were found, so requests are not signed: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
#: The checksums of HeadObject that may be of the whole object, and the names they have here.
_CHECKSUMS = {
    "x-amz-checksum-sha256": "sha256",
    "x-amz-checksum-crc64nvme": "crc64nvme",
    "x-amz-checksum-crc32c": "crc32c",
    "x-amz-checksum-crc32": "crc32",
    "x-amz-checksum-sha1": "sha1",
}
_CHECKSUM_HEADER = "X-Amz-Checksum-SHA256"


def open_s3(url: str, waits: Waits, limits: Limits | None = None) -> S3Store:
    """The store at ``s3://BUCKET/PREFIX``. Without credentials requests are not signed, as public buckets want it."""
    bucket, prefix = parts_of(url)
    account = Account()
    hint = "" if account.credentials is not None else _UNSIGNED_HINT
    web = Web(waits, account.sign, limits)
    return S3Store(url, f"{account.endpoint}/{quote(bucket)}", prefix, web, refused_hint=hint)


class S3Store(RemoteBase):
    """A prefix of a bucket. Nothing is tried again here: see ``retry.Retrying``.

    ``refused_hint`` is what to do where the server refuses, if opening the store has told that.
    """

    def __init__(self, url: str, bucket: str, prefix: str, web: Web, *, refused_hint: str = "") -> None:
        self._url = url.rstrip("/")
        self._bucket = bucket
        self._prefix = prefix + "/" if prefix else ""
        self._web = web
        self._refused_hint = refused_hint

    @property
    def url(self) -> str:
        """As it was given; it holds no credentials."""
        return self._url

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
        asked = "?" + urlencode(query, quote_via=quote, safe="-_.~") if query else ""
        url = f"{self._bucket}/{quote(self._prefix + key, safe='/-_.~')}{asked}"
        return Request(method, url, f"{self.url}/{key}", headers or {}, body)

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
        """Bytes of one version as they come; the answer is held against the request and against what it says itself."""
        try:
            return self._web.body(self._request("GET", key), start, length, etag)
        except StoreError as refusal:
            self._advise(refusal)
            raise

    def put_data(self, key: str, data: bytes, *, only_if: str = ANYTHING) -> ObjectInfo:
        """Store bytes by one PUT with a checksum; readers see the old object, the new one, or none."""
        etag = self._put(key, io.BytesIO(data), len(data), sha256_hex(data), only_if)
        # the bytes are in memory now: a digest that the store computed is compared here, and need not be asked for
        sent = hashlib.md5(data, usedforsecurity=False).hexdigest() if etag_md5(etag) else ""
        return ObjectInfo(key, len(data), etag, md5=sent if sent == etag_md5(etag) else "")

    def put_file(self, key: str, path: str, digests: Mapping[str, str], *, only_if: str = ANYTHING) -> ObjectInfo:
        """Store a local file by one PUT; one that is too large for memory is sent as a stream, with its SHA-256."""
        data = held_in_memory(path, digests)
        if data is not None:
            return self.put_data(key, data, only_if=only_if)
        if "sha256" not in digests:
            raise UsageError("a file above 1 GiB is sent by its SHA-256", where=path, expected="sha256")
        with translated(path), buffered_plain(path) as file:
            size = os.fstat(file.fileno()).st_size
            return ObjectInfo(key, size, self._put(key, file, size, digests["sha256"], only_if))

    def _put(self, key: str, body: IO[bytes], size: int, sha256: str, only_if: str) -> str:
        """One PUT, of which the server compares the SHA-256; gives the ETag."""
        headers = {
            "Content-Length": str(size),
            "Content-Type": "application/octet-stream",
            _CHECKSUM_HEADER: base64.b64encode(bytes.fromhex(sha256)).decode(),
            PAYLOAD_HEADER: sha256,
        }
        if only_if == ABSENT:
            headers["If-None-Match"] = "*"
        elif only_if:
            headers["If-Match"] = only_if
        try:
            answer = self._succeed(self._request("PUT", key, headers, body=body))
        except StoreError as refusal:
            if only_if == ABSENT and refusal.code == "object-changed":
                where = f"{self.url}/{key}"
                raise StoreError("an object is already there", code="object-exists", where=where) from refusal
            raise
        answer.read_start(self._web.limits.error)
        return str(answer.headers.get("ETag", ""))

    def put_wrong(self, key: str) -> bool:
        """Try to store bytes under another text's SHA-256; tells whether that was refused."""
        data = b"not these bytes"
        headers = {
            "Content-Length": str(len(data)),
            _CHECKSUM_HEADER: base64.b64encode(bytes(32)).decode(),
            PAYLOAD_HEADER: sha256_hex(data),
        }
        try:
            self._succeed(self._request("PUT", key, headers, body=io.BytesIO(data)))
        except StoreError as error:
            if error.got.startswith("400"):
                return True
            raise
        return False

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Objects under a prefix, sorted by key; a listing whose pages repeat or go backwards raises TransientError."""
        last, where = "", f"{self.url}/{prefix}"
        query = {"list-type": "2", "encoding-type": "url", "prefix": self._prefix + prefix}
        for page in self._pages(query, (("continuation-token", "NextContinuationToken"),), where):
            decode = unquote if _text(page, "EncodingType") == "url" else str
            for entry in page.iterfind("{*}Contents"):
                name, size = decode(_text(entry, "Key")), _text(entry, "Size")
                key = name.removeprefix(self._prefix)
                if key <= last or not name.startswith(self._prefix + prefix) or not size.isdecimal():
                    if not key or name == self._prefix:  # the folder itself, as some tools store it
                        continue
                    raise TransientError("a listing that repeats itself", code="list-torn", where=where, got=key[:200])
                last = key
                if not key.endswith("/"):
                    yield ObjectInfo(key, int(size), _text(entry, "ETag"))

    def _pages(self, query: Mapping[str, str], markers: tuple[tuple[str, str], ...], where: str) -> Iterator[Element]:
        """The pages of a listing. One that was asked for before is not asked for again: such a listing has no end.

        ``markers`` are the parameters that ask for the next page, and the elements that say what is in them.
        """
        limits, asked, count = self._web.limits, dict(query), 0
        seen: set[tuple[str, ...]] = set()
        while True:
            # of the bucket, not of an object
            shown = urlencode(asked, quote_via=quote, safe="-_.~")
            answer = self._succeed(Request("GET", f"{self._bucket}?{shown}", where))
            answer.read(limits.page)
            page = _parsed(answer.body, where)
            count += len(page)
            yield page
            if _text(page, "IsTruncated") != "true":
                return
            marks = tuple(_text(page, element) for _, element in markers)
            if not any(marks) or marks in seen or len(seen) >= limits.pages or count > limits.entries:
                raise StoreError("a listing that does not end", code="list-endless", where=where, got=f"page {len(seen) + 2}")  # fmt: skip
            seen.add(marks)
            asked = {**query, **{name: mark for (name, _), mark in zip(markers, marks, strict=True) if mark}}

    def delete(self, key: str) -> None:
        """Remove an object. Buckets do not tell whether there was one: that is asked first."""
        self.head(key)
        self._succeed(self._request("DELETE", key)).read_start(self._web.limits.error)

    def remote_digests(self, key: str) -> Mapping[str, str]:
        """Checksums of the whole object, and its ETag where that is an MD5 (one PUT, no KMS and no customer key)."""
        return whole_digests(self._succeed(self._request("HEAD", key, {"X-Amz-Checksum-Mode": "ENABLED"})).headers)

    def unfinished(self, prefix: str = "") -> tuple[Upload, ...]:
        """Multipart uploads that were not finished."""
        query = {"uploads": "", "prefix": self._prefix + prefix}
        markers = (("key-marker", "NextKeyMarker"), ("upload-id-marker", "NextUploadIdMarker"))
        found = [
            Upload(_text(entry, "Key").removeprefix(self._prefix), _text(entry, "UploadId"), _text(entry, "Initiated"))
            for page in self._pages(query, markers, f"{self.url}/{prefix}")
            for entry in page.iterfind("{*}Upload")
        ]
        return tuple(sorted(found, key=lambda upload: (upload.key, upload.started)))

    def abort(self, upload: Upload) -> None:
        """Give one up."""
        self._succeed(self._request("DELETE", upload.key, query={"uploadId": upload.id}))


def _parsed(body: bytes, where: str) -> Element:
    """A listing's XML; without a document type, for those may name what lies elsewhere or grow without end."""
    from xml.etree import ElementTree as ET

    reason: object = "a document type"
    if b"<!DOCTYPE" not in body and b"<!ENTITY" not in body:
        try:
            return ET.fromstring(body)  # noqa: S314  # what is dangerous in XML is refused
        except (ET.ParseError, ValueError, LookupError) as error:
            reason = error
    raise TransientError("the server's listing is not understood", code="list-torn", where=where, got=str(reason)[:200])


def _text(element: Element, name: str) -> str:
    return element.findtext(f"{{*}}{name}") or ""


def whole_digests(headers: Mapping[str, str]) -> dict[str, str]:
    """The digests in the headers of a HeadObject answer that are of the whole object.

    A composite checksum (``...-3``) is one of the parts' checksums and says nothing without knowing the parts.
    """
    found = {}
    if headers.get("x-amz-checksum-type", "") != "COMPOSITE":
        for header, name in _CHECKSUMS.items():
            value = headers.get(header, "")
            if value and "-" not in value:
                try:
                    found[name] = base64.b64decode(value, validate=True).hex()
                except binascii.Error:
                    continue
    md5 = etag_md5(headers.get("ETag", ""))
    encrypted = headers.get("x-amz-server-side-encryption-customer-algorithm") or headers.get(
        "x-amz-server-side-encryption", ""
    ).startswith("aws:kms")
    if md5 and not encrypted:
        found["md5"] = md5
    return found
