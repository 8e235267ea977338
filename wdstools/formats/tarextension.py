"""What records before an entry say about it: pax (POSIX.1-2001, and Solaris' of another type), GNU's long names, sparse maps. Pure.

A sparse member's payload is a map and the parts of the file that are not zeros: nothing that a reader of samples could use. GNU
tar marks them by a type of their own, or by pax records (formats 0.0, 0.1, 1.0) under another name; all come out as SPARSE, under
their right names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from wdstools.formats.tar import BLOCK

#: Gives the bytes at (position, count): fewer only where the tar ends.
Read = Callable[[int, int], bytes]
#: One entry: name, type flag, where its first header (that of an extension record, if it has one) begins, where its
#: payload does, the payload's size, and what a link names. A plain tuple: a named one takes as long as the rest.
TarEntry = tuple[bytes, int, int, int, int, bytes]

#: Type flag of a member that is stored in parts.
SPARSE = ord("S")
#: What a person should do about one.
SPARSE_ADVICE = "a sparse member: unpack the tar with tar -xf, and make it again without --sparse"
#: Type flags of records about the next entry, or (``g``) about all that follow.
EXTENSIONS = b"xXgLK"
_WITHOUT_PAYLOAD = b"123456"
_MAX_DIGITS = 20
_IS_EXTENDED_AT, _MAP_IS_EXTENDED_AT = 482, 504
_MAX_MAP_BLOCKS = 1 << 16


@dataclass(slots=True)
class HopNotes:
    """What was met on the way.

    ``end`` is ``archive`` (zeros to the end, or only bytes that are no header behind them: ``trailing`` counts these),
    ``missing`` (the bytes end where a header could be), ``cut`` (they end inside an entry) or ``damaged`` (no header where
    one must be, ``why``); ``end_at`` is where. ``resumed`` counts the places where entries follow the zeros that end an
    archive, the first at ``resumed_at``.
    """

    headers: int = 0
    pax_names: int = 0
    pax_sizes: int = 0
    gnu_names: int = 0
    binary_sizes: int = 0
    end: str = "missing"
    end_at: int = 0
    why: str = ""
    trailing: int = 0
    resumed: int = 0
    resumed_at: int = 0


@dataclass(slots=True)
class Extension:
    """What records say about the next entry, and where the first of them lies."""

    start: int
    name: bytes | None = None
    target: bytes | None = None
    size: int | None = None
    sparse: bool = False

    def applied(self, entry: TarEntry) -> TarEntry:
        """The entry with what was said about it."""
        name, kind, _, offset, size, target = entry
        name = name if self.name is None else self.name
        target = target if self.target is None else self.target
        size = size if self.size is None or kind in _WITHOUT_PAYLOAD else self.size
        return name, SPARSE if self.sparse else kind, self.start, offset, size, target

    def read(self, kind: int, data: bytes, notes: HopNotes) -> bool:
        """Take a record's payload; False where it says something of a name or a size that cannot be understood."""
        if kind == ord("L"):
            self.name = data.rstrip(b"\0")
            notes.gnu_names += 1
        elif kind == ord("K"):
            self.target = data.rstrip(b"\0")
        elif kind != ord("g"):
            return self._read_pax(data, notes)
        return True

    def _read_pax(self, data: bytes, notes: HopNotes) -> bool:
        """Name, link target and size from pax records: a length, a space, ``KEY=VALUE``, a newline."""
        if b"path=" not in data and b"size=" not in data:
            return True  # times and owners: nothing that says where anything lies
        at, name = 0, None
        while at < len(data):
            length, _, _ = data[at : at + _MAX_DIGITS].partition(b" ")
            if not length.isdigit():
                break
            key, equals, value = data[at + len(length) + 1 : at + int(length) - 1].partition(b"=")
            if not equals or data[at + int(length) - 1 : at + int(length)] != b"\n":
                break
            if key == b"path":
                self.name = value
                notes.pax_names += 1
            elif key == b"linkpath":
                self.target = value
            elif key == b"size" and value.isdigit() and len(value) < _MAX_DIGITS:
                self.size = int(value)
                notes.pax_sizes += 1
            elif key.startswith(b"GNU.sparse."):
                self.sparse = True
                name = value if key == b"GNU.sparse.name" else name
            at += int(length)
        self.name = name or self.name
        return not data[at:].strip(b"\0")


def behind_map(read: Read, block: bytes, entry: TarEntry) -> TarEntry | None:
    """A sparse entry of GNU's own form, whose map may go on behind its header; None if that does not end."""
    name, kind, start, at, size, target = entry
    more = block[_IS_EXTENDED_AT]
    for _ in range(_MAX_MAP_BLOCKS):
        if not more:
            return name, kind, start, at, size, target
        following = read(at, BLOCK)
        if len(following) < BLOCK:
            return None
        more = following[_MAP_IS_EXTENDED_AT]
        at += BLOCK
    return None
