"""What records before an entry say about it: pax (POSIX.1-2001 and Solaris), GNU long names, sparse maps. No I/O.

A sparse member's payload is a map and those parts of the file that are not zeros, which a reader of samples cannot use.
GNU tar marks such members by a type of their own, or by pax records (formats 0.0, 0.1, 1.0) under another name; all are
reported as SPARSE, under their real names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from wdstools.formats.tar import BLOCK

#: Returns the bytes at (position, count): fewer only at the end of the tar.
Read = Callable[[int, int], bytes]
#: One entry: name, type flag, offset of its first header (that of an extension record, if it has one), offset and size
#: of its payload, and the target of a link. A plain tuple: a named one would take as long to make as all the rest.
TarEntry = tuple[bytes, int, int, int, int, bytes]

#: The type flag of a sparse member.
SPARSE = ord("S")
#: What to do about one.
SPARSE_ADVICE = "a sparse member: unpack the tar with tar -xf, and make it again without --sparse"
#: The type flags of records about the next entry, or (``g``) about all that follow.
EXTENSIONS = b"xXgLK"
_WITHOUT_PAYLOAD = b"123456"
_MAX_DIGITS = 20
_IS_EXTENDED_AT, _MAP_IS_EXTENDED_AT = 482, 504
_MAX_MAP_BLOCKS = 1 << 16


@dataclass(slots=True)
class HopNotes:
    """What was met on the way.

    ``end`` is ``archive`` (zeros to the end, perhaps followed by bytes without a header, which ``trailing`` counts),
    ``missing`` (the tar ends where a header could be), ``cut`` (it ends inside an entry) or ``damaged`` (no header
    where one must be; ``why`` says what is wrong); ``end_at`` is where. ``resumed`` counts the places where entries
    follow the zeros that end an archive; ``resumed_at`` is the first.
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
    """What records say about the next entry, and the offset of the first of them."""

    start: int
    name: bytes | None = None
    target: bytes | None = None
    size: int | None = None
    sparse: bool = False

    def applied(self, entry: TarEntry) -> TarEntry:
        """The entry, changed as the records say."""
        name, kind, _, offset, size, target = entry
        name = name if self.name is None else self.name
        target = target if self.target is None else self.target
        size = size if self.size is None or kind in _WITHOUT_PAYLOAD else self.size
        return name, SPARSE if self.sparse else kind, self.start, offset, size, target

    def read(self, kind: int, data: bytes, notes: HopNotes) -> bool:
        """Take a record's payload; False if it concerns a name or a size and cannot be parsed."""
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
            return True  # times and owners: nothing about names or places
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
    """A sparse entry of GNU's own form, whose map may continue after its header; None if the map does not end."""
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
