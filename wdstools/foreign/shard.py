"""Indexes one foreign tar: its members, rows, digests and hazards. Runs in a worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wdstools.errors import FormatError
from wdstools.foreign.rows import ForeignRows
from wdstools.foreign.split_names import other_splits
from wdstools.foreign.window import StreamWindow, decompressed, headers_window, raw_bytes
from wdstools.formats.arrow import to_list
from wdstools.formats.digest import ShardDigester, xxh3_128
from wdstools.formats.index import rows_digest, values_digest, write_index
from wdstools.formats.manifest import ShardEntry
from wdstools.formats.sniff import SNIFF_BYTES, what_is
from wdstools.formats.tarhop import HopNotes, hop
from wdstools.formats.tarrun import read_run
from wdstools.memory import page_aligned

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from wdstools.executors.base import Tick
    from wdstools.foreign.window import ReadInto, Window
    from wdstools.formats.tarhop import TarEntry
    from wdstools.results import Hazard
    from wdstools.stores.base import Store

#: ``none`` reads only headers; ``xxh3`` reads every byte once; ``all`` adds the digests that hubs and clouds use.
DIGEST_LEVELS = ("none", "xxh3", "all")
_COMPRESSIONS = ("gzip", "zstd", "bzip2", "xz")
_DRAINED_BYTES = 1 << 20
_LONGEST_PAUSE = 256
#: The most bytes of headers and extension records between two entries.
_LONGEST_EXTENSIONS = 1 << 24


@dataclass(frozen=True, slots=True)
class ForeignShardTask:
    """One tar to index: ``path`` below ``shards``; its index is written below ``metadata``."""

    shards: Store
    metadata: Store
    path: str
    split: str
    encoding: str
    digests: str


@dataclass(frozen=True, slots=True)
class ForeignShard:
    """The contents of a tar. ``extensions`` counts the samples that have each; ``key_hashes`` are XXH3-64, by row."""

    split: str
    entry: ShardEntry
    hazards: tuple[Hazard, ...]
    extensions: Counter[str]
    key_hashes: NDArray[np.uint64]


class _Digests:
    """Computes the digests of a shard's stored bytes while they are read."""

    def __init__(self, readinto: ReadInto, level: str) -> None:
        self._readinto = readinto
        self._all = ShardDigester() if level == "all" else None
        self._xxh3: Any = xxh3_128()
        self._bytes = 0

    def readinto(self, view: memoryview) -> int:
        """The next bytes."""
        count = self._readinto(view)
        if self._all is not None:
            self._all.update(view[:count])
        else:
            self._xxh3.update(view[:count])
        self._bytes += count
        return count

    def finish(self) -> dict[str, Any]:
        """Read the rest; size and digests as in a shard's entry, "" for those not computed."""
        rest = memoryview(page_aligned(_DRAINED_BYTES))
        while self.readinto(rest):
            pass
        if self._all is None:
            unknown = {"sha256": "", "crc32c": "", "crc64nvme": ""}
            return {"bytes": self._bytes, "xxh3_128": self._xxh3.hexdigest(), **unknown}
        found = self._all.digests()
        return {name: getattr(found, name) for name in ("bytes", "sha256", "xxh3_128", "crc32c", "crc64nvme")}


class _Unpacked:
    """The decompressed bytes of a tar, up to the first damage."""

    def __init__(self, readinto: ReadInto, path: str, notes: HopNotes) -> None:
        self._notes = notes
        self._readinto = decompressed(readinto, path, self._trailing)
        self.error: FormatError | None = None

    def _trailing(self, count: int) -> None:
        self._notes.trailing += count

    def readinto(self, view: memoryview) -> int:
        """The next bytes; none after damage."""
        try:
            return self._readinto(view) if self.error is None else 0
        except FormatError as error:
            self.error = error
            return 0


class _Runs:
    """Takes plain entries in runs if there are many; ``total`` is the tar's length if payloads are not read."""

    def __init__(self, rows: ForeignRows, notes: HopNotes, window: Window, total: int | None) -> None:
        self._rows = rows
        self._notes = notes
        self._window = window
        self._total = total
        self._pause = self._wait = 0

    def __call__(self, at: int) -> int:
        """Take the runs at a position; returns the position of the next header."""
        while not self._wait:
            data = self._window.ahead(at)
            run = read_run(data, at, payloads=self._total is None, total=self._total, fill=self._window.fill)
            if run is None:
                self._wait = self._pause = min(2 * self._pause + 1, _LONGEST_PAUSE)  # a fruitless search costs time
                return at
            self._pause = 0
            self._notes.headers += run.headers
            self._rows.add_run(run, data, at)
            at = run.end
        self._wait -= 1
        return at


def index_shard(task: ForeignShardTask, tick: Tick) -> ForeignShard:
    """Index one tar, as far as it can be read, and store the index; hazards say what cannot be read. Raises StoreError."""
    rows, notes, found = read_foreign(task.shards, task.path, task.split, task.encoding, task.digests)
    table = rows.columns.table(task.split)
    found |= {"rows": rows_digest(table), "values": values_digest(table)}
    entry = ShardEntry(path=task.path, samples=table.num_rows, encoding=task.encoding, **found)
    task.metadata.put(entry.index_path, write_index(table))
    _note_tar(rows, notes, task, table.num_rows)
    _note_folders(rows, task, table)
    tick(entry.bytes)
    return ForeignShard(
        task.split, entry, rows.hazards.hazards(), rows.columns.samples_with(), rows.columns.key_hashes()
    )


def _note_folders(rows: ForeignRows, task: ForeignShardTask, table: pa.Table) -> None:
    """Record keys in folders named after other splits, which would otherwise go unnoticed."""
    import pyarrow.compute as pc

    keys = table.column("key")
    if words := other_splits(task.split, to_list(keys.filter(pc.match_substring(keys, "/")))):
        rows.hazards.add("split-unread", f"{task.path}, {words[0]}/")


def read_foreign(
    store: Store,
    path: str,
    split: str,
    encoding: str,
    digests: str,
    left: Callable[[str, TarEntry], None] | None = None,
) -> tuple[ForeignRows, HopNotes, dict[str, Any]]:
    """The rows of a tar, how its headers ended, and the size and digests of its stored bytes; for ``left`` see ForeignRows."""
    notes = HopNotes()
    if digests == "none" and encoding == "tar":
        rows = ForeignRows(path, split, None, left)
        with headers_window(store, path) as window:
            for entry in hop(window.read, notes, window.bytes, _Runs(rows, notes, window, window.bytes)):
                rows.add(entry)
        rows.finish()
        empty = {"xxh3_128": "", "sha256": "", "crc32c": "", "crc64nvme": ""}
        return rows, notes, {"bytes": window.bytes, **empty}
    with raw_bytes(store, path) as readinto:
        hashed = _Digests(readinto, digests)
        unpacked = _Unpacked(hashed.readinto, path, notes)
        stream = StreamWindow(hashed.readinto if encoding == "tar" else unpacked.readinto)
        rows = ForeignRows(path, split, stream, left)

        def read(at: int, count: int) -> bytes:
            if (
                at - rows.reached > _LONGEST_EXTENSIONS
            ):  # zeros, or bytes that are not a tar: there may be any number of them
                rows.pass_by(at)
            return stream.read(at, count)

        for entry in hop(read, notes, None, _Runs(rows, notes, stream, None)):
            if not rows.add(entry):
                notes.end, notes.end_at = "cut", entry[2]
                break
        rows.finish()
        if unpacked.error is not None:
            notes.end, notes.why = "damaged", unpacked.error.message
        return rows, notes, hashed.finish()


def index_table(store: Store, entry: ShardEntry, split: str) -> tuple[pa.Table, dict[str, Any]]:
    """The index of a tar, computed again as for adopting, and the size and digests of its stored bytes."""
    level = "none" if not entry.xxh3_128 else "all" if entry.sha256 else "xxh3"
    rows, _, found = read_foreign(store, entry.path, split, entry.encoding, level)
    return rows.columns.table(split), found


def _note_tar(rows: ForeignRows, notes: HopNotes, task: ForeignShardTask, table_rows: int) -> None:
    hazards, path = rows.hazards, task.path
    hazards.add("pax-names", path, notes.pax_names)
    hazards.add("pax-sizes", path, notes.pax_sizes)
    hazards.add("size-binary", path, notes.binary_sizes)
    hazards.add("shard-compressed", path, task.encoding in ("tar.gz", "tar.bz2", "tar.xz"))
    hazards.add("shard-zstandard", path, task.encoding == "tar.zst")
    hazards.add("shard-empty", path, not table_rows)
    hazards.add("archive-resumed", f"{path}, byte {notes.resumed_at}", notes.resumed)
    hazards.add("archive-trailing", f"{path}, {notes.trailing:,} bytes", notes.trailing > 0)
    sniffed = None if notes.headers else what_is(*_head(task.shards, path))
    if sniffed is not None and sniffed.code not in ("tar", *(_COMPRESSIONS if task.encoding != "tar" else ())):
        hazards.add("shard-unreadable", f"{path} is {sniffed}: {sniffed.hint}".removesuffix(": "))
        return
    code = {"cut": "shard-cut", "damaged": "shard-damaged", "missing": "archive-end-missing"}.get(notes.end)
    if code is not None:
        hazards.add(code, f"{path}, byte {notes.end_at}" + (f" ({notes.why})" if notes.why else ""))


def _head(store: Store, path: str) -> tuple[bytes, int]:
    """The first bytes of a stored file, and its size."""
    size = store.head(path).bytes
    return (store.get(path, 0, min(SNIFF_BYTES, size)) if size else b""), size
