"""A server process: started on a free loopback port, waited for, and stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

#: Reached only by a server that does not start: on a busy machine Swift takes a minute.
_START_SECONDS = 300


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(
    command: Sequence[object], port: int, log: Path, *, env: Mapping[str, str] | None = None, wait: bool = True
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that listens on ``port`` while the block lasts; it and its children end with the block.

    Without ``wait`` it may not listen yet when the block begins: see ``await_port``.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=log.parent,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
    try:
        if wait:
            await_port(process, port, log)
        yield process
    finally:
        _stop(process)


def await_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until a process listens; raises OSError when it ends or takes too long."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise OSError(f"{log.stem} ended with {process.returncode}: {log.read_text()[-2000:]}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise TimeoutError(f"{log.stem} does not listen on {port}: {log.read_text()[-2000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the process group, which is this process's own."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, kind)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
            break
