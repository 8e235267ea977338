"""The folder of joined indexes: ``joined/`` in the user's cache, one file per dataset, named by its root digest.

Files belong to the user alone (mode 0600), appear whole or not at all, and are used only if size and digests match; any of them
may be removed at any time. Together they take at most a quarter of the space that would be free without them; the
least recently used ones are removed first.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import mmap
import os
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.errors import StoreError
from wdstools.formats.digest import xxh3_64_intdigest
from wdstools.joined.index_columns import Columns, Names, Texts, cut_neighbours, names_of
from wdstools.joined.layout import HEAD_BYTES, LOOSE_MEMBER, SHARD, VERSION, Layout, aligned, head_of, read_head
from wdstools.memory import take_room
from wdstools.stores import kept_files
from wdstools.stores.folders import make_folders
from wdstools.stores.kept_files import begin, forget, make_room, write_all
from wdstools.user_cache import cache_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from wdstools.dataset import Dataset

_NAME_RE = re.compile(r"[0-9a-f]{64}-v[0-9]+\.rows(\.[0-9a-f]{16}\.making)?")
#: In a file larger than this, rows are read instead of looked up in the mapping.
LARGE_BYTES = 1 << 28
_MAX_NAMES_BYTES = 1 << 30


class Kept(Columns):
    """Columns over a file of the folder; ``table`` has a SHARD for each shard.

    Whole columns are mapped. In a large file single rows are read: looking one up in the mapping costs a page fault that maps up
    to 2 MB, which then count as the process's memory.
    """

    def __init__(self, layout: Layout, fd: int, size: int, table: NDArray[Any], names: dict[str, Names]) -> None:
        self._fd = os.dup(fd)
        buffer = mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ)
        arrays = {
            name: np.frombuffer(buffer, kind, layout.rows, at) if layout.rows else np.zeros(0, kind)
            for name, (kind, at) in layout.columns.items()
        }
        super().__init__(layout, arrays, names)
        self.table = table
        self.buffer = buffer
        self._view = memoryview(buffer)
        self._is_large = size > LARGE_BYTES
        # where the keys and the captions of each shard begin
        self._keys = (table["at"] + table["loose"] * LOOSE_MEMBER.itemsize).astype(np.int64)
        self._captions = self._keys + table["keys"].astype(np.int64)

    def text_of(self, shard: int) -> Texts:
        """A shard's texts, as views of the file."""
        found = self.texts[shard]
        if found is None:
            at, loose, keys, captions = self.table[shard].item()[:4]
            first = at + loose * LOOSE_MEMBER.itemsize
            found = Texts(
                np.frombuffer(self.buffer, LOOSE_MEMBER, loose, at) if loose else np.zeros(0, LOOSE_MEMBER),
                self._view[first : first + keys],
                self._view[first + keys : first + keys + captions],
            )
            if loose:  # needed once per row
                self.texts[shard] = found
        return found

    def keys_at(self, shards: NDArray[np.int64], starts: NDArray[Any], sizes: NDArray[Any]) -> list[str]:
        """Keys by shard, and by place and size in its keys."""
        return self._decoded(self._keys[shards] + starts, sizes)

    def captions_at(self, shards: NDArray[np.int64], starts: NDArray[Any], sizes: NDArray[Any]) -> list[str]:
        """Captions by shard, and by place and size in its captions."""
        return self._decoded(self._captions[shards] + starts, sizes)

    def _decoded(self, starts: NDArray[np.int64], sizes: NDArray[Any]) -> list[str]:
        if self._is_large:
            found = self._neighbours(starts, sizes)
            if found is None:
                spans = zip(sizes.tolist(), starts.tolist(), strict=True)
                return [os.pread(self._fd, size, at).decode() for size, at in spans]
            firsts = (starts - starts[0]).tolist()
            return cut_neighbours(found, firsts, (starts - starts[0] + sizes).tolist())
        firsts, ends, buffer = starts.tolist(), (starts + sizes).tolist(), self.buffer
        if len(firsts) > 1 and ends[:-1] == firsts[1:]:
            return cut_neighbours(buffer[firsts[0] : ends[-1]], firsts, ends)
        return [buffer[first:end].decode() for first, end in zip(firsts, ends, strict=True)]

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.void]:
        """The records of some rows: a copy."""
        return self._read("places", rows) if self._is_large else super().take(rows)

    def values_at(self, name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        """A value column of some rows: a copy."""
        return self._read(name, rows) if self._is_large else super().values_at(name, rows)

    def _read(self, name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        kind, first = self.layout.columns[name]
        starts, size = rows * kind.itemsize + first, kind.itemsize
        data = self._neighbours(starts, np.full(len(rows), size))
        if data is None:
            data = b"".join([os.pread(self._fd, size, at) for at in starts.tolist()])
        if len(data) != len(rows) * size:
            raise StoreError("a joined index was truncated while it was read", hint="run this again to rebuild it")
        return np.frombuffer(data, kind)

    def _neighbours(self, starts: NDArray[np.int64], sizes: NDArray[Any]) -> bytes | None:
        """The bytes of contiguous ranges; None if they are not contiguous."""
        if not len(starts):
            return b""
        if (starts[1:] != starts[:-1] + sizes[:-1]).any():
            return None
        return os.pread(self._fd, int(starts[-1] + sizes[-1] - starts[0]), int(starts[0]))

    def _raw(self, name: str, rows: slice) -> bytes | memoryview:
        if not self._is_large:
            return super()._raw(name, rows)
        kind, at = self.layout.columns[name]
        return os.pread(self._fd, (rows.stop - rows.start) * kind.itemsize, at + rows.start * kind.itemsize)

    def _raw_texts(self, shard: int, *, captions: bool) -> tuple[bytes | memoryview, ...]:
        if not self._is_large:
            return super()._raw_texts(shard, captions=captions)
        at, loose, keys, told = self.table[shard].item()[:4]
        first = loose * LOOSE_MEMBER.itemsize
        data = memoryview(os.pread(self._fd, first + keys + (told if captions else 0), at))
        return data[:first], data[first : first + keys], data[first + keys :]

    def __del__(self) -> None:
        os.close(self._fd)


def folder() -> str:
    """The folder of the files."""
    return os.path.join(cache_folder(), "joined")


def path_of(root: str) -> str:
    """The file of the dataset with this root digest."""
    return os.path.join(folder(), f"{root}-v{VERSION}.rows")


def files_of(root: str) -> Iterator[str]:
    """The existing files of a dataset, of any version."""
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(folder())):
            if _NAME_RE.fullmatch(name) and name.startswith(root):
                yield os.path.join(folder(), name)


def is_keepable(dataset: Dataset) -> bool:
    """Whether the root digest proves everything that would be kept, so that another copy of the dataset can use it."""
    return dataset.manifest.has_values and dataset.manifest.totals["samples"] > 0


def open_kept(dataset: Dataset) -> Kept | None:
    """The file of a dataset, mapped; None if there is no usable one. A damaged one is removed."""
    return kept_files.open_kept(path_of(dataset.root), lambda fd: _mapped(fd, dataset, os.fstat(fd).st_size))


def _mapped(fd: int, dataset: Dataset, size: int) -> Kept | None:
    layouts = tuple(Layout.of(dataset, inline=inline) for inline in (True, False))
    head = read_head(os.pread(fd, HEAD_BYTES, 0), layouts, dataset.root, size)
    if head is None:
        return None
    layout, at, digest = head
    tables = b""
    if size - at > layout.shards * SHARD.itemsize + _MAX_NAMES_BYTES:
        return None
    while len(tables) < size - at and (more := os.pread(fd, size - at - len(tables), at + len(tables))):
        tables += more
    if xxh3_64_intdigest(tables) != digest:
        return None
    table = np.frombuffer(tables, SHARD, layout.shards)
    sizes = table["loose"] * LOOSE_MEMBER.itemsize + table["keys"] + table["captions"]
    if layout.shards and ((table["at"] < layout.fixed_bytes).any() or (table["at"] + sizes > at).any()):
        return None
    names = {name: Names(found) for name, found in json.loads(tables[layout.shards * SHARD.itemsize :]).items()}
    return Kept(layout, fd, size, table, names)


class Writing:
    """A file of the folder that is being written, under a temporary name: ``keep`` gives it its final name, ``close`` removes it.

    Raises OSError if it cannot be written.
    """

    def __init__(self, dataset: Dataset, layout: Layout) -> None:
        self._layout = layout
        self._root = dataset.root
        self._table = np.zeros(layout.shards, SHARD)
        self._end = layout.fixed_bytes
        make_folders(cache_folder())
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder(), 0o700)
        if not make_room(folder(), _NAME_RE, layout.fixed_bytes):
            raise OSError("there is not enough room for a joined index")
        self._path = path_of(dataset.root)
        self.fd, self._making = begin(self._path)

    def mapped(self, dataset: Dataset) -> Columns:
        """Fixed columns that are filled directly in the file. Its space is allocated first, so that a full disk is an error here."""
        take_room(self.fd, self._layout.fixed_bytes)
        buffer = mmap.mmap(self.fd, self._layout.fixed_bytes)
        arrays = {
            name: np.frombuffer(buffer, kind, self._layout.rows, at)
            for name, (kind, at) in self._layout.columns.items()
        }
        return Columns(self._layout, arrays, names_of(dataset))

    def write_fixed(self, columns: Columns) -> None:
        """Write the fixed columns from memory."""
        for name, (_, at) in self._layout.columns.items():
            write_all(self.fd, columns.arrays[name].view(np.uint8), at)

    def add_texts(self, columns: Columns, shard: int, rows: slice) -> None:
        """Write the texts of one shard, and record their place and the digests of all of the shard's parts."""
        texts = columns.text_of(shard)
        data = b"".join((texts.loose.tobytes(), texts.keys, texts.captions))
        write_all(self.fd, data, self._end)
        self._table[shard] = (
            self._end,
            len(texts.loose),
            len(texts.keys),
            len(texts.captions),
            *columns.digests(shard, rows),
        )
        self._end = aligned(self._end + len(data))

    def keep(self, columns: Columns) -> None:
        """Finish the file, and give it its name."""
        lists = {"labels": columns.labels, "formats": columns.formats, "extensions": columns.extensions}
        names = json.dumps({name: found.names for name, found in lists.items()}).encode()
        tables = self._table.tobytes() + names
        if not make_room(folder(), _NAME_RE, self._end + len(tables), (self._making,)):
            raise OSError("there is not enough room for a joined index")
        write_all(self.fd, tables, self._end)
        os.ftruncate(self.fd, self._end + len(tables))
        write_all(self.fd, head_of(self._layout, self._root, self._end, tables, len(names)), 0)
        os.rename(self._making, self._path)

    def close(self) -> None:
        """Close the file, and remove it if it was not kept."""
        os.close(self.fd)
        forget(self._making)


@contextlib.contextmanager
def alone(root: str) -> Iterator[None]:
    """Wait until no other process makes the file of this dataset; without locks, work may be done twice."""
    fd = -1
    with contextlib.suppress(OSError):
        make_folders(folder())
        fd = os.open(f"{path_of(root)}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if fd >= 0:
            forget(f"{path_of(root)}.lock")
            os.close(fd)
