"""A server that means harm: each of its ways never ends, and all that it sends is counted."""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BLOCK = b"A" * 65_536
_CHUNK = b"10000\r\n" + _BLOCK + b"\r\n"
#: A drop now and then: never long enough without one for a wait for the next byte to end.
_DROP_SECONDS = 0.1


@dataclass
class Asked:
    """One request: its first line's parts and its headers, in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    server: Hostile

    @property
    def content_range(self) -> bytes:
        """The right Content-Range for what was asked."""
        first, _, last = self.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")
        return f"Content-Range: bytes {first}-{last or 9_999}/1000000000".encode()


@dataclass
class Hostile:
    """Where it is, the way it has now, and what it has sent and been asked."""

    endpoint: str
    way: str = ""
    sent: int = 0
    asked: list[Asked] = field(default_factory=list)


def _head(status: str, *headers: bytes) -> bytes:
    return b"\r\n".join((f"HTTP/1.1 {status}".encode(), *headers, b"", b""))


_CHUNKED = b"Transfer-Encoding: chunked"


def _error(_: Asked) -> Iterator[bytes]:
    yield _head("404 Not Found", _CHUNKED)
    yield from itertools.repeat(_CHUNK)


def _error_by_length(_: Asked) -> Iterator[bytes]:
    yield _head("403 Forbidden", b"Content-Length: 100000000000000")
    yield from itertools.repeat(_BLOCK)


def _busy(_: Asked) -> Iterator[bytes]:
    yield _head("503 Busy", _CHUNKED)
    yield from itertools.repeat(_CHUNK)


def _body(_: Asked) -> Iterator[bytes]:
    yield _head("200 OK", _CHUNKED)
    yield from itertools.repeat(_CHUNK)


def _body_to_the_end(_: Asked) -> Iterator[bytes]:
    yield _head("200 OK", b"Connection: close")
    yield from itertools.repeat(_BLOCK)


def _range(asked: Asked) -> Iterator[bytes]:
    yield _head("206 Partial Content", asked.content_range, b'ETag: "e"', _CHUNKED)
    yield from itertools.repeat(_CHUNK)


def _extensions(asked: Asked) -> Iterator[bytes]:
    """A chunk whose size is followed by an extension without end."""
    yield _head("206 Partial Content", asked.content_range, b'ETag: "e"', _CHUNKED)
    yield b"1;x="
    yield from itertools.repeat(_BLOCK)


def _trailers(asked: Asked) -> Iterator[bytes]:
    """The body is right, and behind it trailing headers come for ever."""
    yield _head("206 Partial Content", asked.content_range, b'ETag: "e"', _CHUNKED)
    yield b"A\r\n0123456789\r\n0\r\n"
    yield from itertools.repeat(b"X-Trailer: " + b"A" * 1000 + b"\r\n")


def _redirect(asked: Asked) -> Iterator[bytes]:
    yield _head("302 Found", f"Location: {asked.server.endpoint}{asked.path}x".encode(), _CHUNKED)
    yield from itertools.repeat(_CHUNK)


def _continue(_: Asked) -> Iterator[bytes]:
    yield from itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


def _slow_continue(_: Asked) -> Iterator[bytes]:
    while True:
        yield b"HTTP/1.1 100 Continue\r\n\r\n"
        time.sleep(_DROP_SECONDS)


def _headers(_: Asked) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\n"
    yield from (f"X-{number}: {'A' * 1000}\r\n".encode() for number in itertools.count())


def _many_headers(_: Asked) -> Iterator[bytes]:
    """More than Python's own library reads, and an end."""
    yield b"HTTP/1.1 200 OK\r\n"
    yield from (f"X-{number}: A\r\n".encode() for number in range(1_000))
    yield b"Content-Length: 0\r\n\r\n"


def _header(_: Asked) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nX: "
    yield from itertools.repeat(_BLOCK)


def _dripping_headers(_: Asked) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nX: "
    while True:
        yield b"A"
        time.sleep(_DROP_SECONDS)


def _dripping_body(asked: Asked) -> Iterator[bytes]:
    yield _head("206 Partial Content", asked.content_range, b'ETag: "e"', b"Content-Length: 10000")
    while True:
        yield b"A"
        time.sleep(_DROP_SECONDS)


def _silent(_: Asked) -> Iterator[bytes]:
    yield b""
    time.sleep(3600)


#: What it may do to a request for a range of an object.
WAYS: dict[str, Callable[[Asked], Iterator[bytes]]] = {
    "error": _error,
    "error by length": _error_by_length,
    "busy": _busy,
    "body": _body,
    "body to the end": _body_to_the_end,
    "range": _range,
    "chunk extensions": _extensions,
    "trailers": _trailers,
    "redirects with bodies": _redirect,
    "100 Continue": _continue,
    "slow 100 Continue": _slow_continue,
    "headers": _headers,
    "many headers": _many_headers,
    "one header": _header,
    "dripping headers": _dripping_headers,
    "dripping body": _dripping_body,
    "silence": _silent,
}


def _xml(body: bytes) -> bytes:
    return _head("200 OK", b"Content-Type: application/xml", f"Content-Length: {len(body)}".encode()) + body


def _number(asked: Asked) -> int:
    found = re.search(r"[?&](?:continuation-token|marker|cursor)=([0-9]+)", asked.path)
    return int(found.group(1)) if found else 0


def _s3_page(key: int, token: int) -> bytes:
    return (
        f"<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>"
        f"<Contents><Key>p/{key:012d}</Key><Size>1</Size></Contents></ListBucketResult>"
    ).encode()


def _s3_same_token(asked: Asked) -> Iterator[bytes]:
    asked_for = len(asked.server.asked)
    yield _xml(_s3_page(asked_for, 7))


def _s3_ever_new(asked: Asked) -> Iterator[bytes]:
    yield _xml(_s3_page(_number(asked), _number(asked) + 1))


def _s3_nothing_new(asked: Asked) -> Iterator[bytes]:
    yield _xml(_s3_page(1, _number(asked) + 1))


def _s3_nothing(asked: Asked) -> Iterator[bytes]:
    yield _xml(re.sub(rb"<Contents>.*</Contents>", b"", _s3_page(1, _number(asked) + 1)))


def _s3_endless_page(_: Asked) -> Iterator[bytes]:
    yield _head("200 OK", _CHUNKED)
    yield from itertools.repeat(_CHUNK)


def _s3_entities(_: Asked) -> Iterator[bytes]:
    yield _xml(
        b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><ListBucketResult>&b;</ListBucketResult>'
    )


def _hub_page(path: str, link: str) -> bytes:
    body = f'[{{"type": "file", "path": "{path}", "size": 1, "oid": "x"}}]'.encode()
    return _head("200 OK", f'Link: <{link}>; rel="next"'.encode(), f"Content-Length: {len(body)}".encode()) + body


def _hub_same_page(asked: Asked) -> Iterator[bytes]:
    yield _hub_page("p", asked.server.endpoint + asked.path)


def _hub_ever_new(asked: Asked) -> Iterator[bytes]:
    number = _number(asked)
    plain = asked.path.partition("?")[0]
    yield _hub_page(f"{number}", f"{asked.server.endpoint}{plain}?cursor={number + 1}")


def _hub_nothing(asked: Asked) -> Iterator[bytes]:
    link = f'<{asked.server.endpoint}{asked.path.partition("?")[0]}?cursor={_number(asked) + 1}>; rel="next"'
    yield _head("200 OK", f"Link: {link}".encode(), b"Content-Length: 2") + b"[]"


def _azure_page(name: int, marker: int) -> bytes:
    return (
        f'<?xml version="1.0"?><EnumerationResults><Blobs><Blob><Name>p/{name:012d}</Name><Properties>'
        f"<Last-Modified>Thu, 01 Jan 2026 00:00:00 GMT</Last-Modified><Content-Length>1</Content-Length>"
        f"<Content-Type>x</Content-Type><Etag>e</Etag></Properties></Blob></Blobs><NextMarker>{marker}</NextMarker>"
        f"</EnumerationResults>"
    ).encode()


def _azure_same_marker(asked: Asked) -> Iterator[bytes]:
    yield _xml(_azure_page(len(asked.server.asked), 7))


def _azure_ever_new(asked: Asked) -> Iterator[bytes]:
    yield _xml(_azure_page(_number(asked), _number(asked) + 1))


def _azure_nothing_new(asked: Asked) -> Iterator[bytes]:
    yield _xml(_azure_page(1, _number(asked) + 1))


def _azure_nothing(asked: Asked) -> Iterator[bytes]:
    yield _xml(re.sub(rb"<Blob>.*</Blob>", b"", _azure_page(1, _number(asked) + 1)))


#: What it may do to a listing, by the kind of store.
LISTINGS: dict[str, dict[str, Callable[[Asked], Iterator[bytes]]]] = {
    "s3": {
        "the same token": _s3_same_token,
        "ever new pages": _s3_ever_new,
        "ever new pages of nothing new": _s3_nothing_new,
        "ever new pages of nothing": _s3_nothing,
        "one page": _s3_endless_page,
        "entities": _s3_entities,
    },
    "hf": {
        "the same page": _hub_same_page,
        "ever new pages": _hub_ever_new,
        "ever new pages of nothing": _hub_nothing,
        "one page": _body,
    },
    "az": {
        "the same marker": _azure_same_marker,
        "ever new pages": _azure_ever_new,
        "ever new pages of nothing new": _azure_nothing_new,
        "ever new pages of nothing": _azure_nothing,
        "one page": _s3_endless_page,
        "entities": _s3_entities,
    },
}
#: Google's listing is that of S3.
LISTINGS["gs"] = LISTINGS["s3"]


@contextlib.contextmanager
def hostile_server(ways: dict[str, Callable[[Asked], Iterator[bytes]]]) -> Iterator[Hostile]:
    """The server; its way is chosen by name."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = Hostile(f"http://127.0.0.1:{listener.getsockname()[1]}")

    def answer(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while head := _read_head(connection):
                first, *lines = head.decode("latin-1").split("\r\n")
                method, path, _ = first.split(" ", 2)
                pairs = (line.partition(":")[::2] for line in lines if line)
                asked = Asked(method, path, {name.lower(): value.strip() for name, value in pairs}, server)
                server.asked.append(asked)
                for block in ways[server.way](asked):
                    connection.sendall(block)
                    server.sent += len(block)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _read_head(connection: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        if not (block := connection.recv(65_536)):
            return b""
        head += block
    return head.partition(b"\r\n\r\n")[0]
