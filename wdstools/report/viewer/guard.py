"""Who may send requests, and what a browser may do with the responses. In front of every route, errors included."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Message = MutableMapping[str, Any]
    App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]

#: The page sends requests only to this server, runs only its own files, and cannot be framed.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_METHODS = ("GET", "HEAD", "POST")


class Guard:
    """Lets requests through that have the token and address this server by its own name; all others get an empty answer.

    The token is the first part of the path, so that every relative address on the page includes it. The Host header must be a
    loopback name with the port: a page of another origin that has pointed its own name here (DNS rebinding) sends another. A
    request that the browser marks as coming from another site is refused too.
    """

    def __init__(self, app: App, token: str, port: int) -> None:
        self._app = app
        self._prefix = f"/{token}/"
        self._hosts = {f"{name}:{port}".encode() for name in ("127.0.0.1", "localhost", "[::1]")}
        self._origins = {b"http://" + host for host in self._hosts}

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            return
        status = self._refusal(scope)
        if status:
            await _bare(send, status)
            return
        prefix = self._prefix.removesuffix("/")
        inner = {**scope, "path": scope["path"].removeprefix(prefix), "root_path": ""}
        inner["raw_path"] = inner["path"].encode()

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                named = {name.lower() for name, _ in message["headers"]}
                more = ((name.encode(), value.encode()) for name, value in _HEADERS.items())
                message["headers"] = [*message["headers"], *(pair for pair in more if pair[0] not in named)]
            await send(message)

        await self._app(inner, receive, answer)

    def _refusal(self, scope: Message) -> int:
        """The HTTP status of a refusal, 0 to accept."""
        headers = dict(reversed(scope["headers"]))
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return 421
        if headers.get(b"sec-fetch-site", b"none") not in (b"same-origin", b"none"):
            return 403
        if b"origin" in headers and headers[b"origin"].lower() not in self._origins:
            return 403
        if scope["method"] not in _METHODS:
            return 405
        given = scope["path"][: len(self._prefix)]
        return 0 if hmac.compare_digest(given.encode(), self._prefix.encode()) else 404


async def _bare(send: Callable[[Message], Awaitable[None]], status: int) -> None:
    """Send an answer that reveals nothing."""
    headers = [(b"content-length", b"0"), *((name.encode(), value.encode()) for name, value in _HEADERS.items())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
