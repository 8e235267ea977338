"""A local cache of remote objects: blocks in files, bounded in size, shared by processes, and checked on every read.

It never holds the only copy of anything: every block can be fetched again, and any of its files may be removed at any
time.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import threading
from typing import TYPE_CHECKING, Any, ClassVar

import xxhash

from wdstools.log import DEBUG, tell
from wdstools.stores.base import Body, RemoteStore
from wdstools.stores.folders import make_folders
from wdstools.stores.local import open_plain
from wdstools.stores.remote import short_body
from wdstools.stores.wrapper import Wrapper

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_BLOCK_BYTES = 1 << 20
_DIGEST_BYTES = 16
#: Names of the cache's files: a digest, with a suffix while the file is being written.
_BLOCK_NAME_RE = re.compile(r"[0-9a-f]{32}(\.[0-9a-f.]+)?")
#: A process that has written this share of the limit (1/16) checks the size of the whole cache.
_SHARE = 16
#: How full the cache is left when blocks have to be removed.
_KEPT = 0.9


class Caching(Wrapper):
    """A store whose ranges are kept in ``folder``, in blocks of 1 MiB, up to about ``limit_bytes`` for all users together.

    ``version`` names what the store holds (a dataset's root digest): each version has its own blocks. Each block
    carries the XXH3-128 of its place and bytes, and is fetched again if that does not match. The least recently used
    blocks go first. If the disk cannot be written, nothing is cached, and reading goes on.
    """

    #: Hosts that do not see the folder refuse it (``path-not-shared``). Otherwise each would fill a folder that nobody
    #: there asked for, or, without one, silently fetch again what the caller expects to be cached.
    local_paths: ClassVar[tuple[str, ...]] = ("_folder",)

    def __init__(self, store: RemoteStore, folder: str, version: str, *, limit_bytes: int) -> None:
        super().__init__(store)
        self._folder = folder
        self._version = version
        self._limit = limit_bytes
        self._written = limit_bytes  # so that the first write checks what other runs have left
        self._lock = threading.Lock()
        self._coming: dict[tuple[str, int], threading.Event] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self._store, os.path.abspath(self._folder), self._version, self._limit)

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Bytes of an object, from cached blocks where there are some and from the store otherwise."""
        if length is None:
            length = max(0, self._store.head(key).bytes - start)
        if not length:
            return self._store.get(key, start, 0)
        first, last = start // _BLOCK_BYTES, (start + length - 1) // _BLOCK_BYTES
        numbers = range(first, last + 1)
        blocks = {number: block for number in numbers if (block := self._load(key, number)) is not None}
        mine = self._claim(key, [number for number in numbers if number not in blocks])
        try:
            self._fetch(key, mine, blocks)
        finally:
            self._release(key, mine)
        for number in numbers:  # being fetched by another thread
            if number not in blocks:
                self._wait(key, number)
                if (block := self._load(key, number)) is not None:
                    blocks[number] = block
        self._fetch(key, [number for number in numbers if number not in blocks], blocks)
        whole = blocks[first] if first == last else b"".join(blocks[number] for number in numbers)
        skip = start - first * _BLOCK_BYTES
        return whole[skip : skip + length]

    def fetch(self, key: str, start: int, length: int, *, etag: str = "") -> bytes:
        """Exactly ``length`` bytes; with an ``etag`` the wrapped store is asked."""
        if etag:
            return self._store.fetch(key, start, length, etag=etag)
        data = self.get(key, start, length)
        if len(data) != length:
            raise short_body(f"{self.url}/{key}, bytes {start}..{start + length}", length, len(data))
        return data

    def open_body(self, key: str, start: int = 0, length: int | None = None, *, etag: str = "") -> Body:
        """Bytes, block by block; with an ``etag`` the wrapped store is asked."""
        if etag:
            return self._store.open_body(key, start, length, etag=etag)
        size = self._store.head(key).bytes
        end = max(start, size if length is None else min(start + length, size))
        starts = range(start, end, _BLOCK_BYTES)
        blocks = (memoryview(self.get(key, at, min(_BLOCK_BYTES, end - at))) for at in starts)
        return Body("", start, end, blocks)

    def _fetch(self, key: str, numbers: Sequence[int], blocks: dict[int, bytes]) -> None:
        """Fetch blocks from the wrapped store into ``blocks`` and the folder."""
        for run in _runs(numbers):
            data = self._store.get(key, run[0] * _BLOCK_BYTES, len(run) * _BLOCK_BYTES)
            tell(
                "stores",
                "into the cache",
                DEBUG,
                where=f"{self.url}/{key}",
                start=run[0] * _BLOCK_BYTES,
                bytes=len(data),
            )
            for place, number in enumerate(run):
                blocks[number] = data[place * _BLOCK_BYTES : (place + 1) * _BLOCK_BYTES]
                self._save(key, number, blocks[number])

    def _claim(self, key: str, numbers: Sequence[int]) -> Sequence[int]:
        """The blocks that no other thread is fetching: ranges read at the same time may share blocks at their ends."""
        with self._lock:
            mine = [number for number in numbers if (key, number) not in self._coming]
            self._coming |= {(key, number): threading.Event() for number in mine}
        return mine

    def _release(self, key: str, numbers: Sequence[int]) -> None:
        with self._lock:
            for number in numbers:
                self._coming.pop((key, number)).set()

    def _wait(self, key: str, number: int) -> None:
        with self._lock:
            coming = self._coming.get((key, number))
        if coming is not None:
            coming.wait()

    def kept(self, key: str, size: int) -> Iterator[str]:
        """The files that hold blocks of an object of ``size`` bytes."""
        for number in range(-(-size // _BLOCK_BYTES)):
            path = self._locate(key, number)
            if os.path.lexists(path):
                yield path

    def forget(self, key: str, start: int, length: int) -> None:
        """Drop the blocks of a range, because they were not what was packed."""
        for number in range(start // _BLOCK_BYTES, (start + max(length, 1) - 1) // _BLOCK_BYTES + 1):
            with contextlib.suppress(OSError):
                os.unlink(self._locate(key, number))

    def _name(self, key: str, number: int) -> str:
        return xxhash.xxh3_128_hexdigest(f"{self._version} {key} {number}".encode())

    def _locate(self, key: str, number: int) -> str:
        name = self._name(key, number)
        return os.path.join(self._folder, name[:2], name)

    def _seal(self, key: str, number: int, data: bytes) -> bytes:
        digest = xxhash.xxh3_128(self._name(key, number).encode())
        digest.update(data)
        return digest.digest()

    def _load(self, key: str, number: int) -> bytes | None:
        path = self._locate(key, number)
        try:
            with open_plain(path) as file:
                data = file.readall()
            os.utime(path)
        except OSError:
            return None
        block = data[:-_DIGEST_BYTES]
        if len(data) < _DIGEST_BYTES or self._seal(key, number, block) != data[-_DIGEST_BYTES:]:
            with contextlib.suppress(OSError):
                os.unlink(path)
            return None
        return block

    def _save(self, key: str, number: int, block: bytes) -> None:
        """Keep a block, whole under its name or not at all."""
        if not block:
            return
        path = self._locate(key, number)
        temporary = f"{path}.{os.getpid()}.{threading.get_ident()}"
        try:
            make_folders(os.path.dirname(path))
            with open(temporary, "wb") as file:
                file.write(block)
                file.write(self._seal(key, number, block))
            os.rename(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            return
        with self._lock:
            self._written += len(block)
            if self._written < self._limit / _SHARE:
                return
            self._written = 0
        self._shrink()

    def _shrink(self) -> None:
        """Remove the least recently used blocks; if another process is doing so, leave it to that one."""
        with (
            contextlib.suppress(OSError),
            open(os.path.join(self._folder, "lock"), "ab", opener=_without_waiting) as lock,
        ):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = sorted(_blocks_in(self._folder))
            total = sum(size for _, size, _ in found)
            if total <= self._limit:
                return
            for _, size, path in found:
                if total <= self._limit * _KEPT:
                    break
                with contextlib.suppress(OSError):
                    os.unlink(path)
                total -= size


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW, 0o644)


def _reopened(store: RemoteStore, folder: str, version: str, limit_bytes: int) -> Caching:
    return Caching(store, folder, version, limit_bytes=limit_bytes)


def _runs(numbers: Sequence[int]) -> Iterator[list[int]]:
    """Consecutive numbers grouped: each group is one request."""
    run: list[int] = []
    for number in numbers:
        if run and number != run[-1] + 1:
            yield run
            run = []
        run.append(number)
    if run:
        yield run


def _blocks_in(folder: str) -> Iterator[tuple[float, int, str]]:
    """Every block as (time of last use, bytes, path)."""
    for place in os.scandir(folder):
        if len(place.name) == 2 and place.is_dir(follow_symlinks=False):
            for file in os.scandir(place.path):
                if not (_BLOCK_NAME_RE.fullmatch(file.name) and file.name.startswith(place.name)):
                    continue  # not ours
                with contextlib.suppress(FileNotFoundError):
                    status = file.stat(follow_symlinks=False)
                    yield status.st_mtime, status.st_size, file.path
