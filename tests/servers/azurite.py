"""Azurite: Microsoft's emulator of Azure Blob Storage, with its published development account."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from tests.servers.daemon import free_port, running
from tests.servers.install import installed
from tests.support.command import HANG_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ACCOUNT = "devstoreaccount1"
#: Published by Microsoft for every Azurite there is.
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_NUMBERS = count()


@dataclass(frozen=True)
class AzureServer:
    """Where it is; ``env`` is the environment in which obstore finds it."""

    endpoint: str

    @property
    def env(self) -> dict[str, str]:
        """Account, key and address."""
        return {
            "AZURE_STORAGE_ACCOUNT_NAME": _ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": _KEY,
            "AZURE_STORAGE_ENDPOINT": f"{self.endpoint}/{_ACCOUNT}",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }

    def new_container(self) -> str:
        """The name of a container with nothing in it, made now."""
        import hashlib
        import hmac
        from base64 import b64decode, b64encode
        from datetime import UTC, datetime
        from urllib.request import Request, urlopen

        name = f"container-{next(_NUMBERS)}"
        date = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        resource = f"/{_ACCOUNT}/{_ACCOUNT}/{name}\nrestype:container"
        text = f"PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:2021-08-06\n{resource}"
        signature = b64encode(hmac.new(b64decode(_KEY), text.encode(), hashlib.sha256).digest()).decode()
        request = Request(f"{self.endpoint}/{_ACCOUNT}/{name}?restype=container", method="PUT")  # noqa: S310  # loopback
        request.add_header("x-ms-date", date)
        request.add_header("x-ms-version", "2021-08-06")
        request.add_header("Content-Length", "0")
        request.add_header("Authorization", f"SharedKey {_ACCOUNT}:{signature}")
        urlopen(request, timeout=HANG_SECONDS).close()  # noqa: S310
        return name


@contextlib.contextmanager
def azurite_server(folder: Path) -> Iterator[AzureServer]:
    """An Azurite with nothing in it."""
    program, port = installed("azurite") / "azurite-blob", free_port()
    options = ["--silent", "--disableTelemetry", "--skipApiVersionCheck", "--blobHost", "127.0.0.1"]
    command = [program, *options, "--blobPort", str(port), "--location", folder]
    with running(command, port, folder / "azurite.log"):
        yield AzureServer(f"http://127.0.0.1:{port}")
