"""nginx, serving the files of a folder with ranges and ETags."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.servers.daemon import free_port, running
from tests.support.tools import need

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CONFIG = """\
daemon off;
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
    root.chmod(0o755)
    for above in (folder, *folder.parents):  # nginx's workers give up root and must get here
        if above.stat().st_mode & 0o001 == 0 and above.stat().st_uid != 0:
            break
        above.chmod(above.stat().st_mode | 0o011)
    (folder / "nginx.conf").write_text(_CONFIG.format(folder=folder, port=port, root=root))
    with running(
        [program, "-c", folder / "nginx.conf", "-p", folder, "-e", folder / "error.log"], port, folder / "nginx.log"
    ):
        yield WebServer(f"http://127.0.0.1:{port}", root)
