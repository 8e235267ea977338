"""A table of samples as a source: one row per image, or several for an image with several captions."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from wdstools.errors import FormatError, UsageError, option
from wdstools.formats.image_types import TYPE_OF_EXTENSION
from wdstools.formats.sample import make_key
from wdstools.results import Skip
from wdstools.sources.base import (
    CAPTION_POLICIES,
    EmptySourceError,
    Listing,
    SamplesBuilder,
    first_skips,
    is_text,
    shown,
)
from wdstools.sources.columns import (
    NOT_TEXT,
    NOT_TEXT_DETAIL,
    Columns,
    Said,
    TableRules,
    bring_together,
    read_row,
    settle,
)
from wdstools.sources.rare_class import class_left_out, count_of_classes, without_class
from wdstools.sources.readers import FolderOpener
from wdstools.sources.rows import BadRow, damaged, read_rows
from wdstools.sources.source_words import TABLE_EXTENSIONS
from wdstools.sources.table_paths import leads_outside, plain_path
from wdstools.sources.tables_beside import IN_TABLE, holds_images, load_columns
from wdstools.sources.unsaid_splits import without_split
from wdstools.stores.local import buffered_plain, storage_error

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wdstools.sources.base import SourceOpener
    from wdstools.sources.rows import NumberedRow

#: Names that Hugging Face gives to a metadata table next to images.
METADATA_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
__all__ = ["METADATA_NAMES", "TABLE_EXTENSIONS", "TableSource"]


class TableSource:
    """A table whose rows name images, with paths relative to the table's folder.

    Columns: a path (``path``, ``file_name``, ``image``), and optionally ``caption`` or ``text``, ``label``, ``split``,
    ``id``; ``tables`` can name others. Further columns become the sample's ``json``. Rows of one image become one sample with several captions.
    """

    def __init__(
        self, path: str, *, captions: str | None = None, tables: TableRules | None = None, follow_links: bool = False
    ) -> None:
        if captions is not None and captions not in CAPTION_POLICIES:
            raise UsageError(
                "no such caption policy", where=option("captions"), expected=", ".join(CAPTION_POLICIES), got=captions
            )
        self.path = path
        self._captions = captions
        self._tables = tables or TableRules()
        self._follow_links = follow_links

    def list(self) -> Listing:
        """List the rows; images are not opened, but their existence is checked folder by folder."""
        rows = self._rows()
        if not rows.said and not rows.skips:
            raise damaged(self.path, "it has no rows")
        captions = self._captions or ("required" if rows.columns.caption is not None else "none")
        rows.add(captions)
        if not rows.types:
            raise EmptySourceError(
                "the table does not name any existing image",
                code="source-empty",
                where=self.path,
                got=first_skips(rows.skips) or "no rows",
                hint=f"paths are relative to the table's folder, {rows.folder}; give that folder instead to find images by name",
                skips=tuple(rows.skips),
            )
        samples, labels = rows.builder.table(), tuple(sorted(rows.labels))
        count = count_of_classes(samples)
        if self._tables.label_column is None and 0 < 2 * count < samples.num_rows:
            why = f"most samples lack it: --label-column {rows.columns.label} keeps it, and skips the others"
            rows.skips.append(class_left_out(count, why))
            samples, labels = without_class(samples), ()
        return Listing(
            opener=rows.opener,
            samples=samples,
            labels=labels,
            captions=captions,
            label_in_key=False,
            recipe="table",
            template={f"--{name}": value for name, value in sorted(self._tables.given.items())},
            image_types=dict(sorted(rows.types.items())),
            skips=tuple(rows.skips),
            account=rows.account(),
            notes=(*rows.notes, *without_split(samples)),
        )

    def _rows(self) -> Rows:
        """All rows of the table."""
        rows = Rows(self.path, self._tables, follow_links=self._follow_links)
        try:
            with buffered_plain(self.path) as file:
                rows.read(read_rows(file, self.path))
        except OSError as error:
            raise storage_error(error, self.path) from None
        return rows


class Rows:
    """What the rows say about each image, from which come runs of samples that share split, label and folder."""

    def __init__(self, table: str, rules: TableRules, *, follow_links: bool) -> None:
        self.table = table
        self.folder = os.path.dirname(table) or "."
        self.rules = rules
        self.columns = Columns()
        self.builder = SamplesBuilder()
        self.skips: list[Skip] = []
        self.labels: set[str] = set()
        self.types: Counter[str] = Counter()
        #: What rows say about each image, by path and key.
        self.said: dict[tuple[str, str | None], Said] = {}
        #: Existing images that a row keeps from being packed.
        self.refused: set[str] = set()
        self.notes: list[str] = []
        self._follow = follow_links
        self._root = os.path.realpath(self.folder)
        self._names: dict[str, set[str]] = {}

    def read(self, rows: Iterable[NumberedRow]) -> None:
        """Read every row, and combine those of one image."""
        known: set[str] | None = None
        for number, row in rows:
            where = f"row {number} of the table"
            if isinstance(row, BadRow):
                name = os.path.basename(self.table)
                self.skips.append(Skip(row.reason, shown(name), detail=f"row {number}: {row.detail}"))
                continue
            if known is None and holds_images([row]):
                raise UsageError(
                    "the table contains the images themselves",
                    code="table-holds-images",
                    where=self.table,
                    hint=IN_TABLE,
                )
            if known is None or not row.keys() <= known:
                known = {*(known or ()), *row}
                self.columns = load_columns(known if len(known) > len(row) else row, self.rules, self.table)
            given = row.get(self.columns.path or self.columns.key or "")
            said = read_row(row, self.columns, where)
            path, reason = self._place(given)
            sample_id = row.get(self.columns.key) if self.columns.key and self.columns.path else None
            reason = reason or _refuse_id(sample_id)
            if reason is not None:
                if path and reason == "key-invalid":
                    self.refused.add(path)
                self.skips.append(Skip(reason, shown(str(given)), said.split, detail=where))
                continue
            place = (path, None if sample_id is None else str(sample_id))
            if place in self.said:
                self.said[place].add(said)
            else:
                self.said[place] = said

    def account(self) -> dict[str, int]:
        """The account of the table and the existing images that it names."""
        packed = sum(self.types.values())
        named = {path for path, _ in self.said} | self.refused
        return {"files": 1 + len(named), "samples": packed, "read": 1, "skipped": len(named) - packed}

    def add(self, captions: str) -> None:
        """Make samples from the rows."""
        self.notes += bring_together(self.said.values())
        lists = any(len(said.captions) > 1 for said in self.said.values())
        more = any(said.more for said in self.said.values()) or (lists and self.rules.several_captions == "all")
        runs: dict[tuple[str | None, ...], dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
        for (path, sample_id), said in self.said.items():
            caption, meta = settle(said, self.rules.several_captions, lists=lists)
            refused = _refuse(said, caption, captions)
            if refused is not None:
                self.skips.append(Skip(refused[0], path, said.split, detail=refused[1]))
                continue
            if said.odd and captions != "none":
                name = os.path.basename(self.table)
                self.skips += [Skip(NOT_TEXT, shown(name), detail=f"{where}: {NOT_TEXT_DETAIL}") for where in said.odd]
            folder, _, name = path.rpartition("/")
            stem, dot, extension = name.rpartition(".")
            run = runs[said.split, said.label, folder]
            run["stem"].append(stem)
            for part, value in self._beside(path).items():
                run[part].append(value)
            run["image_suffix"].append(dot + extension)
            if self.columns.key is not None and self.columns.path is not None:
                run["key"].append(_key(sample_id))
            if captions != "none":
                run["caption"].append(caption or "")
            if more:
                run["json"].append(meta)
            self.types[TYPE_OF_EXTENSION[extension.lower()]] += 1
            self.labels |= {said.label} if said.label is not None else set()
        for (split, label, place), own in runs.items():
            ids = self._id_of(place or "")
            self.builder.add({"split": split, "label": label, "id_dir": ids, "image_dir": place}, own)

    @property
    def opener(self) -> SourceOpener:
        """How the images are read."""
        return FolderOpener(self.folder)

    def _beside(self, path: str) -> dict[str, Any]:
        """Further parts of an existing image's sample."""
        del path
        return {}

    def _id_of(self, folder: str) -> str:
        """The part of an image's folder that goes into its key."""
        return folder

    def _held(self, folder: str) -> set[str]:
        """The names in a folder; none if there is no such folder."""
        try:
            return set(os.listdir(os.path.join(self.folder, folder)))
        except (OSError, ValueError):
            return set()

    def _place(self, given: object) -> tuple[str, str | None]:
        """The image's path below the table's folder, and the reason if it cannot be used."""
        if given is None or given == "" or isinstance(given, dict | list | bytes | float):
            return "", "path-missing"
        name = str(given)
        if "\0" in name or not is_text(name):
            return name, "path-invalid"
        path = self._plain(name)
        if path.rpartition(".")[2].lower() not in TYPE_OF_EXTENSION:
            return path, "image-unknown"
        if leads_outside(path) and not self._follow:
            return path, "path-outside"
        folder, _, base = path.rpartition("/")
        if folder not in self._names:
            self._names[folder] = self._held(folder)
        if base not in self._names[folder]:
            return path, "image-missing"
        return path, None if self._follow or self._inside(path) else "link-outside"

    def _plain(self, name: str) -> str:
        """A path from the table relative to its folder; an absolute path to a place in the folder becomes relative."""
        if os.path.exists(os.path.join(self.folder, name)) and "\\" in name:
            return name
        path = plain_path(name)
        if path.startswith("/"):
            for root in (os.path.abspath(self.folder), self._root):
                if path.startswith(root.rstrip("/") + "/"):
                    return path[len(root.rstrip("/")) + 1 :]
        return path

    def _inside(self, path: str) -> bool:
        full = os.path.join(self.folder, path)
        target = os.path.realpath(full)
        return target.startswith(self._root.rstrip("/") + "/")


def _refuse(said: Said, caption: str | None, captions: str) -> tuple[str, str] | None:
    """The reason and detail if an image is not a sample; None if it is one."""
    if said.refused is not None:
        return said.refused
    if caption is not None and not is_text(caption):
        return "caption-not-utf8", said.where
    if caption is None and said.odd and captions != "none":
        return NOT_TEXT, said.odd[0]
    return ("caption-missing", said.where) if caption is None and captions == "required" else None


def _key(sample_id: object) -> str | None:
    return None if sample_id is None else make_key(None, str(sample_id).encode()).decode()


def _refuse_id(sample_id: object) -> str | None:
    try:
        _key(sample_id)
    except FormatError as error:
        return error.code
    return None
