"""Receipts: how a file of ours in a scratch place is told from one that somebody else put there under its name.

Before a file of ours gets its name in a marked place, its size, modification time and inode are noted: next to it, in
the name of an empty file, so that both are on the disk or neither is; for many small files, in a log. A file without a
matching receipt is not ours: it is neither removed nor replaced.
"""

from __future__ import annotations

import ast
import contextlib
import os
import re
import secrets
import stat
from typing import TYPE_CHECKING, Self

from wdstools.errors import StoreError
from wdstools.stores.abilities import TEMP_SUFFIX, name_new, sync_file

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Names the owner of a scratch place; made with O_EXCL.
MARK = ".wdstools-scratch.json"
#: The folder in a scratch place in which the result is made.
NEW = "new"
#: A log of receipts next to it; each process has its own.
_LOG_RE = re.compile(r"made\.[0-9a-f]{16}")
_RECEIPT_RE = re.compile(rf"(.*)\.[0-9a-f]+-[0-9a-f]+-[0-9a-f]+{re.escape(TEMP_SUFFIX)}", re.DOTALL)
_TEMPORARY_RE = re.compile(rf"(.*)\.(?:[0-9a-f]{{16}}|part|[0-9]+\.old){re.escape(TEMP_SUFFIX)}", re.DOTALL)
_SECOND = 1_000_000_000

#: Size, modification time in nanoseconds, and inode.
Stamp = tuple[int, int, int]


def stamp(status: os.stat_result) -> Stamp:
    """What a receipt records of a file."""
    return status.st_size, status.st_mtime_ns, status.st_ino


def is_same_stamp(now: Stamp, noted: Stamp) -> bool:
    """Whether a file is the one that was noted, perhaps damaged: same size, and same time or inode.

    Some file systems renumber their inodes when they are mounted, and round times to even seconds.
    """
    coarse = now[1] % _SECOND == 0 and abs(now[1] - noted[1]) <= 2 * _SECOND
    return now[0] == noted[0] and (now[2] == noted[2] or now[1] == noted[1] or coarse)


def marked_place(path: str) -> str | None:
    """The scratch place whose ``new`` folder contains a path; None elsewhere."""
    folder, name = os.path.split(os.path.dirname(os.path.abspath(path)))
    while name:
        if name == NEW and os.path.lexists(os.path.join(folder, MARK)):
            return folder
        folder, name = os.path.split(folder)
    return None


def leave_receipt(path: str, status: os.stat_result) -> None:
    """Note that the file that is about to become ``path`` is ours; raises OSError."""
    name = _receipt(path, stamp(status))
    with contextlib.suppress(FileExistsError):
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))


def has_receipt(path: str) -> bool:
    """Whether ``path`` is a plain file with a matching receipt next to it."""
    try:
        status = os.lstat(path)
    except OSError:
        return False
    if not stat.S_ISREG(status.st_mode):
        return False
    now = stamp(status)
    if os.path.lexists(_receipt(path, now)):
        return True
    return any(is_same_stamp(now, noted) for noted in _noted_beside(path))


def receipt_of(path: str) -> str | None:
    """The path that a receipt belongs to; None if it is not a receipt."""
    found = _RECEIPT_RE.fullmatch(path)
    return found[1] if found else None


def temporary_of(path: str) -> str | None:
    """The final path of a temporary file of ours; None if it is not one."""
    found = _TEMPORARY_RE.fullmatch(path)
    return found[1] if found else None


def refuse_to_replace(path: str, place: str) -> None:
    """Refuse to overwrite what somebody else has put into a scratch place; raises StoreError (``scratch-not-ours``)."""
    if not os.path.lexists(path) or has_receipt(path):
        return
    noted = logged(place).get(os.path.relpath(os.path.abspath(path), os.path.join(place, NEW)), set())
    now = stamp(os.lstat(path))
    if not any(is_same_stamp(now, then) for then in noted):
        raise StoreError(
            "its work folder contains a file that wdstools did not write",
            code="scratch-not-ours",
            where=path,
            hint="move it away, then run the same command again; nothing was removed",
        )


class ReceiptLog:
    """The receipts of many small files by one writer, in a file of its own in the scratch place.

    For use in a ``with`` block. Paths are relative to the folder that contains the files.
    """

    def __init__(self, place: str) -> None:
        self._fd = os.open(
            os.path.join(place, f"made.{secrets.token_hex(8)}"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644
        )

    def name(self, temporary: str, target: str, path: str) -> None:
        """Give a finished file its name, which must be free; raises OSError."""
        self.note(path, os.lstat(temporary))
        name_new(temporary, target)

    def note(self, path: str, status: os.stat_result) -> None:
        """Note a file at a path, or about to be there; raises OSError."""
        line = f"{' '.join(f'{part:x}' for part in stamp(status))} {path!a}\n".encode()
        while line:
            line = line[os.write(self._fd, line) :]

    def sync(self) -> None:
        """Make the notes durable."""
        sync_file(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the log."""
        os.close(self._fd)


def is_log(name: str) -> bool:
    """Whether a name in a scratch place is that of a log of receipts."""
    return _LOG_RE.fullmatch(name) is not None


def logged(place: str) -> Mapping[str, set[Stamp]]:
    """What the logs in a scratch place record, by path; a truncated last line is ignored."""
    found: dict[str, set[Stamp]] = {}
    for name in os.listdir(place) if os.path.isdir(place) else ():
        if not is_log(name):
            continue
        with open(os.path.join(place, name), encoding="ascii", opener=_plain_opener) as file:
            for line in file:
                with contextlib.suppress(ValueError, SyntaxError):
                    *parts, path = line.rstrip("\n").split(" ", 3)
                    found.setdefault(str(ast.literal_eval(path)), set()).add(_numbers(parts))
    return found


def _plain_opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _receipt(path: str, noted: Stamp) -> str:
    return f"{path}.{'-'.join(f'{part:x}' for part in noted)}{TEMP_SUFFIX}"


def _noted_beside(path: str) -> list[Stamp]:
    folder, name = os.path.split(path)
    receipts = [other.removesuffix(TEMP_SUFFIX) for other in os.listdir(folder or ".") if receipt_of(other) == name]
    return [_numbers(receipt.rpartition(".")[2].split("-")) for receipt in receipts]


def _numbers(parts: list[str]) -> Stamp:
    size, time, inode = (int(part, 16) for part in parts)
    return size, time, inode
