"""S3 and compatible stores: requests are made by ``bucket_store``, signed by ``s3_account`` and sent by ``web``.

A PUT is one request with the SHA-256 of its bytes, which the server checks.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING
from urllib.parse import quote

from wdstools.errors import TransientError, UsageError
from wdstools.formats.digest import sha256_hex
from wdstools.stores.base import ObjectInfo, Upload
from wdstools.stores.bucket_store import Bucket, BucketStore, text_of
from wdstools.stores.bucket_urls import parts_of
from wdstools.stores.remote import cannot, etag_md5
from wdstools.stores.s3_account import PAYLOAD_HEADER, Account
from wdstools.stores.web import Web

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wdstools.stores.base import Store
    from wdstools.stores.meter import Limits, Waits

_UNSIGNED_HINT = "no credentials were found, so requests are not signed: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
#: The checksum headers of HeadObject that may cover the whole object, and their names here.
_CHECKSUMS = {
    "x-amz-checksum-sha256": "sha256",
    "x-amz-checksum-crc64nvme": "crc64nvme",
    "x-amz-checksum-crc32c": "crc32c",
    "x-amz-checksum-crc32": "crc32",
    "x-amz-checksum-sha1": "sha1",
}
_CHECKSUM_HEADER = "X-Amz-Checksum-SHA256"


def open_s3(url: str, waits: Waits, limits: Limits | None = None) -> S3Store:
    """The store at ``s3://BUCKET/PREFIX``. Without credentials, requests are not signed, as public buckets require."""
    bucket, prefix = parts_of(url)
    account = Account()
    hint = "" if account.credentials is not None else _UNSIGNED_HINT
    place = Bucket(url.rstrip("/"), f"{account.endpoint}/{quote(bucket)}", prefix)
    return S3Store(place, Web(waits, account.sign, limits), refused_hint=hint)


class S3Store(BucketStore):
    """A prefix of a bucket; every PUT carries the SHA-256 of its bytes."""

    def _seal(self, data: bytes) -> Mapping[str, str]:
        return _sealed(sha256_hex(data))

    def _seal_file(self, path: str, digests: Mapping[str, str]) -> Mapping[str, str]:
        if "sha256" not in digests:
            raise UsageError("a file above 1 GiB is only sent with its SHA-256", where=path, expected="sha256")
        return _sealed(digests["sha256"])

    def _wrong_seal(self) -> Mapping[str, str]:
        return {_CHECKSUM_HEADER: base64.b64encode(bytes(32)).decode()}

    def remote_digests(self, key: str) -> Mapping[str, str]:
        """Checksums of the whole object, and its ETag if that is an MD5 (one PUT, no KMS, no customer key)."""
        return whole_digests(self._succeed(self._request("HEAD", key, {"X-Amz-Checksum-Mode": "ENABLED"})).headers)

    def place(self, key: str) -> tuple[str, str]:
        """The service that holds an object, and its bucket and key as the service writes them."""
        service, _, bucket = self._bucket.address.rpartition("/")
        return service, f"/{bucket}/{quote(self._prefix + key, safe='/-_.~')}"

    def copy(self, source: Store, key: str) -> ObjectInfo:
        """CopyObject, of the current version. Even an answer of status 200 may hold an error, so the copy is checked."""
        if not isinstance(source, S3Store) or source.place(key)[0] != self.place(key)[0]:
            raise cannot("the server cannot copy an object of another service", f"{self.url}/{key}")
        there, name = source.head(key), source.place(key)[1]
        only = {"X-Amz-Copy-Source-If-Match": there.etag} if there.etag else {}
        headers = {"X-Amz-Copy-Source": name, "Content-Length": "0", **only}
        answer = self._succeed(self._request("PUT", key, headers))
        answer.read_start(self._web.limits.error)
        here = self.head(key)
        if b"<Error" in answer.body or here.bytes != there.bytes:
            got = f"{here.bytes} bytes; {answer.body[:200].decode('utf-8', 'replace')}"
            raise TransientError(
                "the server did not copy the whole object",
                code="short-body",
                where=f"{self.url}/{key}",
                expected=f"{there.bytes} bytes",
                got=got,
            )
        return ObjectInfo(key, here.bytes, here.etag, md5=etag_md5(here.etag) if here.etag == there.etag else "")

    def unfinished(self, prefix: str = "") -> tuple[Upload, ...]:
        """Unfinished multipart uploads."""
        query = {"uploads": "", "prefix": self._prefix + prefix}
        markers = (("key-marker", "NextKeyMarker"), ("upload-id-marker", "NextUploadIdMarker"))
        found = [
            Upload(
                text_of(entry, "Key").removeprefix(self._prefix),
                text_of(entry, "UploadId"),
                text_of(entry, "Initiated"),
            )
            for page in self._pages(query, markers, f"{self.url}/{prefix}")
            for entry in page.iterfind("{*}Upload")
        ]
        return tuple(sorted(found, key=lambda upload: (upload.key, upload.started)))

    def abort(self, upload: Upload) -> None:
        """Abort an unfinished upload."""
        self._succeed(self._request("DELETE", upload.key, query={"uploadId": upload.id}))


def _sealed(sha256: str) -> dict[str, str]:
    return {_CHECKSUM_HEADER: base64.b64encode(bytes.fromhex(sha256)).decode(), PAYLOAD_HEADER: sha256}


def whole_digests(headers: Mapping[str, str]) -> dict[str, str]:
    """The digests of the whole object in the headers of a HeadObject answer.

    A composite checksum (``...-3``) is a checksum of the parts' checksums, and means nothing without knowing the parts.
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
