"""The objects under a prefix, listed once; a long listing is kept in an unnamed file, so that memory does not grow with it.

The code that decides what kind of source it is and the code that reads it use the same listing.
"""

from __future__ import annotations

import os
import struct
import tempfile
import weakref
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING

from wdstools.formats.digest import xxh3_64_intdigest
from wdstools.formats.tar_names import encoding_of
from wdstools.sources.source_words import is_image
from wdstools.stores.base import ListsLevels
from wdstools.stores.local import translated

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import IO

    from wdstools.stores.base import ObjectInfo, RemoteStore

#: As long as an entry of an archive: a digest of the ETag, 0, the size, and a method that no archive uses.
ENTRY = struct.Struct("<QQQHI")
_METHOD = 0xFFFE
#: Digests of ETags take the place of modification times; this limit keeps all of them in the past.
_DIGEST_BITS = (1 << 60) - 1
#: Length of the key, then its entry and itself.
_HEAD = struct.Struct("<I")
#: How many listings run at once, and how deep folders are listed to get that many.
_AT_ONCE, _DEEPEST = 16, 4
_MOST_IN_MEMORY = 64 << 20
_BLOCK = 1 << 20


def object_entry(info: ObjectInfo) -> bytes:
    """The entry of an object: its size, and a digest of its version."""
    return ENTRY.pack(digest_of_etag(info.etag), 0, info.bytes, _METHOD, 0)


def digest_of_etag(etag: str) -> int:
    """A number for a version."""
    return xxh3_64_intdigest(etag.encode()) & _DIGEST_BITS


def list_in_parallel(store: RemoteStore) -> Iterator[ObjectInfo]:
    """Every object of a store, those of one folder together. In sequence, a billion keys would be a million pages."""
    if not isinstance(store, ListsLevels):
        yield from store.list()
        return
    folders: list[str] = [""]
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for _ in range(_DEEPEST):
            levels = list(threads.map(store.level, folders))
            for found, _ in levels:
                yield from found
            folders = [below for _, further in levels for below in further]
            if not folders or len(folders) >= _AT_ONCE:
                break
        waiting = iter(folders)
        listings = [store.list(folder) for folder in islice(waiting, _AT_ONCE)]
        while listings:
            # one page of each at a time, so that the number of listed objects not yet consumed is bounded
            pages = list(threads.map(lambda listing: list(islice(listing, _PAGE)), listings))
            for page in pages:
                yield from page
            listings = [listing for listing, page in zip(listings, pages, strict=True) if len(page) == _PAGE]
            listings += [store.list(folder) for folder in islice(waiting, _AT_ONCE - len(listings))]


_PAGE = 1000


class BucketListing:
    """The objects of a store: keys and entries, in the order in which they came, and which kinds there are.

    ``tables`` and ``tars`` are the Parquet tables and archives that are not hidden, ``image`` is the first image.
    """

    def __init__(self, store: RemoteStore, found: Iterable[ObjectInfo] | None = None) -> None:
        self.store = store
        self.tables: list[str] = []
        self.tars: list[str] = []
        self.image: str | None = None
        self.count = 0
        self._held = bytearray()
        self._file: IO[bytes] | None = None
        with translated(tempfile.gettempdir()):
            for info in list_in_parallel(store) if found is None else found:
                self._add(info)
            if self._file is not None:
                self._flush(self._file)

    def _add(self, info: ObjectInfo) -> None:
        key = info.key.encode("utf-8", "surrogateescape")
        self._held += _HEAD.pack(len(key)) + object_entry(info) + key
        if self._file is None and len(self._held) > _MOST_IN_MEMORY:
            self._file = tempfile.TemporaryFile(prefix="wdstools-")  # noqa: SIM115  held as long as this
            weakref.finalize(self, self._file.close)
        if self._file is not None and len(self._held) > _BLOCK:
            self._flush(self._file)
        self.count += 1
        if any(part.startswith(".") for part in info.key.split("/")):
            return
        if info.key.lower().endswith(".parquet"):
            self.tables.append(info.key)
        elif encoding_of(info.key):
            self.tars.append(info.key)
        elif self.image is None and is_image(info.key):
            self.image = info.key

    def _flush(self, file: IO[bytes]) -> None:
        file.write(self._held)
        file.flush()
        self._held.clear()

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        """Key and entry of each object."""
        return ((key, entry) for key, entry, _, _ in self.records())

    def records(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[str, bytes, int, int]]:
        """Key and entry of each object, and where its record begins and ends, between two such offsets."""
        at, data, base = start, b"", start
        while stop is None or at < stop:
            if len(data) - (at - base) < _HEAD.size + ENTRY.size:
                data, base = self._read(at), at
                if not data:
                    return
            begin = at - base
            size = _HEAD.size + ENTRY.size + _HEAD.unpack_from(data, begin)[0]
            if len(data) - begin < size:
                data, base, begin = self._read(at), at, 0
            entry = data[begin + _HEAD.size : begin + _HEAD.size + ENTRY.size]
            yield (
                data[begin + _HEAD.size + ENTRY.size : begin + size].decode("utf-8", "surrogateescape"),
                entry,
                at,
                at + size,
            )
            at += size

    def _read(self, at: int) -> bytes:
        """A block, read at an offset, because several threads may read at once."""
        if self._file is None:
            return bytes(self._held[at : at + _BLOCK])
        with translated(tempfile.gettempdir()):
            return os.pread(self._file.fileno(), _BLOCK, at)
