"""A folder in memory, if possible, so that a sweep of thousands of fsyncs need not wait for a disk."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHARED_MEMORY = "/dev/shm"


@contextlib.contextmanager
def folder_in_memory() -> Iterator[Path]:
    """A temporary folder, in memory if the machine has such a place; removed afterwards."""
    place = _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else None
    folder = tempfile.mkdtemp(prefix="wdstools-test-", dir=place)
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
