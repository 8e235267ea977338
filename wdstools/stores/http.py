"""Plain web servers: objects by GET and ranges, nothing listed, nothing written. Every answer is held against its request."""

from __future__ import annotations

import base64
import binascii
import os
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from wdstools.errors import StoreError, TransientError, UsageError
from wdstools.stores.base import ObjectInfo
from wdstools.stores.http_status import answer_error, unreachable, wish
from wdstools.stores.remote import ANYTHING, STREAM_BLOCK, Body, RemoteBase, cannot, changed, exactly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from urllib3 import PoolManager
    from urllib3.exceptions import HTTPError
    from urllib3.response import BaseHTTPResponse

    from wdstools.stores.cloud import Waits

_RANGE_RE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
_UNSATISFIED_RE = re.compile(r"bytes \*/([0-9]{1,18})")
#: What urllib3 puts before a reason: the name and address of an object in memory.
_OBJECT_RE = re.compile(r"^(<[^>]*>: |\w+\([^)]*\): )+")
#: What another server than the one that was asked must not see.
_SECRET_HEADERS = ("Authorization", "Proxy-Authorization", "Cookie", "X-Amz-Security-Token")
_DIGEST_RE = re.compile(r"sha-256=:([A-Za-z0-9+/=]+):")


class Web:
    """Connections to web servers, shared by threads; redirects are followed, and keep credentials to their own host.

    They go through the proxies that the environment names (``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY``).
    ``sign`` gives the headers that let a method be done at a URL.
    """

    def __init__(self, waits: Waits, sign: Callable[[str, str], Mapping[str, str]] = lambda _method, _url: {}) -> None:
        self._waits = waits
        self._sign = sign
        self._pools: dict[tuple[int, str], PoolManager] = {}

    def _pool(self, url: str) -> PoolManager:
        """Connections by the way that leads to a server: one of the proxies, or none."""
        parts = urlsplit(url)
        server = f"{parts.scheme}://{parts.netloc}"
        place = os.getpid(), server  # a forked process has no part in its parent's connections
        return self._pools.get(place) or self._pools.setdefault(place, self._open_pool(proxy_for(server)))

    def _open_pool(self, proxy: str) -> PoolManager:
        import urllib3

        retries = urllib3.Retry(
            total=None, connect=0, read=0, other=0, status=0, redirect=5, remove_headers_on_redirect=_SECRET_HEADERS
        )
        timeout = urllib3.Timeout(connect=self._waits.connect, read=self._waits.stall)
        options: dict[str, Any] = {"maxsize": 64, "timeout": timeout, "retries": retries}
        if not proxy:
            return urllib3.PoolManager(**options)
        try:
            user = urlsplit(proxy).netloc.rpartition("@")[0]
            login = urllib3.make_headers(proxy_basic_auth=unquote(user)) if user else None
            return urllib3.ProxyManager(proxy, proxy_headers=login, **options)
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise UsageError("this proxy cannot be used", code="store-settings", where="the environment", expected="http://HOST:PORT", got=proxy.rpartition("@")[2]) from error  # fmt: skip

    def ask(self, method: str, url: str, headers: Mapping[str, str] | None = None, *, where: str = "") -> Answer:
        """Send a request and read the whole answer; raises TransientError where no whole answer came."""
        answer = self.open(method, url, headers, where=where)
        answer.read()
        return answer

    def open(self, method: str, url: str, headers: Mapping[str, str] | None = None, *, where: str = "") -> Answer:
        """Send a request; its answer's body is still to come. Raises TransientError where there is no connection."""
        from urllib3.exceptions import HTTPError

        sent = {"Accept-Encoding": "identity", **self._sign(method, url), **(headers or {})}
        try:
            response = self._pool(url).request(method, url, headers=sent, preload_content=False)
        except HTTPError as error:
            raise broken(error, url, where) from error
        answer = Answer(response, url, where)
        if (headers or {}).get("Range") and response.status == 200:  # the whole object: not worth reading
            answer.close()
        return answer

    def succeed(self, method: str, url: str, headers: Mapping[str, str] | None = None, *, where: str) -> Answer:
        """An answer that is a success, or says that a range begins where the object ends."""
        answer = self.open(method, url, headers, where=where)
        if answer.status == 416 and _UNSATISFIED_RE.fullmatch(answer.headers.get("Content-Range", "bytes */0")):
            return answer
        if method == "HEAD" or answer.status not in (200, 206):
            answer.read()
        try:
            answer.check(where)
        except StoreError:
            answer.close()
            raise
        return answer

    def body(self, url: str, start: int, length: int | None, etag: str, *, where: str) -> Body:
        """Bytes of one version as they come, as ``RemoteStore.open_body`` gives them."""
        if length == 0:
            return Body(etag, start, start, iter(()))
        headers = {"If-Match": etag} if etag else {}
        if start or length is not None:
            headers["Range"] = f"bytes={start}-{'' if length is None else start + length - 1}"
        answer = self.succeed("GET", url, headers, where=where)
        try:
            return answer.body_of(start, length, etag, where)
        except BaseException:
            answer.close()
            raise


def host_of(url: str) -> str:
    """The host in a URL; empty where there is none, or where it or its port cannot be."""
    try:
        host, port = urlsplit(url).hostname, urlsplit(url).port
    except ValueError:
        return ""
    return host if host and port != 0 else ""


def proxy_for(url: str) -> str:
    """The proxy that the environment names for a URL, as curl and Python's own library read it; empty for none."""
    from urllib.request import getproxies, proxy_bypass

    parts, proxies = urlsplit(url), getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all", "")
    if not proxy or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def broken(error: HTTPError, url: str, where: str) -> TransientError:
    """The error for a connection that failed, by the reason within all that urllib3 says; ``url`` may hold a token."""
    from urllib3.exceptions import MaxRetryError, ProtocolError

    reason: object = error.reason if isinstance(error, MaxRetryError) and error.reason else error
    if isinstance(reason, ProtocolError) and len(reason.args) > 1:
        reason = reason.args[1]
    text = _OBJECT_RE.sub("", str(reason)).replace(url, where or url)
    return unreachable(text or type(reason).__name__, where or url)


class Answer:
    """A status and headers; ``blocks`` is the body as it comes, once, and ``body`` what ``read`` has read of it."""

    def __init__(self, response: BaseHTTPResponse, url: str, where: str) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = b""
        self._response = response
        self._names = url, where

    def blocks(self) -> Iterator[bytes]:
        """The body; raises TransientError where it breaks off. A connection is used again if all of it was read."""
        from urllib3.exceptions import HTTPError

        try:
            yield from self._response.stream(STREAM_BLOCK, decode_content=False)
            self._response.release_conn()
        except HTTPError as error:
            raise broken(error, *self._names) from error
        finally:
            self._response.close()

    def read(self) -> None:
        """Read the body."""
        self.body = b"".join(self.blocks())

    def close(self) -> None:
        """Do without the body."""
        self._response.close()

    def body_of(self, start: int, length: int | None, etag: str, where: str) -> Body:
        """The body, held against the range and the version that were asked for."""
        if etag and self.etag != etag and self.status != 416:
            raise changed(where, etag, self.etag)
        if start or length is not None:
            end = self._end(start, length, where)
        elif (size := self.size) is not None:
            end = size
        else:  # sent in pieces, without saying how much it is
            self.read()
            return Body(self.etag, 0, len(self.body), iter((memoryview(self.body),)))
        if end == start:
            self.close()
            return Body(self.etag, start, end, iter(()))
        return Body(self.etag, start, end, exactly(self.blocks(), end - start, where))

    def _end(self, start: int, length: int | None, where: str) -> int:
        """Where the bytes of an answer to a range end, if it is an answer to this range."""
        where = f"{where}, bytes {start}..{'' if length is None else start + length}"
        if self.status == 416:
            return start
        found = _RANGE_RE.fullmatch(self.headers.get("Content-Range", ""))
        if self.status != 206 or found is None:
            raise TransientError("a range was answered with something else", code="not-partial", where=where, got=f"status {self.status}")  # fmt: skip
        first, last, size = map(int, found.groups())
        end = size if length is None else min(size, start + length)
        if (first, last + 1) != (start, end):
            raise TransientError("another range than asked for", code="not-partial", where=where, expected=f"{start}-{end - 1}", got=f"{first}-{last}")  # fmt: skip
        return end

    @property
    def size(self) -> int | None:
        """What the answer says of its length; None if that is nothing, or no number of bytes."""
        said = self.headers.get("Content-Length", "")
        return int(said) if re.fullmatch("[0-9]{1,18}", said) else None

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
    """The objects below a URL. A query in the URL (a token) goes with every request and into no message.

    ``shown`` is what the URL is called in messages, if that is something else.
    """

    def __init__(self, url: str, waits: Waits, *, web: Web | None = None, shown: str = "") -> None:
        plain, question, query = url.partition("?")
        if not host_of(plain):
            raise UsageError("not the address of a web server", where=plain, expected="https://HOST[:PORT]/...")
        self._base = plain.rstrip("/")
        self._query = question + query
        self._web = web or Web(waits)
        self._url = shown or self._base

    @property
    def url(self) -> str:
        """Without query."""
        return self._url

    def locate(self, key: str) -> str:
        """The URL of one object."""
        return f"{self._base}/{quote(key)}{self._query}"

    def head(self, key: str) -> ObjectInfo:
        """Size and ETag, by HEAD."""
        answer = self._open("HEAD", key)
        size = answer.size
        if size is None:
            raise StoreError("the server does not tell this object's size", code="no-size", where=f"{self._url}/{key}")
        return ObjectInfo(key, size, answer.etag)

    def open_body(self, key: str, start: int = 0, length: int | None = None, *, etag: str = "") -> Body:
        """Bytes of one version as they come."""
        return self._web.body(self.locate(key), start, length, etag, where=f"{self._url}/{key}")

    def _open(self, method: str, key: str, headers: Mapping[str, str] | None = None) -> Answer:
        return self._web.succeed(method, self.locate(key), headers, where=f"{self._url}/{key}")

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
            self._open("HEAD", key, {"Want-Repr-Digest": "sha-256=10"}).headers.get("Repr-Digest", "")
        )
        try:
            return {"sha256": base64.b64decode(found.group(1), validate=True).hex()} if found else {}
        except binascii.Error:
            return {}
