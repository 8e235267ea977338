"""What some file systems cannot do, and the next best way that keeps the promise.

External disks (exFAT, FAT32, NTFS) and network folders (SMB, NFS, VirtualBox, FUSE) lack some of what ext4 and APFS have.
Each function here tries the usual way first. Only an answer that means "not here" leads to the next one; any other is an
error, for a full or failing disk must not look like a simple one. What was weaker for it is kept (``weaknesses``), and said once.

| lack | instead | what is weaker there |
|---|---|---|
| fsync of a folder, or of a file | nothing | after a power cut, a name or the last bytes may be missing; digests show it |
| flock | POSIX locks, then a lock file | a lock file of another machine that died has to be removed by hand |
| hard links | a rename that replaces nothing, then a look and a rename | two writers at the same moment, on the last of these |
| rename onto a file | the old file is moved aside first | for a moment nothing has the name |
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

#: Errors that mean: this file system has no such thing.
_ABSENT = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.ENOTTY}
_NO_SYNC = _ABSENT | {errno.EBADF, errno.EISDIR, errno.EACCES, errno.EPERM}
_NO_LOCK = _ABSENT | {errno.ENOLCK}
_NO_LINK = _ABSENT | {errno.EPERM, errno.EMLINK, errno.EXDEV, errno.EACCES}
_NO_REPLACE = _ABSENT | {errno.EEXIST, errno.EACCES, errno.EPERM, errno.ETXTBSY, errno.EBUSY}
_AT_FDCWD, _RENAME_NOREPLACE = -100, 1
#: Ends the names of files that are being written; readers and listings pass over them.
TEMP_SUFFIX = ".wdstools-tmp"
#: Ends the name of a lock file, beside what it locks. Listings pass over it as over every temporary file.
LOCK_SUFFIX = f".lock{TEMP_SUFFIX}"


@dataclass(frozen=True, slots=True)
class Weakness:
    """What a place lacks that makes a promise weaker there: a stable code, one place, and what it means for whoever writes."""

    code: str
    where: str
    message: str


#: What was met in this process, the first place of each kind.
_MET: dict[str, Weakness] = {}


def weaknesses() -> tuple[Weakness, ...]:
    """What this process has had to do without, in the order of its codes."""
    return tuple(_MET[code] for code in sorted(_MET))


def _weaker(code: str, where: str, message: str) -> None:
    if code not in _MET:
        _MET[code] = Weakness(code, where, message)
        tell("landing", "weaker here", code=code, where=where)


def sync_file(fd: int) -> None:
    """Make an open file durable, where the file system can."""
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
        _weaker(
            "no-file-sync",
            "",
            "files cannot be made durable here: after a power cut the last bytes may be missing; verify shows it",
        )


def sync_folder(path: str) -> None:
    """Make the names in a folder durable, where the file system can."""
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
        "names cannot be made durable here: after a power cut a file may be missing; verify shows it",
    )


def replace(source: str, target: str) -> None:
    """Give a file a name that another file may have, which then goes."""
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno not in _NO_REPLACE or os.path.isdir(target) or not os.path.lexists(target):
            raise
        _weaker(
            "no-replace",
            target,
            "a file cannot replace another here: for a moment nothing has its name, and a reader may miss it",
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
    """Give a file a name that nothing has; raises FileExistsError where something has it."""
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
                "a new name can replace a file here: let no two writers work on one place at the same moment",
            )
            os.rename(source, target)
    else:
        os.unlink(source)


def ask_new_names(folder: str, name: str) -> None:
    """Find out how ``name_new`` works in a folder, by names that are temporary ones of ``name``; raises OSError.

    Workers name what they make: the one that began the work is to know what is weaker for it.
    """
    first, second = (os.path.join(folder, f"{name}.{secrets.token_hex(8)}{TEMP_SUFFIX}") for _ in range(2))
    os.close(os.open(first, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    name_new(first, second)
    os.unlink(second)


def _rename_new(source: str, target: str) -> bool:
    """Rename where nothing has the new name; False where neither the system nor the file system can."""
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
    """A second name for a file's bytes, or a copy of them; raises FileExistsError where something has the name."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        with open(source, "rb") as read, open(target, "xb") as written:
            shutil.copyfileobj(read, written, 1 << 20)


@contextlib.contextmanager
def exclusive(fd: int, path: str) -> Iterator[bool]:
    """Hold an exclusive lock on an open file or folder; gives False, and holds nothing, if somebody else does."""
    if (taken := _lock_open(fd)) is not None:
        yield taken
        return
    _weaker(
        "no-locks",
        path,
        "there are no locks here, so a file stands for one: if another machine dies at work, its lock file has to be removed by hand",
    )
    with _lock_file(path.rstrip("/") + LOCK_SUFFIX) as held:
        yield held


def _lock_open(fd: int) -> bool | None:
    """Whether a lock was had that the kernel lets go of with the process; None where there are no such locks."""
    for lock in (fcntl.flock, fcntl.lockf):
        try:
            lock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            # a folder cannot be opened for writing, which POSIX locks want
            if error.errno not in _NO_LOCK and not (lock is fcntl.lockf and error.errno in (errno.EBADF, errno.EACCES)):
                raise
        else:
            return True
    return None


@contextlib.contextmanager
def _lock_file(path: str) -> Iterator[bool]:
    """Hold a lock by a file that says whose it is; one whose process is gone from this machine counts for nothing."""
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
    """Whether a lock file is of a process of this machine that has ended."""
    try:
        with open(path, "rb") as file:
            owner: Any = json.loads(file.read(4096))
        pid, began = int(owner["pid"]), str(owner["began"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return owner["host"] == host and _began(pid) != began


def _began(pid: int) -> str:
    """When a process of this machine began, in a form of the system's own; empty if there is none."""
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
