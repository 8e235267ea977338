"""Tables among the images of a tree: which of its files are tables, and what they say about each image."""

from __future__ import annotations

import io
import os
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, BinaryIO

from wdstools.errors import FormatError, UsageError, option
from wdstools.foreign.split_names import split_in_name
from wdstools.formats.image_types import sniff
from wdstools.formats.sample import make_key
from wdstools.results import Skip
from wdstools.sources.base import NeedSpaceError, join_path, shown
from wdstools.sources.columns import Columns, Said, bring_together, columns_of, naming, read_row
from wdstools.sources.rows import BadRow, NumberedRow, read_rows
from wdstools.sources.source_words import LOOSE_TABLE_EXTENSIONS, TABLE_EXTENSIONS, is_image
from wdstools.sources.table_paths import ImageNames, Match
from wdstools.stores.local import plain_fd
from wdstools.units import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wdstools.sources.base import SourceReader
    from wdstools.sources.columns import TableRules
    from wdstools.sources.survey import Survey
    from wdstools.sources.tree import Tree

#: Files with these stems are tables, or damaged tables.
_SURE_STEMS = ("metadata", "captions")
_LOOSE_STEMS = ("captions", "results", "annotations", "metadata", "labels", "flickr", "list_")
#: How many rows are looked at before a file counts as a table of these images.
_PROBED_ROWS = 200
#: A folder with more JSON files than this has one per image.
_MOST_JSON_TABLES = 64


def load_columns(names: Iterable[str], rules: TableRules, where: str, *, alone: bool = True) -> Columns:
    """The meaning of a table's columns; one must name the image. Raises UsageError (``table-no-path``)."""
    listed = list(names)
    columns = columns_of(listed, rules, where, alone=alone)
    if columns.path is None and columns.key is None:
        raise UsageError(
            "the table has no column of paths",
            code="table-no-path",
            where=where,
            expected=f"file_name, image, path or the like; or one named with {option('path_column')}",
            got=", ".join(listed)[:200],
        )
    return columns


@dataclass(slots=True)
class Tables:
    """What the tables of a tree say, by the path of the image.

    ``read`` are the tables, by folder; ``strays`` the rows that name no image in the tree.
    """

    tree: Tree
    found: Survey
    rules: TableRules
    rows: dict[str, Said] = field(default_factory=dict)
    read: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    skips: list[Skip] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    images: ImageNames = field(init=False)
    #: Tables that hold the bytes of images.
    holding: list[str] = field(default_factory=list)
    #: The columns of each examined table.
    _columns: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Index the images of the tree."""
        self.images = ImageNames(self.tree, self.found)

    def run(self) -> None:
        """Read every table."""
        for folder, name in list(self._candidates()):
            path = join_path(folder, name)
            try:
                used = self._table(folder, path)
            except (FormatError, UsageError) as error:
                if name.rpartition(".")[0].lower() in _SURE_STEMS:
                    raise
                self.skips.append(Skip("table-damaged", shown(path), detail=error.message))
                continue
            if used:
                self.read[folder].append(name)
        self.notes += bring_together(self.rows.values())

    def refuse_absent(self, *, documents: bool = False) -> None:
        """Raise UsageError for a given column that no table has; with ``documents``, the caption column may be a name in JSON files."""
        there = {name.lower().strip() for names in self._columns.values() for name in names}
        for meaning, asked in self.rules.asked.items():
            if documents and meaning == "caption":
                continue
            where = option(f"{meaning}_column")
            if not self._columns:
                raise UsageError(
                    "there is no table, so this option has no effect", code="option-idle", where=where, got=asked
                )
            if asked.lower() not in there:
                listed = "; ".join(f"{path}: {', '.join(names)}" for path, names in self._columns.items())
                raise UsageError(
                    "no table has this column", code="table-columns", where=where, expected=listed[:400], got=asked
                )

    @property
    def names(self) -> str:
        """The tables, for people."""
        paths = [join_path(folder, name) for folder, names in self.read.items() for name in names]
        return paths[0] if len(paths) == 1 else f"{len(paths):,} tables" if paths else "the metadata table"

    def _candidates(self) -> Iterator[tuple[str, str]]:
        """Files that may be tables of images, from the top down."""
        for folder, facts in self.found.folders.items():
            if not facts.others and not facts.sides:
                continue
            held = self.tree.list(folder)
            if held is None:
                continue
            stems = {name.rpartition(".")[0] for name in held.files if is_image(name)} if facts.images else set()
            loose = [name for name in held.files if name.lower().endswith((".json", ".txt"))]
            few = sum(name.lower().endswith(".json") for name in loose) <= _MOST_JSON_TABLES
            beside = describing(facts.folders, held.files)
            for name in held.files:
                lower, (stem, _, extension) = name.lower(), name.rpartition(".")
                if not lower.endswith(LOOSE_TABLE_EXTENSIONS) or stem in stems or stem.rpartition(".")[0] in stems:
                    continue
                if name in beside:
                    continue
                if _FORM_RE.match(stem):
                    self.notes.append(
                        f"{shown(join_path(folder, name))} is not used: it is a sample submission, whose values mean nothing"
                    )
                    continue
                if extension.lower() == "txt" and not stem.lower().startswith(_LOOSE_STEMS):
                    continue
                if extension.lower() != "json" or few or stem.lower() in _SURE_STEMS:
                    yield folder, name

    def _table(self, folder: str, path: str) -> bool:
        """Read a file; returns whether it is a table of these images. If not, it adds no skips."""
        first: list[NumberedRow] = []
        with self._open(path) as file:
            numbered = read_rows(file, path)
            for number, row in numbered:
                first.append((number, row))
                if len(first) >= _PROBED_ROWS or (isinstance(row, dict) and holds_images([row])):
                    break
            good = [row for _, row in first if not isinstance(row, BadRow)]
            names = row_names(good)
            self._columns[path] = names
            if holds_images(good):
                self.holding.append(path)
                self._tell_unused(path, IN_TABLE)
                return False
            try:
                columns = self._likeliest(load_columns(names, self.rules, path, alone=False), folder, path, good)
            except UsageError:
                if path.rpartition("/")[2].rpartition(".")[0].lower() == "metadata":
                    raise
                self._tell_unused(
                    path, f"none of its columns names images ({', '.join(names)[:200]}): choose one with --path-column"
                )
                return False
            named = sum(self._image(folder, path, row, columns).path is not None for row in good)
            if not named or (columns.path is None and _is_dictionary(good) and 2 * named <= len(good)):
                column = columns.path or columns.key or ""
                first_name = next((row[column] for row in good if row.get(column)), None)
                if good and first_name is not None:
                    said = shown(str(first_name)[:_SHOWN])
                    self._tell_unused(
                        path, f"no row names an image in this source, for example {said} in column {column}"
                    )
                return False
            odd: Counter[str] = Counter()
            for number, row in (*first, *numbered):
                self._row(folder, (path, number), row, columns, odd)
        self.notes += [
            f"{path}: {counted(count, 'row')} in which images are named {how}" for how, count in sorted(odd.items())
        ]
        return True

    def _likeliest(self, columns: Columns, folder: str, path: str, rows: list[dict[str, object]]) -> Columns:
        """The columns, with the path column that names existing images most often: a URL may do so less often than an id."""
        if columns.path is not None and self.rules.key_column is None:
            columns = replace(columns, key=None)  # columns without a meaning are kept as they are
        if self.rules.path_column is not None or not rows:
            return columns
        names = [
            name for name in naming(row_names(rows)) if name not in (columns.caption, columns.label, columns.split)
        ]
        tried = [replace(columns, path=name) for name in names]
        counts = [sum(self._image(folder, path, row, one).path is not None for row in rows) for one in tried]
        if not counts or columns.path is None or max(counts) <= counts[names.index(columns.path)]:
            return columns
        return tried[counts.index(max(counts))]

    def _tell_unused(self, path: str, why: str) -> None:
        """Report that a table is not used, and why; not for other kinds of lists and documents."""
        if path.lower().endswith(TABLE_EXTENSIONS) or path.rpartition("/")[2].rpartition(".")[0].lower() in _SURE_STEMS:
            self.notes.append(f"{shown(path)} is not used: {why}")

    def _image(
        self, folder: str, table: str, row: dict[str, object], columns: Columns, said: Said | None = None
    ) -> Match:
        """The image that a row names."""
        said = said or read_row(row, columns)
        split = said.split or _split_of_table(table)
        return self.images.find(folder, row.get(columns.path or columns.key or ""), split, said.label)

    def _row(self, folder: str, place: tuple[str, int], row: object, columns: Columns, odd: Counter[str]) -> None:
        path, number = place
        where = f"{path}, row {number}"
        if isinstance(row, BadRow):
            self.skips.append(Skip(row.reason, shown(path), detail=f"row {number}: {row.detail}"))
            return
        assert isinstance(row, dict)
        said = read_row(row, columns, where)
        match = self._image(folder, path, row, columns, said)
        name = shown(join_path(folder, str(row.get(columns.path or columns.key or "") or "")))
        if match.reason == "path-missing":
            self.skips.append(Skip("path-missing", shown(path), detail=f"row {number}"))
        elif match.path is None:
            detail = f"named in {where}" + (f"; {match.detail}" if match.detail else "")
            self.skips.append(Skip(match.reason, name, detail=detail))
        else:
            odd.update([match.how] if match.how else [])
            said.key = _key_of(row, columns)
            if said.key is _REFUSED:
                said.key, said.refused = None, ("key-invalid", f"{where}, column {columns.key}")
            said.split = said.split or _split_of_table(path)
            if match.path in self.rows:
                self.rows[match.path].add(said)
            else:
                self.rows[match.path] = said

    def _open(self, path: str) -> BinaryIO:
        """Open a table for reading in blocks."""
        folder, _, name = path.rpartition("/")
        held = self.tree.list(folder)
        return open_member(self.tree, path, held.entry(name) if held else None)


#: A sample submission of a competition, with the same value in each row.
_FORM_RE = re.compile(r"sample_?submission", re.IGNORECASE)


def describing(folders: Iterable[str], names: Iterable[str]) -> set[str]:
    """Files that img2dataset writes next to a folder of images and that add no information: ``00000.parquet``, ``00000_stats.json``."""
    known, there = set(folders), set(names)
    numbered = {name.removesuffix(_STATS) for name in there if name.endswith(_STATS)} & known
    return {name for stem in numbered for name in (stem + _STATS, f"{stem}.parquet") if name in there}


_STATS = "_stats.json"


def row_names(rows: Iterable[dict[str, object]]) -> list[str]:
    """The columns of some rows."""
    return list(dict.fromkeys(name for row in rows for name in row))


def _is_dictionary(rows: list[dict[str, object]]) -> bool:
    """Whether rows are a document of texts by name, which may be about something other than images."""
    return all(row.keys() == {"id", "caption"} for row in rows)


_REFUSED = ""
_SHOWN = 100
#: What to do about tables that contain images, as Hugging Face writes them.
IN_TABLE = (
    "it contains the images themselves: write them to files first, for example with the datasets library:"
    " for n, row in enumerate(load_dataset('parquet', data_files=TABLE, split='train')): row['image'].save(f'{n}.png')"
)


def holds_images(rows: Iterable[dict[str, object]]) -> bool:
    """Whether rows have the bytes of images: ``{"bytes": ..., "path": ...}`` from Hugging Face, or plain bytes."""
    values = [value for row in rows for value in row.values()]
    inner = [value.get("bytes") if isinstance(value, dict) else value for value in values]
    return any(isinstance(value, bytes) and bool(sniff(value[:_HEAD])) for value in inner)


_HEAD = 32


def _key_of(row: dict[str, object], columns: Columns) -> str | None:
    """The key that a row gives its image; None if it gives none, _REFUSED if it is invalid."""
    given = row.get(columns.key) if columns.key and columns.path else None
    if given is None:
        return None
    try:
        return make_key(None, str(given).encode()).decode()
    except (FormatError, UnicodeEncodeError):
        return _REFUSED


def _split_of_table(path: str) -> str | None:
    """The split in a table's name: ``train.csv``, ``captions_val2017.json``."""
    found = split_in_name(path.rpartition("/")[2].partition(".")[0])
    return found[0] if found else None


def open_member(tree: Tree, path: str, entry: bytes | None) -> BinaryIO:
    """A file of a tree, opened for reading: in place from a folder, in memory from an archive."""
    root = getattr(tree.opener, "path", None)
    if entry is None and root is not None:
        from wdstools.sources.readers import reading

        with reading(f"{root}/{path}"):
            return os.fdopen(plain_fd(f"{root}/{path}"), "rb")
    reader = tree.opener.open()
    try:
        return io.BytesIO(read_whole(reader, path, entry))
    finally:
        reader.close()


def read_whole(reader: SourceReader, path: str, entry: bytes | None, most: int | None = None) -> bytes:
    """A file's bytes through a source reader, whatever its size; raises NeedSpaceError if it is larger than ``most``."""
    buffer = bytearray(min(_FIRST_GUESS, most or _FIRST_GUESS))
    while True:
        try:
            count, _ = reader.read_into(path, entry, memoryview(buffer))
        except NeedSpaceError as error:
            if most is not None and error.size > most:
                raise
            buffer = bytearray(error.size + 1)
            continue
        return bytes(buffer[:count])


_FIRST_GUESS = 1 << 20
