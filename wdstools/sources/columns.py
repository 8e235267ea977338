"""What the columns of a table mean, and what a row says of an image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wdstools.errors import UsageError, option
from wdstools.sources.base import is_text
from wdstools.sources.rows import as_json

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

PATH_COLUMNS = (
    "file_name", "filename", "image_path", "path", "filepath", "file_path", "image", "img", "image_name", "image_file", "img_path",
    "file", "photo", "name", "url", "image_url",
)  # fmt: skip
CAPTION_COLUMNS = (
    "caption", "captions", "text", "txt", "description", "prompt", "comment", "sentence", "sentences", "title", "raw", "alt_text", "alt",
)  # fmt: skip
LABEL_COLUMNS = ("label", "class", "class_name", "category", "city")
SPLIT_COLUMNS = ("split", "subset", "partition")
ID_COLUMNS = ("id", "key", "image_id", "photo_id")
#: Meanings, in the order in which columns are given out.
_MEANINGS = {
    "path": PATH_COLUMNS,
    "caption": CAPTION_COLUMNS,
    "label": LABEL_COLUMNS,
    "split": SPLIT_COLUMNS,
    "key": ID_COLUMNS,
}


#: The choices that TableRules are made of.
TABLE_CHOICES = ("path_column", "caption_column", "label_column", "split_column", "key_column", "several_captions")


@dataclass(frozen=True, slots=True)
class TableRules:
    """How a person wants tables to be read: the column of each meaning, else the usual ones; and what of several captions.

    ``several_captions``: ``all`` keeps the first as caption and all in ``json``; ``first`` keeps that; ``join`` makes one of them, a
    line each.
    """

    path_column: str | None = None
    caption_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    key_column: str | None = None
    several_captions: str = "all"

    @property
    def asked(self) -> dict[str, str]:
        """The columns that were asked for, by what they mean."""
        columns = {meaning: getattr(self, f"{meaning}_column") for meaning in _MEANINGS}
        return {meaning: column for meaning, column in columns.items() if column is not None}

    @property
    def given(self) -> dict[str, str]:
        """What differs from the usual, by the name of the choice."""
        usual = TableRules()
        return {n: getattr(self, n) for n in TABLE_CHOICES if getattr(self, n) != getattr(usual, n)}


@dataclass(frozen=True, slots=True)
class Columns:
    """The column of each meaning; None where a table has none."""

    path: str | None = None
    caption: str | None = None
    label: str | None = None
    split: str | None = None
    key: str | None = None

    @property
    def named(self) -> set[str]:
        """The columns that have a meaning here."""
        return {name for name in (self.path, self.caption, self.label, self.split, self.key) if name}


def columns_of(names: Collection[str], rules: TableRules, where: str, *, alone: bool = True) -> Columns:
    """The meaning of a table's columns; upper and lower case are one.

    Raises UsageError for one that was asked for and is not there, if the table stands ``alone``.
    """
    lower: dict[str, str] = {}
    for name in names:
        lower.setdefault(name.lower().strip(), name)
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
        candidates = (asked.lower(),) if asked is not None else usual
        column = asked if asked in names else None
        column = column or next((lower[c] for c in candidates if c in lower and lower[c] not in taken), None)
        found[meaning] = column
        taken |= {column} if column else set()
    return Columns(**found)


@dataclass(slots=True)
class Said:
    """What tables say of one image; ``more`` holds the columns that have no meaning here."""

    captions: list[str] = field(default_factory=list)
    label: str | None = None
    split: str | None = None
    more: dict[str, Any] = field(default_factory=dict)
    where: str = ""
    key: str | None = None
    #: A row has an empty cell where its caption belongs: a caption that is empty, as an empty text file is one.
    blank: bool = False

    def add(self, other: Said) -> None:
        """What another row says of the same image: captions are added, for the rest the first word counts."""
        self.captions += [caption for caption in other.captions if caption not in self.captions]
        self.label = self.label if self.label is not None else other.label
        self.split = self.split if self.split is not None else other.split
        self.key = self.key if self.key is not None else other.key
        self.blank = self.blank or other.blank
        self.more = {**other.more, **self.more}


def captions_in(value: Any) -> list[str] | None:
    """The captions that a cell holds: a text, a list of them, objects with a text; None where it is something else."""
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        name = next((name for name in CAPTION_COLUMNS if isinstance(value.get(name), str)), None)
        return None if name is None else [value[name]]
    if isinstance(value, list):
        parts = [captions_in(item) for item in value]
        return None if None in parts else [text for part in parts for text in part or ()]
    return None


def read_row(row: Mapping[str, Any], columns: Columns) -> Said | None:
    """What a row says; None where its caption is none (a number, an object without a text)."""
    captions = captions_in(row.get(columns.caption)) if columns.caption else []
    if captions is None:
        return None
    more = {name: value for name, value in row.items() if name not in columns.named and not isinstance(value, bytes)}
    label, split = (_word(row.get(name)) if name else None for name in (columns.label, columns.split))
    blank = columns.caption is not None and columns.caption in row and row[columns.caption] is None
    return Said(captions, label, split, more, blank=blank)


def settle(said: Said, several: str, *, lists: bool) -> tuple[str | None, str | None]:
    """Caption and ``json`` of an image; ``lists`` tells that some image of the source has several captions."""
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
