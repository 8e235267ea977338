"""Members of a foreign tar, in order, to the rows of its index."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.foreign.hazards import HazardCounts
from wdstools.foreign.window import LARGEST_VIEW
from wdstools.formats.digest import xxh3_64_intdigest, xxh3_128_digest
from wdstools.formats.index import build_index
from wdstools.formats.tar import BLOCK
from wdstools.formats.tarhop import FILES, is_file
from wdstools.images.check import TYPE_OF_EXTENSION
from wdstools.images.header import read_dimensions

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from wdstools.foreign.window import StreamWindow
    from wdstools.formats.tarhop import TarEntry

#: Extensions of captions, in the order in which a sample's one is looked for.
CAPTION_EXTENSIONS = ("txt", "caption", "text")
_MAX_CLS_DIGITS = 9  # what an int32 column holds
_MAX_CAPTION_BYTES = 1 << 20
_MAX_TEXTS = 1 << 16
#: webdataset's rule for members that are about the shard and not of a sample.
_META_RE = re.compile(rb"(?:^|/)__[^/]*__(?:/|$)")
_FOLDER = ord("5")


class ForeignRows:
    """Groups members into samples, as webdataset does: the first dot of a base name ends the key.

    Members of one key that lie apart are joined to one row, without ``offset``, ``length`` and group digest, unless one
    of them is there already: then they are another row of the same key. With ``window`` payloads are read: each member
    and group gets its digest, and captions, classes and image sizes are taken; else they are null, and digests 0.
    """

    def __init__(self, path: str, split: str, window: StreamWindow | None) -> None:
        self.hazards = HazardCounts()
        self._path = path
        self._split = split
        self._window = window
        self._columns: dict[str, list[Any]] = {
            name: [] for name in ("key", "cls", "offset", "length", "xxh3_128", "width", "height", "format", "caption")
        }
        self._members: list[list[tuple[str, int, int, int]]] = []
        self._row_of: dict[bytes, int] = {}
        self._texts: dict[bytes, tuple[str, str]] = {}
        self._row = -1
        self._key: bytes | None = None
        self._end = 0

    def add(self, entry: TarEntry) -> bool:
        """Take the next entry; False where its payload is cut."""
        name, kind, start, offset, size, _ = entry
        base = name.rfind(b"/") + 1
        dot = name.find(b".", base)
        if dot <= base or kind not in FILES or (b"__" in name and _META_RE.search(name)):
            return self._leave_out(entry, dot)
        key = name[:dot]
        if key != self._key:
            self._close(start)
            self._open(key, start, name)
        raw = name[dot + 1 :]
        extension, kind_of = self._texts.get(raw) or self._text(raw)
        digest = 0
        if self._window is not None:
            if size <= LARGEST_VIEW:
                payload = self._hold(offset, size, start)
                if payload is None:
                    return False
                digest = xxh3_64_intdigest(payload)
                if kind_of:
                    self._describe(extension, kind_of, payload)
            else:
                digest, whole = self._large(offset, size)
                if not whole:
                    return False
        members = self._members[self._row]
        for there in members:
            if extension == there[0]:
                self.hazards.add("member-duplicate", self._example(name))
                break
        members.append((extension, offset, size, digest))
        self._end = offset + size + -size % BLOCK
        return True

    def _leave_out(self, entry: TarEntry, dot: int) -> bool:
        name, kind, start, offset, size, _ = entry
        if is_file(entry):
            code = "name-without-extension" if dot < 0 and b"__" not in name else "name-hidden"
            self.hazards.add(code, self._example(name))
        elif kind != _FOLDER and not name.endswith(b"/"):
            self.hazards.add("not-a-file", self._example(name))
        if self._window is None or not size:
            return True
        return self._hold(offset, size, start) is not None if size <= LARGEST_VIEW else self._large(offset, size)[1]

    def _hold(self, offset: int, size: int, start: int) -> memoryview | None:
        """A payload, whole; None where it is cut. What the window must hold for the open group stays bounded."""
        assert self._window is not None
        if offset + size - self._window.keep_from > LARGEST_VIEW:
            self._window.keep_from = start
        payload = self._window.view(offset, size)
        return payload if len(payload) == size else None

    def _open(self, key: bytes, start: int, name: bytes) -> None:
        self._key = key
        known = self._row_of.get(key)
        if known is not None and self._same_member(known, name[len(key) + 1 :]):
            self.hazards.add("key-duplicate", self._example(key))
            known = None
        elif known is not None:
            self.hazards.add("members-apart", self._example(key))
            for column in ("offset", "length", "xxh3_128"):
                self._columns[column][known] = None
            self._row = known
            return
        if key not in self._row_of:
            self._row_of[key] = len(self._members)
        self._row = len(self._members)
        self._members.append([])
        columns = self._columns
        for values in columns.values():
            values.append(None)
        columns["key"][-1] = self._name(key)
        columns["offset"][-1] = start
        self._end = start

    def _same_member(self, row: int, extension: bytes) -> bool:
        text = self._text(extension)[0]
        return any(text == there[0] for there in self._members[row])

    def _close(self, following: int) -> None:
        """End the group that is open; the window need not hold anything before ``following`` from here on."""
        columns, row = self._columns, self._row
        if self._key is not None and columns["offset"][row] is not None:
            start = columns["offset"][row]
            length = self._end - start
            columns["length"][row] = length
            if self._window is not None:
                if length <= LARGEST_VIEW and self._window.keep_from <= start:
                    columns["xxh3_128"][row] = xxh3_128_digest(self._window.view(start, length))
                else:
                    columns["offset"][row] = columns["length"][row] = None
        self._key = None
        if self._window is not None:
            self._window.keep_from = following

    def _large(self, offset: int, size: int) -> tuple[int, bool]:
        """Digest of a payload that is not held whole, and whether it is all there."""
        from xxhash import xxh3_64

        assert self._window is not None
        digest, left = xxh3_64(), size
        for piece in self._window.pieces(offset, size):
            digest.update(piece)
            left -= len(piece)
        return digest.intdigest(), left == 0

    def _describe(self, extension: str, kind: str, payload: memoryview) -> None:
        columns, row = self._columns, self._row
        if kind == "image":
            if columns["format"][row] is None:
                found = read_dimensions(payload)
                if found is not None:
                    columns["format"][row], columns["width"][row], columns["height"][row] = found
        elif kind == "cls":
            digits = bytes(payload[: _MAX_CLS_DIGITS + 1]).strip()
            columns["cls"][row] = int(digits) if digits.isdigit() and len(digits) <= _MAX_CLS_DIGITS else None
        elif columns["caption"][row] is None and len(payload) <= _MAX_CAPTION_BYTES:
            data = bytes(payload)
            try:
                columns["caption"][row] = data.decode()
            except UnicodeDecodeError:
                self.hazards.add("caption-not-utf8", f"{self._path}/{columns['key'][row]}.{extension}")
            if not data.strip():
                self.hazards.add("caption-empty", f"{self._path}/{columns['key'][row]}.{extension}")

    def _text(self, extension: bytes) -> tuple[str, str]:
        """An extension as text, and what it stands for: image, caption, cls or nothing known."""
        text = extension.decode("utf-8", "backslashreplace")
        last = text.rpartition(".")[2].lower()
        kind = "image" if last in TYPE_OF_EXTENSION else "caption" if text in CAPTION_EXTENSIONS else ""
        kind = "cls" if text == "cls" else kind
        if text != text.lower():
            self.hazards.add("extension-case", f"{self._path}/.{text}")
        if len(self._texts) < _MAX_TEXTS:
            self._texts[extension] = (text, kind)
        return text, kind

    def _name(self, key: bytes) -> str:
        try:
            name = key.decode()
        except UnicodeDecodeError:
            self.hazards.add("name-not-utf8", self._example(key))
            return key.decode("utf-8", "backslashreplace")
        if " " in name:
            self.hazards.add("name-spaces", self._example(key))
        return name

    def _example(self, name: bytes) -> str:
        return f"{self._path}/{name.decode('utf-8', 'backslashreplace')}"

    def finish(self) -> None:
        """Close the last group."""
        self._close(self._end)
        # a sample whose first payload was cut has no members
        while self._members and not self._members[-1]:
            self._members.pop()
            for column in self._columns.values():
                column.pop()

    def extensions(self) -> Counter[str]:
        """In how many samples each extension is."""
        return Counter(extension for members in self._members for extension in {member[0] for member in members})

    def key_hashes(self) -> NDArray[np.uint64]:
        """XXH3-64 of each key, in row order."""
        keys = self._columns["key"]
        return np.fromiter((xxh3_64_intdigest(key.encode()) for key in keys), np.uint64, len(keys))

    def table(self) -> pa.Table:
        """The index."""
        flat = [member for members in self._members for member in members]
        ext, offset, size, digest = (list(column) for column in zip(*flat, strict=True)) if flat else ([], [], [], [])
        members = {"ext": ext, "offset": offset, "size": size, "xxh3_64": digest}
        return build_index(
            {**self._columns, "split": [self._split] * len(self._members)},
            {**members, "count": [len(members) for members in self._members]},
        )
