"""Azure Blob Storage: requests signed here with the account's key, allowed by a SAS, or sent with the identity's token.

Environment variables are looked up under the names that obstore reads, in its order.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from wdstools.errors import UsageError
from wdstools.stores.bucket_store import Bucket, BucketStore, text_of
from wdstools.stores.bucket_urls import base64_md5, header_digests, is_yes, md5_of_file, parts_of, server_of
from wdstools.stores.obstore_login import Login, login_of
from wdstools.stores.web import Web

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from xml.etree.ElementTree import Element

    from wdstools.stores.meter import Limits, Waits
    from wdstools.stores.web import Request

_ACCOUNTS = ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_ACCOUNT_NAME")
_KEYS = ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_MASTER_KEY")
_SAS = ("AZURE_STORAGE_SAS_KEY", "AZURE_STORAGE_SAS_TOKEN")
_TOKENS = ("AZURE_STORAGE_TOKEN",)
_CLIENTS = ("AZURE_STORAGE_CLIENT_ID", "AZURE_CLIENT_ID")
_ENDPOINTS = ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT")
#: Published by Microsoft for all emulators.
_EMULATED = "devstoreaccount1"
_EMULATED_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_VERSION = "2023-11-03"
#: The headers whose values Shared Key signs, in its order ("Authorize with Shared Key", 2015-02-21 and later).
_SIGNED = (
    "Content-Encoding",
    "Content-Language",
    "Content-Length",
    "Content-MD5",
    "Content-Type",
    "Date",
    "If-Modified-Since",
    "If-Match",
    "If-None-Match",
    "If-Unmodified-Since",
    "Range",
)
_WRONG_MD5 = base64_md5(b"other bytes")


def open_azure(url: str, waits: Waits, limits: Limits | None = None) -> AzureStore:
    """The store at ``az://CONTAINER/PREFIX``; the account comes from the environment."""
    container, prefix = parts_of(url)
    emulated = is_yes(_from(("AZURE_STORAGE_USE_EMULATOR",)))
    account = _from(_ACCOUNTS) or (_EMULATED if emulated else "")
    if not account.isalnum() or not account.isascii():
        raise UsageError(
            "no Azure account is set",
            code="store-settings",
            where="the environment",
            expected=_ACCOUNTS[0],
            got=account,
        )
    key = _from(_KEYS) or (_EMULATED_KEY if emulated else "")
    sign, query = _who(account, key, lambda: login_of("az", waits.whole))
    place = Bucket(url.rstrip("/"), f"{_endpoint(account, emulated=emulated)}/{quote(container)}", prefix, query)
    return AzureStore(place, Web(waits, sign, limits))


def _from(names: tuple[str, ...]) -> str:
    return next((os.environ[name] for name in names if os.environ.get(name)), "")


def _endpoint(account: str, *, emulated: bool) -> str:
    if named := _from(_ENDPOINTS):
        return server_of(named, _ENDPOINTS[0])
    if emulated:
        return f"{os.environ.get('AZURITE_BLOB_STORAGE_URL') or 'http://127.0.0.1:10000'}/{account}"
    kind = "fabric.microsoft" if is_yes(os.environ.get("AZURE_USE_FABRIC_ENDPOINT")) else "core.windows"
    return f"https://{account}.blob.{kind}.{'com' if kind.startswith('fabric') else 'net'}"


def _who(account: str, key: str, find: Callable[[], Login]) -> tuple[Callable[[Request], Mapping[str, str]], str]:
    """What signs a request, and the query that goes with every request."""
    if is_yes(os.environ.get("AZURE_SKIP_SIGNATURE")):
        return _nobody, ""
    if token := _from(_TOKENS):
        return lambda _: {"Authorization": f"Bearer {_sendable(token, _TOKENS[0])}"}, ""
    if key:
        return _SharedKey(account, _bytes_of(key)).sign, ""
    if (sas := _from(_SAS)) and not _from(_CLIENTS):
        pairs = parse_qsl(sas.removeprefix("?"))
        if not pairs:
            raise UsageError("this is not a SAS", code="store-settings", where=_SAS[0], expected="sv=...&sig=...")
        return _nobody, "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)
    login = find()
    return lambda _: {"Authorization": said} if (said := login.authorization()) else {}, ""


def _nobody(request: Request) -> Mapping[str, str]:
    del request
    return {}


def _sendable(text: str, where: str) -> str:
    if not (text.isascii() and text.isprintable()):
        raise UsageError(
            "it has characters that no token has",
            code="store-settings",
            where=where,
            hint="look for a line break or a quote at its end",
        )
    return text


def _bytes_of(key: str) -> bytes:
    try:
        return base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError):
        raise UsageError(
            "this is not an account key", code="store-settings", where=_KEYS[0], expected="base64"
        ) from None


@dataclass(frozen=True, slots=True, repr=False)
class _SharedKey:
    """An account's key, which signs requests."""

    account: str
    key: bytes

    def sign(self, request: Request) -> Mapping[str, str]:
        """Headers that sign a request."""
        dated = {"x-ms-date": format_datetime(datetime.now(UTC), usegmt=True)}
        given = {**request.headers, **dated}
        named = sorted((name.lower(), value) for name, value in given.items() if name.lower().startswith("x-ms-"))
        values = [
            "" if name == "Content-Length" and given.get(name) == "0" else given.get(name, "") for name in _SIGNED
        ]
        parts = urlsplit(request.url)
        asked = sorted((unquote(name).lower(), value) for name, value in parse_qsl(parts.query, keep_blank_values=True))
        resource = f"/{self.account}{parts.path}" + "".join(f"\n{name}:{value}" for name, value in asked)
        text = "\n".join([request.method, *values, *(f"{name}:{value}" for name, value in named), resource])
        signature = base64.b64encode(hmac.digest(self.key, text.encode(), hashlib.sha256)).decode()
        return {**dated, "Authorization": f"SharedKey {self.account}:{signature}"}


class AzureStore(BucketStore):
    """A prefix of a container; every PUT is one block blob, sent with the MD5 of its bytes."""

    def _with_own(self, headers: Mapping[str, str] | None) -> Mapping[str, str]:
        return {"x-ms-version": _VERSION, **(headers or {})}

    def _seal(self, data: bytes) -> Mapping[str, str]:
        return {"Content-MD5": base64_md5(data), "x-ms-blob-type": "BlockBlob"}

    def _seal_file(self, path: str, digests: Mapping[str, str]) -> Mapping[str, str]:
        return {"Content-MD5": md5_of_file(path, digests), "x-ms-blob-type": "BlockBlob"}

    def _wrong_seal(self) -> Mapping[str, str]:
        return {"Content-MD5": _WRONG_MD5}

    def _entries(self, prefix: str, where: str, delimiter: str = "") -> Iterator[tuple[str, str, str]]:
        query = {"restype": "container", "comp": "list", "prefix": prefix, "maxresults": "1000"}
        query |= {"delimiter": delimiter} if delimiter else {}
        for page in self._pages(query, (("marker", "NextMarker"),), where):
            for folder in page.iterfind("{*}Blobs/{*}BlobPrefix/{*}Name"):
                yield unquote(folder.text or "") if folder.get("Encoded") == "true" else folder.text or "", "", ""
            for blob in page.iterfind("{*}Blobs/{*}Blob"):
                name = blob.find("{*}Name")
                said = blob.find("{*}Properties")
                if name is None or said is None or text_of(said, "ResourceType") == "directory":
                    continue
                decode = unquote if name.get("Encoded") == "true" else str
                etag = text_of(said, "Etag")
                yield (
                    decode(name.text or ""),
                    text_of(said, "Content-Length"),
                    etag if etag.startswith('"') else f'"{etag}"',
                )

    def _is_truncated(self, page: Element, marks: tuple[str, ...]) -> bool:
        del page
        return any(marks)

    def _delete_headers(self) -> Mapping[str, str]:
        return {"x-ms-delete-snapshots": "include"}

    def remote_digests(self, key: str) -> Mapping[str, str]:
        """The MD5 of a blob that was stored by one request, as Azure computed it."""
        return header_digests(self._succeed(self._request("HEAD", key)).headers)
