"""Tables that lie among the images of a tree: which of its files are some, and what they say of each image."""

from __future__ import annotations

import io
import posixpath
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote, urlsplit

from wdstools.errors import FormatError, UsageError, option
from wdstools.foreign.split_names import split_in_name
from wdstools.results import Skip
from wdstools.sources.base import NeedSpaceError, join_path, shown
from wdstools.sources.columns import Columns, Said, columns_of, read_row
from wdstools.sources.rows import BadRow, NumberedRow, read_rows
from wdstools.sources.words import LOOSE_TABLE_EXTENSIONS, is_image

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wdstools.sources.base import SourceReader
    from wdstools.sources.columns import TableRules
    from wdstools.sources.survey import Survey
    from wdstools.sources.tree import Folder, Tree

#: Files called so are tables, or damaged ones.
_SURE_STEMS = ("metadata", "captions")
_LOOSE_STEMS = ("captions", "results", "annotations", "metadata", "labels", "flickr")
#: Rows that are looked at before a file is taken for a table of these images.
_PROBED_ROWS = 200
#: A folder with more JSON files than these holds one an image.
_MOST_JSON_TABLES = 64


def load_columns(names: Iterable[str], rules: TableRules, where: str) -> Columns:
    """The meaning of a table's columns; there must be one that names the image. Raises UsageError (``table-no-path``)."""
    listed = list(names)
    columns = columns_of(listed, rules, where)
    if columns.path is None and columns.key is None:
        raise UsageError(
            "the table has no column of paths",
            code="table-no-path",
            where=where,
            expected=f"file_name, image, path or the like; or one named with {option('path_column')}",
            got=", ".join(listed)[:200],
        )
    return columns


def plain_path(name: str) -> str:
    """A path of a table as it would stand below the source: ``./a/../x.jpg`` is ``x.jpg``, backslashes are slashes."""
    if "://" in name:
        name = unquote(urlsplit(name).path).lstrip("/")
    if "\\" in name:
        name = name.replace("\\", "/")
    return posixpath.normpath(name) if name else name


def leads_outside(path: str) -> bool:
    """Whether a plain path is none below the source."""
    return path.startswith(("/", "../")) or path == ".." or path[1:2] == ":"


@dataclass(slots=True)
class Tables:
    """What the tables of a tree say, by the path of each image.

    ``read`` are the tables, by folder; ``strays`` the rows that name no image of the tree.
    """

    tree: Tree
    found: Survey
    rules: TableRules
    rows: dict[str, Said] = field(default_factory=dict)
    read: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    skips: list[Skip] = field(default_factory=list)
    _names: dict[str, frozenset[str]] = field(default_factory=dict)
    _by_name: dict[str, list[str]] | None = None
    _by_stem: dict[str, list[str]] | None = None

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
            for name in held.files:
                lower, (stem, _, extension) = name.lower(), name.rpartition(".")
                if not lower.endswith(LOOSE_TABLE_EXTENSIONS) or stem in stems or stem.rpartition(".")[0] in stems:
                    continue
                if extension.lower() == "txt" and not stem.lower().startswith(_LOOSE_STEMS):
                    continue
                if extension.lower() != "json" or few or stem.lower() in _SURE_STEMS:
                    yield folder, name

    def _table(self, folder: str, path: str) -> bool:
        """Read one; whether it is a table of these images. What is none gives no skips."""
        first: list[NumberedRow] = []
        with self._open(path) as file:
            numbered = read_rows(file, path)
            for entry in numbered:
                first.append(entry)
                if len(first) >= _PROBED_ROWS:
                    break
            good = [row for _, row in first if not isinstance(row, BadRow)]
            names = list(dict.fromkeys(name for row in good for name in row))
            try:
                columns = load_columns(names, self.rules, path)
            except UsageError:
                if (
                    self.rules.path_column is not None
                    or path.rpartition("/")[2].rpartition(".")[0].lower() == "metadata"
                ):
                    raise
                return False
            if not any(self._resolve(folder, row, columns) for row in good):
                return False
            for number, row in (*first, *numbered):
                self._row(folder, (path, number), row, columns)
        return True

    def _row(self, folder: str, place: tuple[str, int], row: object, columns: Columns) -> None:
        path, number = place
        where = f"{path}, row {number}"
        if isinstance(row, BadRow):
            self.skips.append(Skip(row.reason, shown(path), detail=f"row {number}: {row.detail}"))
            return
        assert isinstance(row, dict)
        image = self._resolve(folder, row, columns)
        name = str(row.get(columns.path or columns.key or "") or "")
        said = read_row(row, columns)
        if not name:
            self.skips.append(Skip("path-missing", shown(path), detail=f"row {number}"))
        elif said is None:
            detail = f"{where}: its caption is neither a text nor a list of texts"
            self.skips.append(Skip("caption-not-text", shown(image or name), detail=detail))
        elif image is None:
            reason = "path-outside" if leads_outside(plain_path(name)) else "image-missing"
            self.skips.append(Skip(reason, shown(join_path(folder, name)), detail=f"named in {where}"))
        else:
            said.where = where
            if said.split is None and (split := split_in_name(path.rpartition("/")[2].partition(".")[0])) is not None:
                said.split = split[0]
            if image in self.rows:
                self.rows[image].add(said)
            else:
                self.rows[image] = said

    def _resolve(self, folder: str, row: dict[str, object], columns: Columns) -> str | None:
        """The image that a row names: from the table's folder, from the base, else the only one of that name or stem."""
        given = row.get(columns.path or columns.key or "")
        if given is None or isinstance(given, dict | list | bytes) or "\0" in str(given):
            return None
        name = plain_path(str(given))
        if not name or name == ".":
            return None
        if not leads_outside(name):
            for root in dict.fromkeys((folder, self.found.base)):
                path = posixpath.normpath(join_path(root, name))
                if self._is_there(path):
                    return path
        tail = name.lstrip("./") if leads_outside(name) else name
        same = self._named(posixpath.basename(tail))
        alike = [path for path in same if path == tail or path.endswith(f"/{tail}")] or same
        return alike[0] if len(alike) == 1 else None

    def _is_there(self, path: str) -> bool:
        folder, _, name = path.rpartition("/")
        if folder not in self.found.folders:
            return False
        if folder not in self._names:
            held = self.tree.list(folder)
            self._names[folder] = frozenset(filter(is_image, held.files if held else ()))
        return name in self._names[folder]

    def _named(self, name: str) -> list[str]:
        """The images of a name, else of a stem, wherever they lie."""
        if self._by_name is None or self._by_stem is None:
            self._by_name, self._by_stem = defaultdict(list), defaultdict(list)
            for folder, facts in self.found.folders.items():
                held = self.tree.list(folder) if facts.images else None
                for image in filter(is_image, held.files if held else ()):
                    self._by_name[image].append(join_path(folder, image))
                    self._by_stem[image.rpartition(".")[0]].append(join_path(folder, image))
        return self._by_name.get(name) or self._by_stem.get(name) or []

    def _open(self, path: str) -> BinaryIO:
        """A table's bytes, one block after the other."""
        folder, _, name = path.rpartition("/")
        held = self.tree.list(folder)
        return open_member(self.tree, path, held.entry(name) if held else None)


def open_member(tree: Tree, path: str, entry: bytes | None) -> BinaryIO:
    """A file of a tree, to be read from the front: of a folder where it lies, of an archive in memory."""
    root = getattr(tree.opener, "path", None)
    if entry is None and root is not None:
        from wdstools.sources.readers import reading

        with reading(f"{root}/{path}"):
            return open(f"{root}/{path}", "rb")
    reader = tree.opener.open()
    try:
        return io.BytesIO(read_whole(reader, path, entry))
    finally:
        reader.close()


def read_whole(reader: SourceReader, path: str, entry: bytes | None, first_guess: int = 1 << 20) -> bytes:
    """A file's bytes through a source reader, whatever its size."""
    buffer = bytearray(first_guess)
    while True:
        try:
            count, _ = reader.read_into(path, entry, memoryview(buffer))
        except NeedSpaceError as error:
            buffer = bytearray(error.size + 1)
            continue
        return bytes(buffer[:count])


def first_files(held: Folder, ends: tuple[str, ...], most: int) -> list[str]:
    """The first files of a folder with one of some endings."""
    return [name for name in held.files if name.lower().endswith(ends)][:most]
