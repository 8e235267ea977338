"""Where the bytes for a repair come from: copies of the dataset, or its original source. Neither is trusted."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from wdstools.dataset import open_dataset
from wdstools.errors import FormatError, NotFoundError, StoreError
from wdstools.formats.index import read_index
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.stores.abilities import TEMP_SUFFIX
from wdstools.stores.local import LocalStore, translated
from wdstools.stores.open import open_store
from wdstools.stores.reading import get_whole, read_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from wdstools.formats.manifest import ShardEntry
    from wdstools.stores.base import Store

#: Samples at most this many bytes apart are fetched in one request.
GAP_BYTES = 64 << 10
_FETCH_BYTES = 8 << 20
_HEAD_BYTES = 512
#: Suffix of the second name of a local shard whose content another shard needs, while both are overwritten.
SEED_SUFFIX = f".seed{TEMP_SUFFIX}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Record groups of one shard that are needed from elsewhere; ``rows`` are dictionaries as from ``salvage.rows_of``."""

    split: str
    entry: ShardEntry
    rows: Sequence[dict[str, Any]]


class Copy(Protocol):
    """A place that may have the same samples."""

    @property
    def name(self) -> str:
        """Its location, for display."""

    def groups(self, wanted: Wanted) -> Iterator[tuple[int, bytes, int]]:
        """Candidates for the wanted groups: position in ``wanted.rows``, bytes, and how many bytes were transferred for them.

        Groups that cannot be read are left out. The caller verifies the others.
        """

    def holds(self, entry: ShardEntry) -> bool:
        """Whether it has the shard with the manifest's SHA-256; reads all of it."""

    def index(self, split: str, entry: ShardEntry) -> pa.Table | None:
        """A shard's index, made without the shard; the caller verifies it."""

    def file(self, path: str) -> bytes | None:
        """A small file of the dataset, if this copy has one."""


@dataclass(frozen=True, slots=True)
class StoreCopy:
    """A full or partial copy of the dataset, at its usual paths or flat in one folder; or, with ``only``, a single tar."""

    store: Store
    only: str | None = None

    @property
    def name(self) -> str:
        """Its location."""
        return f"{self.store.url}/{self.only}" if self.only else self.store.url

    def groups(self, wanted: Wanted) -> Iterator[tuple[int, bytes, int]]:
        """Groups read as ranges of the shard of the same name; close neighbours share a request."""
        path = self.locate(wanted.entry)
        if path is None:
            return
        moved = self._places(wanted)
        places = [moved.get(row["xxh3_128"], row["offset"]) for row in wanted.rows]
        order = sorted(range(len(places)), key=places.__getitem__)
        run: list[int] = []
        for number in order:
            if run and not self._joins(wanted, places, run, number):
                yield from self._fetch(path, wanted, places, run)
                run = []
            run.append(number)
        if run:
            yield from self._fetch(path, wanted, places, run)

    @staticmethod
    def _joins(wanted: Wanted, places: list[int], run: list[int], number: int) -> bool:
        end = places[run[-1]] + wanted.rows[run[-1]]["length"]
        length: int = places[number] + wanted.rows[number]["length"] - places[run[0]]
        return bool(places[number] - end <= GAP_BYTES) and length <= _FETCH_BYTES

    def _fetch(self, path: str, wanted: Wanted, places: list[int], run: list[int]) -> Iterator[tuple[int, bytes, int]]:
        first = places[run[0]]
        length = places[run[-1]] + wanted.rows[run[-1]]["length"] - first
        try:
            data = self.store.get(path, first, length)
        except StoreError:
            if len(run) > 1:  # one unreadable group must not hide its neighbours
                for number in run:
                    yield from self._fetch(path, wanted, places, [number])
            return
        end = first
        for number in run:
            start, size = places[number], wanted.rows[number]["length"]
            yield number, data[start - first : start - first + size], start + size - end
            end = start + size

    def locate(self, entry: ShardEntry) -> str | None:
        """The path of a shard in this copy; None if it is not there."""
        names = (entry.path, entry.path.rpartition("/")[2])
        for path in names if self.only is None else (self.only + SEED_SUFFIX, self.only):
            try:
                self.store.head(path)
            except StoreError:
                continue
            return path
        return None

    def holds(self, entry: ShardEntry) -> bool:
        """Whether its shard of this name has the manifest's SHA-256."""
        path = self.locate(entry)
        if path is None:
            return False
        digest = hashlib.sha256()
        try:
            for block in read_blocks(self.store, path, entry.bytes):
                digest.update(block)
        except StoreError:
            return False
        return digest.hexdigest() == entry.sha256

    def _places(self, wanted: Wanted) -> dict[bytes, int]:
        """Offsets of groups by this copy's own index, because it may be of another version of the dataset."""
        table = self._own_index(wanted.entry)
        if table is None or table.column("offset").null_count:
            return {}
        columns = (table.column(name).to_pylist() for name in ("xxh3_128", "offset"))
        return dict(zip(*columns, strict=True))

    def index(self, split: str, entry: ShardEntry) -> pa.Table | None:
        """None: the indexes that a copy has are read with ``file``."""
        del split, entry
        return None

    def _own_index(self, entry: ShardEntry) -> pa.Table | None:
        data = self.file(entry.index_path)
        if data is None:
            return None
        try:
            return read_index(data, where=entry.index_path)
        except FormatError:
            return None

    def file(self, path: str) -> bytes | None:
        """A small file of the dataset, if this copy has one."""
        return None if self.only is not None else read_or_none(self.store, path)


def read_or_none(store: Store, path: str, limit: int = 1 << 28) -> bytes | None:
    """A small file of at most ``limit`` bytes; None if it is larger or cannot be read."""
    try:
        return get_whole(store, path, limit)
    except (StoreError, FormatError):
        return None


def open_copy(where: str) -> StoreCopy | None:
    """The copy at a path or URL: a dataset, a folder of shards, or a single shard; None for anything else.

    Raises NotFoundError if nothing is there.
    """
    if "://" in where:
        return StoreCopy(open_store(where))
    with translated(where):
        mode = os.stat(where).st_mode
        if stat.S_ISDIR(mode):
            return StoreCopy(LocalStore(where)) if _is_copy(where) else None
        if not stat.S_ISREG(mode):
            raise NotFoundError("this is not a copy: neither a plain file nor a folder", where=where)
        with open(where, "rb") as file:
            head = file.read(_HEAD_BYTES)
    if head[257:262] == b"ustar" and head[265:270] == b"xxh3:":
        folder, name = os.path.split(where)
        return StoreCopy(LocalStore(folder or "."), name)
    return None


def _is_copy(folder: str) -> bool:
    """Whether a folder holds a dataset or shards of one. Tars made by other tools are a source instead."""
    if not os.path.exists(os.path.join(folder, MANIFEST_PATH)):
        return any(map(_is_sealed, _tars(folder)))
    try:
        return open_dataset(folder).manifest.profile == "canonical"
    except (StoreError, FormatError):
        return True  # a copy whose manifest is damaged


def _tars(folder: str) -> Iterator[str]:
    """The tars in a folder and in its direct subfolders."""
    with os.scandir(folder) as entries:
        for entry in entries:
            # for a link to itself os.path.isfile is False; entry.is_file() would raise
            if entry.name.endswith(".tar") and os.path.isfile(entry.path):
                yield entry.path
            elif os.path.isdir(entry.path):
                yield from (os.path.join(entry.path, name) for name in os.listdir(entry.path) if name.endswith(".tar"))


def _is_sealed(path: str) -> bool:
    """Whether a tar begins like one written by wdstools, or its first header is too damaged to tell."""
    if not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return False
    return head[257:262] != b"ustar" or head[265:270] == b"xxh3:"
