"""Turns the members of a foreign tar, in order, into the rows of its index."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from wdstools.foreign.groups import RunMembers, groups_of
from wdstools.foreign.growing_index import ForeignColumns
from wdstools.foreign.hazards import HazardCounts
from wdstools.foreign.member_meaning import class_of, kind_of
from wdstools.foreign.window import LARGEST_VIEW
from wdstools.formats.digest import xxh3_64_intdigest, xxh3_128_digest
from wdstools.formats.tar import BLOCK
from wdstools.formats.tarextension import SPARSE
from wdstools.formats.tarhop import FILES, is_file
from wdstools.images.header import DimensionReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from wdstools.foreign.window import StreamWindow
    from wdstools.formats.tarhop import TarEntry
    from wdstools.formats.tarrun import Run

_MAX_CAPTION_BYTES = 1 << 20
_MAX_CLASS_BYTES = 64
_MAX_TEXTS = 1 << 16
#: webdataset's rule for members that describe the shard and belong to no sample.
_META_RE = re.compile(rb"(?:^|/)__[^/]*__(?:/|$)")
#: Folders, GNU's own kind of folders, and volume labels: never members of a sample.
_NO_MEMBERS = b"5DV"


class _Layout(NamedTuple):
    """The extensions of a sample's members, and the numbers and kinds of those with values for the index."""

    extensions: list[str]
    described: list[tuple[int, str, str]]


def key_end(name: bytes) -> int:
    """Where the key ends in a member's name; -1 if the member belongs to no sample."""
    base = name.rfind(b"/") + 1
    dot = name.find(b".", base)
    return -1 if dot <= base or (b"__" in name and _META_RE.search(name)) else dot


class ForeignRows:
    """Groups members into samples, as webdataset does: the first dot of a base name ends the key.

    Members of one key that are not adjacent are joined to one row, without ``offset``, ``length`` and group digest, unless one
    of them would be repeated: then they form another row with the same key. With ``window`` payloads are read: each member
    and group gets its digest, and captions, classes and image sizes are recorded; otherwise they are null, and digests 0.
    ``left`` is called for every entry that belongs to no sample, with the code of the reason.
    """

    def __init__(
        self, path: str, split: str, window: StreamWindow | None, left: Callable[[str, TarEntry], None] | None = None
    ) -> None:
        self.hazards = HazardCounts()
        self._left = left
        #: Rows whose keys are not UTF-8.
        self.not_utf8: set[int] = set()
        self._path = path
        self._split = split
        self._window = window
        self.columns = ForeignColumns()
        self._dimensions = DimensionReader()
        self._row_of: dict[bytes, int] = {}
        self._texts: dict[bytes, tuple[str, str]] = {}
        self._layouts: dict[tuple[bytes, ...], _Layout] = {}
        self._row = -1
        self._key: bytes | None = None
        self._end = 0
        self._digest: tuple[int, bytes] | None = None
        #: The end of the last entry that was taken.
        self.reached = 0

    def add(self, entry: TarEntry) -> bool:
        """Take the next entry; False if its payload is cut off."""
        name, kind, start, offset, size, _ = entry
        self.reached = offset + size
        dot = key_end(name)
        if dot < 0 or kind not in FILES:
            return self._leave_out(entry, name.find(b".", name.rfind(b"/") + 1))
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
        if extension in self.columns.extensions[self._row]:
            self.hazards.add("member-duplicate", self._example(name))
        self.columns.add(self._row, extension, (offset, size), digest)
        self._end = offset + size + -size % BLOCK
        return True

    def add_run(self, run: Run, data: memoryview, base: int) -> None:
        """Take all entries of a run, as ``add`` would one by one. With a window, ``data``, at ``base``, contains all of them."""
        members, groups = RunMembers(run, data, base), groups_of(run.names)
        members.split(groups.dot)
        layouts: list[_Layout] = []
        keys: list[bytes] = []
        begun = 0
        for number, (first, last) in enumerate(pairwise(groups.first)):
            key = members.names[first][: groups.dot[first]]
            if groups.whole[number] and key not in self._row_of:
                layout = self._layout(tuple(members.extensions[first:last]))
                if layout is not None:
                    self._row_of[key] = len(self.columns) + len(keys)
                    keys.append(key)
                    layouts.append(layout)
                    continue
            self._add_whole(members, groups.first[begun : number + 1], keys, layouts)
            keys, layouts, begun = [], [], number + 1
            for at in range(first, last):
                self.add(members.entry(at))
        self.reached = members.offset[-1] + members.size[-1]

    def _add_whole(self, members: RunMembers, first: list[int], keys: list[bytes], layouts: list[_Layout]) -> None:
        """Take adjacent samples; ``first`` is the number of the first member of each, and the end of the last."""
        if not keys:
            return
        start, part = [members.start[at] for at in first], slice(first[0], first[-1])
        self._close(start[0])
        row, sizes = len(self.columns), members.size[part]
        payloads: list[memoryview] = []
        groups: list[bytes | None] = [None] * len(keys)
        digests = [0] * len(sizes)
        if self._window is not None:
            payloads = members.payloads(part)
            digests = list(map(xxh3_64_intdigest, payloads))
            groups = [xxh3_128_digest(members.between(a, b)) for a, b in pairwise(start)]
        names = [key.decode("ascii") for key in keys]
        lengths = [b - a for a, b in pairwise(start)]
        self.columns.add_whole(
            (names, start[:-1], lengths, groups),
            [layout.extensions for layout in layouts],
            (members.offset[part], sizes, digests),
        )
        if self._window is not None:
            for self._row, (layout, at) in enumerate(zip(layouts, first, strict=False), row):
                for number, extension, kind in layout.described:
                    self._describe(extension, kind, payloads[at - first[0] + number])
            self._window.keep_from = start[-1]

    def _layout(self, raw: tuple[bytes, ...]) -> _Layout | None:
        """The meaning of extensions, if none is repeated and there are few enough to be cached."""
        found = self._layouts.get(raw)
        if found is None and len(set(raw)) == len(raw) and len(self._texts) + len(raw) < _MAX_TEXTS:
            texts = [self._texts.get(extension) or self._text(extension) for extension in raw]
            described = [(number, *text) for number, text in enumerate(texts) if text[1]]
            found = self._layouts[raw] = _Layout([text for text, _ in texts], described)
        return found

    def _leave_out(self, entry: TarEntry, dot: int) -> bool:
        name, kind, start, offset, size, _ = entry
        code = None
        if is_file(entry):
            code = "name-without-extension" if dot < 0 and b"__" not in name else "name-hidden"
        elif kind == SPARSE:
            code = "member-sparse"
        elif kind not in _NO_MEMBERS and not name.endswith(b"/"):
            code = "not-a-file"
        if code is not None:
            self.hazards.add(code, self._example(name))
            if self._left is not None:
                self._left(code, entry)
        if self._window is None or not size:
            return True
        return self._hold(offset, size, start) is not None if size <= LARGEST_VIEW else self._large(offset, size)[1]

    def _hold(self, offset: int, size: int, start: int) -> memoryview | None:
        """A whole payload; None if it is cut off. Bounds what the window must hold for the open group."""
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
                self.columns.sample[column][known] = None
            self._row = known
            return
        self._row, self._digest = self.columns.open(self._name(key), start), None
        self._row_of.setdefault(key, self._row)
        self._end = start

    def _same_member(self, row: int, extension: bytes) -> bool:
        return self._text(extension)[0] in self.columns.extensions[row]

    def _close(self, following: int) -> None:
        """End the open group; from now on the window need not hold anything before ``following``."""
        columns, row = self.columns.sample, self._row
        if self._key is not None and columns["offset"][row] is not None:
            start = columns["offset"][row]
            length = self._end - start
            columns["length"][row] = length
            if self._window is not None:
                columns["xxh3_128"][row] = self._group_digest(start, length)
                if columns["xxh3_128"][row] is None:
                    columns["offset"][row] = columns["length"][row] = None
        self._key = None
        if self._window is not None:
            self._window.keep_from = following

    def _group_digest(self, start: int, length: int) -> bytes | None:
        """The digest of a group's bytes; None if they are too many, or no longer held."""
        assert self._window is not None
        if self._digest is not None and self._digest[0] == start + length:
            return self._digest[1]
        if length > LARGEST_VIEW or self._window.keep_from > start:
            return None
        return xxh3_128_digest(self._window.view(start, length))

    def pass_by(self, at: int) -> None:
        """Hold nothing before ``at``, which belongs to no entry. A group that continues after it has no digest."""
        if self._window is None:
            return
        start = self.columns.sample["offset"][self._row] if self._key is not None else None
        if start is not None and self._digest is None:
            digest = self._group_digest(start, self._end - start)
            self._digest = None if digest is None else (self._end, digest)
        self._window.keep_from = at

    def _large(self, offset: int, size: int) -> tuple[int, bool]:
        """The digest of a payload that is not held whole, and whether it is complete."""
        from xxhash import xxh3_64

        assert self._window is not None
        digest, left = xxh3_64(), size
        for piece in self._window.pieces(offset, size):
            digest.update(piece)
            left -= len(piece)
        return digest.intdigest(), left == 0

    def _describe(self, extension: str, kind: str, payload: memoryview) -> None:
        columns, row = self.columns.sample, self._row
        if kind == "image":
            if columns["format"][row] is None:
                found = self._dimensions.read(payload)
                if found is not None:
                    columns["format"][row], columns["width"][row], columns["height"][row] = found
        elif kind == "cls":
            columns["cls"][row] = class_of(bytes(payload[:_MAX_CLASS_BYTES]))
        elif columns["caption"][row] is None and len(payload) <= _MAX_CAPTION_BYTES:
            data = bytes(payload)
            try:
                columns["caption"][row] = data.decode()
            except UnicodeDecodeError:
                self.hazards.add("caption-not-utf8", f"{self._path}/{columns['key'][row]}.{extension}")
            if not data.strip():
                self.hazards.add("caption-empty", f"{self._path}/{columns['key'][row]}.{extension}")

    def _text(self, extension: bytes) -> tuple[str, str]:
        """An extension as text, and its meaning: image, caption, cls or none."""
        text = extension.decode("utf-8", "backslashreplace")
        kind = kind_of(text)
        kind = "" if kind == "json" else kind  # the index has no column for it
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
            self.not_utf8.add(len(self.columns))
            return key.decode("utf-8", "backslashreplace")
        if " " in name:
            self.hazards.add("name-spaces", self._example(key))
        return name

    def _example(self, name: bytes) -> str:
        return f"{self._path}/{name.decode('utf-8', 'backslashreplace')}"

    def finish(self) -> None:
        """Close the last group."""
        self._close(self._end)
        self.columns.drop_empty_tail()  # a sample whose first payload is cut off
