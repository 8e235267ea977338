"""Plain web servers: objects by GET and ranges, nothing listed, nothing written. Every answer is held against its request."""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from wdstools.errors import StoreError, TransientError
from wdstools.stores.answers import answer_error, unreachable, wish
from wdstools.stores.base import ObjectInfo
from wdstools.stores.remote import ANYTHING, RemoteBase, cannot, changed, short_body

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wdstools.stores.cloud import Waits

_RANGE_RE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_UNSATISFIED_RE = re.compile(r"bytes \*/(\d+)")
_DIGEST_RE = re.compile(r"sha-256=:([A-Za-z0-9+/=]+):")


class Web:
    """Connections to web servers, shared by threads; redirects are followed, and keep credentials to their own host."""

    def __init__(self, waits: Waits, headers: Mapping[str, str] | None = None) -> None:
        import urllib3

        self._pool = urllib3.PoolManager(
            maxsize=32,
            timeout=urllib3.Timeout(connect=waits.connect, read=waits.stall),
            retries=urllib3.Retry(total=None, connect=0, read=0, other=0, status=0, redirect=5),
            headers={"Accept-Encoding": "identity", **(headers or {})},
        )

    def ask(self, method: str, url: str, headers: Mapping[str, str] | None = None, *, where: str = "") -> Answer:
        """Send a request and read the whole answer; raises TransientError where no whole answer came."""
        from urllib3.exceptions import HTTPError

        try:
            response = self._pool.request(
                method, url, headers={**self._pool.headers, **(headers or {})}, preload_content=False
            )
            try:
                refused = bool((headers or {}).get("Range")) and response.status == 200
                body = b"" if refused else response.read(decode_content=False)
            except BaseException:
                response.close()
                raise
            if refused:  # the whole object instead of the range: not worth reading
                response.close()
            else:
                response.release_conn()
        except HTTPError as error:
            raise unreachable(f"{type(error).__name__}: {error}".replace(url, where or url), where or url) from error
        return Answer(response.status, response.headers, body)


class Answer:
    """A status, headers and body; ``body`` is empty where a range was answered by the whole object (status 200)."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def etag(self) -> str:
        """The strong ETag, or none: a weak one does not promise the same bytes."""
        value = self.headers.get("ETag", "")
        return "" if value.startswith("W/") else value

    def check(self, where: str) -> None:
        """Raise for any status but a success, and for an encoded body."""
        if self.status == 412:
            raise changed(where, "the ETag of the first answer", self.etag)
        if self.status not in (200, 206):
            asked = wish(self.headers.get("Retry-After"), datetime.now(UTC))
            raise answer_error(self.status, self.body[:2000].decode("utf-8", "replace"), where, retry_after=asked)
        encoding = self.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            raise StoreError("the body is encoded on its way", code="re-encoded", where=where, got=encoding)


class HttpStore(RemoteBase):
    """The objects below a URL. A query in the URL (a token) goes with every request and into no message."""

    def __init__(self, url: str, waits: Waits, *, web: Web | None = None) -> None:
        plain, question, query = url.partition("?")
        self._url = plain.rstrip("/")
        self._query = question + query
        self._web = web or Web(waits)

    @property
    def url(self) -> str:
        """Without query."""
        return self._url

    def locate(self, key: str) -> str:
        """The URL of one object."""
        from urllib.parse import quote

        return f"{self._url}/{quote(key)}{self._query}"

    def head(self, key: str) -> ObjectInfo:
        """Size and ETag, by HEAD."""
        answer = self._ask("HEAD", key)
        size = answer.headers.get("Content-Length", "")
        if not size.isdigit():
            raise StoreError("the server does not tell this object's size", code="no-size", where=f"{self._url}/{key}")
        return ObjectInfo(key, int(size), answer.etag)

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Bytes of an object from ``start``."""
        if length == 0:
            self.head(key)
            return b""
        if start == 0 and length is None:
            answer = self._ask("GET", key)
            return answer.body
        last = "" if length is None else str(start + length - 1)
        answer = self._ask("GET", key, {"Range": f"bytes={start}-{last}"})
        return self._part(key, answer, start, length)

    def fetch(self, key: str, start: int, length: int, *, etag: str = "") -> bytes:
        """Exactly ``length`` bytes of one version."""
        if length == 0:
            return b""
        headers = {"Range": f"bytes={start}-{start + length - 1}"} | ({"If-Match": etag} if etag else {})
        answer = self._ask("GET", key, headers)
        where = f"{self._url}/{key}, bytes {start}..{start + length}"
        if etag and answer.etag != etag:
            raise changed(where, etag, answer.etag)
        data = self._part(key, answer, start, length)
        if len(data) != length:
            raise short_body(where, length, len(data))
        return data

    def _part(self, key: str, answer: Answer, start: int, length: int | None) -> bytes:
        """The body of an answer to a range, if it is one."""
        where = f"{self._url}/{key}, bytes {start}..{'' if length is None else start + length}"
        if answer.status == 416:
            return b""
        found = _RANGE_RE.fullmatch(answer.headers.get("Content-Range", ""))
        if answer.status != 206 or found is None:
            raise TransientError("a range was answered with something else", code="not-partial", where=where, got=f"status {answer.status}")  # fmt: skip
        first, last, size = map(int, found.groups())
        end = size if length is None else min(size, start + length)
        if (first, last + 1) != (start, end):
            raise TransientError("another range than asked for", code="not-partial", where=where, expected=f"{start}-{end - 1}", got=f"{first}-{last}")  # fmt: skip
        if len(answer.body) != end - start:
            raise short_body(where, end - start, len(answer.body))
        return answer.body

    def _ask(self, method: str, key: str, headers: Mapping[str, str] | None = None) -> Answer:
        where = f"{self._url}/{key}"
        answer = self._web.ask(method, self.locate(key), headers, where=where)
        if answer.status == 416 and _UNSATISFIED_RE.fullmatch(answer.headers.get("Content-Range", "bytes */0")):
            return answer
        answer.check(where)
        return answer

    def put_data(self, key: str, data: bytes, *, only_if: str = ANYTHING) -> ObjectInfo:
        """Refused."""
        del data, only_if
        raise cannot("a web server is only read", f"{self._url}/{key}")

    def put_file(self, key: str, path: str, digests: Mapping[str, str], *, only_if: str = ANYTHING) -> ObjectInfo:
        """Refused."""
        del path, digests, only_if
        raise cannot("a web server is only read", f"{self._url}/{key}")

    def put_wrong(self, key: str) -> bool:
        """Refused."""
        raise cannot("a web server is only read", f"{self._url}/{key}")

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Refused: web servers have no listing that programs can rely on."""
        raise cannot("a web server gives no listing", f"{self._url}/{prefix}")

    def delete(self, key: str) -> None:
        """Refused."""
        raise cannot("a web server is only read", f"{self._url}/{key}")

    def remote_digests(self, key: str) -> Mapping[str, str]:
        """The SHA-256 of a Repr-Digest header (RFC 9530), where the server sends one."""
        found = _DIGEST_RE.search(
            self._ask("HEAD", key, {"Want-Repr-Digest": "sha-256=10"}).headers.get("Repr-Digest", "")
        )
        try:
            return {"sha256": base64.b64decode(found.group(1), validate=True).hex()} if found else {}
        except binascii.Error:
            return {}
