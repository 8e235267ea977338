"""Local folders as stores, and the durable writing that packing needs."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import mmap
import os
import secrets
import stat
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, ClassVar, Self

from wdstools.errors import NotFoundError, StoreError
from wdstools.memory import page_aligned
from wdstools.stores.abilities import TEMP_SUFFIX, name_new, replace, sync_file, sync_folder
from wdstools.stores.base import ObjectInfo
from wdstools.stores.folders import make_folders, walk
from wdstools.stores.receipts import leave_receipt, marked_place, refuse_to_replace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from io import FileIO
    from types import TracebackType

#: What is read into stays in a core's own cache until it has been hashed.
_READ_BLOCK = 1 << 18
_DIRECT_BYTES = 4096
_HINTS = {
    errno.ENOSPC: "free some space, then run the same command again",
    errno.EDQUOT: "free some space, then run the same command again",
    errno.EROFS: "choose a place that can be written",
    errno.EACCES: "check the permissions of this path",
    errno.EPERM: "check the permissions of this path",
    errno.EIO: "the disk reports an error: check it, and restore from another copy",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.EFBIG: "this file system holds no file of this size (FAT32: 4 GB): give more --shards, or choose another disk",
    errno.EOPNOTSUPP: "this file system cannot do that: choose another disk or folder",
    errno.ENOSYS: "this file system cannot do that: choose another disk or folder",
}
#: Characters that file systems of Windows take in no name.
_ODD_CHARACTERS = set('<>:"|?*\\')


def temporary_name(path: str) -> str:
    """A name for what will be ``path``, that no other writer on any host draws."""
    return f"{path}.{secrets.token_hex(8)}{TEMP_SUFFIX}"


def storage_error(error: OSError, where: str) -> StoreError:
    """The StoreError for an operating-system error."""
    if isinstance(error, StoreError):
        return error
    kind = (
        NotFoundError if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError) else StoreError
    )
    code = {
        errno.ENOSPC: "disk-full",
        errno.EDQUOT: "disk-full",
        errno.EACCES: "denied",
        errno.EPERM: "denied",
        errno.EROFS: "read-only",
        errno.EEXIST: "object-exists",
        errno.EFBIG: "file-too-large",
        errno.EMFILE: "too-many-open-files",
        errno.ENFILE: "too-many-open-files",
    }.get(error.errno or 0)
    reason = error.strerror or str(error)
    hint = _HINTS.get(error.errno or 0, "")
    if error.errno in (errno.EINVAL, errno.ENOENT) and (odd := sorted(_ODD_CHARACTERS & set(os.path.basename(where)))):
        hint = f"some file systems (exFAT, NTFS, SMB) take no name with {' '.join(odd)} in it: choose a folder on another one"
    made = kind(reason[:1].lower() + reason[1:], code=code, where=where, hint=hint)
    made.errno = error.errno
    return made


def _require_plain(status: os.stat_result, path: str) -> None:
    """Refuse what is no plain file: a device has no end, and a pipe may never begin; raises NotFoundError."""
    kind = next((kind for is_kind, kind in _ODD_KINDS if is_kind(status.st_mode)), None)
    if kind is not None or not stat.S_ISREG(status.st_mode):
        hint = "" if kind is None else "write what comes out of it to a file, and give that"
        raise NotFoundError("not a plain file", where=path, got=kind or "a folder", hint=hint)


_ODD_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@contextlib.contextmanager
def open_plain(path: str) -> Iterator[FileIO]:
    """A plain file to read, unbuffered; anything else is refused, and never waited for.

    Whatever a source, a dataset or a stranger has put somewhere is opened by this alone. Raises OSError and NotFoundError.
    """
    with open(path, "rb", buffering=0, opener=_open_without_waiting) as file:
        _require_plain(os.fstat(file.fileno()), path)
        yield file


@contextlib.contextmanager
def buffered_plain(path: str) -> Iterator[io.BufferedReader]:
    """As ``open_plain``, buffered."""
    with open_plain(path) as file:
        yield io.BufferedReader(file)


def plain_fd(path: str, flags: int = 0) -> int:
    """As ``open_plain``: a file descriptor, which the caller closes."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | flags)
    try:
        _require_plain(os.fstat(fd), path)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


class LocalStore:
    """A folder. Keys are paths below it, of plain files or links to such."""

    local_paths: ClassVar[tuple[str, ...]] = ("path",)

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)

    @property
    def url(self) -> str:
        """The folder's path, as it was given."""
        return self.path

    def locate(self, key: str) -> str:
        """The file system path of a key."""
        return os.path.join(self.path, key)

    def head(self, key: str) -> ObjectInfo:
        """Size of one file."""
        with translated(self.locate(key)) as path:
            status = os.stat(path)
            _require_plain(status, path)
            return ObjectInfo(key, status.st_size)

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Bytes of a file from ``start``."""
        with translated(self.locate(key)) as path, open_plain(path) as file:
            size = os.fstat(file.fileno()).st_size
            wanted = max(0, size - start if length is None else min(length, size - start))
            parts = []
            while wanted:
                part = os.pread(file.fileno(), wanted, start)
                if not part:
                    break
                parts.append(part)
                start += len(part)
                wanted -= len(part)
            return parts[0] if len(parts) == 1 else b"".join(parts)

    def blocks(self, key: str, block_bytes: int = _READ_BLOCK) -> Iterator[memoryview]:
        """A file's bytes in blocks. Each block is valid until the next is asked for: the buffer is reused."""
        with translated(self.locate(key)) as path, open_plain(path) as file:
            yield from _in_blocks(file, block_bytes)

    @contextlib.contextmanager
    def opened(self, key: str) -> Iterator[FileIO]:
        """A file to read, unbuffered; an error of the disk inside the block is a StoreError too."""
        with translated(self.locate(key)) as path, open_plain(path) as file:
            yield file

    def map(self, key: str) -> mmap.mmap:
        """A read-only memory map of a file that is not empty."""
        with translated(self.locate(key)) as path, open_plain(path) as file:
            try:
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError:  # an empty file
                raise StoreError("an empty file cannot be mapped", where=path) from None

    def put(self, key: str, data: bytes) -> None:
        """Write a file atomically and durably: temporary file, fsync, rename, fsync of the folder."""
        with DurableFile(self.locate(key)) as file:
            file.write(memoryview(data))

    def put_all(self, files: Mapping[str, bytes]) -> None:
        """Write files as ``put`` does; their names are durable once all are there, so that a folder is synced once."""
        places = {self.locate(key): data for key, data in files.items()}
        for path, data in places.items():
            with DurableFile(path, sync_name=False) as file:
                file.write(memoryview(data))
        for folder in sorted({os.path.dirname(path) for path in places}):
            with translated(folder):
                sync_folder(folder)

    def create(self, key: str, data: bytes) -> None:
        """Write a file as ``put`` does, where nothing is."""
        with DurableFile(self.locate(key), replace=False) as file:
            file.write(memoryview(data))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Files under a prefix, sorted by key; temporary files are passed over."""
        with translated(self.path):
            os.stat(self.path)
            found = []
            for folder, _, names in walk(self.path, onerror=_raise):
                below = os.path.relpath(folder, self.path).replace(os.sep, "/")
                base = "" if below == "." else below + "/"
                keys = (base + name for name in names if not name.endswith(TEMP_SUFFIX))
                found += [key for key in keys if key.startswith(prefix)]
            found.sort()
        for key in found:
            with contextlib.suppress(NotFoundError):  # it went away meanwhile
                yield self.head(key)

    def delete(self, key: str) -> None:
        """Remove a file."""
        with translated(self.locate(key)) as path:
            os.unlink(path)

    def link(self, key: str, target: str) -> None:
        """Make ``key`` a symbolic link to a file elsewhere; a link that is there is replaced."""
        with translated(self.locate(key)) as path:
            make_folders(os.path.dirname(path))
            made = temporary_name(path)
            os.symlink(os.path.abspath(target), made)
            replace(made, path)

    def is_link(self, key: str) -> bool:
        """Whether a symbolic link is there, whatever it leads to."""
        return os.path.islink(self.locate(key))

    def remove_empty_folders(self, key: str) -> None:
        """Remove the folders in which ``key`` lay, as far as they are empty now."""
        folder = os.path.dirname(key)
        with contextlib.suppress(OSError):
            while folder:
                os.rmdir(self.locate(folder))
                folder = os.path.dirname(folder)


def odd_files(root: str) -> list[str]:
    """What a store's ``list`` passes over because it is no plain file: pipes, sockets, devices, links that lead nowhere."""
    found = []
    for folder, _, names in walk(root):
        paths = (os.path.join(folder, name) for name in names if not name.endswith(TEMP_SUFFIX))
        found += [os.path.relpath(path, root).replace(os.sep, "/") for path in paths if not os.path.isfile(path)]
    return sorted(found)


def read_file(path: str, limit: int = 1 << 28) -> bytes:
    """A file that a person has named, whole; raises StoreError, for one of more bytes too.

    ``-`` is standard input, and what a shell has opened (``<(...)``) is read as it comes. Another pipe or a device is refused.
    """
    with translated(path), opened_as_named(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise StoreError(
            "this is too large to be such a file",
            code="file-too-large",
            where=path,
            expected=f"at most {limit:,} bytes",
        )
    return data


#: How a shell hands over what it has opened, as for ``<(...)``.
OPENED = ("/dev/fd/", "/dev/stdin", "/dev/stdout", "/dev/stderr", "/proc/self/fd/")


def opened_as_named(path: str) -> contextlib.AbstractContextManager[io.BufferedReader]:
    """A file that a person has named, to be read from front to back; raises as the system does."""
    if path == "-":
        return open(0, "rb", closefd=False)
    return open(path, "rb") if path.startswith(OPENED) else buffered_plain(path)


def appending_fd(path: str) -> int:
    """A plain file to append to, made if need be, or what a shell has opened; the caller closes the file descriptor.

    Raises OSError, and NotFoundError for a pipe or a device, which could stop the command.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    if path.startswith(OPENED):
        return os.open(path, flags, 0o644)
    fd = -1
    try:
        if os.path.exists(path):
            _require_plain(os.stat(path), path)
        fd = os.open(path, flags | os.O_NONBLOCK, 0o644)
        _require_plain(os.fstat(fd), path)
    except BaseException as error:
        if fd >= 0:
            os.close(fd)
        if isinstance(error, NotFoundError):
            error.hint = "give a file, which need not exist yet"
        raise
    return fd


class DurableFile:
    """A file that appears under its name whole and on the disk, or not at all. Its folder is made if need be.

    Written under a temporary name drawn at random, so that two writers, on two hosts or in two containers, never share a
    file; ``close`` does
    fsync, rename and fsync of the folder. Leaving a ``with`` block by an exception removes the temporary file.
    Without ``replace`` a file that is already there stays, and ``close`` raises StoreError (``object-exists``). In a
    scratch place it leaves a receipt, and a file without one stays (``scratch-not-ours``). Without ``sync_name`` the caller
    syncs the folder.
    """

    def __init__(self, path: str, *, replace: bool = True, sync_name: bool = True) -> None:
        self.path = path
        self._replace = replace
        self._sync_name = sync_name
        self._temporary = temporary_name(path)
        with translated(path):
            make_folders(os.path.dirname(path) or ".")
            self._fd = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)

    def write(self, data: memoryview) -> None:
        """Append bytes."""
        with translated(self.path):
            while data:
                data = data[os.write(self._fd, data) :]

    def copy_from(self, fd: int, start: int, length: int) -> None:
        """Append a range of another file, without a detour through this process where the system can."""
        with translated(self.path):
            while length:
                moved = _copy_range(fd, start, length, self._fd)
                if not moved:
                    raise StoreError("a file is shorter than it was", where=self.path, expected=f"{length} bytes more")
                start += moved
                length -= moved

    def reread(self, block_bytes: int = _READ_BLOCK) -> Iterator[memoryview]:
        """What has been written so far, read back from its temporary name; each block is good until the next."""
        with translated(self.path), open(self._temporary, "rb", buffering=0) as file:
            yield from _in_blocks(file, block_bytes)

    def close(self) -> None:
        """Make the file durable and give it its name."""
        with translated(self.path):
            try:
                sync_file(self._fd)
            finally:
                self._let_go()
            if (place := marked_place(self.path)) is not None:
                refuse_to_replace(self.path, place)
                leave_receipt(self.path, os.stat(self._temporary))
            if self._replace:
                replace(self._temporary, self.path)
            else:
                name_new(self._temporary, self.path)
            if self._sync_name:
                sync_folder(os.path.dirname(self.path))

    def discard(self) -> None:
        """Give up: remove the temporary file."""
        with contextlib.suppress(OSError):
            self._let_go()
        with contextlib.suppress(OSError):
            os.unlink(self._temporary)

    def _let_go(self) -> None:
        """Close the file once: its number may be another file's by now, in another thread."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.discard()
            return
        try:
            self.close()
        except BaseException:
            self.discard()
            raise


class BlockFile(DurableFile):
    """A DurableFile that writes in the background: the caller fills the next block while this one goes to the disk.

    Blocks go around the page cache (O_DIRECT) where the file system can, which saves a copy of every byte.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._direct = _set_direct(self._fd, direct=True)
        self._pool = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None

    def write(self, data: memoryview) -> None:
        """Append a block, once the one before is written; ``data`` must not change until the next call returns."""
        self._settle()
        self._pending = self._pool.submit(self._write_block, data)

    def _write_block(self, data: memoryview) -> None:
        start = os.lseek(self._fd, 0, os.SEEK_CUR)
        if self._direct:
            try:
                super().write(data[: len(data) - len(data) % _DIRECT_BYTES])
            except StoreError as error:
                # some file systems accept the flag but not the writes
                if error.errno != errno.EINVAL:
                    raise
        rest = data[os.lseek(self._fd, 0, os.SEEK_CUR) - start :]
        if rest:
            self._direct = _set_direct(self._fd, direct=False)
            super().write(rest)

    def _settle(self) -> None:
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()

    def close(self) -> None:
        """Wait for the last block, then as DurableFile."""
        try:
            self._settle()
        finally:
            self._pool.shutdown()
        super().close()

    def discard(self) -> None:
        """Give up, after the block that is being written."""
        self._pool.shutdown()
        super().discard()


def _in_blocks(file: FileIO, block_bytes: int) -> Iterator[memoryview]:
    """What is left of a file, in one buffer that is filled again and again."""
    buffer = memoryview(page_aligned(block_bytes))[:block_bytes]
    while count := file.readinto(buffer):
        yield buffer[:count]


def _copy_range(source: int, start: int, length: int, target: int) -> int:
    if hasattr(os, "copy_file_range"):
        try:
            return os.copy_file_range(source, target, length, offset_src=start)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
    return os.write(target, os.pread(source, min(length, _READ_BLOCK), start))


def _set_direct(fd: int, *, direct: bool) -> bool:
    """Switch writing around the page cache on or off; gives whether it is on now."""
    flag = getattr(os, "O_DIRECT", 0)
    if not flag:
        return False
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    try:
        fcntl.fcntl(fd, fcntl.F_SETFL, flags | flag if direct else flags & ~flag)
    except OSError:
        return False
    return direct


@contextlib.contextmanager
def translated(path: str) -> Iterator[str]:
    """Turn the errors of the system into ours, naming the path."""
    try:
        yield path
    except OSError as error:
        raise storage_error(error, path) from None
    except ValueError:
        if _may_be_a_name(path):
            raise  # of what lies there, or of the caller
        raise NotFoundError("not a file name", where=repr(path)) from None


def _may_be_a_name(path: str) -> bool:
    """Whether the system can be asked for a path at all."""
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False


def _raise(error: OSError) -> None:
    raise error
