"""Google Cloud Storage: its XML API, with a bearer token of the identity that ``obstore_login`` finds."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from wdstools.errors import StoreError
from wdstools.stores.base import ABSENT
from wdstools.stores.bucket_store import Bucket, BucketStore
from wdstools.stores.bucket_urls import base64_md5, header_digests, is_yes, md5_of_file, parts_of, server_of
from wdstools.stores.local import read_file
from wdstools.stores.obstore_login import login_of
from wdstools.stores.web import Web

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wdstools.stores.meter import Limits, Waits
    from wdstools.stores.web import Request

_ENDPOINT = "https://storage.googleapis.com"
#: Environment variables that may name the file of a service account, or hold its content.
_ACCOUNT_FILES = ("GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH")
_ACCOUNT = "GOOGLE_SERVICE_ACCOUNT_KEY"
_SKIPPED = "GOOGLE_SKIP_SIGNATURE"
_WRONG_MD5 = base64_md5(b"other bytes")


def open_google(url: str, waits: Waits, limits: Limits | None = None) -> GoogleStore:
    """The store at ``gs://BUCKET/PREFIX``."""
    bucket, prefix = parts_of(url)
    account = _service_account()
    named = os.environ.get("GOOGLE_BASE_URL") or str(account.get("gcs_base_url") or "")
    endpoint = server_of(named, "GOOGLE_BASE_URL") if named else _ENDPOINT
    login = (
        None
        if is_yes(os.environ.get(_SKIPPED)) or account.get("disable_oauth") is True
        else login_of("gs", waits.whole)
    )

    def sign(request: Request) -> Mapping[str, str]:
        del request
        said = login.authorization() if login is not None else ""
        return {"Authorization": said} if said else {}

    return GoogleStore(Bucket(url.rstrip("/"), f"{endpoint}/{quote(bucket)}", prefix), Web(waits, sign, limits))


def _service_account() -> Mapping[str, Any]:
    """The content of the service account file, or nothing if it is not one; its errors are reported when it is used."""
    text = os.environ.get(_ACCOUNT, "")
    path = next((os.environ[name] for name in _ACCOUNT_FILES if os.environ.get(name)), "")
    try:
        if not text and path:
            text = read_file(path, 1 << 16).decode()
        said = json.loads(text or "{}")
    except (StoreError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


class GoogleStore(BucketStore):
    """A prefix of a bucket; every PUT carries the MD5 of its bytes, and conditions are generations."""

    def _seal(self, data: bytes) -> Mapping[str, str]:
        return {"Content-MD5": base64_md5(data)}

    def _seal_file(self, path: str, digests: Mapping[str, str]) -> Mapping[str, str]:
        return {"Content-MD5": md5_of_file(path, digests)}

    def _wrong_seal(self) -> Mapping[str, str]:
        return {"Content-MD5": _WRONG_MD5}

    def _condition(self, key: str, only_if: str) -> Mapping[str, str]:
        """No object is generation 0; an ETag is looked up, and its generation must still be there at the PUT."""
        if only_if == ABSENT:
            return {"x-goog-if-generation-match": "0"}
        headers = self._succeed(self._request("HEAD", key)).headers
        generation = headers.get("x-goog-generation", "")
        if headers.get("ETag", "") != only_if or not generation:
            raise StoreError("the object is not the expected version", code="object-changed", where=f"{self.url}/{key}")
        return {"x-goog-if-generation-match": generation}

    def remote_digests(self, key: str) -> Mapping[str, str]:
        """crc32c, and the MD5 of an object that was not composed from others; Google computes both."""
        return header_digests(self._succeed(self._request("HEAD", key)).headers)
