"""How much a server may send, and how slowly: counted at the socket, below everything that parses an answer."""

from __future__ import annotations

import http.client
import io
import time
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import urllib3
import urllib3.connection
import urllib3.connectionpool

if TYPE_CHECKING:
    import socket

    from _typeshed import WriteableBuffer


@dataclass(frozen=True, slots=True)
class Waits:
    """How long to wait for a server, in seconds, counting only the time spent waiting.

    ``connect``: for a connection. ``stall``: for the next bytes. ``window``: in each of it, ``rate`` bytes a second must
    come on average. ``whole``: for a whole request, beside a second for every ``rate`` bytes of its answer.
    """

    connect: float = 10
    stall: float = 30
    window: float = 30
    rate: float = 2048
    whole: float = 60

    def deadline(self, size: int) -> float:
        """Seconds that an answer of this size may take."""
        return self.whole + size / self.rate


@dataclass(frozen=True, slots=True)
class Limits:
    """How many bytes a server may send beside what was asked for, and how often it may lead on.

    ``headers``: status line, headers and interim answers of one request. ``error``: the body of an error. ``unsized``: an
    answer that does not say how long it is. ``page``: one page of a listing. ``pages`` and ``entries``: a whole listing.
    ``idle``: pages of it in a row that name nothing, or names of it that were there before.
    """

    headers: int = 64 << 10
    error: int = 64 << 10
    unsized: int = 16 << 20
    page: int = 8 << 20
    pages: int = 100_000
    entries: int = 20_000_000
    idle: int = 1_000
    redirects: int = 5


#: What Python's own library raises for an answer with too many headers, or too long a one.
TOO_MUCH_HEAD = (http.client.HTTPException, http.client.LineTooLong)


class TooLongError(OSError):
    """A server sends more than was asked for."""


class TooSlowError(OSError):
    """A server sends less in a while than it must."""


class Meter:
    """Counts what one request takes, in bytes and in seconds of waiting."""

    def __init__(self, waits: Waits, limits: Limits) -> None:
        self._waits = waits
        self._left = limits.headers
        self._deadline = waits.whole
        self._waited = self._window_waited = 0.0
        self._window_bytes = 0

    def expect(self, size: int) -> None:
        """Allow for a body of ``size`` bytes, and as much again for the framing of a body in pieces."""
        self._left += 2 * size + (64 << 10)
        self._deadline += size / self._waits.rate

    def expect_sending(self, size: int) -> None:
        """Allow for the time that a body of ``size`` bytes takes on its way there."""
        self._deadline += size / self._waits.rate

    def room(self) -> int:
        """Bytes that may still come; raises when there are none."""
        if self._left <= 0:
            raise TooLongError("more bytes than were asked for")
        return self._left

    def patience(self) -> float:
        """Seconds to wait for the next bytes; raises when the time is up."""
        left = self._deadline - self._waited
        if left <= 0:
            raise TooSlowError("no whole answer in time")
        return min(self._waits.stall, left)

    def took(self, count: int, seconds: float) -> None:
        """Note bytes that have come and how long they were waited for; raises when that is too slow."""
        self._left -= count
        self.moved(count, seconds)

    def moved(self, count: int, seconds: float) -> None:
        """Note bytes that went either way and how long that took; raises when it is too slow."""
        self._waited += seconds
        self._window_waited += seconds
        self._window_bytes += count
        if self._window_waited >= self._waits.window:
            if self._window_bytes < self._waits.rate * self._window_waited:
                raise TooSlowError(f"{self._window_bytes} bytes in {self._window_waited:.0f} seconds")
            self._window_waited, self._window_bytes = 0.0, 0


#: The meter of the request that this thread is sending.
METER: ContextVar[Meter | None] = ContextVar("meter", default=None)


class _Metered(io.RawIOBase):
    """The bytes of a socket, counted as they come."""

    def __init__(self, raw: Any, sock: socket.socket, meter: Meter) -> None:
        super().__init__()
        self._raw = raw
        self._sock = sock
        self._meter = meter

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """The next bytes, at most those that may come, for at most as long as they may take."""
        view = memoryview(buffer).cast("B")[: self._meter.room()]
        patience = self._meter.patience()
        if self._sock.gettimeout() != patience:
            self._sock.settimeout(patience)
        before = time.monotonic()
        count = self._raw.readinto(view) or 0
        self._meter.took(count, time.monotonic() - before)
        return count

    def close(self) -> None:
        """Let go of the socket."""
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """An answer whose every byte is counted."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        meter = METER.get()
        if meter is not None:
            raw: Any = self.fp.detach()
            self.fp = io.BufferedReader(_Metered(raw, sock, meter))


class _Sends(urllib3.connection.HTTPConnection):
    """Sends no slower than it may."""

    def send(self, data: Any) -> None:
        """Send one block of a request."""
        meter = METER.get()
        if meter is None or self.sock is None or not isinstance(data, bytes | bytearray | memoryview):
            super().send(data)
            return
        self.sock.settimeout(meter.patience())
        before = time.monotonic()
        super().send(data)
        meter.moved(len(data), time.monotonic() - before)


class _PlainConnection(_Sends):
    response_class = _Response


class _SecureConnection(_Sends, urllib3.connection.HTTPSConnection):
    response_class = _Response


class _PlainPool(urllib3.connectionpool.HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _SecurePool(urllib3.connectionpool.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


POOLS = {"http": _PlainPool, "https": _SecurePool}
