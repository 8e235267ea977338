"""The lines of split lists, read block by block, so that even lists of very many samples take little memory."""

from __future__ import annotations

import hashlib
import itertools
import mmap
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

from wdstools.errors import FormatError, UsageError
from wdstools.formats.sample import make_key
from wdstools.stores.local import opened_as_named, translated

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: How much of a list is decoded at once, and up to which size it is held in memory.
_BLOCK_BYTES, _HELD_BYTES = 1 << 20, 64 << 20
_MARK = "\ufeff"


class Lines(Sequence[str]):
    """The lines of a list in UTF-8, as ``str.splitlines`` splits them; raises UsageError if it is not UTF-8.

    A large list is copied to an unnamed file, which is mapped, because the original may be changed.
    """

    def __init__(self, data: bytes | mmap.mmap, where: str = "") -> None:
        self._data = data
        seen, count = hashlib.sha256(), 0
        try:
            for block in self._blocks():
                seen.update(("\n" if count and block else "").encode() + "\n".join(block).encode())
                count += len(block)
        except UnicodeDecodeError:
            raise UsageError("a split list is not UTF-8 text", where=where) from None
        #: The SHA-256 of all lines, joined by line feeds.
        self.digest = seen.hexdigest()
        self._count = count

    def _blocks(self) -> Iterator[list[str]]:
        data, start = self._data, 0
        while start < len(data):
            end = data.find(b"\n", start + _BLOCK_BYTES) + 1 or len(data)
            text = bytes(data[start:end]).decode()
            yield (text if start else text.removeprefix(_MARK)).splitlines()
            start = end

    def __iter__(self) -> Iterator[str]:
        return itertools.chain.from_iterable(self._blocks())

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        return list(self)[at]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (bytes(self._data),)


def read_lines(path: str) -> Lines:
    """The lines of a list that the user named; raises StoreError, and UsageError if it is not UTF-8."""
    temporary = tempfile.gettempdir()
    with translated(temporary), tempfile.SpooledTemporaryFile(_HELD_BYTES, prefix="wdstools-") as held:
        with translated(path), opened_as_named(path) as file:
            while block := file.read(_BLOCK_BYTES):
                with translated(temporary):
                    held.write(block)
        size = held.tell()
        if size <= _HELD_BYTES:
            held.seek(0)
            return Lines(held.read(), path)
        held.flush()
        return Lines(mmap.mmap(held.fileno(), size, access=mmap.ACCESS_READ), path)


def digest_of_lines(lines: Sequence[str]) -> str:
    """The SHA-256 of lines, joined by line feeds."""
    return lines.digest if isinstance(lines, Lines) else hashlib.sha256("\n".join(lines).encode()).hexdigest()


def listed(lists: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str, bytes | None]]:
    """Split, entry and key of each non-empty line of split lists; the key is None if none can be made."""
    for split, lines in lists.items():
        for line in lines:
            entry = line.partition(",")[0].strip()
            if entry:
                try:
                    yield split, entry, make_key(None, entry.removesuffix(".jpg").encode())
                except FormatError:
                    yield split, entry, None
