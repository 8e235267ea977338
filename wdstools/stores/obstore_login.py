"""Who asks Google or Azure, where a key does not sign by itself: obstore finds the identity, and says what it would send.

``python -m wdstools.stores.obstore_login`` is a process of its own: what an identity server or a machine's metadata service
answers is read there, and ends nothing else. It has obstore ask for an object of a server that it is itself, on loopback, and
tells on its standard output the Authorization that came with the request. That needs no provider's library, and no credentials
are read here that obstore does not read.
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

#: Seconds after which the identity is asked again: what is valid for less is renewed by those who give it.
_USED_FOR = 240.0
_MOST_BYTES = 64 << 10
#: A name that any provider takes; nothing is asked of such a bucket.
_NO_BUCKET = "wdstools"
#: What names the variables that an identity depends on.
_NAMES = ("GOOGLE_", "GCE_", "AZURE_", "IDENTITY_", "HOME", "PATH")


class Login:
    """The Authorization of requests, by an identity that obstore finds in the environment; used by threads."""

    def __init__(self, scheme: str, seconds: float) -> None:
        self._scheme = scheme
        self._seconds = seconds
        self._lock = threading.Lock()
        self._known: tuple[str, float] | None = None

    def authorization(self) -> str:
        """The header's value, empty where nothing is to be said; raises StoreError (``denied``) where nothing is found."""
        with self._lock:
            if self._known is None or time.monotonic() >= self._known[1]:
                self._known = self._asked(), time.monotonic() + _USED_FOR
            return self._known[0]

    def _asked(self) -> str:
        # -P: the folder that we stand in, which may be a stranger's, is no place for modules
        command = [sys.executable, "-P", "-m", __name__, self._scheme]
        away = ",".join(filter(None, (os.environ.get("NO_PROXY"), os.environ.get("no_proxy"), "127.0.0.1")))
        home = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        path = os.pathsep.join((home, *filter(None, sys.path)))  # as this process finds its packages
        env = {**os.environ, "NO_PROXY": away, "no_proxy": away, "PYTHONPATH": path}
        try:
            done = subprocess.run(
                command, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=self._seconds, check=False
            )
            said: Any = json.loads(done.stdout[:_MOST_BYTES])
            found, reason = said["authorization"], str(said["reason"])
        except subprocess.TimeoutExpired:
            found, reason = None, f"nothing in {self._seconds:.0f} seconds"
        except (OSError, ValueError, KeyError, TypeError):
            found, reason = None, "the identity server's answer was not survived"
        if not isinstance(found, str):
            raise StoreError(
                "no credentials are found",
                code="denied",
                where=f"{self._scheme}://",
                got=reason[:300],
                hint="set the provider's own variables (docs/cloud.md); for public data: GOOGLE_SKIP_SIGNATURE=true or AZURE_SKIP_SIGNATURE=true",
            )
        return found


def login_of(scheme: str, seconds: float) -> Login:
    """The one of this process, as long as its environment says the same."""
    said = frozenset((name, value) for name, value in os.environ.items() if name.startswith(_NAMES))
    return _login_of(scheme, seconds, os.getpid(), said)


@cache
def _login_of(scheme: str, seconds: float, pid: int, said: frozenset[tuple[str, str]]) -> Login:
    del pid, said
    return Login(scheme, seconds)


def main(scheme: str) -> None:
    """Print what a request would say."""
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
    reason = "nothing was asked"
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
