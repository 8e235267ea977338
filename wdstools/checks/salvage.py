"""What is left of a damaged shard, compared with its index: which samples are intact, and where they are now."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.checks.unread import UNREAD
from wdstools.errors import StoreError
from wdstools.formats.digest import sha256_digest, xxh3_64_intdigest, xxh3_128, xxh3_128_digest
from wdstools.formats.tar import BLOCK, padding, render_header
from wdstools.stores.reading import read_blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from wdstools.executors.base import Tick
    from wdstools.formats.manifest import ShardEntry
    from wdstools.stores.base import Store

#: How far to look for a sample if bytes before it were inserted or lost.
_SHIFT_BYTES = 1 << 16
#: Up to this size, a payload is tried with each of its bits flipped: half a million digests, a few seconds at most.
_SEARCHED_BYTES = 1 << 16
#: How much is read ahead.
_AHEAD_BYTES = 1 << 20
_GONE = -1


@dataclass(frozen=True, slots=True)
class SurveyTask:
    """One shard to survey: where it is, what it should be, and whether only its SHA-256 proves that it is intact."""

    store: Store
    entry: ShardEntry
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Survey:
    """A shard as it is: its size in bytes (None if missing or unreadable), xxh3_128, and SHA-256 if requested."""

    path: str
    bytes: int | None
    xxh3_128: str | None
    sha256: str | None = None

    def is_whole(self, entry: ShardEntry) -> bool:
        """Whether the shard matches the manifest."""
        same = self.bytes == entry.bytes and self.xxh3_128 == entry.xxh3_128
        return same and self.sha256 in (None, entry.sha256)


def survey_shard(task: SurveyTask, tick: Tick) -> Survey:
    """Read a shard once and hash it; raises StoreError (``denied``) without permission to read it."""
    digest, size = xxh3_128(), 0
    sha256 = hashlib.sha256() if task.strict else None
    try:
        for block in read_blocks(task.store, task.entry.path):
            digest.update(block)
            if sha256 is not None:
                sha256.update(block)
            size += len(block)
    except StoreError as error:
        if error.code in UNREAD:
            raise  # the shard may be intact
        return Survey(task.entry.path, None, None)
    finally:
        tick(task.entry.bytes)
    return Survey(task.entry.path, size, digest.hexdigest(), sha256.hexdigest() if sha256 is not None else None)


def is_group(row: dict[str, Any], data: bytes | memoryview) -> bool:
    """Whether these are the bytes of a row's record group, by its SHA-256 too if the index has it."""
    if xxh3_128_digest(data) != row["xxh3_128"]:
        return False
    return row["sha256"] is None or sha256_digest(data) == row["sha256"]


def find_groups(store: Store, path: str, rows: Sequence[dict[str, Any]]) -> NDArray[np.int64]:
    """The offset of each sample's record group in a damaged shard; -1 if it is nowhere intact.

    ``rows`` are those of ``rows_of``. A group is looked for where the index says and, in case bytes before it were
    inserted or lost, nearby.
    """
    starts = np.full(len(rows), _GONE, np.int64)
    try:
        store.head(path)
    except StoreError:
        return starts
    shift = 0
    ahead = _Ahead(store, path)
    for number, row in enumerate(rows):
        for attempt in (row["offset"], row["offset"] + shift):
            if _lies_at(ahead, row, attempt):
                starts[number] = attempt
                shift = attempt - row["offset"]
                break
        else:
            found = _look_around(ahead, row, row["offset"] + shift)
            if found is not None:
                starts[number] = found
                shift = found - row["offset"]
    return starts


def rows_of(table: pa.Table) -> list[dict[str, Any]]:
    """What each record group is made of: a dictionary for each row of an index."""
    rows: list[dict[str, Any]] = table.select(
        ["key", "offset", "length", "xxh3_128", "sha256", "members", "caption", "cls"]
    ).to_pylist()
    return rows


class _Ahead:
    """Reads a shard, a whole block ahead if a read continues where the last one ended."""

    def __init__(self, store: Store, path: str) -> None:
        self._store = store
        self._path = path
        self._start = self._end = 0
        self._block = memoryview(b"")

    def get(self, start: int, length: int) -> memoryview:
        """Bytes from ``start``, fewer at the end of the shard. Raises StoreError if these very bytes cannot be read."""
        if not self._start <= start <= start + length <= self._start + len(self._block):
            self._block, self._start = memoryview(self._read(start, length)), start
        self._end = start + length
        return self._block[start - self._start :][:length]

    def _read(self, start: int, length: int) -> bytes:
        if start == self._end:
            with contextlib.suppress(StoreError):  # a bad sector further on must not hide the bytes requested
                return self._store.get(self._path, start, max(length, _AHEAD_BYTES))
        return self._store.get(self._path, start, length)


def _lies_at(ahead: _Ahead, row: dict[str, Any], start: int) -> bool:
    try:
        data = ahead.get(start, row["length"])
    except StoreError:  # a bad sector: this group cannot be read from here
        return False
    return len(data) == row["length"] and is_group(row, data)


def _look_around(ahead: _Ahead, row: dict[str, Any], expected: int) -> int | None:
    first = max(0, expected - _SHIFT_BYTES)
    try:
        around = bytes(ahead.get(first, 2 * _SHIFT_BYTES + BLOCK))
    except StoreError:
        return None
    member = row["members"][0]
    header = render_header(f"{row['key']}.{member['ext']}".encode(), member["size"], member["xxh3_64"])
    at = around.find(header)
    return first + at if at >= 0 and _lies_at(ahead, row, first + at) else None


def mend_group(row: dict[str, Any], data: bytes, *, search: bool) -> bytes | None:
    """A sample's record group as it was packed, from its damaged bytes and its index row alone; None if that fails.

    Headers, padding, captions and labels follow from the index; with ``search``, which takes up to a second, one
    flipped bit in a payload is undone. The digest of the group decides, so what is returned is what was packed (except
    for a chance of 2**-128 per attempt).
    """
    parts: list[bytes] = []
    for member in row["members"]:
        at = member["offset"] - row["offset"]
        payload = _mend_payload(row, member, data[at : at + member["size"]], search=search)
        if payload is None:
            return None
        header = render_header(f"{row['key']}.{member['ext']}".encode(), member["size"], member["xxh3_64"])
        parts += (header, payload, bytes(padding(member["size"])))
    group = b"".join(parts)
    return group if is_group(row, group) else None


def _mend_payload(row: dict[str, Any], member: dict[str, Any], found: bytes, *, search: bool) -> bytes | None:
    candidates = [found]
    if member["ext"] == "txt" and row["caption"] is not None:
        candidates.append(row["caption"].encode())
    if member["ext"] == "cls" and row["cls"] is not None:
        candidates.append(b"%d" % row["cls"])
    for candidate in candidates:
        if len(candidate) == member["size"] and xxh3_64_intdigest(candidate) == member["xxh3_64"]:
            return candidate
    return undo_flip(found, member["xxh3_64"]) if search and len(found) == member["size"] else None


def undo_flip(payload: bytes, digest: int) -> bytes | None:
    """The payload with the single bit flipped that gives it this XXH3-64; None if none does, or above 64 KiB."""
    if len(payload) > _SEARCHED_BYTES:
        return None
    work = bytearray(payload)
    for at in range(len(work)):
        byte = work[at]
        for bit in (1, 2, 4, 8, 16, 32, 64, 128):
            work[at] = byte ^ bit
            if xxh3_64_intdigest(work) == digest:
                return bytes(work)
        work[at] = byte
    return None
