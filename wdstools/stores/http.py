"""Plain web servers: objects by GET and ranges; no listings, no writes. Every answer is checked against its request."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from wdstools.address import display
from wdstools.errors import StoreError, UsageError
from wdstools.stores.base import ANYTHING, Body, ObjectInfo
from wdstools.stores.remote import RemoteBase, cannot
from wdstools.stores.web import Answer, Request, Web, host_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wdstools.stores.meter import Waits

_DIGEST_RE = re.compile(r"sha-256=:([A-Za-z0-9+/=]+):")


class HttpStore(RemoteBase):
    """The objects below a URL.

    A query in the URL (a token, a signature) goes with every request, and a user and password in it are used for basic
    authentication. Neither appears in any message.
    """

    def __init__(self, url: str, waits: Waits, *, web: Web | None = None) -> None:
        plain, login = _without_login(url.partition("#")[0])
        plain, question, query = plain.partition("?")
        if not host_of(plain) or urlsplit(plain).scheme not in ("http", "https"):
            raise UsageError("not the address of a web server", where=display(url), expected="https://HOST[:PORT]/...")
        self._base = plain.rstrip("/")
        self._query = question + query
        self._web = web or Web(waits, lambda _request: login)

    @property
    def url(self) -> str:
        """The URL without query, user and password."""
        return self._base

    def locate(self, key: str) -> str:
        """The URL of one object."""
        return f"{self._base}/{quote(key)}{self._query}"

    def head(self, key: str) -> ObjectInfo:
        """Size and ETag, by HEAD."""
        answer = self._open("HEAD", key)
        size = answer.size
        if size is None:
            raise StoreError(
                "the server does not say how large this object is", code="no-size", where=f"{self.url}/{key}"
            )
        return ObjectInfo(key, size, answer.etag)

    def open_body(self, key: str, start: int = 0, length: int | None = None, *, etag: str = "") -> Body:
        """Bytes of one version as they come."""
        return self._web.body(Request("GET", self.locate(key), f"{self.url}/{key}"), start, length, etag)

    def _open(self, method: str, key: str, headers: Mapping[str, str] | None = None) -> Answer:
        return self._web.succeed(Request(method, self.locate(key), f"{self.url}/{key}", headers or {}))

    def put_data(self, key: str, data: bytes, *, only_if: str = ANYTHING) -> ObjectInfo:
        """Refused."""
        del data, only_if
        raise cannot("a web server is read-only", f"{self.url}/{key}")

    def put_file(self, key: str, path: str, digests: Mapping[str, str], *, only_if: str = ANYTHING) -> ObjectInfo:
        """Refused."""
        del path, digests, only_if
        raise cannot("a web server is read-only", f"{self.url}/{key}")

    def put_wrong(self, key: str) -> bool:
        """Refused."""
        raise cannot("a web server is read-only", f"{self.url}/{key}")

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Refused: web servers have no listing that a program can rely on."""
        raise cannot("a web server has no listing", f"{self.url}/{prefix}")

    def delete(self, key: str) -> None:
        """Refused."""
        raise cannot("a web server is read-only", f"{self.url}/{key}")

    def remote_digests(self, key: str) -> Mapping[str, str]:
        """The SHA-256 from the Repr-Digest header (RFC 9530), if the server sends one."""
        answer = self._open("HEAD", key, {"Want-Repr-Digest": "sha-256=10"})
        found = _DIGEST_RE.search(answer.headers.get("Repr-Digest", ""))
        try:
            return {"sha256": base64.b64decode(found.group(1), validate=True).hex()} if found else {}
        except binascii.Error:
            return {}


def _without_login(url: str) -> tuple[str, dict[str, str]]:
    """A URL without its user and password, and the header that carries them (RFC 7617)."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url, {}
    login, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, {}
    user, _, password = login.partition(":")
    said = f"{unquote(user)}:{unquote(password)}".encode()
    header = {"Authorization": f"Basic {base64.b64encode(said).decode()}"}
    return urlunsplit(parts._replace(netloc=host)), header
