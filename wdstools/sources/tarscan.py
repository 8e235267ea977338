"""Hopping over the headers of any tar: where each member lies, without reading payloads."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wdstools.errors import FormatError
from wdstools.formats.tar import BLOCK, Header, padding, parse_header
from wdstools.stores.local import storage_error

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_EXTENSION_BYTES = 1 << 20
_MAX_DIGITS = 20
_KINDS = {b"0": "file", b"\0": "file", b"7": "file", b"1": "hard link", b"2": "symbolic link", b"5": "folder"}


@dataclass(frozen=True, slots=True)
class TarMember:
    """A member: its name, where its payload begins, and its size in bytes.

    ``kind`` is ``file``, ``folder``, ``hard link``, ``symbolic link`` or ``special``; ``target`` is what a link names.
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


@dataclass(slots=True)
class _Extension:
    """What pax and GNU records say about the next member."""

    name: str | None = None
    target: str | None = None
    size: int | None = None


def scan_tar(path: str) -> Iterator[TarMember]:
    """The members of a plain tar (ustar, pax, GNU), in order.

    Raises FormatError (``tar-damaged``) at a header that is none, when the file ends inside a member, or when it ends
    without an end of archive: what a cut download looks like.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            yield from _scan(file.fileno(), os.fstat(file.fileno()).st_size, path)
    except OSError as error:
        raise storage_error(error, path) from error


def _scan(fd: int, total: int, path: str) -> Iterator[TarMember]:
    at = 0
    said = _Extension()
    while at + BLOCK <= total:
        block = os.pread(fd, BLOCK, at)
        if not block.strip(b"\0"):
            return
        try:
            header = parse_header(block)
        except FormatError as error:
            raise _damaged(f"no tar header where one must be ({error.message})", path, at) from error
        payload = at + BLOCK
        if header.typeflag in (b"x", b"L", b"K", b"g"):
            if header.size > _MAX_EXTENSION_BYTES or payload + header.size > total:
                raise _damaged("an extension record that is too long", path, at)
            _read_extension(header, os.pread(fd, header.size, payload), said)
            at = payload + header.size + padding(header.size)
            continue
        member = _member(header, block, payload, said)
        said = _Extension()
        at = member.offset + member.size + padding(member.size)
        if member.offset + member.size > total:
            raise _damaged(f"the file ends inside {member.name}", path, payload)
        yield member
    raise _damaged("the file ends without an end of archive: was the download cut?", path, total)


def _member(header: Header, block: bytes, payload: int, said: _Extension) -> TarMember:
    kind = _KINDS.get(header.typeflag, "special")
    name = header.name.decode("utf-8", "surrogateescape") if said.name is None else said.name
    if kind == "file" and name.endswith("/"):
        kind = "folder"  # as tars before ustar wrote them
    target = (
        block[157:257].partition(b"\0")[0].decode("utf-8", "surrogateescape") if said.target is None else said.target
    )
    size = (header.size if said.size is None else said.size) if kind == "file" else 0
    return TarMember(name, payload, size, kind, target)


def _read_extension(header: Header, data: bytes, said: _Extension) -> None:
    if header.typeflag == b"L":
        said.name = data.rstrip(b"\0").decode("utf-8", "surrogateescape")
    elif header.typeflag == b"K":
        said.target = data.rstrip(b"\0").decode("utf-8", "surrogateescape")
    elif header.typeflag == b"x":
        _read_pax(data, said)


def _read_pax(data: bytes, said: _Extension) -> None:
    """Name, link target and size from pax records (POSIX.1-2001: a length, a space, ``KEY=VALUE``, a newline)."""
    at = 0
    while at < len(data):
        length, _, _ = data[at : at + _MAX_DIGITS].partition(b" ")
        if not length.isdigit() or int(length) <= len(length):
            break
        key, _, value = data[at + len(length) + 1 : at + int(length) - 1].partition(b"=")
        if key == b"path":
            said.name = value.decode("utf-8", "surrogateescape")
        elif key == b"linkpath":
            said.target = value.decode("utf-8", "surrogateescape")
        elif key == b"size" and value.isdigit() and len(value) < _MAX_DIGITS:
            said.size = int(value)
        at += int(length)


def _damaged(what: str, path: str, at: int) -> FormatError:
    return FormatError(
        f"the tar is damaged: {what}",
        code="tar-damaged",
        where=f"{path}, byte {at}",
        hint="get it again, or take what is whole with `tar --ignore-zeros -x`",
    )
