"""The members of a local tar and their places, without reading payloads."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wdstools.errors import FormatError
from wdstools.foreign.window import StreamWindow, decompressed, headers_window
from wdstools.formats.sniff import SNIFF_BYTES, what_is
from wdstools.formats.tarhop import HopNotes, TarEntry, hop, is_file
from wdstools.results import Skip
from wdstools.stores.local import LocalStore, open_plain, storage_error
from wdstools.units import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wdstools.stores.base import Store

_DAMAGED = "download it again, or take out what is whole with `tar --ignore-zeros -x`"
_NO_END = "compare its size with that where it came from; if its writer leaves out the end: head -c 1024 /dev/zero >> FILE.tar"
_KINDS = {
    "0": "file",
    "\0": "file",
    "7": "file",
    "1": "hard link",
    "2": "symbolic link",
    "5": "folder",
    "D": "folder",
    "V": "label",
    "S": "sparse file",
}


@dataclass(frozen=True, slots=True)
class TarMember:
    """A member: its name, the offset of its payload, and its size in bytes.

    ``kind`` is ``file``, ``folder``, ``hard link``, ``symbolic link``, ``sparse file``, ``label`` (of the volume) or ``special``; ``target`` is the
    target of a link.
    """

    name: str
    offset: int
    size: int
    kind: str = "file"
    target: str = ""

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return self.kind == "file"


def scan_tar(path: str, notes: HopNotes | None = None) -> Iterator[TarMember]:
    """The members of a plain tar (ustar, pax, GNU), in order; ``notes`` says how it ended.

    Raises FormatError (``tar-damaged``) at an invalid header, if the file ends inside a member, or if it ends
    without an end-of-archive marker, as a truncated download does.
    """
    notes = notes or HopNotes()
    try:
        with open_plain(path) as file:
            fd = file.fileno()
            total = os.fstat(fd).st_size
            for entry in hop(lambda at, count: os.pread(fd, count, at), notes, total):
                yield _member(entry)
    except OSError as error:
        raise storage_error(error, path) from None
    refuse_damage(notes, path)


def scan_tar_in(store: Store, key: str) -> Iterator[TarMember]:
    """The members of a plain tar in any store, as far as they can be read, for a first look."""
    with headers_window(store, key) as window:
        for entry in hop(window.read, HopNotes(), window.bytes):
            yield _member(entry)


def refuse_damage(notes: HopNotes, path: str, store: Store | None = None, key: str = "") -> None:
    """Raise FormatError (``tar-damaged``, or ``not-a-tar`` with what it is) unless a tar ended properly.

    The tar is at ``path``, or under a ``key`` of a store.
    """
    if notes.end == "archive":
        return
    if store is None:
        folder, key = os.path.split(path)
        store = LocalStore(folder or ".")
    sniffed = what_is(store.get(key, 0, SNIFF_BYTES), store.head(key).bytes)
    if sniffed is not None and sniffed.code != "tar" and not notes.headers:
        raise FormatError(f"not a tar but {sniffed}", code="not-a-tar", where=path, hint=sniffed.hint)
    what = {
        "damaged": f"no tar header where one must be ({notes.why})",
        "cut": "the file ends inside a member",
        "missing": "the file ends without an end of archive: was the download cut?",
    }[notes.end]
    raise FormatError(
        f"the tar is damaged at byte {notes.end_at:,}: {what}",
        code="tar-damaged",
        where=path,
        hint=_NO_END if notes.end == "missing" else _DAMAGED,
    )


def told_of(notes: HopNotes, tar: str) -> Iterator[str]:
    """Notes about how a tar that is used ended."""
    if notes.resumed:
        yield f"{tar}: samples after the end of an archive, byte {notes.resumed_at:,}, were taken too"
    if notes.trailing:
        yield f"{tar}: {counted(notes.trailing, 'byte')} after the end of the archive, not a tar: ignored"


def damage_skip(tar: str, error: FormatError, split: str | None = None) -> Skip:
    """The skip for one tar of many that cannot be read: why, and what to do."""
    return Skip(error.code, tar, split, detail="; ".join(filter(None, (error.message, error.hint))))


def scan_compressed(path: str) -> Iterator[TarMember]:
    """The members of a compressed tar, as far as they can be read, for a first look. Raises FormatError, StoreError."""
    try:
        with open_plain(path) as file:
            window = StreamWindow(decompressed(file.readinto, path))
            for entry in hop(window.read_on, HopNotes()):
                yield _member(entry)
    except OSError as error:
        raise storage_error(error, path) from None


def _member(entry: TarEntry) -> TarMember:
    name, flag, _, offset, size, target = entry
    kind = _KINDS.get(chr(flag), "special")
    if kind == "file" and not is_file(entry):
        kind = "folder"
    return TarMember(_text(name), offset, size if kind == "file" else 0, kind, _text(target))


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
