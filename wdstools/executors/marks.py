"""Whether other hosts see a path as this machine does: tested with a randomly named file."""

from __future__ import annotations

import os
import secrets
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Mark:
    """A randomly named file at a path, for the duration of the block; entering returns the function that looks for it."""

    def __init__(self, path: str) -> None:
        folder = path
        while not os.path.isdir(folder) and os.path.dirname(folder) != folder:
            folder = os.path.dirname(folder)
        self._mark = os.path.join(folder, f".{secrets.token_hex(8)}.wdstools-tmp")
        self._path = path

    def __enter__(self) -> Callable[[], bool]:
        try:
            os.close(os.open(self._mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except OSError:  # nothing can be written: compare what is there
            self._mark = ""
            return partial(_looks_like, self._path, _look_of(self._path))
        return partial(os.path.exists, self._mark)

    def __exit__(self, *_: object) -> None:
        if self._mark:
            os.unlink(self._mark)


def _look_of(path: str) -> tuple[object, ...]:
    """What is equal on two hosts that see the same thing at a path."""
    try:
        status = os.stat(path)
    except OSError as error:
        return (error.errno,)
    return (status.st_mode, status.st_ino, status.st_size, status.st_mtime_ns)


def _looks_like(path: str, look: tuple[object, ...]) -> bool:
    return _look_of(path) == look
