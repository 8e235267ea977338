"""A small Google Cloud Storage: its XML interface as far as the store asks for it, and the metadata service that gives tokens.

It keeps what Google's documentation says of it: generations and their preconditions, MD5 that it compares and computes, pages
of a listing, and that nobody is answered without a token.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from itertools import count
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

from awscrt import checksums

from tests.servers.handler import Handler

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "ya29.token-of-the-machine"  # noqa: S105  # its own
_PAGE = 3
_NUMBERS = count()


@dataclass
class GoogleServer:
    """Where it is, its buckets' objects with their generations, and what was asked of it: (method, path, headers)."""

    endpoint: str
    buckets: dict[str, dict[str, tuple[bytes, int]]] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    tokens: int = 0
    #: The bodies of PUTs come out of the wire with their first byte changed, so many times.
    damaging: int = 0

    @property
    def env(self) -> dict[str, str]:
        """Where it is, and who gives tokens: a machine of the cloud has its metadata service."""
        return {
            "GOOGLE_BASE_URL": self.endpoint,
            "GCE_METADATA_HOST": self.endpoint.removeprefix("http://"),
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }

    def new_bucket(self) -> str:
        """The name of a bucket with nothing in it, made now."""
        name = f"bucket-{next(_NUMBERS)}"
        self.buckets[name] = {}
        return name


class _Handler(Handler):
    here: GoogleServer
    generations = count(1_700_000_000_000_000)

    def handle(self) -> None:
        """Requests of a connection; whoever asks may leave in the middle."""
        with contextlib.suppress(ConnectionError):
            super().handle()

    def _say(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response_only(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _refuse(self, status: int, code: str) -> None:
        self._say(status, f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>".encode())

    def _serve(self) -> None:
        self.here.asked.append((self.command, self.path, dict(self.headers)))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        if parts.path.startswith("/computeMetadata/"):
            self.here.tokens += 1
            said = {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}
            self._say(200, json.dumps(said).encode(), {"Content-Type": "application/json"})
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._refuse(401, "AuthenticationRequired")
        else:
            bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
            objects = self.here.buckets.get(bucket)
            if objects is None:
                self._refuse(404, "NoSuchBucket")
            elif not key:
                self._list(objects, {name: values[-1] for name, values in parse_qs(parts.query).items()})
            elif self.command == "PUT":
                self._put(objects, key, body)
            elif key not in objects:
                self._refuse(404, "NoSuchKey")
            elif self.command == "DELETE":
                del objects[key]
                self._say(204)
            else:
                self._get(*objects[key])

    def _put(self, objects: dict[str, tuple[bytes, int]], key: str, body: bytes) -> None:
        if self.here.damaging:
            self.here.damaging, body = self.here.damaging - 1, bytes([body[0] ^ 1]) + body[1:]
        wanted = self.headers.get("x-goog-if-generation-match")
        there = objects.get(key, (b"", 0))[1]
        if wanted is not None and int(wanted) != there:
            self._refuse(412, "PreconditionFailed")
        elif self.headers.get("Content-MD5") not in (None, _md5(body)):
            self._refuse(400, "BadDigest")
        else:
            objects[key] = body, next(self.generations)
            self._say(200, headers={"ETag": _etag(body)})

    def _get(self, data: bytes, generation: int) -> None:
        crc = base64.b64encode(checksums.crc32c(data).to_bytes(4, "big")).decode()
        said = {
            "ETag": _etag(data),
            "x-goog-generation": str(generation),
            "x-goog-hash": f"crc32c={crc}, md5={_md5(data)}",
        }
        if self.headers.get("If-Match") not in (None, _etag(data)):
            self._refuse(412, "PreconditionFailed")
        elif (wanted := self.headers.get("Range")) is not None:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or len(data)) + 1, len(data))
            if start >= len(data):
                self._say(416, headers={**said, "Content-Range": f"bytes */{len(data)}"})
            else:
                self._say(206, data[start:end], {**said, "Content-Range": f"bytes {start}-{end - 1}/{len(data)}"})
        else:
            self._say(200, data, said)

    def _list(self, objects: dict[str, tuple[bytes, int]], asked: dict[str, str]) -> None:
        names = sorted(name for name in objects if name.startswith(asked.get("prefix", "")))
        names = [name for name in names if name > unquote(asked.get("continuation-token", ""))]
        entries = "".join(
            f"<Contents><Key>{escape(quote(name))}</Key><Size>{len(objects[name][0])}</Size>"
            f"<ETag>{escape(_etag(objects[name][0]))}</ETag></Contents>"
            for name in names[:_PAGE]
        )
        more = f"<NextContinuationToken>{quote(names[_PAGE - 1])}</NextContinuationToken>" if names[_PAGE:] else ""
        page = (
            "<?xml version='1.0' encoding='UTF-8'?><ListBucketResult xmlns='http://doc.s3.amazonaws.com/2006-03-01'>"
            f"<EncodingType>url</EncodingType>{entries}<IsTruncated>{'true' if more else 'false'}</IsTruncated>{more}"
            "</ListBucketResult>"
        )
        self._say(200, page.encode(), {"Content-Type": "application/xml"})

    do_GET = do_HEAD = do_PUT = do_DELETE = _serve  # noqa: N815  # the names http.server looks for


def _md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


@contextlib.contextmanager
def google_server() -> Iterator[GoogleServer]:
    """One with nothing in it."""
    here = GoogleServer("")
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"here": here}))
    here.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield here
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
