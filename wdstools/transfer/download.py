"""Download one shard with its index: all of it, or some of its samples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from shlex import quote
from typing import TYPE_CHECKING, ClassVar, TypeVar

from wdstools.errors import FormatError, IntegrityError
from wdstools.formats.digest import ShardDigests, sha256_hex
from wdstools.formats.index import shard_entry, write_index
from wdstools.formats.manifest import index_path
from wdstools.stores.local import LocalStore
from wdstools.stores.open import remote
from wdstools.stores.partial_file import PartFile
from wdstools.stores.reading import MAX_SMALL_BYTES, get_whole
from wdstools.transfer.assemble import Assembler, Moved, Origin
from wdstools.transfer.shape import keep_rows, shape_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.executors.base import Tick
    from wdstools.formats.manifest import ShardEntry
    from wdstools.stores.base import Store
    from wdstools.transfer.seeds import Seeds

Value = TypeVar("Value")
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class PullTask:
    """One shard to download to ``folder``; ``listed`` is the SHA-256 of its index file, if known.

    ``rows`` are the chosen rows, None for all. With ``rows``, ``index`` holds the bytes of the index, already proved.
    """

    local_paths: ClassVar[tuple[str, ...]] = ("folder",)

    dataset: Dataset
    split: str
    entry: ShardEntry
    folder: str
    gap: int
    listed: str | None = None
    rows: NDArray[np.bool_] | None = None
    index: bytes = b""
    seeds: Seeds | None = None


@dataclass(frozen=True, slots=True)
class PulledShard:
    """A shard that has been downloaded, complete and durable, with its index."""

    split: str
    entry: ShardEntry
    index_sha256: str
    moved: Moved


def pull_shard(task: PullTask, tick: Tick) -> PulledShard:
    """Download one shard and its index.

    Raises IntegrityError (``remote-damaged``) if the remote store does not hold what the manifest says; the shard gets
    its final name only once every digest in the manifest agrees.
    """
    data, table = (task.index, None) if task.rows is not None else fetch_index(task.dataset, task.entry, task.listed)
    if table is None:
        table = task.dataset.checked_index(task.entry, data)
    path = LocalStore(task.folder).locate(task.entry.path)
    moved = Moved()
    with PartFile(path) as file:
        digests = _assemble(task, table, file, tick, moved)
        entry = task.entry
        if task.rows is None and (moved.kept or moved.seeded) and digests.sha256 != entry.sha256:
            # what was here matches the fast digests of its samples but not the SHA-256: use nothing of it
            file.clear()
            moved = Moved()
            digests = _assemble(replace(task, seeds=None), table, file, lambda _: None, moved)
        if task.rows is not None:
            table = keep_rows(table, task.rows)
            data = write_index(table)
            entry = shard_entry(entry.path, digests, table, values=bool(entry.values))
        elif wrong := _difference(task.entry, digests):
            raise _damaged(task.dataset.shards, task.entry.path, "a shard does not match the manifest", *wrong)
        file.finish(digests.bytes)
    LocalStore(task.folder).put(index_path(entry.path), data)
    return PulledShard(task.split, entry, sha256_hex(data), moved)


def _assemble(task: PullTask, table: pa.Table, file: PartFile, tick: Tick, moved: Moved) -> ShardDigests:
    shape = shape_of(table, task.rows)
    if task.rows is None and shape.size != task.entry.bytes:
        raise FormatError(
            "a shard's size is not that of its samples together",
            code="index-damaged",
            where=task.entry.path,
            expected=f"{shape.size} bytes",
            got=f"{task.entry.bytes} bytes",
        )
    origin = Origin(remote(task.dataset.shards), task.entry.path, gap=task.gap, seeds=task.seeds)
    return Assembler(shape, origin, file, tick, moved).run()


def _difference(entry: ShardEntry, digests: ShardDigests) -> tuple[str, str] | None:
    """The first digest (or the size) of a shard that differs from the manifest: expected and got."""
    for name in ("bytes", "sha256", "xxh3_128", "crc32c", "crc64nvme"):
        if getattr(entry, name) != getattr(digests, name):
            return f"{name} {getattr(entry, name)}", f"{name} {getattr(digests, name)}"
    return None


def fetch_index(dataset: Dataset, entry: ShardEntry, listed: str | None) -> tuple[bytes, pa.Table]:
    """The index of a shard, proved by the manifest, and by the checksum list if that names it."""

    def check(data: bytes) -> pa.Table:
        table = dataset.checked_index(entry, data)
        if listed is not None and sha256_hex(data) != listed:
            raise FormatError("an index is not the one that was packed", expected=listed, got=sha256_hex(data))
        return table

    return asked_again(lambda: dataset.index_bytes(entry), check, f"{dataset.metadata.url}/{entry.index_path}")


def fetch_file(store: Store, path: str, listed: str, limit: int = MAX_SMALL_BYTES) -> bytes:
    """A file read whole, proved by its SHA-256; raises FormatError (``file-too-large``) above ``limit`` bytes."""

    def check(data: bytes) -> None:
        if sha256_hex(data) != listed:
            raise FormatError("a file is not the one that was packed", expected=listed, got=sha256_hex(data))

    return asked_again(lambda: get_whole(store, path, limit), check, f"{store.url}/{path}")[0]


def asked_again(get: Callable[[], bytes], check: Callable[[bytes], Value], where: str) -> tuple[bytes, Value]:
    """Fetch and check data, again if it arrives damaged; at last raises IntegrityError (``remote-damaged``)."""
    for attempt in range(_ATTEMPTS):
        data = get()
        try:
            return data, check(data)
        except FormatError as error:
            if attempt == _ATTEMPTS - 1:
                raise IntegrityError(
                    error.message, code="remote-damaged", where=where, expected=error.expected, got=error.got
                ) from None
    raise AssertionError


def _damaged(store: Store, path: str, message: str, expected: str, got: str) -> IntegrityError:
    return IntegrityError(
        message,
        code="remote-damaged",
        where=f"{store.url}/{path}",
        expected=expected,
        got=got,
        hint=f"wdstools verify {quote(store.url)}    names everything damaged there",
    )
