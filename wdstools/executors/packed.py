"""Shared values as bytes, with their arrays in one place for all workers of a host if their class sets ``lies_once``.

Eight bytes for each of a hundred million images are 0.8 GB, and a host has dozens of workers: a copy in each would fill
its memory. So large arrays of such a value stay out of its pickle. On Ray they are in the object store, which every
worker of a host maps. On the caller's machine they are in an unnamed file, which workers map too, and which disappears
with the last of them. Either way, workers can only read them.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import mmap
import os
import pickle
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from wdstools.memory import unnamed_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

#: Smaller arrays stay in the pickle.
LEAST_BYTES = 1 << 16
#: The alignment of arrays in a file, in bytes.
_ALIGNED = 64


class AbsentError(Exception):
    """A shared value has not reached this worker, or is no longer kept."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A value's pickle, and the bytes of the arrays left out of it; for the caller's value these are its own memory."""

    data: bytes
    arrays: tuple[NDArray[np.uint8], ...] = ()

    @property
    def digest(self) -> str:
        """The SHA-256 of pickle and arrays."""
        found = hashlib.sha256(self.data)
        for array in self.arrays:
            found.update(array.data)
        return found.hexdigest()

    def value(self) -> object:
        """The value, whose large arrays are these bytes, read-only."""
        return _loaded(self.data, self.arrays)


@dataclass(frozen=True, slots=True)
class Placed:
    """A value's pickle with the arrays in a file: where each begins there, and its length."""

    data: bytes
    places: tuple[tuple[int, int], ...]
    bytes: int

    def value(self, fd: int) -> object:
        """The value, with arrays mapped from the file; raises OSError if it cannot be mapped."""
        memory = memoryview(mmap.mmap(fd, self.bytes, prot=mmap.PROT_READ))
        return _loaded(self.data, [memory[start : start + size] for start, size in self.places])


@dataclass(frozen=True, slots=True)
class Nearby:
    """A file that a process on this machine has open, identified so that no other file at this path is taken for it."""

    placed: Placed
    path: str
    device: int
    inode: int

    @property
    def arrays(self) -> bool:
        """Whether there are arrays outside the pickle: always."""
        return True

    def value(self) -> object:
        """The value; raises AbsentError if the file cannot be reached."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise AbsentError(self.path) from error
        try:
            status = os.fstat(fd)
            if (status.st_dev, status.st_ino, status.st_size) != (self.device, self.inode, self.placed.bytes):
                raise AbsentError(self.path)
            return self.placed.value(fd)
        except OSError as error:
            raise AbsentError(self.path) from error
        finally:
            os.close(fd)


class Lent:
    """A packed value in an unnamed file, which disappears once this is closed and nobody maps it any more.

    Raises OSError if there is no room for the file.
    """

    def __init__(self, packed: Packed) -> None:
        sizes = [len(array) for array in packed.arrays]
        *starts, size = itertools.accumulate((size + -size % _ALIGNED for size in sizes), initial=0)
        self._file: IO[bytes] = unnamed_file(size)
        try:
            for start, array in zip(starts, packed.arrays, strict=True):
                self._file.seek(start)
                self._file.write(array.data)
            self._file.flush()
        except BaseException:
            self._file.close()
            raise
        self.placed = Placed(packed.data, tuple(zip(starts, sizes, strict=True)), size)

    def fileno(self) -> int:
        """The open file, to pass to workers."""
        return self._file.fileno()

    def nearby(self) -> Nearby:
        """How processes of this machine find the file without being passed it."""
        status = os.fstat(self.fileno())
        return Nearby(self.placed, f"/proc/{os.getpid()}/fd/{self.fileno()}", status.st_dev, status.st_ino)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def packed(make: Callable[..., pickle.Pickler], value: object) -> tuple[Packed, Any]:
    """A packed value and its pickler, which ``make`` makes for a file and, if arrays are kept apart, a callback."""
    arrays: list[NDArray[np.uint8]] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        """Take a large array out of the pickle; True if the buffer stays in."""
        import numpy as np

        raw = buffer.raw()
        if raw.nbytes < LEAST_BYTES:
            return True
        arrays.append(np.frombuffer(raw, np.uint8))
        return False

    file = io.BytesIO()
    pickler = make(file, keep if getattr(type(value), "lies_once", False) else None)
    pickler.dump(value)
    return Packed(file.getvalue(), tuple(arrays)), pickler


def _loaded(data: bytes, arrays: Sequence[Any]) -> object:
    return pickle.loads(data, buffers=[memoryview(array).toreadonly() for array in arrays])  # noqa: S301  the caller's
