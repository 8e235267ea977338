"""Files kept in this user's cache: private, complete or absent, and together at most a quarter of the free space.

Any of them may be removed at any time; the least recently used go first.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Collection

    import numpy as np
    from numpy.typing import NDArray

_SHARE_OF_DISK = 4
#: A file still being made after this long is considered abandoned.
_STALE_SECONDS = 24 * 3600
_BLOCK_BYTES = 1 << 24
#: Ends the names of files that are being made.
MAKING = ".making"

T = TypeVar("T")


def is_own(status: os.stat_result) -> bool:
    """Whether a file is a plain file that this user owns and nobody else may write to."""
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022


def open_own(path: str) -> int | None:
    """A descriptor of a file that this user owns and nobody else may write to; None if there is no such file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    if not is_own(os.fstat(fd)):
        os.close(fd)
        return None
    return fd


def open_kept(path: str, opened: Callable[[int], T | None]) -> T | None:
    """What ``opened`` makes of a file's descriptor, which is then closed; None if there is no such file of this user's.

    If ``opened`` returns None, the file is not what it should be and is removed; otherwise it is marked as used now.
    """
    fd = open_own(path)
    if fd is None:
        return None
    try:
        found = opened(fd)
        if found is None:
            forget(path)
        else:
            with contextlib.suppress(OSError):
                os.utime(fd)
    except OSError:
        return None
    finally:
        os.close(fd)
    return found


def begin(path: str) -> tuple[int, str]:
    """A new file in which ``path`` is made: its descriptor, and its name until it is complete; raises OSError."""
    making = f"{path}.{secrets.token_hex(8)}{MAKING}"
    return os.open(making, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), making


def forget(path: str) -> None:
    """Remove a file that is not what it should be, or that nobody needs."""
    with contextlib.suppress(OSError):
        os.unlink(path)


def write_all(fd: int, data: bytes | memoryview | NDArray[np.uint8], at: int) -> None:
    """Write all of ``data`` at an offset of a file."""
    view = memoryview(data)  # type: ignore[arg-type]  # an array is a buffer from Python 3.12 on
    while view:
        done = os.pwrite(fd, view[:_BLOCK_BYTES], at)
        view, at = view[done:], at + done


def make_room(folder: str, names: re.Pattern[str], size: int, own: Collection[str] = ()) -> bool:
    """Remove the least recently used files until ``size`` bytes fit; returns whether they do.

    The files at the paths ``own`` are part of those bytes.
    """
    held, mine, now = [], 0, time.time()
    for entry in os.scandir(folder):
        if not names.fullmatch(entry.name):
            continue
        with contextlib.suppress(OSError):
            status = entry.stat(follow_symlinks=False)
            if entry.path in own:
                mine += status.st_size
                continue
            if entry.name.endswith(MAKING) and now - status.st_mtime < _STALE_SECONDS:
                continue  # still being made
            if entry.name.endswith(MAKING):
                forget(entry.path)
                continue
            held.append((status.st_mtime, status.st_size, entry.path))
    total = sum(bytes_ for _, bytes_, _ in held)
    limit = (shutil.disk_usage(folder).free + total + mine) // _SHARE_OF_DISK
    if size > limit:
        return False
    for _, bytes_, path in sorted(held):
        if total + size <= limit:
            break
        forget(path)
        total -= bytes_
    return True
