"""The server of the page: for this machine only, for whoever knows the printed address, until interrupted."""

from __future__ import annotations

import contextlib
import secrets
import socket
from typing import TYPE_CHECKING

from wdstools.errors import StoreError, UsageError, option

if TYPE_CHECKING:
    from collections.abc import Callable

    from wdstools.ops.view import Viewer

_HOST = "127.0.0.1"
_TOKEN_BYTES = 24


def need_server() -> None:
    """Raise UsageError (``extra-missing``) if the libraries of the extra ``view`` are not installed."""
    from importlib.util import find_spec

    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise UsageError(
            "the page needs libraries that are not installed",
            code="extra-missing",
            expected=", ".join(missing),
            hint="pip install 'wdstools[view]'    or write a page without a server: --html FILE",
        )


def serve(viewer: Viewer, port: int, ready: Callable[[str], None]) -> None:
    """Serve the page of a viewer until the process is interrupted; ``ready`` gets its address once it accepts requests.

    Raises UsageError (``extra-missing``), and StoreError (``port-taken``).
    """
    need_server()
    import uvicorn

    from wdstools.report.viewer.app import make_app
    from wdstools.report.viewer.guard import Guard

    with _listening(port) as listener:
        found: int = listener.getsockname()[1]
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        config = uvicorn.Config(
            Guard(make_app(viewer), token, found),
            log_config=None,
            access_log=False,
            lifespan="off",
            loop="asyncio",
            http="h11",
            ws="none",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
        ready(f"http://{_HOST}:{found}/{token}/")
        with contextlib.suppress(KeyboardInterrupt):  # expected: this is how the user ends it
            uvicorn.Server(config).run([listener])


def _listening(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((_HOST, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise StoreError(
            "the page cannot be served on this port",
            code="port-taken",
            where=f"{_HOST}:{port}",
            got=error.strerror or str(error),
            hint=f"{option('port', 0)}    picks a free one",
        ) from None
    return listener
