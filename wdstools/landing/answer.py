"""Files that the user asks for by name: ``--html``, ``--keys-to``, ``--hashes-to``, ``--log-file``.

A file that wdstools did not write is never overwritten.
"""

from __future__ import annotations

import io
import os
import re
import stat
from shlex import quote
from typing import TYPE_CHECKING

from wdstools.errors import StoreError
from wdstools.formats.hashes import is_handed_out
from wdstools.stores.local import DurableFile, LocalStore, translated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO

#: In the head of every page that wdstools writes.
_PAGE_RE = re.compile(rb"""<meta name="generator" content="wdstools[^"]*">""")
#: The start of a line of ``--log-file``: time, level, logger.
_LOG_RE = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [A-Z]+ wdstools[.a-z]* \[")
_HEAD_BYTES = 1024
_BLOCK = 1 << 20


def is_page(path: str) -> bool:
    """Whether a file is a page that wdstools made."""
    return _PAGE_RE.search(LocalStore(os.path.dirname(path)).get(os.path.basename(path), 0, _HEAD_BYTES)) is not None


def is_log(path: str) -> bool:
    """Whether a file is empty, or begins like a log that wdstools wrote."""
    head = LocalStore(os.path.dirname(path)).get(os.path.basename(path), 0, _HEAD_BYTES)
    return not head or _LOG_RE.match(head) is not None


def is_never_ours(path: str) -> bool:
    """False: files of this kind carry no mark, so none is known to be ours."""
    del path
    return False


#: How to recognise a file that may be replaced, by the kind of answer.
KNOWN: dict[str, Callable[[str], bool]] = {
    "page": is_page,
    "hashes": is_handed_out,
    "keys": is_never_ours,
    "log": is_log,
}


def refuse_to_overwrite(path: str, kind: str) -> None:
    """Refuse to write an answer of a ``kind`` (of KNOWN) over anything but such a file of ours.

    Raises StoreError (``file-in-the-way``), also for a pipe or a device.
    """
    with translated(path):
        try:
            status = os.stat(path)
        except FileNotFoundError:
            if not os.path.islink(path):
                return
            status = None
    plain = status is not None and stat.S_ISREG(status.st_mode)
    if not plain or not KNOWN[kind](path):
        raise StoreError(
            "a file that wdstools did not write is in the way" if plain else "what is there is not a plain file",
            code="file-in-the-way",
            where=path,
            hint="choose another name"
            + (f", or delete it: rm {quote(path)}" if plain and kind != "log" else "")
            + "; nothing was changed",
        )


def write_answer(path: str, data: bytes, kind: str) -> None:
    """Write a requested file, whole or not at all, replacing an existing file of the same kind.

    Raises StoreError (``file-in-the-way``) if anything else is there, unless it has exactly these bytes.
    """
    write_answer_of(path, io.BytesIO(data), kind)


def write_answer_of(path: str, made: IO[bytes], kind: str) -> None:
    """Like ``write_answer``, with the content of an open file."""
    folder, name = os.path.split(os.path.realpath(path))
    if os.path.isfile(path) and _holds(LocalStore(folder), name, made):
        return
    refuse_to_overwrite(path, kind)
    with DurableFile(os.path.join(folder, name), replace=os.path.lexists(path)) as file:
        for block in _blocks(made):
            file.write(memoryview(block))


def _blocks(made: IO[bytes]) -> Iterator[bytes]:
    made.seek(0)
    while block := made.read(_BLOCK):
        yield block


def _holds(store: LocalStore, name: str, made: IO[bytes]) -> bool:
    at = 0
    for block in _blocks(made):
        if store.get(name, at, len(block)) != block:
            return False
        at += len(block)
    return not store.get(name, at, 1)


def write_page(path: str, html: str) -> None:
    """Write a page, like ``write_answer``."""
    write_answer(path, html.encode(), "page")
