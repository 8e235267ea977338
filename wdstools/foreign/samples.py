"""The samples of one tar, as packing wants them: keys cleaned, dots and capitals seen through, the last member of a name kept.

It asks the one grouper (``ForeignRows``), and joins what readers of tars would give as several samples.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wdstools.foreign.dots import dotted_heads, with_head
from wdstools.foreign.member_meaning import kind_of
from wdstools.foreign.shard import read_foreign
from wdstools.formats.sample import split_member_name
from wdstools.formats.tarhop import HopNotes

if TYPE_CHECKING:
    from wdstools.foreign.rows import ForeignRows
    from wdstools.formats.tarhop import TarEntry
    from wdstools.stores.base import Store

#: Where a payload begins, and its size, in bytes.
Place = tuple[int, int]
_HARD_LINK = ord("1")
_KINDS = {"1": "a hard link", "2": "a symbolic link", "M": "the rest of a file that began in another volume"}


@dataclass(slots=True)
class TarSample:
    """A sample: its key as text, and where each member lies, by extension in lower case, in tar order."""

    key: str
    members: dict[str, Place] = field(default_factory=dict)


@dataclass(slots=True)
class TarContents:
    """What a tar holds: samples, the entries that are of none (code, name, detail), and the members that a later one replaced.

    ``files`` counts its entries, without folders.
    """

    samples: list[TarSample] = field(default_factory=list)
    left: list[tuple[str, str, str]] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    files: int = 0
    notes: HopNotes = field(default_factory=HopNotes)


def read_samples(store: Store, tar: str, *, repeated: str = "join") -> TarContents:
    """The samples of a plain tar, by its headers alone.

    A member that comes again under one key replaces the first (``repeated="join"``: what ``tar -r`` means), or begins
    another sample of that key (``"apart"``), if there is an image in what comes again.
    """
    contents = TarContents()
    links: list[TarEntry] = []

    def leave(code: str, entry: TarEntry) -> None:
        contents.files += 1
        if entry[1] == _HARD_LINK:
            links.append(entry)
        else:
            contents.left.append((code, _text(entry[0]), _KINDS.get(chr(entry[1]), "") if code == "not-a-file" else ""))

    rows, contents.notes, _ = read_foreign(store, tar, "", "tar", "none", leave)
    contents.files += len(rows.columns.member["row"])
    grouping = _Grouping(rows, contents, apart=repeated == "apart")
    grouping.run()
    for link in links:
        grouping.add_link(link)
    return contents


def clean_name(name: str) -> str:
    """A name as tar unpacks it: without a slash in front, ``.`` and empty parts."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))


class _Grouping:
    """The rows of a tar, put together as samples."""

    def __init__(self, rows: ForeignRows, contents: TarContents, *, apart: bool) -> None:
        columns = rows.columns
        self._columns, self._contents, self._apart = columns, contents, apart
        self._not_utf8 = rows.not_utf8
        self._heads = dotted_heads(columns.samples_with(), len(columns))
        self._samples: dict[str, TarSample] = {}
        self._of_row: dict[tuple[str, int], TarSample] = {}

    def run(self) -> None:
        """Add every member of every row."""
        keys, member = self._columns.sample["key"], self._columns.member
        for row in sorted(self._not_utf8):
            self._contents.left.append(("name-not-utf8", keys[row], ""))
        for row, extension, offset, size in zip(
            member["row"], member["ext"], member["offset"], member["size"], strict=True
        ):
            if row not in self._not_utf8:
                self._add(row, *with_head(keys[row], extension, self._heads), (offset, size))

    def _add(self, row: int, key: str, extension: str, place: Place) -> None:
        key, extension = clean_name(key), extension.lower()
        sample = self._of_row.get((key, row)) or self._sample(key, row)
        if extension in sample.members:
            self._contents.replaced.append(f"{key}.{extension}")
        sample.members[extension] = place

    def _sample(self, key: str, row: int) -> TarSample:
        """The sample that a row of this key is of."""
        sample = self._samples.get(key)
        if sample is None or (self._apart and self._begins_again(row)):
            sample = self._samples[key] = TarSample(key)
            self._contents.samples.append(sample)
        return self._of_row.setdefault((key, row), sample)

    def _begins_again(self, row: int) -> bool:
        """Whether a row of a key that was there before is a sample of its own, and not a member that was added later."""
        return row >= 0 and any(kind_of(extension) == "image" for extension in self._columns.extensions[row])

    def add_link(self, entry: TarEntry) -> None:
        """A hard link is the file that it names, if that is in the tar."""
        name, target = _text(entry[0]), split_member_name(clean_name(_text(entry[5])))
        split = split_member_name(clean_name(name))
        there = self._samples.get(target[0]) if target else None
        place = there.members.get(target[1].lower()) if there and target else None
        if split is None or place is None:
            self._contents.left.append(("not-a-file", name, _KINDS["1"]))
        else:
            self._add(-1, *split, place)


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
