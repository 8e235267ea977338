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
_REGULAR = (b"0", b"\0", b"7")


@dataclass(frozen=True, slots=True)
class TarMember:
    """A member: its name, where its payload begins, and its size in bytes."""

    name: str
    offset: int
    size: int
    is_file: bool


def scan_tar(path: str) -> Iterator[TarMember]:
    """The members of a plain tar (ustar, pax, GNU), in order.

    Raises FormatError (``tar-damaged``) at a header that is none, or when the file ends inside a member.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            yield from _scan(file.fileno(), os.fstat(file.fileno()).st_size, path)
    except OSError as error:
        raise storage_error(error, path) from error


def _scan(fd: int, total: int, path: str) -> Iterator[TarMember]:
    at = 0
    name, size = None, None  # from an extension record, for the next member
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
            data = os.pread(fd, header.size, payload)
            if header.typeflag == b"x":
                name, size = _pax(data, name, size)
            elif header.typeflag == b"L":
                name = data.rstrip(b"\0").decode("utf-8", "surrogateescape")
            at = payload + header.size + padding(header.size)
            continue
        member = _member(header, payload, name, size)
        name, size = None, None
        at = member.offset + member.size + padding(member.size)
        if member.offset + member.size > total:
            raise _damaged(f"the file ends inside {member.name}", path, payload)
        yield member
    if at > total or total % BLOCK:
        raise _damaged("the file ends inside a block", path, total)


def _member(header: Header, payload: int, name: str | None, size: int | None) -> TarMember:
    is_file = header.typeflag in _REGULAR
    return TarMember(
        name if name is not None else header.name.decode("utf-8", "surrogateescape"),
        payload,
        (header.size if size is None else size) if is_file else 0,
        is_file,
    )


def _pax(data: bytes, name: str | None, size: int | None) -> tuple[str | None, int | None]:
    """Name and size from pax records (POSIX.1-2001: a length, a space, ``KEY=VALUE``, a newline)."""
    at = 0
    while at < len(data):
        length, _, _ = data[at : at + 20].partition(b" ")
        if not length.isdigit() or int(length) <= len(length):
            break
        key, _, value = data[at + len(length) + 1 : at + int(length) - 1].partition(b"=")
        if key == b"path":
            name = value.decode("utf-8", "surrogateescape")
        elif key == b"size" and value.isdigit():
            size = int(value)
        at += int(length)
    return name, size


def _damaged(what: str, path: str, at: int) -> FormatError:
    return FormatError(
        f"the tar is damaged: {what}",
        code="tar-damaged",
        where=f"{path}, byte {at}",
        hint="get it again, or take what is whole with `tar --ignore-zeros -x`",
    )
