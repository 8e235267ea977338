"""One writer at a time: locks that the kernel releases when a process ends, however it ends."""

from __future__ import annotations

import contextlib
import os
from shlex import quote
from typing import TYPE_CHECKING

from wdstools.errors import BusyError
from wdstools.stores.abilities import LOCK_SUFFIX, exclusive
from wdstools.stores.local import translated

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def locked(path: str, what: str) -> Iterator[None]:
    """Hold an exclusive lock on a file for the duration of the block.

    Raises BusyError if another process holds it.
    """
    with translated(path):
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        with _held(fd, path, what):
            yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def locked_folder(path: str, what: str) -> Iterator[None]:
    """Hold an exclusive lock on a folder itself, which leaves no file behind. Raises BusyError as ``locked`` does.

    It does so too if the previous holder of the lock has renamed or removed the folder.
    """
    with translated(path):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with _held(fd, path, what):
            if not is_at(fd, path):
                raise _busy(path, what)
            yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def _held(fd: int, path: str, what: str) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        with translated(path):
            held = stack.enter_context(exclusive(fd, path))
        if not held:
            raise _busy(path, what)
        yield


def _busy(path: str, what: str) -> BusyError:
    hint = "wait for it to finish, then run the same command again"
    if os.path.exists(left := path.rstrip("/") + LOCK_SUFFIX):
        hint += f"; if it ran on another machine and has died: rm {quote(left)}"
    return BusyError(f"another process is writing {what}", where=path, hint=hint)


def is_at(fd: int, path: str) -> bool:
    """Whether an open file still has this name."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False
