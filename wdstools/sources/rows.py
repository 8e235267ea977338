"""Rows of a table, one at a time, whatever its form and size: CSV, TSV, JSON Lines, JSON, Parquet, Flickr's tokens.

A row that cannot be read becomes a BadRow with its line; the others are still read. Only a table from which nothing
can be read is an error (``table-damaged``).
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, BinaryIO

from wdstools.errors import FormatError, UsageError, WdsError
from wdstools.foreign.split_names import split_of_word
from wdstools.sources.base import is_text
from wdstools.sources.cell_rows import CellRows
from wdstools.sources.source_words import is_image
from wdstools.stores.local import storage_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_UTF8_MARK, _UTF16_MARKS = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")
_DELIMITERS = (",", ";", "\t", "|")
_LIST_RE = re.compile(rb"(?:\xef\xbb\xbf)?\s*\[\s*(?:\{|$)")
_SAID_RE = re.compile(r"sep=(.)", re.IGNORECASE)
_TOKEN_RE = re.compile(r"([^\t]+)#(\d+)\t(.*)")
_HEAD_BYTES = 1 << 16
_NOT_UTF8 = "not UTF-8: `iconv -f CP1252 -t UTF-8` makes it so, if it is from Windows"
_BATCH_ROWS = 4096
_SCALARS = (str, int, bool, type(None))
#: The usual names of a list of rows in a JSON document.
_LISTS = ("annotations", "images", "data", "rows", "samples", "items", "records", "dataset")


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be read: a stable reason, and a detail for people."""

    reason: str
    detail: str


#: The number of a row (its line in a text table, else counted from 1), and its values.
NumberedRow = tuple[int, "dict[str, Any] | BadRow"]


def read_rows(file: BinaryIO, where: str) -> Iterator[NumberedRow]:
    """The rows of a table, in the format of its extension. Raises FormatError (``table-damaged``) if it is not one.

    In CSV the first line is the header, and every value is text. ``where`` names the table in errors.
    """
    extension = where.rpartition(".")[2].lower()
    if extension == "parquet":
        return _parquet(file, where)
    if extension in ("jsonl", "ndjson"):
        return _json_lines(file, where)
    if extension == "json":
        return _json(file, where)
    return _text_rows(file, where)


_ROWS_AS_TEXT = "a header line and rows, in UTF-8; or JSON: captions or objects by id, or a list of objects"


def damaged(where: str, why: str, expected: str = _ROWS_AS_TEXT) -> FormatError:
    """The error for a table that cannot be read."""
    return FormatError(f"the table cannot be read: {why}", code="table-damaged", where=where, expected=expected)


def _text_rows(file: BinaryIO, where: str) -> Iterator[NumberedRow]:
    head = file.read(_HEAD_BYTES)
    file.seek(0)
    if head[:2] in _UTF16_MARKS:  # the "Unicode text" of spreadsheets
        lines: Iterable[str] = io.StringIO(file.read().decode("utf-16", "replace"), newline="")
        first = head.decode("utf-16", "replace")
    elif b"\0" in head:
        raise damaged(where, "it holds NUL bytes")
    else:
        lines = (line.removeprefix(_UTF8_MARK).decode("utf-8", "surrogateescape") for line in file)
        first = head.removeprefix(_UTF8_MARK).decode("utf-8", "replace")
    header = first.split("\n", 1)[0].rstrip("\r")
    said = _SAID_RE.fullmatch(header.strip().strip('"'))
    if said is not None:  # Excel's line that sets the delimiter
        return _delimited(islice(lines, 1, None), said[1], where, first.split("\n", 2)[1].rstrip("\r"))
    if _TOKEN_RE.fullmatch(header):
        return _tokens(lines)
    if header.strip().isdigit() and where.lower().endswith(".txt"):
        return _counted(lines, where)
    delimiter = _delimiter(header, where)
    if delimiter not in header and is_image(header.partition(" ")[0]):
        return _pairs(lines, _names_of(header.split(" ", 1), where) or [])
    return _delimited(lines, delimiter, where, header)


def _pairs(lines: Iterable[str], names: list[str]) -> Iterator[NumberedRow]:
    """The name of an image, a blank, and words about it."""
    for number, line in enumerate(lines, 1):
        words = line.strip().split(maxsplit=1)
        if words and not is_text(line):
            yield number, BadRow("row-not-utf8", _NOT_UTF8)
        elif words and len(words) != len(names):
            yield number, BadRow("row-damaged", "not a name, a blank and words")
        elif words:
            yield number, dict(zip(names, words, strict=True))


def _delimiter(header: str, where: str) -> str:
    """The usual delimiter that splits a header into the most columns; a tab for a .tsv file."""
    if where.lower().endswith(".tsv"):
        return "\t"
    naming = [mark for mark in _DELIMITERS if mark in header and _names_of(header.split(mark), where) is not None]
    if naming:  # not a header, but a row
        return naming[0]
    return max(_DELIMITERS, key=lambda mark: (header.count(mark), mark == ","))


def _tokens(lines: Iterable[str]) -> Iterator[NumberedRow]:
    """Flickr8k and Flickr30k: ``1000092795.jpg#0``, a tab, the caption."""
    for number, line in enumerate(lines, 1):
        match = _TOKEN_RE.fullmatch(line.rstrip("\r\n"))
        if match is None:
            if line.strip():
                yield number, BadRow("row-damaged", "not NAME#NUMBER, a tab and a caption")
        elif not is_text(line):
            yield number, BadRow("row-not-utf8", _NOT_UTF8)
        else:
            yield number, {"file_name": match[1], "caption": match[3]}


def _counted(lines: Iterable[str], where: str) -> Iterator[NumberedRow]:
    """CelebA and DeepFashion: the number of rows, then the names of columns, then rows of words; the image column may have no name."""
    numbered = ((number, line.split()) for number, line in enumerate(lines, 1))
    next(numbered)
    _, header = next(numbered, (0, []))
    if not header or len(set(header)) != len(header):
        raise damaged(where, "no names of columns follow the number of rows")
    for number, words in numbered:
        names = header if len(words) == len(header) else ["file_name", *header]
        if words and len(words) != len(names):
            yield number, BadRow("row-damaged", f"{len(words)} columns, the header has {len(header)}")
        elif words and not is_text("".join(words)):
            yield number, BadRow("row-not-utf8", _NOT_UTF8)
        elif words:
            yield number, dict(zip(names, words, strict=True))


def _delimited(lines: Iterable[str], delimiter: str, where: str, first: str) -> Iterator[NumberedRow]:
    """Rows below a header; a first line that names an image is a row itself. A blank after each delimiter is not part of a cell."""
    cells = first.split(delimiter)
    blank = len(cells) > 1 and all(cell.startswith(" ") for cell in cells[1:])
    names, rows = _names_of(cells, where), CellRows(lines, delimiter, blank=blank)
    return _headed(rows, where) if names is None else _cells(rows, names)


def _names_of(cells: list[str], where: str) -> list[str] | None:
    """Names for columns without a header; None if the first line is a header."""
    image = next((at for at, cell in enumerate(cells) if is_image(cell.strip().strip('"'))), None)
    if image is None or len(cells) < _PAIR:
        return None
    names = [f"column {number}" for number in range(1, len(cells) + 1)]
    names[image] = "file_name"
    if len(cells) == _PAIR:
        name = where.rpartition("/")[2].lower()
        names[1 - image] = "label" if any(word in name for word in ("label", "class", "categor")) else "caption"
    return names


_PAIR = 2


def _headed(rows: CellRows, where: str) -> Iterator[NumberedRow]:
    try:
        _, cells = next(rows, (0, []))
    except csv.Error as error:
        raise damaged(where, str(error)) from None
    header = [name.strip().lstrip("\ufeff") for name in cells]
    if not any(header):
        raise damaged(where, "it has no header")
    if len(set(header)) != len(header):
        raise UsageError("a column is given twice", code="table-columns", where=where, got=", ".join(header)[:200])
    yield from _cells(rows, header)


def _cells(rows: CellRows, header: list[str]) -> Iterator[NumberedRow]:
    while True:
        try:
            number, row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield rows.number, BadRow("row-damaged", str(error))
            continue
        if not row or row == [""]:
            continue
        if len(row) != len(header):
            yield number, BadRow("row-damaged", f"{len(row)} columns, the header has {len(header)}")
        elif not is_text("".join(row)):
            yield number, BadRow("row-not-utf8", _NOT_UTF8)
        else:
            yield number, {name: value or None for name, value in zip(header, row, strict=True)}


def _json_lines(file: BinaryIO, where: str) -> Iterator[NumberedRow]:
    read = 0
    first: BadRow | None = None
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        if number == 1 and _LIST_RE.match(line):  # a JSON document, whatever its extension
            yield from _json(io.BytesIO(b"".join(chain([line], file))), where)
            return
        row = _object(line.removeprefix(_UTF8_MARK))
        first = first or (row if isinstance(row, BadRow) else None)
        read += not isinstance(row, BadRow)
        yield number, row
    if not read:
        raise damaged(where, first.detail if first else "it is empty")


class TooLarge(float):
    """A JSON number written with digits that is too large for a float: Python reads it as infinity."""

    __slots__ = ()


def _number(text: str) -> float:
    value = float(text)
    return TooLarge(value) if math.isinf(value) else value


_LINES = json.JSONDecoder(parse_float=_number)


def _object(line: bytes) -> dict[str, Any] | BadRow:
    try:
        row = _LINES.decode(line.decode())
    except (ValueError, RecursionError) as error:
        return BadRow("row-damaged", str(error))
    return row if isinstance(row, dict) else BadRow("row-damaged", f"not an object but a {type(row).__name__}")


def _parquet(file: BinaryIO, where: str) -> Iterator[NumberedRow]:
    from wdstools.formats.parquet_files import batches_of, rows_of  # late: most tables are text, and need no Arrow

    with reading_parquet(where):
        number = 0
        for batch in batches_of(file, _BATCH_ROWS):
            for row in rows_of(batch):
                number += 1
                yield number, row


@contextlib.contextmanager
def reading_parquet(where: str) -> Iterator[None]:
    """Raise pyarrow's errors about a table as FormatError (``table-damaged`` and the like), and errors of the disk as StoreError."""
    import pyarrow as pa

    from wdstools.formats.parquet_files import GAPS_SINCE, TooOldArrowError
    from wdstools.formats.parquet_pages import TooMuchError

    try:
        yield
    except WdsError:
        raise
    except TooMuchError as error:
        raise FormatError(
            "the table would take too much memory",
            code="table-too-large",
            where=where,
            got=str(error),
            hint="do not use a table that you do not trust; otherwise split it into tables with fewer rows, or write it in larger row groups",
        ) from None
    except TooOldArrowError as error:
        raise FormatError(
            "the installed pyarrow cannot read a column",
            code="table-unsupported",
            where=f"{where}, column {error.column}",
            expected=f"pyarrow {GAPS_SINCE} or newer, for lists of one length if some are missing",
            got=f"pyarrow {pa.__version__}: {error.kind}: {error}"[:300],
            hint=f"upgrade pyarrow, or write the column as lists of any length; if pyarrow {GAPS_SINCE} cannot read it either, the table is damaged",
        ) from None
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno:  # pyarrow's own errors have none
            raise storage_error(error, where) from None
        raise damaged(where, next(iter(str(error).splitlines()), type(error).__name__), "a Parquet file") from None


def _json(file: BinaryIO, where: str) -> Iterator[NumberedRow]:
    data = file.read()
    try:
        document = json.loads(data.removeprefix(_UTF8_MARK), object_pairs_hook=_once, parse_float=_number)
    except (ValueError, RecursionError) as error:
        if _are_lines(data):
            yield from _json_lines(io.BytesIO(data), where)
            return
        raise damaged(where, str(error)) from None
    yield from enumerate(_rows_of(document, where), 1)


def _are_lines(data: bytes) -> bool:
    """Whether a document has one object per line, whatever its extension, judged by its first two lines."""
    lines = [line for line in data.removeprefix(_UTF8_MARK).split(b"\n", _SEVERAL_LINES + 1) if line.strip()]
    first = lines[:_SEVERAL_LINES]
    return len(first) == _SEVERAL_LINES and not any(isinstance(_object(line), BadRow) for line in first)


_SEVERAL_LINES = 2


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object without repeated names: of two values with one name, some JSON readers keep the first, others the last."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)} is there twice")
    return found


def _rows_of(document: Any, where: str) -> Iterator[dict[str, Any] | BadRow]:
    """Rows of a JSON document: COCO's and Karpathy's captions, a list of objects, or values by id or path."""
    if isinstance(document, dict) and _is_coco(document):
        yield from _coco(document)
        return
    if isinstance(document, dict) and _lists_splits(document):
        yield from ({"file_name": name, "split": split} for split, names in document.items() for name in names)
        return
    if isinstance(document, dict):
        document = _listed_in(document)
    if isinstance(document, list):
        for row in document:
            if not isinstance(row, dict):
                yield BadRow("row-damaged", f"not an object but a {type(row).__name__}")
            elif _is_table(row.get("media")) and "uri" in row["media"][0]:
                yield from _post(row)
            else:
                yield row
    elif isinstance(document, dict):
        for name, said in document.items():
            yield {**said, "id": name} if isinstance(said, dict) else {"id": name, "caption": said}
    else:
        raise damaged(where, f"it holds a {type(document).__name__}")


def _listed_in(document: dict[str, Any]) -> Any:
    """The rows that a document has under a name, or under the name of each split; else the document itself."""
    tables = [name for name, value in document.items() if _is_table(value)]
    if len(tables) > 1 and all(map(split_of_word, tables)):
        return [{"split": name} | row if isinstance(row, dict) else row for name in tables for row in document[name]]
    named = next((name for name in _LISTS if name in tables), tables[0] if len(tables) == 1 else None)
    return document[named] if named else document


def _lists_splits(document: Mapping[str, Any]) -> bool:
    """Whether a document lists the names of the images of each split."""
    lists = document.values()
    listed = all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in lists)
    return len(document) > 1 and all(map(split_of_word, document)) and listed and any(lists)


def _post(post: Mapping[str, Any]) -> Iterator[dict[str, Any] | BadRow]:
    """A post of Instagram's export, with one or several media. It writes each byte of UTF-8 as a character."""
    words = post.get("title")
    for medium in post["media"]:
        if not isinstance(medium, dict):
            yield BadRow("row-damaged", f"not an object but a {type(medium).__name__}")
            continue
        title = words or medium.get("title")
        said = {"title": _from_bytes(title)} if isinstance(title, str) and title else {}
        yield {name: value for name, value in medium.items() if name != "title"} | said


def _from_bytes(text: str) -> str:
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _is_coco(document: Mapping[str, Any]) -> bool:
    """Whether a document lists images and, separately, annotations by ``image_id``."""
    lists = [document.get(name) for name in ("images", "annotations")]
    pictures, notes = (found[:100] if isinstance(found, list) else [] for found in lists)
    named = any(isinstance(picture, dict) and isinstance(picture.get("file_name"), str) for picture in pictures)
    return named and all(isinstance(note, dict) and "image_id" in note for note in notes)


def _coco(document: Mapping[str, Any]) -> Iterator[dict[str, Any] | BadRow]:
    """One row per image, with its captions in the order of the file; boxes and the like as ``annotations``, with the names of their categories."""
    captions: dict[Any, list[str]] = defaultdict(list)
    others: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    listed = document.get("categories")
    categories = {c.get("id"): c.get("name") for c in listed if isinstance(c, dict)} if isinstance(listed, list) else {}
    for note in document["annotations"]:
        if not isinstance(note, dict) or not isinstance(note.get("image_id"), str | int):
            continue
        if isinstance(note.get("caption"), str):
            captions[note["image_id"]].append(note["caption"].strip("\n"))
        else:
            category = categories.get(note["category_id"]) if isinstance(note.get("category_id"), str | int) else None
            rest = {name: value for name, value in note.items() if name != "image_id"}
            others[note["image_id"]].append(rest | ({"category": category} if category is not None else {}))
    for picture in document["images"]:
        if isinstance(picture, dict) and isinstance(picture.get("file_name"), str):
            row: dict[str, Any] = {"file_name": picture["file_name"]}
            number = picture["id"] if isinstance(picture.get("id"), str | int) else None
            if captions or not others:
                row["captions"] = captions.get(number, [])
            if others:
                row["annotations"] = others.get(number, [])
            yield row
        else:
            yield BadRow("row-damaged", "an image without file_name")


def plain(value: Any) -> Any:
    """A value that JSON can represent: NaN becomes null, dates and decimals become text; bytes are left out."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items() if not isinstance(item, bytes)}
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in value if not isinstance(item, bytes)]
    return None if isinstance(value, bytes) else value.isoformat() if hasattr(value, "isoformat") else str(value)


def as_json(values: Mapping[str, Any]) -> str:
    """A sample's ``json`` member, with sorted names, so that the same values give the same bytes."""
    text = json.dumps(plain(dict(values)), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    if is_text(text):
        return text
    # half a character (a lone surrogate): written as JSON escapes
    return json.dumps(plain(dict(values)), sort_keys=True, separators=(",", ":"))
