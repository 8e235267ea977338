"""What the columns of a table mean, and what a row says about an image."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wdstools.errors import UsageError, option
from wdstools.foreign.split_names import narrower, split_of_word
from wdstools.python_text import literal
from wdstools.sources.base import is_text
from wdstools.sources.rows import as_json
from wdstools.units import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

PATH_COLUMNS = (
    "file_name", "filename", "image_path", "path", "filepath", "file_path", "image", "img", "image_name", "img_name", "image_file",
    "img_path", "image_index", "file", "photo", "name", "uri", "url", "image_url",
)  # fmt: skip
CAPTION_COLUMNS = (
    "caption", "captions", "text", "txt", "description", "prompt", "comment", "sentence", "sentences", "title", "raw", "caption_str",
    "alt_text", "alt",
)  # fmt: skip
LABEL_COLUMNS = ("label", "class", "class_name", "category", "city")
SPLIT_COLUMNS = ("split", "subset", "partition")
ID_COLUMNS = ("id", "key", "image_id", "photo_id")
#: Meanings, in the order in which columns are assigned to them.
_MEANINGS = {
    "path": PATH_COLUMNS,
    "caption": CAPTION_COLUMNS,
    "label": LABEL_COLUMNS,
    "split": SPLIT_COLUMNS,
    "key": ID_COLUMNS,
}
#: Columns of things of which an image has several: a row with all of these is about one box, not about the image.
_BOX_COLUMNS = (
    ("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"), ("x", "y", "w", "h"), ("x", "y", "width", "height"),
    ("left", "top", "width", "height"), ("left", "top", "right", "bottom"), ("xcenter", "ycenter", "width", "height"),
    ("bbox",), ("boundingbox",), ("encodedpixels",), ("rle",), ("segmentation",),
)  # fmt: skip
#: The name under which several of them are stored as a list in the ``json`` of an image, as for COCO's boxes.
ANNOTATIONS = "annotations"
#: A row gives an image another split, label or key than an earlier row.
CONTRADICTS = "row-contradicts"
#: The caption of a row is not text.
NOT_TEXT = "caption-not-text"
NOT_TEXT_DETAIL = "its caption is neither a text nor a list of texts"

#: The options from which TableRules are made.
TABLE_CHOICES = ("path_column", "caption_column", "label_column", "split_column", "key_column", "several_captions")


@dataclass(frozen=True, slots=True)
class TableRules:
    """How the user wants tables to be read: the column for each meaning, by default the usual ones; and what to do with several captions.

    ``several_captions``: ``all`` keeps the first as caption and all in ``json``; ``first`` keeps only the first; ``join`` joins them,
    one per line.
    """

    path_column: str | None = None
    caption_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    key_column: str | None = None
    several_captions: str = "all"

    @property
    def asked(self) -> dict[str, str]:
        """The columns given by the user, by their meaning."""
        columns = {meaning: getattr(self, f"{meaning}_column") for meaning in _MEANINGS}
        return {meaning: column for meaning, column in columns.items() if column is not None}

    @property
    def given(self) -> dict[str, str]:
        """The options that differ from the defaults, by name."""
        usual = TableRules()
        return {n: getattr(self, n) for n in TABLE_CHOICES if getattr(self, n) != getattr(usual, n)}


@dataclass(frozen=True, slots=True)
class Columns:
    """The column for each meaning; None if the table has none."""

    path: str | None = None
    caption: str | None = None
    label: str | None = None
    split: str | None = None
    key: str | None = None
    #: Whether a row is about a box; an image may have several.
    boxes: bool = False

    @property
    def named(self) -> set[str]:
        """The columns that have a meaning."""
        return {name for name in (self.path, self.caption, self.label, self.split, self.key) if name}


def columns_of(names: Collection[str], rules: TableRules, where: str, *, alone: bool = True) -> Columns:
    """The meaning of a table's columns, ignoring case.

    Raises UsageError for a missing column that the user gave, if the table is the source itself (``alone``).
    """
    lower: dict[str, str] = {}
    plain: dict[str, str] = {}
    for name in names:
        lower.setdefault(name.lower().strip(), name)
        plain.setdefault(_plain_name(name), name)
    found: dict[str, str | None] = {}
    taken: set[str] = set()
    for meaning, usual in _MEANINGS.items():
        asked = getattr(rules, f"{meaning}_column")
        if alone and asked is not None and asked not in names and asked.lower() not in lower:
            raise UsageError(
                "the table has no such column",
                code="table-columns",
                where=f"{where}, {option(f'{meaning}_column')}",
                expected=", ".join(names)[:200],
                got=asked,
            )
        column = asked if asked in names else None
        if column is None and asked is not None:
            column = lower.get(asked.lower())
        elif column is None:
            called = [plain.get(_plain_name(name)) for name in usual]
            called += _other_names(meaning, plain)
            column = next((name for name in called if name is not None and name not in taken), None)
        found[meaning] = column
        taken |= {column} if column else set()
    return Columns(**found, boxes=any(plain.keys() >= set(parts) for parts in _BOX_COLUMNS))


#: The columns of DiffusionDB: prompt, seed, step, guidance, sampler.
_DIFFUSION = {"p", "se", "c", "st", "sa"}


def _other_names(meaning: str, plain: Mapping[str, str]) -> list[str]:
    """Columns with other names: ``image_file_name``, if there is only one like it; the prompts of DiffusionDB."""
    if meaning == "path":
        ending = [name for short, name in plain.items() if short.endswith("filename")]
        return ending if len(ending) == 1 else []
    return [plain["p"]] if meaning == "caption" and plain.keys() >= _DIFFUSION else []


def naming(names: Collection[str]) -> list[str]:
    """The columns that may name images, the most likely first."""
    plain = {_plain_name(name): name for name in reversed(list(names))}
    called = [plain.get(_plain_name(name)) for name in (*PATH_COLUMNS, *ID_COLUMNS)] + _other_names("path", plain)
    return list(dict.fromkeys(name for name in called if name is not None))


def _plain_name(name: str) -> str:
    """A column's name in the form used for comparison: ``ImageID``, ``image_id`` and ``Image Id`` are equal."""
    return re.sub(r"[\W_]", "", name.lower())


@dataclass(slots=True)
class Said:
    """What tables say about one image; ``more`` has the columns without a meaning."""

    captions: list[str] = field(default_factory=list)
    label: str | None = None
    split: str | None = None
    more: dict[str, Any] = field(default_factory=dict)
    where: str = ""
    key: str | None = None
    #: A row has an empty cell for its caption: an empty caption, as an empty text file is one.
    blank: bool = False
    #: What rows say about boxes in the image: the further columns of each, and the column of its class.
    boxes: list[tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=list)
    #: Why the image is not a sample though a row names it: a stable reason, and a detail for people.
    refused: tuple[str, str] | None = None
    #: Rows whose captions are neither a text nor a list of texts.
    odd: list[str] = field(default_factory=list)
    #: Further columns in which rows differ: the value of the first row is kept.
    differs: set[str] = field(default_factory=set)

    def add(self, other: Said) -> None:
        """Add what another row says about the same image: its captions and boxes; there can be only one split, label and key."""
        self.captions += [caption for caption in other.captions if caption not in self.captions]
        self.label = self._agree("label", other) if not (self.boxes and other.boxes) else self.label
        self.split = self._agree("split", other)
        self.key = self._agree("key", other)
        self.blank = self.blank or other.blank
        self.boxes += other.boxes
        self.odd += other.odd
        self.refused = self.refused or other.refused
        self.differs |= other.differs
        self.differs |= {name for name, value in other.more.items() if self.more.get(name, value) != value}
        self.more = {**other.more, **self.more}

    def _agree(self, what: str, other: Said) -> str | None:
        mine: str | None = getattr(self, what)
        others: str | None = getattr(other, what)
        if mine is None or others is None or mine == others:
            return others if mine is None else mine
        if what == "split" and (narrow := narrower(mine, others)) is not None:
            return narrow
        detail = f"{what} {mine} in {self.where}, {others} in {other.where}"
        self.refused = self.refused or (CONTRADICTS, detail)
        return mine


def bring_together(saids: Iterable[Said]) -> list[str]:
    """Finish once every row is read: boxes become a list if any image has several, else columns; returns notes."""
    saids = list(saids)
    several = any(len(said.boxes) > 1 for said in saids)
    differs: dict[str, int] = {}
    for said in saids:
        if several and said.boxes:
            said.more = {ANNOTATIONS: [{**box, **kind} for box, kind in said.boxes], **said.more}
            said.label = None
        elif said.boxes:
            said.more = {**said.boxes[0][0], **said.more}
        said.boxes = []
        for name in said.differs:
            differs[name] = differs.get(name, 0) + 1
    return [
        f"rows of the same image differ in column {name}: the first row's value is kept, for {counted(count, 'image')}"
        for name, count in sorted(differs.items())
    ]


def captions_in(value: Any) -> list[str] | None:
    """The captions in a cell: a text, a list of texts, or objects with a text; None if it is something else."""
    if value is None:
        return []
    if isinstance(value, str):
        return _listed(value) or [value]
    if isinstance(value, dict):
        name = next((name for name in CAPTION_COLUMNS if isinstance(value.get(name), str)), None)
        return None if name is None else [value[name]]
    if isinstance(value, list):
        parts = [captions_in(item) for item in value]
        return None if None in parts else [text for part in parts for text in part or ()]
    return None


def _listed(text: str) -> list[str] | None:
    """The texts of a list written into a cell, as JSON or as a Python literal; None if it is not one."""
    if not (text.startswith("[") and text.rstrip().endswith("]") and text[1:].lstrip()[:1] in ("'", '"')):
        return None
    for read in (json.loads, literal):
        try:
            found = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, list) and found and all(isinstance(one, str) for one in found):
            return found
    return None


def read_row(row: Mapping[str, Any], columns: Columns, where: str = "") -> Said:
    """What a row says; ``where`` names the row, for people. A caption that is not text (a number, an object without a text) is odd."""
    captions = captions_in(row.get(columns.caption)) if columns.caption else []
    odd = [where] if captions is None else []
    more = {name: value for name, value in row.items() if name not in columns.named and not isinstance(value, bytes)}
    if captions is None and columns.caption is not None:
        more[columns.caption] = row[columns.caption]
    label, split = (_word(row.get(name)) if name else None for name in (columns.label, columns.split))
    if split is not None:
        split = _NUMBERED_SPLITS.get(split, split) if columns.split and columns.split.lower() == "partition" else split
        split = split_of_word(split) or split
    blank = columns.caption is not None and columns.caption in row and row[columns.caption] is None
    if columns.boxes:
        kind = {} if columns.label is None else {columns.label: row.get(columns.label)}
        return Said(captions or [], label, split, where=where, blank=blank, boxes=[(more, kind)], odd=odd)
    return Said(captions or [], label, split, more, where=where, blank=blank, odd=odd)


#: Splits as numbered in CelebA's lists.
_NUMBERED_SPLITS = {"0": "train", "1": "val", "2": "test"}


def settle(said: Said, several: str, *, lists: bool) -> tuple[str | None, str | None]:
    """Caption and ``json`` of an image; ``lists``: some image of the source has several captions."""
    captions = said.captions
    caption = captions[0] if captions else "" if said.blank else None
    if several == "join" and captions:
        caption = "\n".join(captions)
    more: dict[str, Any] = dict(said.more)
    if lists and several == "all":
        more["captions"] = captions
    return caption, as_json(more) if more else None


def _word(value: Any) -> str | None:
    if value is None or value == "" or isinstance(value, list | dict | bytes | float) or not is_text(str(value)):
        return None
    return str(value)
