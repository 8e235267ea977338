"""Finds the kind of source at a place in an object store: a table, tars, or files in folders."""

from __future__ import annotations

import posixpath
import tempfile
from typing import TYPE_CHECKING, Any

from wdstools.errors import NotFoundError, UsageError
from wdstools.formats.tar_names import encoding_of
from wdstools.sources.bucket import BucketOpener, BucketShards
from wdstools.sources.bucket_listing import BucketListing, object_entry
from wdstools.sources.embedded import embedded_in
from wdstools.sources.rows import read_rows
from wdstools.sources.shards import looks_like_shard
from wdstools.sources.source_words import TABLE_EXTENSIONS
from wdstools.sources.table import Rows, TableSource
from wdstools.sources.table_paths import plain_path
from wdstools.sources.tarscan import scan_tar_in
from wdstools.stores.base import ListsLevels
from wdstools.stores.open import open_remote

if TYPE_CHECKING:
    from wdstools.sources.base import Source, SourceOpener
    from wdstools.sources.columns import TableRules
    from wdstools.stores.base import RemoteStore

#: The largest table that is held in memory; a larger one goes to a temporary file.
_TABLE_BYTES = 64 << 20


def listed(url: str) -> BucketListing | None:
    """All objects under a prefix, listed once for all uses; None for the URL of one object."""
    return None if is_table(url) or encoding_of(url) else BucketListing(open_remote(url))


def open_shards(url: str, listing: BucketListing | None, **choices: Any) -> Source | None:
    """The tars under a prefix, or the tar at a URL; None if there are no tars of samples.

    Raises UsageError for compressed tars, which can only be read from a local folder, and for shards mixed with loose images.
    """
    if listing is None:
        folder, _, name = url.rpartition("/")
        store = open_remote(folder)
        listing = BucketListing(store, [store.head(name)])
    store = listing.store
    if not listing.count:
        raise NotFoundError("there are no objects under this prefix", where=store.url)
    tars = sorted(listing.tars)
    if not tars:
        return None
    packed = [tar for tar in tars if encoding_of(tar) != "tar"]
    if packed:
        raise UsageError(
            "compressed tars must be unpacked before packing, which needs them in a local folder",
            code="source-elsewhere",
            where=f"{store.url}/{packed[0]}",
            hint="copy them to a local folder, or unpack them in the bucket; wdstools adopt can read them where they are",
        )
    if not looks_like_shard(scan_tar_in(store, tars[0])):
        return None
    if listing.image is not None:
        raise UsageError(
            "this prefix has both shards and loose images",
            code="source-ambiguous",
            where=store.url,
            got=f"{tars[0]} and {listing.image}",
            hint="give the prefix of either the shards or the images",
        )
    return BucketShards(store, dict(listing), **choices)


def embedded_at(url: str, listing: BucketListing | None) -> tuple[RemoteStore, list[str], list[str]] | None:
    """Parquet tables that contain the images themselves: their store, all keys there, and the tables; None if there are none."""
    if listing is None:
        if not url.lower().endswith(".parquet"):
            return None
        folder, _, name = url.rpartition("/")
        store, keys = open_remote(folder), [name]
    elif not listing.tables or listing.tars or listing.image is not None:
        return None
    else:
        store, keys = listing.store, [key for key, _ in listing]
    tables = embedded_in(store, keys)
    return (store, keys, tables) if tables else None


def is_table(url: str) -> bool:
    """Whether a URL names a table, by its extension."""
    return url.lower().endswith(TABLE_EXTENSIONS)


class BucketTable(TableSource):
    """A table in an object store. Its rows name objects of the same bucket: by paths from the table's folder, or by URLs."""

    def _rows(self) -> Rows:
        scheme, _, rest = self.path.partition("://")
        bucket, _, key = rest.partition("/")
        store = open_remote(f"{scheme}://{bucket}")
        rows = _BucketRows(key, self._tables, store)
        with tempfile.SpooledTemporaryFile(_TABLE_BYTES, prefix="wdstools-") as file:
            for block in store.stream(key):
                file.write(block)
            file.seek(0)
            rows.read(read_rows(file, self.path))  # type: ignore[arg-type]  # reads, seeks and gives lines as a file does
        return rows


class _BucketRows(Rows):
    """Paths are keys of the bucket."""

    def __init__(self, table: str, rules: TableRules, store: RemoteStore) -> None:
        super().__init__(table, rules, follow_links=False)
        self._store = store
        self._place_of_table = posixpath.dirname(table)
        self._entries: dict[str, bytes] = {}

    @property
    def opener(self) -> SourceOpener:
        """How the images are read."""
        return BucketOpener(self._store)

    def add(self, captions: str) -> None:
        """Make samples from the rows; if all images lie below the table's folder, with paths from there, as on a disk."""
        below = f"{self._place_of_table}/" if self._place_of_table else ""
        if below and all(path.startswith(below) for path, _ in self.said):
            self.said = {(path.removeprefix(below), sample_id): said for (path, sample_id), said in self.said.items()}
            self._entries = {path.removeprefix(below): entry for path, entry in self._entries.items()}
            self._store, self._place_of_table = open_remote(f"{self._store.url}/{self._place_of_table}"), ""
        super().add(captions)

    def _plain(self, name: str) -> str:
        if name.startswith(f"{self._store.url}/"):
            return name.removeprefix(f"{self._store.url}/")
        if "://" in name:
            return f"/{name}"  # in another store, and so outside
        path = plain_path(name)
        return path if path.startswith("/") else posixpath.normpath(posixpath.join(self._place_of_table, path))

    def _held(self, folder: str) -> set[str]:
        prefix = f"{folder}/" if folder else ""
        assert isinstance(self._store, ListsLevels)
        found = self._store.level(prefix)[0]
        self._entries |= {info.key: object_entry(info) for info in found}
        return {info.key.removeprefix(prefix) for info in found}

    def _inside(self, path: str) -> bool:
        del path
        return True

    def _beside(self, path: str) -> dict[str, Any]:
        return {"image_entry": self._entries[path]}

    def _id_of(self, folder: str) -> str:
        """The path from the table's folder, as on a disk."""
        if self._place_of_table and f"{folder}/".startswith(f"{self._place_of_table}/"):
            return folder[len(self._place_of_table) + 1 :]
        return folder
