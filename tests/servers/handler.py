"""What our own servers have in common: they keep connections open, answer at once, and write no log."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler


class Handler(BaseHTTPRequestHandler):
    """Requests of HTTP/1.1, one after the other on a connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or a body waits 40 ms for its headers to be acknowledged

    def log_message(self, *_: object) -> None:
        """Nothing."""
