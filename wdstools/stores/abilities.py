"""What some file systems cannot do, and the next best way to keep the promise.

External disks (exFAT, FAT32, NTFS) and network folders (SMB, NFS, VirtualBox, FUSE) lack some of what ext4 and APFS
have. Each function here tries the usual way first. Only an error that means "not supported here" leads to the next way;
any other is raised, because a full or failing disk must not pass for a simple one. The promises that are weaker for it
are kept (``weaknesses``) and reported once.

| lacking | instead | what is weaker |
|---|---|---|
| fsync of a folder, or of a file | nothing | after a power cut, a name or the last bytes may be missing; digests show it |
| flock | POSIX locks, then a lock file | if another machine dies, its lock file has to be removed by hand |
| hard links | a rename that replaces nothing, then a check and a rename | two writers at once, where only the latter works |
| rename onto a file | move the old file aside first | for a moment nothing has the name |
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import secrets
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wdstools.log import tell

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Errors that mean: this file system does not support it.
_ABSENT = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.ENOTTY}
_NO_SYNC = _ABSENT | {errno.EBADF, errno.EISDIR, errno.EACCES, errno.EPERM}
_NO_LOCK = _ABSENT | {errno.ENOLCK}
_NO_LINK = _ABSENT | {errno.EPERM, errno.EMLINK, errno.EXDEV, errno.EACCES}
_NO_REPLACE = _ABSENT | {errno.EEXIST, errno.EACCES, errno.EPERM, errno.ETXTBSY, errno.EBUSY}
_AT_FDCWD, _RENAME_NOREPLACE = -100, 1
#: Ends the names of files that are being written; readers and listings skip them.
TEMP_SUFFIX = ".wdstools-tmp"
#: Ends the name of a lock file, next to what it locks. Listings skip it like every temporary file.
LOCK_SUFFIX = f".lock{TEMP_SUFFIX}"


@dataclass(frozen=True, slots=True)
class Weakness:
    """Something a place lacks, which weakens a promise: a stable code, one such place, and what it means for the user."""

    code: str
    where: str
    message: str


#: What this process has met: the first place of each kind.
_MET: dict[str, Weakness] = {}


def weaknesses() -> tuple[Weakness, ...]:
    """What this process has had to do without, sorted by code."""
    return tuple(_MET[code] for code in sorted(_MET))


def _weaker(code: str, where: str, message: str) -> None:
    if code not in _MET:
        _MET[code] = Weakness(code, where, message)
        tell("landing", "weaker here", code=code, where=where)


def sync_file(fd: int) -> None:
    """Make an open file durable, where the file system supports it."""
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
        _weaker(
            "no-file-sync",
            "",
            "files cannot be made durable here: after a power cut the last bytes may be missing; verify detects it",
        )


def sync_folder(path: str) -> None:
    """Make the names in a folder durable, where the file system supports it."""
    try:
        fd = os.open(path or ".", os.O_RDONLY)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
        _folder_not_synced(path)
        return
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
        _folder_not_synced(path)
    finally:
        os.close(fd)


def _folder_not_synced(path: str) -> None:
    _weaker(
        "no-folder-sync",
        path,
        "names cannot be made durable here: after a power cut a file may be missing; verify detects it",
    )


def replace(source: str, target: str) -> None:
    """Give a file a name, replacing the file that may have it."""
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno not in _NO_REPLACE or os.path.isdir(target) or not os.path.lexists(target):
            raise
        _weaker(
            "no-replace",
            target,
            "one file cannot replace another here: for a moment the name does not exist, and a reader may miss it",
        )
        aside = f"{target}.{os.getpid()}.old{TEMP_SUFFIX}"
        os.rename(target, aside)
        try:
            os.rename(source, target)
        except BaseException:
            os.rename(aside, target)
            raise
        os.unlink(aside)


def name_new(source: str, target: str) -> None:
    """Give a file a new name; raises FileExistsError if the name is taken."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        if not _rename_new(source, target):
            if os.path.lexists(target):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from None
            _weaker(
                "no-new-names",
                target,
                "a rename can replace a file here: never let two writers work on one place at the same time",
            )
            os.rename(source, target)
    else:
        os.unlink(source)


def ask_new_names(folder: str, name: str) -> None:
    """Find out how ``name_new`` works in a folder, on temporary names made from ``name``; raises OSError.

    Workers name the files they make, but the process that began the work has to know what is weaker.
    """
    first, second = (os.path.join(folder, f"{name}.{secrets.token_hex(8)}{TEMP_SUFFIX}") for _ in range(2))
    os.close(os.open(first, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    name_new(first, second)
    os.unlink(second)


def _rename_new(source: str, target: str) -> bool:
    """Rename unless the new name is taken; False where the system or the file system does not support that."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if sys.platform == "linux" else None
    if call is None:
        return False
    old, new = (ctypes.c_char_p(os.fsencode(path)) for path in (source, target))
    if call(_AT_FDCWD, old, _AT_FDCWD, new, _RENAME_NOREPLACE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NO_LINK:
        return False
    raise OSError(number, os.strerror(number), target)


def second_name(source: str, target: str) -> None:
    """Give a file's bytes a second name, or copy them; raises FileExistsError if the name is taken."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        with open(source, "rb") as read, open(target, "xb") as written:
            shutil.copyfileobj(read, written, 1 << 20)


@contextlib.contextmanager
def exclusive(fd: int, path: str) -> Iterator[bool]:
    """Hold an exclusive lock on an open file or folder; yields False, holding nothing, if another process holds it."""
    if (taken := _lock_open(fd)) is not None:
        yield taken
        return
    _weaker(
        "no-locks",
        path,
        "this file system has no locks, so a file serves as one: if another machine dies while it works, remove its lock file by hand",
    )
    with _lock_file(path.rstrip("/") + LOCK_SUFFIX) as held:
        yield held


def _lock_open(fd: int) -> bool | None:
    """Whether a lock was obtained that the kernel releases with the process; None where such locks do not exist."""
    for lock in (fcntl.flock, fcntl.lockf):
        try:
            lock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            # POSIX locks need a file opened for writing, and a folder cannot be
            if error.errno not in _NO_LOCK and not (lock is fcntl.lockf and error.errno in (errno.EBADF, errno.EACCES)):
                raise
        else:
            return True
    return None


@contextlib.contextmanager
def _lock_file(path: str) -> Iterator[bool]:
    """Hold a lock by a file that names its owner; a lock whose process on this machine has ended is ignored."""
    mine = {"host": os.uname().nodename, "pid": os.getpid(), "began": _began(os.getpid())}
    for _ in range(2):
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            break
        except FileExistsError:
            if not _is_left_over(path, mine["host"]):
                yield False
                return
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
    else:
        yield False
        return
    try:
        os.write(fd, json.dumps(mine, sort_keys=True).encode())
        yield True
    finally:
        os.close(fd)
        with contextlib.suppress(OSError):
            os.unlink(path)


def _is_left_over(path: str, host: object) -> bool:
    """Whether a lock file belongs to a process of this machine that has ended."""
    try:
        with open(path, "rb") as file:
            owner: Any = json.loads(file.read(4096))
        pid, began = int(owner["pid"]), str(owner["began"])
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return False
    return owner["host"] == host and _began(pid) != began


def _began(pid: int) -> str:
    """When a process of this machine began, in the system's own form; empty if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[19].decode()
    except FileNotFoundError:
        pass
    except (OSError, IndexError):
        return "unknown"
    if os.path.isdir("/proc/self"):
        return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        pass
    return "unknown"
