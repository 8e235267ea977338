"""Tables of samples: CSV, JSON lines or Parquet, one row an image."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wdstools.errors import FormatError, NotFoundError, UsageError
from wdstools.formats.arrow import reader_over
from wdstools.formats.sample import make_key
from wdstools.images.check import TYPE_OF_EXTENSION
from wdstools.results import Skip
from wdstools.sources.base import CAPTION_POLICIES, Listing, SamplesBuilder, SourceReader, is_text
from wdstools.sources.readers import FolderOpener
from wdstools.stores.local import storage_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from wdstools.sources.tree import Tree

#: Names that Hugging Face gives to a table of metadata beside images.
METADATA_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
TABLE_EXTENSIONS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
PATH_COLUMNS = ("file_name", "path", "image", "filepath", "file")
CAPTION_COLUMNS = ("caption", "text", "txt")
_LABEL_COLUMNS = ("label", "class", "category")
ID_COLUMNS = ("id", "key")
_MAX_TABLE_BYTES = 4 << 30


@dataclass(frozen=True, slots=True)
class Row:
    """What a table says of one image; ``json`` holds the columns that have no meaning here."""

    caption: str | None = None
    json: str | None = None


class TableSource:
    """A table whose rows name images, with paths relative to the table's folder.

    Columns: a path (``path``, ``file_name``, ``image``), and optionally ``caption`` or ``text``, ``label``, ``split``,
    ``id``. Other columns become the sample's ``json``.
    """

    def __init__(self, path: str, *, captions: str | None = None) -> None:
        if captions is not None and captions not in CAPTION_POLICIES:
            raise UsageError(
                "no such caption policy", where="--captions", expected=", ".join(CAPTION_POLICIES), got=captions
            )
        self.path = path
        self._captions = captions

    def list(self) -> Listing:
        """List the rows; images are not opened, but their existence is looked up folder by folder."""
        try:
            with open(self.path, "rb") as file:
                table = read_table(file.read(_MAX_TABLE_BYTES), self.path)
        except OSError as error:
            raise storage_error(error, self.path) from error
        columns = _meaning(table, self.path)
        has_captions = columns["caption"] is not None
        captions = self._captions or ("required" if has_captions else "none")
        rows = _Rows(os.path.dirname(self.path) or ".", captions)
        rows.add(table, columns)
        if not rows.types:
            raise NotFoundError("the table names no image that exists", code="source-empty", where=self.path)
        return Listing(
            opener=FolderOpener(rows.folder),
            samples=rows.builder.table(),
            labels=tuple(sorted(rows.labels)),
            captions=captions,
            label_in_key=False,
            recipe="table",
            template={},
            image_types=dict(sorted(rows.types.items())),
            skips=tuple(rows.skips),
        )


class _Rows:
    """Sorts rows into runs that share split, label and folder."""

    def __init__(self, folder: str, captions: str) -> None:
        self.folder = folder
        self.captions = captions
        self.builder = SamplesBuilder()
        self.skips: list[Skip] = []
        self.labels: set[str] = set()
        self.types: Counter[str] = Counter()
        self._names: dict[str, set[str]] = {}

    def add(self, table: pa.Table, columns: Mapping[str, str | None]) -> None:
        """Add every row of a table."""
        given = {name: table.column(column).to_pylist() if column else None for name, column in columns.items()}
        others = [name for name in table.column_names if name not in columns.values()]
        extra = [table.column(name).to_pylist() for name in others]
        runs: dict[tuple[str | None, ...], dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
        for number, path in enumerate(given["path"] or ()):
            row = {name: values[number] if values else None for name, values in given.items()}
            reason = self._refuse(path, row["caption"]) or _refuse_id(row["id"])
            if reason:
                self.skips.append(Skip(reason, str(path), _text(row["split"]), detail=f"row {number + 1} of the table"))
                continue
            folder, _, name = path.removeprefix("./").rpartition("/")
            stem, dot, extension = name.rpartition(".")
            label = _text(row["label"])
            run = runs[_text(row["split"]), label, folder]
            run["stem"].append(stem)
            run["image_suffix"].append(dot + extension)
            if given["id"] is not None:
                run["key"].append(_key(row["id"]))
            if self.captions != "none":
                run["caption"].append("" if row["caption"] is None else str(row["caption"]))
            if others:
                run["json"].append(as_json({key: values[number] for key, values in zip(others, extra, strict=True)}))
            self.types[TYPE_OF_EXTENSION[extension.lower()]] += 1
            self.labels |= {label} if label is not None else set()
        for (split, label, folder), own in runs.items():
            self.builder.add({"split": split, "label": label, "id_dir": folder, "image_dir": folder}, own)

    def _refuse(self, path: object, caption: object) -> str | None:
        if not isinstance(path, str) or not path:
            return "path-missing"
        if "\0" in path or not is_text(path):
            return "path-invalid"
        extension = path.rpartition(".")[2].lower()
        if extension not in TYPE_OF_EXTENSION:
            return "image-unknown"
        if caption is None and self.captions == "required":
            return "caption-missing"
        folder, _, name = path.removeprefix("./").rpartition("/")
        if folder not in self._names:
            try:
                self._names[folder] = set(os.listdir(os.path.join(self.folder, folder)))
            except OSError:
                self._names[folder] = set()
        return None if name in self._names[folder] else "image-missing"


def _key(sample_id: object) -> str | None:
    return None if sample_id is None else make_key(None, str(sample_id).encode()).decode()


def _refuse_id(sample_id: object) -> str | None:
    try:
        _key(sample_id)
    except FormatError as error:
        return error.code
    return None


def load_metadata(tree: Tree, folder: str) -> dict[str, Row]:
    """The rows of a metadata table in this folder of a tree, by file name; empty if there is none."""
    held = tree.list(folder)
    names = [name for name in METADATA_NAMES if held and name in held.files]
    if not held or not names:
        return {}
    place = held.files.index(names[0])
    path = f"{folder}/{names[0]}" if folder else names[0]
    reader = tree.opener.open()
    try:
        data = read_whole(reader, path, held.entries[place] if held.entries else None)
    finally:
        reader.close()
    table = read_table(data, path)
    columns = _meaning(table, path)
    others = [name for name in table.column_names if name not in (columns["path"], columns["caption"])]
    captions = table.column(columns["caption"]).to_pylist() if columns["caption"] else [None] * table.num_rows
    extra = table.select(others).to_pylist() if others else [{}] * table.num_rows
    paths = table.column(columns["path"]).to_pylist()
    return {
        str(name): Row(None if caption is None else str(caption), as_json(more) if more else None)
        for name, caption, more in zip(paths, captions, extra, strict=True)
    }


def read_whole(reader: SourceReader, path: str, entry: bytes | None, first_guess: int = 1 << 20) -> bytes:
    """A file's bytes through a source reader, whatever its size."""
    from wdstools.sources.base import NeedSpaceError

    buffer = bytearray(first_guess)
    while True:
        try:
            count, _ = reader.read_into(path, entry, memoryview(buffer))
        except NeedSpaceError as error:
            buffer = bytearray(error.size + 1)
            continue
        return bytes(buffer[:count])


def read_table(data: bytes, where: str) -> pa.Table:
    """Parse CSV, TSV, JSON lines or Parquet by the name's extension; raises FormatError (``table-damaged``)."""
    import pyarrow as pa
    from pyarrow import csv, parquet
    from pyarrow import json as arrow_json

    extension = os.path.splitext(where)[1].lower()
    try:
        if extension == ".parquet":
            return parquet.ParquetFile(reader_over(data)).read()
        if extension in (".jsonl", ".ndjson"):
            return arrow_json.read_json(
                reader_over(data), arrow_json.ReadOptions(block_size=max(1 << 20, min(len(data), 1 << 30)))
            )
        delimiter = "\t" if extension == ".tsv" else ","
        header = data.split(b"\n", 1)[0].decode("utf-8-sig").strip("\r").split(delimiter)
        # every column as text: an id like 007 must stay as it is
        types = {name.strip('"'): pa.string() for name in header}
        options = csv.ConvertOptions(
            column_types=types, strings_can_be_null=True, quoted_strings_can_be_null=False, null_values=[""]
        )
        return csv.read_csv(
            reader_over(data),
            parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=options,
        )
    except (pa.ArrowException, UnicodeDecodeError, OSError, ValueError) as error:
        raise FormatError(
            f"the table cannot be read: {str(error).splitlines()[0]}",
            code="table-damaged",
            where=where,
            expected="a header line and rows, in UTF-8",
        ) from error


def _meaning(table: pa.Table, where: str) -> dict[str, str | None]:
    names = table.column_names
    if len(set(names)) != len(names):
        raise UsageError("a column is given twice", code="table-columns", where=where, got=", ".join(names)[:200])
    found = {
        meaning: next((name for name in candidates if name in names), None)
        for meaning, candidates in (
            ("path", PATH_COLUMNS),
            ("caption", CAPTION_COLUMNS),
            ("label", _LABEL_COLUMNS),
            ("split", ("split",)),
            ("id", ID_COLUMNS),
        )
    }
    if found["path"] is None:
        raise UsageError(
            "the table has no column of paths",
            code="table-no-path",
            where=where,
            expected=" or ".join(PATH_COLUMNS),
            got=", ".join(names)[:200],
        )
    return found


def _text(value: object) -> str | None:
    return None if value is None or value == "" else str(value)


def as_json(values: Mapping[str, Any]) -> str:
    """A sample's ``json`` member: names in order, so that the same values give the same bytes."""
    return json.dumps(dict(values), ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)
