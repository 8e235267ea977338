"""The samples of one tar, as packing needs them: with clean keys, dots and case resolved, the last member of each name kept.

It uses the one grouper (``ForeignRows``), and joins what readers of tars would return as several samples.
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

#: The offset and size of a payload, in bytes.
Place = tuple[int, int]
_HARD_LINK = ord("1")
_KINDS = {"1": "a hard link", "2": "a symbolic link", "M": "the rest of a file that began in another volume"}


@dataclass(slots=True)
class TarSample:
    """A sample: its key as text, and the place of each member, by extension in lower case, in tar order."""

    key: str
    members: dict[str, Place] = field(default_factory=dict)


@dataclass(slots=True)
class TarContents:
    """The contents of a tar: samples, entries that belong to none (code, name, detail), and members replaced by later ones.

    ``files`` counts its entries, without folders.
    """

    samples: list[TarSample] = field(default_factory=list)
    left: list[tuple[str, str, str]] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    files: int = 0
    notes: HopNotes = field(default_factory=HopNotes)


def read_samples(store: Store, tar: str, *, repeated: str = "join") -> TarContents:
    """The samples of a plain tar, from its headers alone.

    A repeated member of a key replaces the first (``repeated="join"``: the meaning of ``tar -r``), or begins
    another sample with that key (``"apart"``), if the repeated members include an image.
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
    """A name as tar unpacks it: without a leading slash, ``.`` and empty parts."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))


class _Grouping:
    """Combines the rows of a tar into samples."""

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
        """The sample to which a row of this key belongs."""
        sample = self._samples.get(key)
        if sample is None or (self._apart and self._begins_again(row)):
            sample = self._samples[key] = TarSample(key)
            self._contents.samples.append(sample)
        return self._of_row.setdefault((key, row), sample)

    def _begins_again(self, row: int) -> bool:
        """Whether a row with an earlier key is a separate sample, and not members that were added later."""
        return row >= 0 and any(kind_of(extension) == "image" for extension in self._columns.extensions[row])

    def add_link(self, entry: TarEntry) -> None:
        """Take a hard link as the file that it names, if that is in the tar."""
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
