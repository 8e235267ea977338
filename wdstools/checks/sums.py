"""Check any files against a checksum list, as ``sha256sum -c`` does, in parallel."""

from __future__ import annotations

import hashlib
import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import xxhash

from wdstools.errors import NotFoundError, StoreError
from wdstools.formats.sniff import SNIFF_BYTES, what_is
from wdstools.results import Finding
from wdstools.stores.reading import read_blocks

if TYPE_CHECKING:
    from wdstools.executors.base import Tick
    from wdstools.formats.sums import SumLine
    from wdstools.stores.base import Store


class _Crc32:
    """The CRC-32 of zip and SFV, with the methods of a hash object."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes) -> None:
        """Add bytes."""
        self._value = zlib.crc32(data, self._value)

    def hexdigest(self) -> str:
        """The checksum as eight digits."""
        return f"{self._value:08x}"


_HASHES: dict[str, Any] = {
    "crc32": _Crc32,
    "xxh32": xxhash.xxh32,
    "xxh64": xxhash.xxh64,
    "xxh3_64": xxhash.xxh3_64,
    "xxh3_128": xxhash.xxh3_128,
}
#: Codes of ``what_is`` for something in place of the real file.
_STANDING_IN = ("git-lfs", "git-annex", "html", "xml", "empty")
#: An absolute path: on Unix, on a drive, or on a server.
_ROOT_RE = re.compile(r"[A-Za-z]:/+|/+")
_MOST_FOLDERS = 64


@dataclass(frozen=True, slots=True)
class SumCheckTask:
    """One line of a list; its path is relative to the store."""

    store: Store
    line: SumLine


@dataclass(frozen=True, slots=True)
class SumCheck:
    """The result for one line."""

    bytes: int
    finding: Finding | None = None


def check_sum(task: SumCheckTask, tick: Tick) -> SumCheck:
    """Hash one file and compare; if its line does not name the algorithm, others of the same length are tried too."""
    line = task.line
    size, got = 0, ""
    try:
        path = _place(task.store, line.path)
        for algorithm in (line.algorithm, *line.others):
            digest, size = _digest(task.store, path, algorithm, None if got else tick)
            if digest == line.digest:
                return SumCheck(size)
            got = got or f"{algorithm}:{digest}"
        sniffed = what_is(task.store.get(path, 0, min(size, SNIFF_BYTES)) if size else b"", size)
    except NotFoundError:
        return SumCheck(
            size,
            Finding(
                "missing",
                line.path,
                "a listed file is missing",
                expected=f"{line.algorithm}:{line.digest}",
                cause="file-missing",
            ),
        )
    except StoreError as error:
        return SumCheck(size, Finding("unreadable", line.path, error.message, got=error.code, cause=error.code))
    message = "a file does not match the list"
    if sniffed is not None and sniffed.code in _STANDING_IN:
        message += f": this is {sniffed}: {sniffed.hint}"
    return SumCheck(
        size,
        Finding("file", line.path, message, expected=f"{line.algorithm}:{line.digest}", got=got, cause="bytes-differ"),
    )


def is_there(store: Store, line: SumLine) -> bool:
    """Whether the file of a line exists, readable or not."""
    try:
        store.head(_place(store, line.path))
    except NotFoundError:
        return False
    except StoreError:
        return True
    return True


def _place(store: Store, path: str) -> str:
    """Where a listed file is: at its path, or at that path with the backslashes of Windows as slashes.

    An absolute path is from the machine that made the list (``C:/photos/x.tar``): here the file may be at the end of
    it.
    """
    slashed = path.replace("\\", "/")
    places = [path, slashed] if slashed != path else [path]
    root = _ROOT_RE.match(slashed)
    if root is not None:
        parts = slashed[root.end() :].split("/")
        places += [
            "/".join(parts[at:])
            for at in range(max(0, len(parts) - _MOST_FOLDERS), len(parts))
            if parts[at] not in ("", ".", "..")
        ]
    for place in places if len(places) > 1 else ():
        try:
            store.head(place)
        except NotFoundError:
            continue
        except StoreError:
            return place
        return place
    return path  # reading it will say what is wrong


def _digest(store: Store, path: str, algorithm: str, tick: Tick | None) -> tuple[str, int]:
    """The digest of a file, and its size."""
    make = _HASHES.get(algorithm)
    name, _, bits = algorithm.partition("-")
    if make is not None:
        digest = make()
    elif bits:
        digest = hashlib.blake2b(digest_size=int(bits) // 8, usedforsecurity=False)
    else:
        digest = hashlib.new(name, usedforsecurity=False)
    size = 0
    for block in read_blocks(store, path):
        digest.update(block)
        size += len(block)
        if tick is not None:
            tick(len(block))
    return digest.hexdigest(), size
