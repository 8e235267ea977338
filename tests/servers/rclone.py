"""``rclone serve s3``: an S3 server that gets much wrong. It ignores Range and If-None-Match and echoes wrong checksums."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tests.servers.daemon import free_port, running
from tests.servers.install import installed
from tests.servers.s3 import S3Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def rclone_server(folder: Path) -> Iterator[S3Server]:
    """An rclone that serves ``folder/data``."""
    program, port = installed("rclone") / "rclone", free_port()
    (folder / "data").mkdir()
    command = [program, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", "key,secret", folder / "data"]
    with running(command, port, folder / "rclone.log", env={"RCLONE_CONFIG": "/dev/null"}):
        yield S3Server(f"http://127.0.0.1:{port}", "key", "secret")
