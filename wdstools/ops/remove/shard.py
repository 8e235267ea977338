"""One shard without some of its samples. Runs in a worker."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING

import pyarrow as pa

from wdstools.checks.rebuild import proved_index
from wdstools.checks.salvage import is_group, rows_of
from wdstools.errors import IntegrityError
from wdstools.formats.arrow import to_array
from wdstools.formats.digest import ShardDigester, sha256_hex
from wdstools.formats.index import shard_entry, write_index
from wdstools.formats.tar import trailer_bytes
from wdstools.stores.local import DurableFile, LocalStore
from wdstools.stores.reading import read_blocks
from wdstools.transfer.shape import keep_rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.executors.base import Tick
    from wdstools.formats.manifest import ShardEntry


@dataclass(frozen=True, slots=True)
class ThinTask:
    """A shard, the rows of it that stay, and the folder that the new shard and its index are written to."""

    dataset: Dataset
    split: str
    entry: ShardEntry
    kept: NDArray[np.bool_]
    work: str


@dataclass(frozen=True, slots=True)
class ThinShard:
    """A shard that was written anew, and the SHA-256 of its index."""

    entry: ShardEntry
    index_sha256: str


def thin_shard(task: ThinTask, tick: Tick) -> ThinShard:
    """Write a shard of the samples that stay, each proved as it is copied, and its index; both durable.

    They get a new SHA-256, so the old one proves them: each sample's, or else that of the whole shard. Raises
    IntegrityError (``sample-damaged``, ``shard-damaged``): damage and forgeries are not carried into a new version.
    """
    table = task.dataset.index(task.entry)
    if table.column("sha256").null_count:
        if task.dataset.anchored and not task.entry.values:
            table = proved_index(task.dataset, task.split, task.entry)
        else:
            _require_whole(task.dataset, task.entry)
    elif task.dataset.anchored and not task.entry.values:
        table = proved_index(task.dataset, task.split, task.entry)
    kept = keep_rows(table, task.kept)
    digester = ShardDigester()
    rows = rows_of(table.filter(to_array(task.kept, pa.bool_())))
    store = LocalStore(task.work)
    with DurableFile(store.locate(task.entry.path)) as out:
        for row in rows:
            offset, length, key = row["offset"], row["length"], row["key"]
            group = task.dataset.shards.get(task.entry.path, offset, length)
            if not is_group(row, group):
                raise IntegrityError(
                    "a sample that stays is damaged: nothing was changed",
                    code="sample-damaged",
                    where=f"{task.entry.path}, sample {key}, bytes {offset}..{offset + length}",
                    hint=f"wdstools repair {quote(task.dataset.metadata.url)} --from COPY",
                )
            digester.update(group)
            out.write(memoryview(group))
            tick(length)
        trailer = bytes(trailer_bytes(sum(row["length"] for row in rows)))
        digester.update(trailer)
        out.write(memoryview(trailer))
    index = write_index(kept)
    store.put(task.entry.index_path, index)
    old = task.entry
    entry = shard_entry(old.path, digester.digests(), kept, values=bool(old.values), extra=old.extra)
    return ThinShard(entry, sha256_hex(index))


def copy_shard(dataset: Dataset, entry: ShardEntry, work: str) -> None:
    """A shard that stays as it is, with its index, to the new dataset: read once, and proved by its SHA-256.

    Raises IntegrityError (``shard-damaged``), FormatError (``index-damaged``).
    """
    store, digest = LocalStore(work), hashlib.sha256()
    with DurableFile(store.locate(entry.path)) as out:
        for block in read_blocks(dataset.shards, entry.path):
            digest.update(block)
            out.write(block)
        if digest.hexdigest() != entry.sha256:
            raise _not_whole(dataset, entry, digest.hexdigest())
    data = dataset.index_bytes(entry)
    dataset.checked_index(entry, data)
    store.put(entry.index_path, data)


def _require_whole(dataset: Dataset, entry: ShardEntry) -> None:
    digest = hashlib.sha256()
    for block in read_blocks(dataset.shards, entry.path):
        digest.update(block)
    if digest.hexdigest() != entry.sha256:
        raise _not_whole(dataset, entry, digest.hexdigest())


def _not_whole(dataset: Dataset, entry: ShardEntry, got: str) -> IntegrityError:
    return IntegrityError(
        "a shard whose samples stay is damaged: nothing was changed",
        code="shard-damaged",
        where=f"{dataset.shards.url}/{entry.path}",
        expected=f"sha256 {entry.sha256}",
        got=f"sha256 {got}",
        hint=f"wdstools repair {quote(dataset.metadata.url)} --root {dataset.root} --from COPY",
    )
