"""Values of added columns in files of the user's cache, ``values/``: read row by row, so that no process holds a whole shard's.

There is one file for each column of each shard, named by the root digest, the digest of the set's file, and the column. It is used
only if its size and XXH3-64 match. The places of texts in it are rows of numbers too.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from wdstools.formats.digest import xxh3_64
from wdstools.stores.folders import make_folders
from wdstools.stores.kept_files import begin, forget, make_room, open_kept, open_own, write_all
from wdstools.user_cache import cache_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

_NAME_RE = re.compile(r"[0-9a-f]{64}-[0-9a-f]{64}-[A-Za-z][A-Za-z0-9_]{0,63}\.v1(\.[0-9a-f]{16}\.making)?")
_HEAD = struct.Struct("<8s16sQQQQ")
_MAGIC = b"wdsval1\0"
#: Where values begin.
_FIRST = 64
_BLOCK_BYTES = 1 << 24
#: The place of a text: how many bytes come before it, and its size; -1 if there is none.
_PLACE = np.dtype([("start", "<i8"), ("size", "<i8")])
_TEXT = b"text"


def folder() -> str:
    """The folder of the files."""
    return os.path.join(cache_folder(), "values")


def files_of(root: str, digests: Sequence[str] | None = None) -> Iterator[str]:
    """The existing files of a dataset; for some files of its sets, given by SHA-256, or for all."""
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(folder())):
            if (
                _NAME_RE.fullmatch(name)
                and name.startswith(f"{root}-")
                and (digests is None or name[65:129] in digests)
            ):
                yield os.path.join(folder(), name)


def has_room(size: int, places: Iterable[Place] = ()) -> bool:
    """Whether ``size`` bytes fit, including existing files of ``places``; evicts the least recently used other files to make room."""
    try:
        make_folders(folder())
        return make_room(folder(), _NAME_RE, size, {_path_of(place) for place in places})
    except OSError:
        return False


class Place(NamedTuple):
    """Identifies values: by the dataset's root digest, the SHA-256 of the set's file, and the column."""

    root: str
    digest: str
    field: str


def bytes_of(values: NDArray[Any] | list[str | None]) -> int:
    """The size of the file for these values."""
    if not isinstance(values, list):
        return _FIRST + values.nbytes
    texts = sum(len(text) if text.isascii() else len(text.encode()) for text in values if text)
    return _FIRST + len(values) * _PLACE.itemsize + texts


class KeptValues:
    """One column of one shard, in a file. Safe to use from many threads and processes."""

    def __init__(self, path: str, kind: np.dtype[Any] | None, width: int, same: tuple[int, int]) -> None:
        self._path, self._kind, self._width, self._same = path, kind, width, same

    @classmethod
    def opened(cls, place: Place, rows: int, kind: np.dtype[Any] | None, width: int) -> KeptValues | None:
        """The file of ``rows`` values, checked; texts have no ``kind``. None if there is none; a damaged file is removed."""
        path = _path_of(place)

        def checked(fd: int) -> KeptValues | None:
            status = os.fstat(fd)
            if not _is_whole(fd, status.st_size, (_name_of(kind), rows, width)):
                return None
            return cls(path, kind, width, (status.st_ino, status.st_size))

        return open_kept(path, checked)

    @classmethod
    def kept(cls, place: Place, values: NDArray[Any] | list[str | None]) -> KeptValues | None:
        """Write values to a file, and open it; None if that is not possible."""
        path = _path_of(place)
        try:
            fd, making = begin(path)
        except OSError:
            return None
        try:
            _write(fd, values)
            os.rename(making, path)
        except OSError:
            return None
        finally:
            os.close(fd)
            forget(making)
        return cls.opened(place, len(values), *_form_of(values))

    def take(self, rows: Sequence[int]) -> list[Any] | None:
        """The values of some rows; None if the file is no longer the one that was opened."""
        fd = open_own(self._path)
        if fd is None:
            return None
        try:
            status = os.fstat(fd)
            if (status.st_ino, status.st_size) != self._same:
                return None
            return self._texts(fd, rows) if self._kind is None else self._numbers(fd, rows, self._kind)
        finally:
            os.close(fd)

    def _numbers(self, fd: int, rows: Sequence[int], kind: np.dtype[Any]) -> list[Any]:
        size = kind.itemsize * max(1, self._width)
        data = bytearray().join([os.pread(fd, size, _FIRST + row * size) for row in rows])
        found = np.frombuffer(data, kind)
        return list(found.reshape(len(rows), self._width) if self._width else found)

    def _texts(self, fd: int, rows: Sequence[int]) -> list[Any]:
        size = _PLACE.itemsize
        data = b"".join([os.pread(fd, size, _FIRST + row * size) for row in rows])
        places = np.frombuffer(data, _PLACE)
        spans = zip(places["start"].tolist(), places["size"].tolist(), strict=True)
        return [os.pread(fd, count, start).decode() if count >= 0 else None for start, count in spans]


def _path_of(place: Place) -> str:
    return os.path.join(folder(), f"{place.root}-{place.digest}-{place.field}.v1")


def _form_of(values: NDArray[Any] | list[str | None]) -> tuple[np.dtype[Any] | None, int]:
    """The dtype of some values, None for texts, and how many numbers each value has."""
    if isinstance(values, list):
        return None, 0
    return values.dtype, values.shape[1] if values.ndim > 1 else 0


def _name_of(kind: np.dtype[Any] | None) -> bytes:
    return _TEXT if kind is None else kind.str.encode()


def _write(fd: int, values: NDArray[Any] | list[str | None]) -> None:
    if isinstance(values, list):
        raw = [b"" if text is None else text.encode() for text in values]
        places = np.zeros(len(raw), _PLACE)
        sizes = np.fromiter(map(len, raw), np.int64, len(raw))
        places["start"] = _FIRST + places.nbytes + np.cumsum(sizes) - sizes
        places["size"] = np.where([text is None for text in values], -1, sizes)
        parts: list[Any] = [places.tobytes(), b"".join(raw)]
    else:
        parts = [np.ascontiguousarray(values).reshape(-1).view(np.uint8)]
    digest, at = xxh3_64(), _FIRST
    for part in parts:
        digest.update(part)
        write_all(fd, part, at)
        at += len(part)
    kind, width = _form_of(values)
    write_all(fd, _HEAD.pack(_MAGIC, _name_of(kind), len(values), width, at, digest.intdigest()), 0)


def _is_whole(fd: int, size: int, form: tuple[bytes, int, int]) -> bool:
    """Whether a file is intact and has the right number of values of the right type and width."""
    head = os.pread(fd, _HEAD.size, 0)
    if len(head) < _HEAD.size:
        return False
    magic, kind, rows, width, end, wanted = _HEAD.unpack(head)
    if (magic, end, (kind.rstrip(b"\0"), rows, width)) != (_MAGIC, size, form):
        return False
    digest, at = xxh3_64(), _FIRST
    while block := os.pread(fd, _BLOCK_BYTES, at):
        digest.update(block)
        at += len(block)
    return bool(digest.intdigest() == wanted)
