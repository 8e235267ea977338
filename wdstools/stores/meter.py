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

    ``connect``: for a connection. ``stall``: for the next bytes. ``window``: in each such period, ``rate`` bytes a
    second must arrive on average. ``whole``: for a whole request, plus a second for every ``rate`` bytes of its answer.
    """

    connect: float = 10
    stall: float = 30
    window: float = 30
    rate: float = 2048
    whole: float = 60

    def deadline(self, size: int) -> float:
        """Seconds that an answer of ``size`` bytes may take."""
        return self.whole + size / self.rate


@dataclass(frozen=True, slots=True)
class Limits:
    """How many bytes a server may send in addition to what was asked for, and how often it may redirect.

    ``headers``: status line, headers and interim answers of one request. ``error``: the body of an error. ``unsized``:
    an answer that does not state its length. ``page``: one page of a listing. ``pages`` and ``entries``: a whole
    listing. ``idle``: consecutive pages of it that name nothing, or names in it that came before.
    """

    headers: int = 64 << 10
    error: int = 64 << 10
    unsized: int = 16 << 20
    page: int = 8 << 20
    pages: int = 100_000
    entries: int = 20_000_000
    idle: int = 1_000
    redirects: int = 5


#: What the standard library raises for too many headers, or for too long a line.
TOO_MUCH_HEAD = (http.client.HTTPException, http.client.LineTooLong)


class TooLongError(OSError):
    """The server sent more than was asked for."""


class TooSlowError(OSError):
    """The server sent less than it must in the time."""


class Meter:
    """Counts what one request costs, in bytes and in seconds of waiting."""

    def __init__(self, waits: Waits, limits: Limits) -> None:
        self._waits = waits
        self._left = limits.headers
        self._deadline = waits.whole
        self._waited = self._window_waited = 0.0
        self._window_bytes = 0

    def expect(self, size: int) -> None:
        """Allow for a body of ``size`` bytes, and as much again for the framing of a chunked body."""
        self._left += 2 * size + (64 << 10)
        self._deadline += size / self._waits.rate

    def expect_sending(self, size: int) -> None:
        """Allow for the time that sending a body of ``size`` bytes takes."""
        self._deadline += size / self._waits.rate

    def room(self) -> int:
        """Bytes that may still come; raises TooLongError when there are none left."""
        if self._left <= 0:
            raise TooLongError("more bytes than were asked for")
        return self._left

    def patience(self) -> float:
        """Seconds to wait for the next bytes; raises TooSlowError when the time is up."""
        left = self._deadline - self._waited
        if left <= 0:
            raise TooSlowError("no complete answer in time")
        return min(self._waits.stall, left)

    def took(self, count: int, seconds: float) -> None:
        """Count received bytes and the seconds waited for them; raises TooSlowError when that is too slow."""
        self._left -= count
        self.moved(count, seconds)

    def moved(self, count: int, seconds: float) -> None:
        """Count bytes sent or received and the seconds they took; raises TooSlowError when that is too slow."""
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
        """Always true."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """The next bytes, within what is left of the request's bytes and time."""
        view = memoryview(buffer).cast("B")[: self._meter.room()]
        patience = self._meter.patience()
        if self._sock.gettimeout() != patience:
            self._sock.settimeout(patience)
        before = time.monotonic()
        count = self._raw.readinto(view) or 0
        self._meter.took(count, time.monotonic() - before)
        return count

    def close(self) -> None:
        """Release the socket."""
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """A response of which every byte is counted."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        meter = METER.get()
        if meter is not None:
            raw: Any = self.fp.detach()
            self.fp = io.BufferedReader(_Metered(raw, sock, meter))


class _Sends(urllib3.connection.HTTPConnection):
    """A connection whose sending is timed too."""

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
