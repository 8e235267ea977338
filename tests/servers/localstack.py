"""LocalStack: an emulator of Amazon S3 that computes, keeps, checks and returns checksums as Amazon does."""

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
def localstack_server(folder: Path) -> Iterator[S3Server]:
    """A LocalStack with S3 alone."""
    program, port = installed("localstack") / "python", free_port()
    settings = {
        "LOCALSTACK_VOLUME_DIR": str(folder / "volume"),
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "SERVICES": "s3",
        "EAGER_SERVICE_LOADING": "1",
        "DISABLE_EVENTS": "1",
        "DNS_ADDRESS": "0",
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "PYTHONPATH": "",
    }
    with running([program, "-m", "localstack.runtime.main"], port, folder / "localstack.log", env=settings):
        yield S3Server(f"http://127.0.0.1:{port}", "test", "test")
