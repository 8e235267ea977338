"""A reverse proxy that does to requests what networks, caches and servers do on bad days. Faults are asked for by name.

    with fault_proxy(server.endpoint) as proxy:
        proxy.add(Fault("flip", path="/train-000000.tar"))   # the next GET of this shard arrives with one bit wrong

It also shapes a link: ``latency`` seconds before each answer, ``bandwidth`` bytes a second over all connections.
``python -m tests.servers.proxy UPSTREAM LATENCY BANDWIDTH`` is such a link as a process of its own, for measurements.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.client
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.servers.handler import Handler
from tests.support.command import HANG_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Every fault of an answer, and of a request.
ANSWER_FAULTS = (
    "flip",
    "foreign",
    "short",
    "range-ignored",
    "wrong-range",
    "reset",
    "stall",
    "busy",
    "forbidden",
    "gone",
    "gzip",
    "skewed",
    "torn-list",
    "short-list",
)
REQUEST_FAULTS = (
    "flip-upload",
    "foreign-upload",
    "short-upload",
    "reset-upload",
    "stall-upload",
    "lost-answer",
    "swallowed",
)
_STATUS = {
    "busy": (503, "SlowDown"),
    "forbidden": (403, "AccessDenied"),
    "gone": (404, "NoSuchKey"),
    "skewed": (403, "RequestTimeTooSkewed"),
}
_BLOCK = 1 << 16
_OWN_HEADERS = ("connection", "transfer-encoding", "keep-alive")


@dataclass
class Fault:
    """What happens to requests that match: ``times`` of them, after ``skip`` that it lets pass. ``at`` is a byte of the body."""

    name: str
    path: str = ""
    method: str = "GET"
    times: int = 1
    skip: int = 0
    at: int = 1000
    #: Bytes of something else, for ``foreign``; of the whole object, for ``range-ignored``; seconds, for ``stall``; called before the answer, for ``hook``.
    body: bytes = b""
    seconds: float = 30
    hook: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        """A slip in a name would be a fault that never happens, in a test that cannot fail."""
        assert self.name in (*ANSWER_FAULTS, *REQUEST_FAULTS, "hook")


@dataclass
class Link:
    """How far away the server is."""

    latency: float = 0
    bandwidth: float = 0


@dataclass
class Seen:
    """One request that came, and the bytes of bodies that went either way."""

    method: str
    path: str
    range: str
    sent: int = 0
    received: int = 0


@dataclass
class FaultProxy:
    """The proxy's address, what it has seen, and the faults that are left."""

    upstream: str
    link: Link
    endpoint: str = ""
    seen: list[Seen] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    busy_until: float = 0

    def add(self, *faults: Fault) -> None:
        """Do these to the next requests that match."""
        with self.lock:
            self.faults.extend(faults)

    def clear(self) -> None:
        """Be a good proxy again, and forget what was seen."""
        with self.lock:
            self.faults.clear()
            self.seen.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """The fault for a request, if there is one left for it."""
        with self.lock:
            for fault in self.faults:
                if fault.method == method and fault.path in path and fault.times:
                    if fault.skip:
                        fault.skip -= 1
                        return None
                    fault.times -= 1
                    return fault
        return None

    def bytes_sent(self, path: str = "") -> int:
        """Bytes of answers whose path holds ``path``."""
        return sum(seen.sent for seen in self.seen if path in seen.path)

    def pace(self, count: int) -> None:
        """Wait for as long as the link takes for some bytes; connections share it."""
        if not self.link.bandwidth:
            return
        with self.lock:
            now = time.monotonic()
            self.busy_until = max(self.busy_until, now) + count / self.link.bandwidth
            wait = self.busy_until - now
        if wait > 0.002:
            time.sleep(wait)


@contextlib.contextmanager
def fault_proxy(upstream: str, link: Link | None = None) -> Iterator[FaultProxy]:
    """A proxy in front of ``upstream`` on a free port of 127.0.0.1."""
    proxy = FaultProxy(upstream, link or Link())

    class ForThis(_Handler):
        state = proxy

    server = _Server(("127.0.0.1", 0), ForThis)
    proxy.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def link_process(upstream: str, link: Link) -> Iterator[str]:
    """The address of a link to ``upstream`` that takes no time of this process's interpreter."""
    command = [sys.executable, "-m", "tests.servers.proxy", upstream, str(link.latency), str(link.bandwidth)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate()  # its standard input ends, and so does it


def _main(upstream: str, latency: str, bandwidth: str) -> None:
    with fault_proxy(upstream, Link(float(latency), float(bandwidth))) as proxy:
        sys.stdout.write(f"{proxy.endpoint}\n")
        sys.stdout.flush()
        sys.stdin.read()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are no news."""


class _Handler(Handler):
    state: FaultProxy

    def _serve(self) -> None:
        body = self._request_body()
        fault = self.state.take(self.command, self.path)
        seen = Seen(self.command, self.path, self.headers.get("Range", ""), received=len(body))
        with self.state.lock:
            self.state.seen.append(seen)
        if self.state.link.latency:
            time.sleep(self.state.link.latency)
        name = fault.name if fault else ""
        if fault is not None and fault.hook is not None:
            fault.hook()
        if fault is not None and name in _STATUS:
            self._refuse(fault)
            return
        if name == "reset-upload":
            self._reset()
            return
        if fault is not None and name == "stall-upload":
            threading.Event().wait(fault.seconds)
            self.close_connection = True
            return
        if name == "swallowed":  # a gateway that says "stored", with the ETag of what came, and stores nothing
            self.send_response_only(200)
            self.send_header("ETag", f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if fault is not None and name.endswith("-upload"):
            body = _spoiled(body, replace(fault, name=name.removesuffix("-upload")))
        self._forward(body, fault, seen)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815  # the names http.server looks for

    def _request_body(self) -> bytes:
        self.close_connection = False
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _forward(self, body: bytes, fault: Fault | None, seen: Seen) -> None:
        name = fault.name if fault else ""
        place = urlsplit(self.state.upstream)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=HANG_SECONDS)
        headers = {key: value for key, value in self.headers.items() if key.lower() not in (*_OWN_HEADERS, "expect")}
        if name == "short-upload":
            headers = {key: value for key, value in headers.items() if key.lower() != "content-length"}
        try:
            connection.request(self.command, self.path, body=body or None, headers=headers)
            answer = connection.getresponse()
            if name == "lost-answer":
                answer.read()
                self._reset()
                return
            if fault is None:
                self._pass(answer, seen)
            else:
                self._answer(answer, fault, seen)
        except OSError:
            self.close_connection = True
        finally:
            connection.close()

    def _pass(self, answer: http.client.HTTPResponse, seen: Seen) -> None:
        """The answer as it is, block by block."""
        self.send_response_only(answer.status, answer.reason)
        for key, value in answer.getheaders():
            if key.lower() not in _OWN_HEADERS:
                self.send_header(key, value)
        if answer.getheader("Content-Length") is None and self.command != "HEAD":
            whole = answer.read()
            self.send_header("Content-Length", str(len(whole)))
            self.end_headers()
            self.wfile.write(whole)
            return
        self.end_headers()
        if self.command == "HEAD":
            return
        while block := answer.read(_BLOCK):
            self.state.pace(len(block))
            seen.sent += len(block)  # before it is: who has it may ask at once
            self.wfile.write(block)

    def _answer(self, answer: http.client.HTTPResponse, fault: Fault, seen: Seen) -> None:
        """The answer with something done to it."""
        body = b"" if self.command == "HEAD" else answer.read()
        headers = [
            (key, value) for key, value in answer.getheaders() if key.lower() not in (*_OWN_HEADERS, "content-length")
        ]
        body = _spoiled(body, fault)
        if fault.name == "gzip":
            headers.append(("Content-Encoding", "gzip"))
        if fault.name == "stall":
            threading.Event().wait(fault.seconds)
            self.close_connection = True
            return
        status = answer.status
        if fault.name == "range-ignored":  # the request itself may be signed: only the answer is another
            status, body = 200, fault.body or body
            headers = [(key, value) for key, value in headers if key.lower() != "content-range"]
        elif fault.name == "wrong-range":
            headers = [(key, _shifted(value) if key.lower() == "content-range" else value) for key, value in headers]
        self.send_response_only(status, answer.reason)
        for key, value in headers:
            self.send_header(key, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(body))
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        if fault.name == "reset":
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            time.sleep(0.05)
            self._reset()
            return
        seen.sent += len(body)
        self.wfile.write(body)

    def _refuse(self, fault: Fault) -> None:
        status, code = _STATUS[fault.name]
        body = b"" if self.command == "HEAD" else f"<Error><Code>{code}</Code></Error>".encode()
        self.send_response_only(status, code)
        if fault.name == "busy":
            self.send_header("Retry-After", "0")
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _reset(self) -> None:
        """End the connection by RST."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()


def _spoiled(body: bytes, fault: Fault) -> bytes:
    if fault.name == "flip":
        return _flipped(body, fault.at)
    if fault.name == "foreign":
        return (fault.body * (len(body) // max(1, len(fault.body)) + 1))[: len(body)]
    if fault.name == "short":
        return body[: len(body) // 2]
    if fault.name == "short-list":
        return re.sub(rb"<Contents>.*?</Contents>", b"", body, count=1, flags=re.DOTALL)
    if fault.name == "torn-list":  # a page that begins again where it began
        return re.sub(rb"(<Contents>.*</Contents>)", rb"\1\1", body, count=1, flags=re.DOTALL)
    return gzip.compress(body) if fault.name == "gzip" else body


def _shifted(content_range: str) -> str:
    first, last, size = map(int, re.findall(r"\d+", content_range))
    return f"bytes {first + 1}-{last + 1}/{size}"


def _flipped(body: bytes, at: int) -> bytes:
    if not body:
        return body
    at %= len(body)
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]


if __name__ == "__main__":
    _main(*sys.argv[1:])
