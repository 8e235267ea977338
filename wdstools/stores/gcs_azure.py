"""Google Cloud Storage and Azure: opened by obstore with the provider's own credentials; digests by signed HEAD requests."""

from __future__ import annotations

import base64
import binascii
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from wdstools.errors import UsageError
from wdstools.stores.cloud import CloudStore, Waits, parts_of, translated
from wdstools.stores.http import Web
from wdstools.stores.remote import Upload, cannot

if TYPE_CHECKING:
    from collections.abc import Mapping

_SIGNED_FOR = timedelta(minutes=15)


def open_signed(url: str, waits: Waits) -> CloudStore:
    """The store at ``gs://BUCKET/PREFIX`` or ``az://CONTAINER/PREFIX`` (the account comes from the environment)."""
    from obstore.exceptions import BaseError
    from obstore.store import AzureStore, GCSStore

    bucket, prefix = parts_of(url)
    settings: dict[str, Any] = {"client_options": waits.client_options, "retry_config": {"max_retries": 0}}
    try:
        raw = GCSStore(bucket, **settings) if url.startswith("gs:") else AzureStore(bucket, **settings)
    except BaseError as error:
        raise UsageError("this store cannot be used", code="store-settings", where=url, got=str(error).partition("\n")[0]) from error  # fmt: skip
    return CloudStore(url, raw, prefix, SignedProvider(raw, url, Web(waits)))


class SignedProvider:
    """What Google and Azure say of an object in the headers of a HEAD request, which obstore signs.

    Both compute what they say themselves: Google crc32c (and md5 unless composed), Azure the MD5 of a single Put Blob.
    """

    def __init__(self, raw: Any, url: str, web: Web) -> None:
        self._raw = raw
        self._url = url
        self._web = web

    def digests(self, key: str) -> Mapping[str, str]:
        """Digests of a whole object; none where nothing can be signed (public access, a plain token)."""
        import obstore
        from obstore.exceptions import BaseError

        where = f"{self._url.partition('://')[0]}://{key}"
        try:
            signed = obstore.sign(self._raw, "GET" if self._url.startswith("az") else "HEAD", key, _SIGNED_FOR)
        except BaseError as error:
            raise translated(str(error), where) from error
        answer = self._web.ask("HEAD", signed, where=where)
        answer.check(where)
        return header_digests(answer.headers)

    def put_large(self, key: str, path: str, digests: Mapping[str, str], only_if: str) -> str:
        """By parts: these providers check each part, and their digest of the whole is compared afterwards."""
        import obstore
        from obstore.exceptions import BaseError

        del digests
        if only_if:
            raise cannot("a file above 1 GiB cannot be stored under a condition here", f"{self._url}/{key}")
        try:
            with open(path, "rb") as file:
                return obstore.put(self._raw, key, file, use_multipart=True, chunk_size=64 << 20)["e_tag"] or ""
        except BaseError as error:
            raise translated(str(error), self._url) from error

    def unfinished(self, prefix: str) -> list[Upload]:
        """None that can be seen: both providers throw unfinished parts away by themselves after a week."""
        del prefix
        return []

    def abort(self, upload: Upload) -> None:
        """Nothing to give up."""
        raise cannot("there are no unfinished uploads", f"{self._url}/{upload.key}")

    def put_wrong(self, key: str) -> bool:
        """No checksum is announced to these providers: what they say is what they computed."""
        raise cannot("no checksum is announced here", f"{self._url}/{key}")


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
