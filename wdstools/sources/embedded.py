"""Parquet tables that contain the images themselves, as Hugging Face's image datasets do: a column of ``{"bytes", "path"}``.

Samples are packed in another order, and a table can only be read from start to end. So each table is unpacked,
once, into a plain tar of samples in the scratch folder, from which everything else follows: splits, captions, classes, the account.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import tarfile
import tempfile
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wdstools.errors import FormatError
from wdstools.formats.image_types import sniff
from wdstools.formats.parquet_files import batches_of, rows_of
from wdstools.formats.sample import make_key
from wdstools.results import Skip
from wdstools.sources.account import OUTSIDE
from wdstools.sources.columns import Columns, captions_in, columns_of
from wdstools.sources.readers import reading
from wdstools.sources.rows import as_json, damaged, reading_parquet
from wdstools.sources.source_words import kind_of
from wdstools.sources.unpacked import Place, UnpackedSource
from wdstools.stores.folders import make_folders
from wdstools.stores.local import LocalStore
from wdstools.stores.reading import near_copy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pyarrow as pa

    from wdstools.sources.base import Listing, Source
    from wdstools.sources.columns import TableRules
    from wdstools.stores.base import Store

_ROWS = 64
_MAX_NAME = 200
#: Names of image columns that have nothing but bytes.
_IMAGE_COLUMNS = ("image", "img", "jpg", "png", "webp", "jpeg", "picture", "photo", "bytes")


def embedded_in(store: Store, keys: Sequence[str]) -> list[str]:
    """The Parquet tables among some files, if the first of them contains images; else none."""
    tables = [key for key in sorted(keys) if key.lower().endswith(".parquet") and not _is_hidden(key)]
    return tables if tables and _image_column(_schema_of(store, tables[0])) else []


def _is_hidden(key: str) -> bool:
    return any(part.startswith(".") for part in key.split("/"))


class EmbeddedSource(UnpackedSource):
    """Tables that contain images, below a folder or prefix; ``keys`` are all files there, ``tables`` those to read."""

    def __init__(
        self,
        store: Store,
        keys: Sequence[str],
        tables: Sequence[str],
        plain: Callable[[str], Source],
        rules: TableRules,
        scratch: str | None,
    ) -> None:
        super().__init__(store.url, plain, scratch)
        self._store = store
        self._keys = keys
        self._tables = tables
        self._rules = rules
        self._names: set[str] = set()

    def list(self) -> Listing:
        """Unpack the tables, and list the result. Raises FormatError (``table-damaged``)."""
        if self._unpacked is None:
            self._unpacked = self._unpack()
        listing = self._plain(self._unpacked).list()
        others = sorted(set(self._keys) - set(self._tables))
        hidden = sum(map(_is_hidden, others))
        outside = [Skip(OUTSIDE, key, detail=kind_of(key) or None) for key in others if not _is_hidden(key)]
        account = Counter(listing.account)
        account.update(files=len(self._keys) + len(self._skips), read=len(self._tables), hidden=hidden)
        account.update(outside=len(outside), skipped=len(self._skips))
        names = {**listing.account, "read": 0, "hidden": 0, "outside": 0, "skipped": 0}
        stored = tuple(replace(skip, path=self._stored_name(skip.path)) for skip in listing.skips)
        return replace(
            listing,
            recipe="table",
            skips=(*self._skips, *stored, *outside),
            account={name: account[name] for name in names},
        )

    def _stored_name(self, path: str) -> str:
        tar, found, rest = path.partition(".tar")
        return f"{tar}.parquet{rest}" if found else path

    def _unpack(self) -> str:
        names = [f"{table.rpartition('.')[0]}.tar" for table in self._tables]
        with contextlib.ExitStack() as stack:
            with reading(self._scratch or tempfile.gettempdir()):
                place = Place(self, self._scratch, names)
                stack.callback(place.close)
            for table, name in zip(self._tables, names, strict=True):
                self._unpack_table(table, place, name)
            return place.folder

    def _unpack_table(self, table: str, place: Place, name: str) -> None:
        target = place.locate(name)
        with place.making(name) as temporary, reading(target), _opened(self._store, table) as (file, times):
            make_folders(os.path.dirname(target))
            with tarfile.open(temporary, "x", format=tarfile.GNU_FORMAT) as tar:
                for member, data in self._members(file, table):
                    info = tarfile.TarInfo(member)
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
            os.utime(temporary, ns=(times, times))

    def _members(self, file: Any, table: str) -> Iterator[tuple[str, bytes]]:
        """The members of each row's sample: image, caption, class, and everything else as JSON."""
        from pyarrow import parquet

        where = f"{self._store.url}/{table}"
        stem = table.rpartition("/")[2].rpartition(".")[0]
        with reading_parquet(where):
            schema = parquet.read_schema(file)
            column = _image_column(schema)
            if column is None:
                raise damaged(where, "other tables here contain images, but this one does not")
            classes = _classes(schema)
            columns = columns_of([n for n in schema.names if n != column], self._rules, where, alone=False)
            number = 0
            for batch in batches_of(file, _ROWS):
                for row in rows_of(batch):
                    yield from self._sample(row, column, columns, classes, f"{stem}-{number:07d}", where)
                    number += 1

    def _sample(
        self,
        row: Mapping[str, Any],
        column: str,
        columns: Columns,
        classes: Mapping[str, Sequence[str]],
        numbered: str,
        where: str,
    ) -> Iterator[tuple[str, bytes]]:
        cell = row[column]
        data, path = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
        kind = sniff(data[:32]) if isinstance(data, bytes) else ""
        if not kind or not isinstance(data, bytes):
            reason = "image-unknown" if data else "image-missing"
            self._skips.append(Skip(reason, f"{where}, row {numbered.rpartition('-')[2]}"))
            return
        key = self._key(path, numbered)
        yield f"{key}.{kind}", data
        captions = captions_in(row.get(columns.caption)) if columns.caption else None
        if captions:
            yield f"{key}.txt", captions[0].encode("utf-8", "replace")
        label = row.get(columns.label) if columns.label else None
        if label is not None and columns.label:
            names = classes.get(columns.label, ())
            named = names[label] if isinstance(label, int) and 0 <= label < len(names) else str(label)
            yield f"{key}.cls", named.encode("utf-8", "replace")
        rest = {name: value for name, value in row.items() if name != column}
        if captions is not None and len(captions) < 2 and columns.caption:
            rest.pop(columns.caption)
        if captions and len(captions) > 1:
            rest["captions"] = captions
        if rest:
            yield f"{key}.json", as_json(rest).encode()

    def _key(self, path: object, numbered: str) -> str:
        """The image's own name, if it has one that no earlier image had; else table and row."""
        name = path.replace("\\", "/").rpartition("/")[2].rpartition(".")[0] if isinstance(path, str) else ""
        name = name or numbered
        try:
            key = make_key(None, name.encode("utf-8", "replace"), _MAX_NAME).decode()
        except FormatError:
            key = ""
        if not key or key in self._names:
            key = make_key(None, numbered.encode("utf-8", "replace"), _MAX_NAME).decode()
        self._names.add(key)
        return key


@contextlib.contextmanager
def _opened(store: Store, key: str) -> Iterator[tuple[Any, int]]:
    """A table to read, and its modification time; a remote one is downloaded for the duration of the block."""
    if isinstance(store, LocalStore):
        with store.opened(key) as file:
            yield file, os.fstat(file.fileno()).st_mtime_ns
        return
    with near_copy(store, key) as near, near.opened(key) as file:
        yield file, 0


def _schema_of(store: Store, key: str) -> pa.Schema:
    from pyarrow import parquet

    with _opened(store, key) as (file, _), reading_parquet(f"{store.url}/{key}"):
        return parquet.read_schema(file)


def _image_column(schema: pa.Schema) -> str | None:
    """The column with the images: the first struct that has bytes, else the first column of bytes with a usual name."""
    import pyarrow as pa

    def holds_bytes(kind: pa.DataType) -> bool:
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    structs = [
        field.name
        for field in schema
        if pa.types.is_struct(field.type)
        and field.type.get_field_index("bytes") >= 0
        and holds_bytes(field.type.field("bytes").type)
    ]
    plain = [field.name for field in schema if holds_bytes(field.type) and field.name.lower() in _IMAGE_COLUMNS]
    return next(iter((*structs, *plain)), None)


def _classes(schema: pa.Schema) -> dict[str, list[str]]:
    """The names of classes by column, as Hugging Face stores them in a table."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        found = {name: feature["names"] for name, feature in features.items() if feature.get("_type") == "ClassLabel"}
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return {}
    return {
        name: names
        for name, names in found.items()
        if isinstance(names, list) and all(isinstance(n, str) for n in names)
    }
