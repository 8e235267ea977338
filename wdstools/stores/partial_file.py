"""A file that is filled over several runs, in any order, and gets its name once it is complete."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Self

from wdstools.stores.abilities import TEMP_SUFFIX, replace, sync_file, sync_folder
from wdstools.stores.folders import make_folders
from wdstools.stores.local import storage_error
from wdstools.stores.receipts import leave_receipt, marked_place, refuse_to_replace

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Ends the name of a partial file; listings skip it like every temporary file.
PART_SUFFIX = ".part" + TEMP_SUFFIX
_AHEAD_BYTES = 8 << 20


class PartFile:
    """Bytes under a temporary name that outlives the process: the next run finds what an interrupted run wrote.

    Nothing vouches for the content: whoever opens a partial file checks it. A file that already has the final name is
    renamed back, to be checked too. Leaving the ``with`` block without ``finish`` keeps the partial file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._part = path + PART_SUFFIX
        self._unsent = (0, 0)
        with self._translated():
            make_folders(os.path.dirname(path) or ".")
            self._place = marked_place(path)
            if self._place is not None:
                refuse_to_replace(path, self._place)
            with contextlib.suppress(FileNotFoundError):
                os.rename(path, self._part)
            self._fd = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)

    def size(self) -> int:
        """Size so far in bytes; there may be holes."""
        with self._translated():
            return os.fstat(self._fd).st_size

    def read(self, start: int, length: int) -> bytes:
        """Bytes from ``start``, fewer at the end."""
        with self._translated():
            return os.pread(self._fd, length, start)

    def write(self, start: int, data: memoryview) -> None:
        """Write bytes at ``start``."""
        with self._translated():
            while data:
                count = os.pwrite(self._fd, data, start)
                self._send_on(start, start + count)
                start, data = start + count, data[count:]

    def _send_on(self, start: int, end: int) -> None:
        """Have the kernel begin to write its cached pages, so that ``finish`` need not wait for all of them.

        On Linux this advice does just that for dirty pages, which stay in the cache.
        """
        first, last = self._unsent
        self._unsent = (first, end) if start == last else (start, end)
        if hasattr(os, "posix_fadvise") and end - self._unsent[0] >= _AHEAD_BYTES:
            os.posix_fadvise(self._fd, self._unsent[0], end - self._unsent[0], os.POSIX_FADV_DONTNEED)
            self._unsent = (end, end)

    def clear(self) -> None:
        """Discard the content."""
        with self._translated():
            os.ftruncate(self._fd, 0)

    def finish(self, size: int) -> None:
        """Truncate to ``size``, make durable, and give the file its name."""
        with self._translated():
            os.ftruncate(self._fd, size)
            sync_file(self._fd)
            if self._place is not None:
                refuse_to_replace(self.path, self._place)
                leave_receipt(self.path, os.stat(self._part))
            replace(self._part, self.path)
            sync_folder(os.path.dirname(self.path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise storage_error(error, self.path) from None
