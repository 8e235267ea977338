"""What bucket stores have in common: parsing their URLs, and the digests of what they send and hold."""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import xxhash

from wdstools.address import display
from wdstools.errors import SourceChangedError, UsageError
from wdstools.stores.local import buffered_plain, open_plain, storage_error, translated
from wdstools.stores.remote import check_source
from wdstools.stores.web import host_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_BUCKET_RE = re.compile(r"[A-Za-z0-9$][A-Za-z0-9._$-]{0,221}")  # with Azure's $root and $web
_HOST_RE = re.compile(r"(?:[a-z0-9_-]+\.)*[a-z0-9_-]*[a-z][a-z0-9_-]*\.?")
#: Files up to this size are held in memory to be sent.
MEMORY_BYTES = 1 << 30


def parts_of(url: str) -> tuple[str, str]:
    """Bucket and prefix of ``SCHEME://BUCKET/PREFIX``; raises UsageError for names that providers or obstore refuse."""
    scheme, _, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    prefix = prefix.strip("/")
    if not _BUCKET_RE.fullmatch(bucket):
        got = "" if "@" in rest or "?" in rest else bucket or "none"
        raise UsageError("no bucket in this URL", where=display(url), expected=f"{scheme}://BUCKET/PREFIX", got=got)
    if not prefix.isprintable() or (prefix and {"", ".", ".."} & set(prefix.split("/"))):
        raise UsageError("this prefix cannot be used", where=display(url), expected="names separated by single slashes")
    return bucket, prefix


def held_in_memory(path: str, digests: Mapping[str, str]) -> bytes | None:
    """A file's bytes, checked against its digests; None if too large. Raises SourceChangedError and StoreError."""
    try:
        with open_plain(path) as file:
            if file.seek(0, 2) > MEMORY_BYTES:
                return None
            file.seek(0)
            data = file.readall()
    except OSError as error:
        raise storage_error(error, path) from None
    check_source(data, path, digests)
    return data


def is_server(text: str) -> bool:
    """Whether a text is the address of a server. The libraries do not refuse all that is not, and then fail badly."""
    host = host_of(text)
    if not host or not text.isascii() or not text.isprintable() or " " in text or "@" in text:
        return False
    parts = urlsplit(text)
    # scheme, host, port and path, and nothing after them; a host in brackets is an IP address
    whole = parts.scheme in ("http", "https") and f"{parts.scheme}://{parts.netloc}{parts.path}" == text
    return whole and (_is_number(host) or ("[" not in text and bool(_HOST_RE.fullmatch(host))))


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def server_of(text: str, name: str) -> str:
    """The address of a server that the environment names; raises UsageError if it is not one."""
    if not is_server(text):
        raise UsageError(
            "not the address of a server",
            code="store-settings",
            where=name,
            expected="https://HOST[:PORT]",
            got=display(text),
        )
    return text.rstrip("/")


def is_yes(text: str | None) -> bool:
    """Whether an environment variable says yes."""
    return (text or "").strip().lower() in ("1", "true", "on", "yes", "y")


def base64_md5(data: bytes) -> str:
    """The MD5 of bytes, as Content-MD5 encodes it."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def md5_of_file(path: str, digests: Mapping[str, str]) -> str:
    """The MD5 of a file as Content-MD5 encodes it, by one read; raises SourceChangedError if ``digests`` do not match."""
    name = next((name for name in ("sha256", "xxh3_128") if name in digests), "")
    if not name:
        raise UsageError("a file is not sent without a digest", where=path, expected="xxh3_128 or sha256")
    seen: Any = hashlib.sha256() if name == "sha256" else xxhash.xxh3_128()
    md5 = hashlib.md5(usedforsecurity=False)
    with translated(path), buffered_plain(path) as file:
        file.seek(0)  # some systems open /dev/fd/N at the position of N, which is the end
        while block := file.read(1 << 20):
            seen.update(block)
            md5.update(block)
    if (got := seen.hexdigest()) != digests[name]:
        raise SourceChangedError("a file does not match its digest", where=path, expected=digests[name], got=got)
    return base64.b64encode(md5.digest()).decode()


def header_digests(headers: Mapping[str, str]) -> dict[str, str]:
    """Digests in headers: Google's ``x-goog-hash`` (crc32c=..., md5=...) and Azure's ``Content-MD5``, both base64."""
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
