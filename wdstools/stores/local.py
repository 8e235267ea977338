"""Local folders as stores, and the durable writes that packing needs."""

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

#: Small enough to stay in a core's own cache until it has been hashed.
_READ_BLOCK = 1 << 18
_DIRECT_BYTES = 4096
_HINTS = {
    errno.ENOSPC: "free some space, then run the same command again",
    errno.EDQUOT: "free some space, then run the same command again",
    errno.EROFS: "choose a writable place",
    errno.EACCES: "check the permissions of this path",
    errno.EPERM: "check the permissions of this path",
    errno.EIO: "the disk reports an error: check the disk, and restore the data from another copy",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.EFBIG: "this file system cannot hold a file of this size (FAT32: 4 GB): use more --shards, or choose another disk",
    errno.EOPNOTSUPP: "this file system cannot do that: choose another disk or folder",
    errno.ENOSYS: "this file system cannot do that: choose another disk or folder",
}
#: Characters that Windows file systems allow in no name.
_ODD_CHARACTERS = set('<>:"|?*\\')


def temporary_name(path: str) -> str:
    """A temporary name for what will be ``path``; no other writer on any host draws the same one."""
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
        hint = f"some file systems (exFAT, NTFS, SMB) allow no name with {' '.join(odd)} in it: choose a folder on another one"
    made = kind(reason[:1].lower() + reason[1:], code=code, where=where, hint=hint)
    made.errno = error.errno
    return made


def _require_plain(status: os.stat_result, path: str) -> None:
    """Refuse anything but a plain file: a device never ends, and a pipe may never begin; raises NotFoundError."""
    kind = next((kind for is_kind, kind in _ODD_KINDS if is_kind(status.st_mode)), None)
    if kind is not None or not stat.S_ISREG(status.st_mode):
        hint = "" if kind is None else "write its output to a file, and give that file"
        raise NotFoundError("not a plain file", where=path, got=kind or "a folder", hint=hint)


_ODD_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@contextlib.contextmanager
def open_plain(path: str) -> Iterator[FileIO]:
    """A plain file to read, unbuffered; anything else is refused without waiting for it.

    Everything that a source, a dataset or a stranger supplies is opened through this. Raises OSError and NotFoundError.
    """
    with open(path, "rb", buffering=0, opener=_open_without_waiting) as file:
        _require_plain(os.fstat(file.fileno()), path)
        yield file


@contextlib.contextmanager
def buffered_plain(path: str) -> Iterator[io.BufferedReader]:
    """Like ``open_plain``, buffered."""
    with open_plain(path) as file:
        yield io.BufferedReader(file)


def plain_fd(path: str, flags: int = 0) -> int:
    """Like ``open_plain``, but returns a file descriptor, which the caller closes."""
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
    """A folder. Keys are the paths below it of plain files, or of links to plain files."""

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
        """A file's bytes in blocks, each valid until the next is requested: the buffer is reused."""
        with translated(self.locate(key)) as path, open_plain(path) as file:
            yield from _in_blocks(file, block_bytes)

    @contextlib.contextmanager
    def opened(self, key: str) -> Iterator[FileIO]:
        """A file to read, unbuffered; a disk error inside the block becomes a StoreError too."""
        with translated(self.locate(key)) as path, open_plain(path) as file:
            yield file

    def map(self, key: str) -> mmap.mmap:
        """A read-only memory map of a non-empty file."""
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
        """Write files as ``put`` does, but sync each folder only once, after all are written."""
        places = {self.locate(key): data for key, data in files.items()}
        for path, data in places.items():
            with DurableFile(path, sync_name=False) as file:
                file.write(memoryview(data))
        for folder in sorted({os.path.dirname(path) for path in places}):
            with translated(folder):
                sync_folder(folder)

    def create(self, key: str, data: bytes) -> None:
        """Write a file as ``put`` does, under a name that nothing has."""
        with DurableFile(self.locate(key), replace=False) as file:
            file.write(memoryview(data))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Files under a prefix, sorted by key, without temporary files."""
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
            with contextlib.suppress(NotFoundError):  # removed in the meantime
                yield self.head(key)

    def delete(self, key: str) -> None:
        """Remove a file."""
        with translated(self.locate(key)) as path:
            os.unlink(path)

    def link(self, key: str, target: str) -> None:
        """Make ``key`` a symbolic link to a file elsewhere, replacing a link that exists."""
        with translated(self.locate(key)) as path:
            make_folders(os.path.dirname(path))
            made = temporary_name(path)
            os.symlink(os.path.abspath(target), made)
            replace(made, path)

    def is_link(self, key: str) -> bool:
        """Whether ``key`` is a symbolic link, wherever it leads."""
        return os.path.islink(self.locate(key))

    def remove_empty_folders(self, key: str) -> None:
        """Remove the parent folders of ``key`` that are empty now."""
        folder = os.path.dirname(key)
        with contextlib.suppress(OSError):
            while folder:
                os.rmdir(self.locate(folder))
                folder = os.path.dirname(folder)


def odd_files(root: str) -> list[str]:
    """What a store's ``list`` skips because it is not a plain file: pipes, sockets, devices, broken links."""
    found = []
    for folder, _, names in walk(root):
        paths = (os.path.join(folder, name) for name in names if not name.endswith(TEMP_SUFFIX))
        found += [os.path.relpath(path, root).replace(os.sep, "/") for path in paths if not os.path.isfile(path)]
    return sorted(found)


def read_file(path: str, limit: int = 1 << 28) -> bytes:
    """A file that the user named, whole; raises StoreError, also if it is larger than ``limit``.

    ``-`` is standard input, and what the shell opened (``<(...)``) is read as it comes. Other pipes and devices are
    refused.
    """
    with translated(path), opened_as_named(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise StoreError(
            "the file is too large for this purpose",
            code="file-too-large",
            where=path,
            expected=f"at most {limit:,} bytes",
        )
    return data


#: How a shell passes on what it has opened, as for ``<(...)``.
OPENED = ("/dev/fd/", "/dev/stdin", "/dev/stdout", "/dev/stderr", "/proc/self/fd/")


def opened_as_named(path: str) -> contextlib.AbstractContextManager[io.BufferedReader]:
    """A file that the user named, to be read from front to back; raises OSError as the system does."""
    if path == "-":
        return open(0, "rb", closefd=False)
    return open(path, "rb") if path.startswith(OPENED) else buffered_plain(path)


def appending_fd(path: str) -> int:
    """A plain file to append to, created if needed, or what the shell opened; the caller closes the file descriptor.

    Raises OSError, and NotFoundError for a pipe or a device, which could block the command.
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
            error.hint = "give a file; it need not exist yet"
        raise
    return fd


class DurableFile:
    """A file that appears under its name complete and on disk, or not at all. Its folder is created if needed.

    It is written under a random temporary name, so that two writers, even on two hosts or in two containers, never
    share a file; ``close`` does fsync, rename and fsync of the folder. Leaving a ``with`` block by an exception removes
    the temporary file. Without ``replace`` an existing file stays, and ``close`` raises StoreError (``object-exists``).
    In a scratch place it leaves a receipt, and does not replace a file without one (``scratch-not-ours``). Without
    ``sync_name`` the caller syncs the folder.
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
        """Append a range of another file; inside the kernel where the system can."""
        with translated(self.path):
            while length:
                moved = _copy_range(fd, start, length, self._fd)
                if not moved:
                    raise StoreError("a file has become shorter", where=self.path, expected=f"{length} more bytes")
                start += moved
                length -= moved

    def reread(self, block_bytes: int = _READ_BLOCK) -> Iterator[memoryview]:
        """What has been written so far, read back from the temporary file; each block is valid until the next."""
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
        """Close the file only once: another thread may have been given its number by now."""
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
    """A DurableFile that writes in the background: the caller fills the next block while this one goes to disk.

    Blocks bypass the page cache (O_DIRECT) where the file system allows it, which saves copying every byte.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._direct = _set_direct(self._fd, direct=True)
        self._pool = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None

    def write(self, data: memoryview) -> None:
        """Append a block once the previous one is written; ``data`` must not change until the next call returns."""
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
        """Wait for the last block, then close as DurableFile does."""
        try:
            self._settle()
        finally:
            self._pool.shutdown()
        super().close()

    def discard(self) -> None:
        """Give up, once the block being written is done."""
        self._pool.shutdown()
        super().discard()


def _in_blocks(file: FileIO, block_bytes: int) -> Iterator[memoryview]:
    """The rest of a file, read in blocks into one reused buffer."""
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
    """Switch bypassing the page cache on or off; returns whether it is on now."""
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
    """Turn system errors into ours, naming the path."""
    try:
        yield path
    except OSError as error:
        raise storage_error(error, path) from None
    except ValueError:
        if _may_be_a_name(path):
            raise  # about the content, or the caller's
        raise NotFoundError("not a file name", where=repr(path)) from None


def _may_be_a_name(path: str) -> bool:
    """Whether the system accepts a string as a path at all."""
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False


def _raise(error: OSError) -> None:
    raise error
