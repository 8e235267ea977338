"""Credentials for Google and Azure where no key signs requests here: obstore finds the identity and its Authorization.

``python -m wdstools.stores.obstore_login`` runs as a process of its own: the answers of an identity server or of the
machine's metadata service are read there, and can crash nothing else. It lets obstore request an object from a server
that it runs itself, on loopback, and prints the Authorization header of that request. This needs no provider's library,
and reads no credentials that obstore does not read.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
import time
from datetime import timedelta
from functools import cache
from typing import Any

from wdstools.address import without_secrets
from wdstools.errors import StoreError

#: Seconds after which the identity is asked again: providers renew a token before it has so little time left.
_USED_FOR = 240.0
_MOST_BYTES = 64 << 10
#: A name that every provider accepts; no such bucket is ever contacted.
_NO_BUCKET = "wdstools"
#: Prefixes of the variables that an identity depends on.
_NAMES = ("GOOGLE_", "GCE_", "AZURE_", "IDENTITY_", "HOME", "PATH")


class Login:
    """The Authorization header of an identity that obstore finds in the environment; safe for threads."""

    def __init__(self, scheme: str, seconds: float) -> None:
        self._scheme = scheme
        self._seconds = seconds
        self._lock = threading.Lock()
        self._known: tuple[str, float] | None = None

    def authorization(self) -> str:
        """The header's value, empty for unsigned requests; raises StoreError (``denied``) without credentials."""
        with self._lock:
            if self._known is None or time.monotonic() >= self._known[1]:
                self._known = self._asked(), time.monotonic() + _USED_FOR
            return self._known[0]

    def _asked(self) -> str:
        # -P: import no modules from the current folder, which may be a stranger's
        command = [sys.executable, "-P", "-m", __name__, self._scheme]
        away = ",".join(filter(None, (os.environ.get("NO_PROXY"), os.environ.get("no_proxy"), "127.0.0.1")))
        home = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        path = os.pathsep.join((home, *filter(None, sys.path)))  # the packages of this process
        env = {**os.environ, "NO_PROXY": away, "no_proxy": away, "PYTHONPATH": path}
        try:
            done = subprocess.run(
                command, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=self._seconds, check=False
            )
            said: Any = json.loads(done.stdout[:_MOST_BYTES])
            found, reason = said["authorization"], str(said["reason"])
        except subprocess.TimeoutExpired:
            found, reason = None, f"no answer in {self._seconds:.0f} seconds"
        except (OSError, ValueError, RecursionError, KeyError, TypeError):
            found, reason = None, "the answer of the identity server crashed the login process"
        if not isinstance(found, str):
            raise StoreError(
                "no credentials were found",
                code="denied",
                where=f"{self._scheme}://",
                got=reason[:300],
                hint="set the provider's own variables (docs/cloud.md); for public data: GOOGLE_SKIP_SIGNATURE=true or AZURE_SKIP_SIGNATURE=true",
            )
        return found


def login_of(scheme: str, seconds: float) -> Login:
    """The login of this process, shared for as long as its environment does not change."""
    said = frozenset((name, value) for name, value in os.environ.items() if name.startswith(_NAMES))
    return _login_of(scheme, seconds, os.getpid(), said)


@cache
def _login_of(scheme: str, seconds: float, pid: int, said: frozenset[tuple[str, str]]) -> Login:
    del pid, said
    return Login(scheme, seconds)


def main(scheme: str) -> None:
    """Print the Authorization header that a request would carry."""
    from http.server import BaseHTTPRequestHandler, HTTPServer

    from obstore.exceptions import BaseError
    from obstore.store import AzureStore, GCSStore

    nonce, seen = secrets.token_hex(16), []

    class Asked(BaseHTTPRequestHandler):
        timeout = 10

        def do_HEAD(self) -> None:
            if self.path.partition("?")[0].endswith(f"/{nonce}"):  # nobody else on this machine knows it
                seen.append(self.headers.get("Authorization", ""))
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            del args

    server = HTTPServer(("127.0.0.1", 0), Asked)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    here = f"http://127.0.0.1:{server.server_address[1]}"
    options: Any = {"allow_http": True, "connect_timeout": timedelta(seconds=10), "timeout": timedelta(seconds=30)}
    retry: Any = {"max_retries": 2, "retry_timeout": timedelta(seconds=30)}
    reason = "obstore made no request"
    try:
        config: Any = {"endpoint": here} if scheme == "az" else {"base_url": here}
        kind: Any = AzureStore if scheme == "az" else GCSStore
        import obstore

        obstore.head(kind(_NO_BUCKET, config=config, client_options=options, retry_config=retry), nonce)
    except (BaseError, FileNotFoundError) as error:
        reason = without_secrets(" ".join(str(error).partition("\n")[0].split()))
    sys.stdout.write(json.dumps({"authorization": seen[-1] if seen else None, "reason": "" if seen else reason}))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
