"""nginx, serving the files of a folder with ranges and ETags."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.servers.daemon import free_port, running
from tests.support.tools import need

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CONFIG = """\
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
    access_log off;
    default_type application/octet-stream;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        root {root};
    }}
}}
"""


@dataclass(frozen=True)
class WebServer:
    """Its address, and the folder it serves."""

    endpoint: str
    root: Path


@contextlib.contextmanager
def nginx_server(folder: Path) -> Iterator[WebServer]:
    """An nginx that serves ``folder/root``."""
    program = need("nginx", "/usr/sbin")
    root, port = folder / "root", free_port()
    root.mkdir()
    # pytest's folders are closed to others, so workers stay who started them
    user = "user root root;" if os.getuid() == 0 else ""
    (folder / "nginx.conf").write_text(_CONFIG.format(folder=folder, port=port, root=root, user=user))
    with running(
        [program, "-c", folder / "nginx.conf", "-p", folder, "-e", folder / "error.log"], port, folder / "nginx.log"
    ):
        yield WebServer(f"http://127.0.0.1:{port}", root)
