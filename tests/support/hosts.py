"""Hosts that share only a network: Linux namespaces, each with its own address, disk and /dev/shm.

A host is a network namespace on a bridge. What runs on it sees the programs of this machine and, in place of
``folder``, an empty file system that no other host sees. ``tcp_door`` lets it reach a server of this machine. Needs
root.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_BLOCK = 1 << 16


@dataclass(frozen=True)
class Host:
    """One of the hosts."""

    name: str
    folder: Path

    def start(self, command: Sequence[object], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """A process on this host, with a file system of its own at ``folder`` and as /dev/shm."""
        script = (
            f'mount -t tmpfs tmpfs "{self.folder}" && mount -t tmpfs tmpfs /dev/shm && cd "{self.folder}" && exec "$@"'
        )
        line = ["ip", "netns", "exec", self.name, "unshare", "--mount", "sh", "-c", script, "sh", *map(str, command)]
        return subprocess.Popen(
            line,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, **env, "TMPDIR": str(self.folder), "HOME": str(self.folder)},
        )

    def kill(self) -> None:
        """Cut the host's power: everything on it ends."""
        found = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True, check=True)
        for number in found.stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(number), signal.SIGKILL)


@contextlib.contextmanager
def hosts_apart(count: int, folder: Path) -> Iterator[tuple[list[Host], str]]:
    """Some hosts, and the address of this machine that they see. Skips where namespaces cannot be made."""
    if shutil.which("ip") is None or shutil.which("unshare") is None or os.geteuid() != 0:
        pytest.skip("network namespaces need root, ip and unshare")
    folder.mkdir()
    tag = f"{os.getpid() % 4096:03x}"
    net = f"10.{64 + os.getpid() % 128}.{os.getpid() // 128 % 256}"
    with contextlib.ExitStack() as stack:
        bridge = f"wdsb{tag}"
        _run(stack, f"ip link add {bridge} type bridge", f"ip link del {bridge}")
        for line in (f"ip addr add {net}.1/24 dev {bridge}", f"ip link set {bridge} up"):
            _run(stack, line)
        hosts = []
        for number in range(count):
            host, end = f"wds{tag}h{number}", f"wdse{tag}{number}"
            _run(stack, f"ip netns add {host}", f"ip netns del {host}")
            made = Host(host, folder)
            stack.callback(made.kill)
            _run(stack, f"ip link add {end} type veth peer name eth0 netns {host}")
            for line in (
                f"ip link set {end} master {bridge} up",
                f"ip -n {host} addr add {net}.{number + 2}/24 dev eth0",
                f"ip -n {host} link set eth0 up",
                f"ip -n {host} link set lo up",
            ):
                _run(stack, line)
            hosts.append(made)
        yield hosts, f"{net}.1"


def _run(stack: contextlib.ExitStack, line: str, undo: str = "") -> None:
    ran = subprocess.run(line.split(), capture_output=True, text=True, check=False)
    if ran.returncode:
        pytest.skip(f"namespaces cannot be made here: {line}: {ran.stderr.strip()}")
    if undo:
        stack.callback(subprocess.run, undo.split(), check=False, capture_output=True)


@contextlib.contextmanager
def tcp_door(address: str, port: int) -> Iterator[int]:
    """A port of ``address`` that leads to a port of this machine's loopback."""
    with socket.create_server((address, 0), backlog=128) as server:
        threading.Thread(target=_let_in, args=(server, port), daemon=True).start()
        yield int(server.getsockname()[1])


def _let_in(server: socket.socket, port: int) -> None:
    while True:
        try:
            guest, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(guest, port), daemon=True).start()


def _serve(guest: socket.socket, port: int) -> None:
    """Serve one connection, in both directions, until both ends are done."""
    with contextlib.suppress(OSError), guest, socket.create_connection(("127.0.0.1", port)) as inner:
        back = threading.Thread(target=_pass_on, args=(inner, guest), daemon=True)
        back.start()
        _pass_on(guest, inner)
        back.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_BLOCK):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
