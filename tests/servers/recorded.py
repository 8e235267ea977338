"""A web server that gives recorded answers: for providers that cannot be run here."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING

from tests.servers.handler import Handler

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True)
class Recorded:
    """One answer. ``{endpoint}`` in a header or body is where this server is."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class Player:
    """Where the answers are given, and the requests that came: (method, path, headers)."""

    endpoint: str
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)


@contextlib.contextmanager
def recorded_server(answers: Mapping[tuple[str, str], Recorded]) -> Iterator[Player]:
    """Answers by (method, path with query or without); 404 for all else. Ranges of a body are cut out of it."""
    player = Player("")

    class ForThis(Handler):
        def _serve(self) -> None:
            player.requests.append((self.command, self.path, dict(self.headers)))
            plain = self.path.partition("?")[0]
            found = answers.get((self.command, self.path)) or answers.get((self.command, plain)) or Recorded(404)
            status, body = found.status, found.body.replace(b"{endpoint}", player.endpoint.encode())
            headers = {name: value.replace("{endpoint}", player.endpoint) for name, value in found.headers.items()}
            wanted = self.headers.get("Range")
            if status == 200 and wanted:
                first, last = (int(part) for part in wanted.removeprefix("bytes=").split("-"))
                headers["Content-Range"] = f"bytes {first}-{min(last, len(body) - 1)}/{len(body)}"
                status, body = 206, body[first : last + 1]
            self.send_response_only(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = _serve  # noqa: N815  # the names http.server looks for

    server = ThreadingHTTPServer(("127.0.0.1", 0), ForThis)
    player.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield player
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
