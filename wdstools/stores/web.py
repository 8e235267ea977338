"""The only way to servers: every answer is bounded in bytes and in time before it is read, and no secret leaks.

A server may be hostile, or only slow. So each request has a meter at the socket (``meter.Meter``): it counts the bytes
of status lines, headers, interim answers, framing and body, and the seconds spent waiting for them. Redirects are
followed here: credentials go only to the server that they are for, and https is never downgraded to http.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urljoin, urlsplit

import urllib3

from wdstools.errors import StoreError, TransientError, UsageError
from wdstools.log import DEBUG, Clock, tell
from wdstools.stores.base import Body
from wdstools.stores.http_status import answer_error, unreachable, wish
from wdstools.stores.meter import METER, POOLS, TOO_MUCH_HEAD, Limits, Meter, TooLongError, TooSlowError, Waits
from wdstools.stores.remote import STREAM_BLOCK, changed, exactly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import IO

    from urllib3.response import BaseHTTPResponse

_NO_RANGES = "this server does not support ranges (neither does python -m http.server): use nginx, or copy the files and verify them here"
_RANGE_RE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
_UNSATISFIED_RE = re.compile(r"bytes \*/([0-9]{1,18})")
#: What urllib3 puts before a reason: the name of an object and its address in memory.
_OBJECT_RE = re.compile(r"^(<[^>]*>: |\w+\([^)]*\): )+")
_REDIRECTS = (301, 302, 303, 307, 308)
_DONE = (200, 201, 204, 206)
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Request:
    """A request: ``url`` may contain a secret, so messages name ``where``.

    ``body`` is sent; its length is among the headers.
    """

    method: str
    url: str = field(repr=False)
    where: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: IO[bytes] | None = None


def unsigned(request: Request) -> Mapping[str, str]:
    """No credentials."""
    del request
    return {}


class Web:
    """Connections to servers, shared by threads.

    They use the proxies that the environment names (``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY``).
    ``sign`` returns the headers that authorise a request. They are sent to the server of the request and to no other.
    """

    def __init__(
        self, waits: Waits, sign: Callable[[Request], Mapping[str, str]] = unsigned, limits: Limits | None = None
    ) -> None:
        self.limits = limits or Limits()
        self._waits = waits
        self._sign = sign
        self._pools: dict[tuple[int, str], urllib3.PoolManager] = {}

    def _pool(self, url: str) -> urllib3.PoolManager:
        """The connections to a server, through one of the proxies or none."""
        parts = urlsplit(url)
        server = f"{parts.scheme}://{parts.netloc}"
        place = os.getpid(), server  # a forked process must not share its parent's connections
        return self._pools.get(place) or self._pools.setdefault(place, self._open_pool(proxy_for(server)))

    def _open_pool(self, proxy: str) -> urllib3.PoolManager:
        timeout = urllib3.Timeout(connect=self._waits.connect, read=self._waits.stall)
        options: dict[str, Any] = {"maxsize": 64, "timeout": timeout, "retries": False}
        try:
            user = urlsplit(proxy).netloc.rpartition("@")[0]
            login = urllib3.make_headers(proxy_basic_auth=unquote(user)) if user else None
            pool = (
                urllib3.ProxyManager(proxy, proxy_headers=login, **options) if proxy else urllib3.PoolManager(**options)
            )
        except (urllib3.exceptions.HTTPError, ValueError):
            raise UsageError("this proxy cannot be used", code="store-settings", where="the environment", expected="http://HOST:PORT", got=proxy.rpartition("@")[2]) from None  # fmt: skip
        pool.pool_classes_by_scheme = POOLS
        return pool

    def ask(self, request: Request, limit: int = 0) -> Answer:
        """Send a request and read the whole answer, of at most ``limit`` bytes (by default the limit of an error)."""
        answer = self.open(request)
        answer.read(limit or self.limits.error)
        return answer

    def open(self, request: Request) -> Answer:
        """Send a request; the body of the answer has yet to be read.

        Raises TransientError if there is no connection, and StoreError (``redirect-refused``) for an unsafe redirect.
        """
        url, first = request.url, origin(request.url)
        for _ in range(self.limits.redirects + 1):
            step = Request(request.method, url, request.where, request.headers, request.body)
            answer = self._send(step, self._sign(step) if origin(url) == first else {})
            target = answer.headers.get("Location", "")
            if answer.status not in _REDIRECTS or not target:
                break
            answer.close()
            url = _followed(request, url, target)
        else:
            raise _astray(request.where, f"more than {self.limits.redirects} redirects")
        if request.headers.get("Range") and answer.status == 200:  # the whole object: not worth reading
            answer.close()
        return answer

    def _send(self, request: Request, signature: Mapping[str, str]) -> Answer:
        sent = {"Accept-Encoding": "identity", **request.headers, **signature}
        meter = Meter(self._waits, self.limits)
        meter.expect_sending(int(sent.get("Content-Length", 0)))
        token, clock = METER.set(meter), Clock()
        try:
            response = self._pool(request.url).urlopen(
                request.method,
                request.url,
                body=request.body,
                headers=sent,
                preload_content=False,
                redirect=False,
                retries=False,
            )
        except urllib3.exceptions.HTTPError as error:
            failure = broken(error, request)
            tell("stores", f"request: {request.method} {request.where}", DEBUG, failed=failure.code, seconds=clock)
            raise failure from None
        finally:
            METER.reset(token)
        part, size = sent.get("Range"), response.headers.get("Content-Length")
        told = {"status": response.status, "range": part, "length": size, "sent": sent.get("Content-Length")}
        tell("stores", f"request: {request.method} {request.where}", DEBUG, **told, seconds=clock)
        return Answer(response, request, meter, _hidden(request, signature))

    def succeed(self, request: Request) -> Answer:
        """An answer that is a success, or that says that a range begins at the end of the object."""
        answer = self.open(request)
        if answer.status == 416 and _UNSATISFIED_RE.fullmatch(answer.headers.get("Content-Range", "bytes */0")):
            answer.close()
            return answer
        if request.method == "HEAD" or answer.status not in _DONE:
            answer.read_start(self.limits.error)
        try:
            answer.check()
        except StoreError:
            answer.close()
            raise
        return answer

    def body(self, request: Request, start: int, length: int | None, etag: str) -> Body:
        """Bytes of one version as they come, as ``RemoteStore.open_body`` returns them."""
        if length == 0:
            return Body(etag, start, start, iter(()))
        headers = {**request.headers, **({"If-Match": etag} if etag else {})}
        if start or length is not None:
            headers["Range"] = f"bytes={start}-{'' if length is None else start + length - 1}"
        answer = self.succeed(Request("GET", request.url, request.where, headers))
        try:
            return answer.body_of(start, length, etag, self.limits.unsized)
        except BaseException:
            answer.close()
            raise


def _hidden(request: Request, signature: Mapping[str, str]) -> tuple[str, ...]:
    """The parts of a request that no message may show, longest first: its query and its credentials."""
    words = {word for value in signature.values() for word in (value, *re.split(r"[ ,]|Signature=", value))}
    query = urlsplit(request.url).query
    pieces = {query, unquote(query), *(part for pair in query.split("&") for part in (pair, unquote(pair)))}
    return tuple(sorted((text for text in words | pieces if len(text) >= 6), key=len, reverse=True))


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of a URL, which credentials are bound to."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)


def _followed(request: Request, url: str, target: str) -> str:
    """Where a redirect leads, if it may be followed."""
    following = joined(url, target)
    if not host_of(following) or urlsplit(following).scheme not in _PORTS or "@" in urlsplit(following).netloc:
        raise _astray(request.where, "a redirect to something that is not a web address")
    if urlsplit(url).scheme == "https" and urlsplit(following).scheme != "https":
        raise _astray(request.where, "a redirect from https to http")
    if request.method not in ("GET", "HEAD"):
        raise _astray(request.where, f"a redirect of {request.method}")
    return following


def joined(url: str, target: str) -> str:
    """The URL of an address in an answer from ``url``; empty if it is not a valid address."""
    try:
        return urljoin(url, target)
    except ValueError:
        return ""


def _astray(where: str, what: str) -> StoreError:
    return StoreError("the server redirects elsewhere", code="redirect-refused", where=where, got=what, hint="check the address; if the data has moved, give the new one")  # fmt: skip


def too_long(where: str, limit: int) -> StoreError:
    """The error for an answer that is endless, or far longer than asked for."""
    return StoreError("the server sends more than was asked for", code="answer-too-long", where=where, expected=f"at most {limit:,} bytes")  # fmt: skip


def host_of(url: str) -> str:
    """The host in a URL; empty if there is none, or if it or its port is invalid."""
    try:
        host, port = urlsplit(url).hostname, urlsplit(url).port
    except ValueError:
        return ""
    return host if host and port != 0 else ""


def proxy_for(url: str) -> str:
    """The proxy that the environment names for a URL, read as curl and the standard library do; empty for none."""
    from urllib.request import getproxies, proxy_bypass

    parts, proxies = urlsplit(url), getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all", "")
    if not proxy or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def broken(error: urllib3.exceptions.HTTPError, request: Request) -> StoreError:
    """The error for a failed connection, with the innermost reason that urllib3 gives; the URL may contain a secret."""
    reason: object = error
    if isinstance(reason, urllib3.exceptions.MaxRetryError) and reason.reason:
        reason = reason.reason
    if isinstance(reason, urllib3.exceptions.ProtocolError) and len(reason.args) > 1:
        reason = reason.args[1]
    if isinstance(reason, TooLongError) or type(reason) in TOO_MUCH_HEAD:  # the latter for headers
        said = "" if isinstance(reason, TooLongError) else str(reason).removeprefix("got ")
        return StoreError(
            "the server sends more than was asked for", code="answer-too-long", where=request.where, got=said
        )
    if isinstance(reason, TooSlowError | urllib3.exceptions.ReadTimeoutError | TimeoutError):
        said = str(reason) if isinstance(reason, TooSlowError) else "no answer in time"
        return TransientError("the server answers too slowly", code="too-slow", where=request.where, got=said)
    text = _OBJECT_RE.sub("", str(reason)).replace(request.url, request.where)
    return unreachable(text or type(reason).__name__, request.where)


class Answer:
    """A status and headers; ``blocks`` yields the body as it comes, once, and ``body`` is what ``read`` has read of it."""

    def __init__(
        self, response: BaseHTTPResponse, request: Request, meter: Meter, hidden: tuple[str, ...] = ()
    ) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = b""
        self._response = response
        self._request = request
        self._meter = meter
        self._hidden = hidden

    def _said(self, text: str) -> str:
        """A server's text without the secrets it was sent: it may echo a signature."""
        for secret in self._hidden:
            text = text.replace(secret, "...")
        return text

    def blocks(self, limit: int) -> Iterator[bytes]:
        """The body, of at most ``limit`` bytes; raises TransientError if it breaks off, StoreError if it is longer.

        The connection is reused if the whole body was read.
        """
        if (self.size or 0) > limit:
            self.close()
            raise too_long(self._request.where, limit)
        self._meter.expect(limit)
        count = 0
        try:
            for block in self._response.stream(STREAM_BLOCK, decode_content=False):
                count += len(block)
                if count > limit:
                    raise too_long(self._request.where, limit)
                yield block
            self._response.release_conn()
        except urllib3.exceptions.HTTPError as error:
            raise broken(error, self._request) from None
        finally:
            self._response.close()

    def read(self, limit: int) -> None:
        """Read the body."""
        self.body = b"".join(self.blocks(limit))

    def read_start(self, limit: int) -> None:
        """Read at most ``limit`` bytes of the body: the beginning of an error message is enough."""
        self._meter.expect(limit)
        said = b""
        with contextlib.suppress(urllib3.exceptions.HTTPError):  # the status says enough without the rest
            while len(said) < limit and (
                block := self._response.read(min(limit - len(said), 4096), decode_content=False)
            ):
                said += block
            if len(said) < limit:
                self._response.release_conn()
        self._response.close()
        self.body = said

    def close(self) -> None:
        """Close without reading the body."""
        self._response.close()

    def body_of(self, start: int, length: int | None, etag: str, unsized: int) -> Body:
        """The body, checked against the requested range and version."""
        where = self._request.where
        if etag and self.etag != etag and self.status != 416:
            raise changed(where, etag, self.etag)
        if start or length is not None:
            end = self._end(start, length, where)
        elif (size := self.size) is not None:
            end = size
        else:  # chunked, without a length
            self.read(unsized)
            return Body(self.etag, 0, len(self.body), iter((memoryview(self.body),)))
        if end == start:
            self.close()
            return Body(self.etag, start, end, iter(()))
        return Body(self.etag, start, end, exactly(self.blocks(end - start), end - start, where))

    def _end(self, start: int, length: int | None, where: str) -> int:
        """Where the answer to a range ends, if it answers this range."""
        where = f"{where}, bytes {start}..{'' if length is None else start + length}"
        if self.status == 416:
            return start
        found = _RANGE_RE.fullmatch(self.headers.get("Content-Range", ""))
        if self.status != 206 or found is None:
            raise TransientError("a request for a range was answered with something else", code="not-partial", where=where, got=f"status {self.status}", hint=_NO_RANGES)  # fmt: skip
        first, last, size = map(int, found.groups())
        end = size if length is None else min(size, start + length)
        if (first, last + 1) != (start, end):
            raise TransientError("the server sent another range than asked for", code="not-partial", where=where, expected=f"{start}-{end - 1}", got=f"{first}-{last}")  # fmt: skip
        return end

    @property
    def size(self) -> int | None:
        """The length that the answer announces; None if it announces none, or not a number of bytes."""
        said = self.headers.get("Content-Length", "")
        return int(said) if re.fullmatch("[0-9]{1,18}", said) else None

    @property
    def etag(self) -> str:
        """The strong ETag; empty for a weak one, which does not promise the same bytes."""
        value = self.headers.get("ETag", "")
        return "" if value.startswith("W/") else value

    def check(self) -> None:
        """Raise StoreError for any status but a success, and for an encoded body."""
        where = self._request.where
        if self.status == 412:
            raise changed(where, "the ETag of the first answer", self.etag)
        if self.status not in _DONE and not (self.status == 202 and self._request.method == "DELETE"):
            asked = wish(self.headers.get("Retry-After"), datetime.now(UTC))
            said = self._said(self.body.decode("utf-8", "replace"))
            if not said and (name := self.headers.get("x-ms-error-code")):  # Azure's answers to HEAD
                said = f"<Code>{self._said(name)}</Code>"
            raise answer_error(self.status, said[:2000], where, retry_after=asked)
        encoding = self.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            raise StoreError(
                "the body was re-encoded on its way", code="re-encoded", where=where, got=self._said(encoding)[:40]
            )
