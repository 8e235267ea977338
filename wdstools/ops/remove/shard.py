"""One shard without some of its samples. Runs in a worker."""

from __future__ import annotations

from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING

import pyarrow as pa

from wdstools.errors import IntegrityError
from wdstools.formats.arrow import to_array
from wdstools.formats.digest import ShardDigester, sha256_hex, xxh3_128_digest
from wdstools.formats.index import shard_entry, write_index
from wdstools.formats.tar import trailer_bytes
from wdstools.stores.local import DurableFile, LocalStore
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

    Raises IntegrityError (``sample-damaged``): damage is not carried into a new version.
    """
    table = task.dataset.index(task.entry)
    kept = keep_rows(table, task.kept)
    digester = ShardDigester()
    offsets, lengths, digests, keys = (
        table.filter(to_array(task.kept, pa.bool_())).column(name).to_pylist()
        for name in ("offset", "length", "xxh3_128", "key")
    )
    store = LocalStore(task.work)
    with DurableFile(store.locate(task.entry.path)) as out:
        for offset, length, digest, key in zip(offsets, lengths, digests, keys, strict=True):
            group = task.dataset.shards.get(task.entry.path, offset, length)
            if xxh3_128_digest(group) != digest:
                raise IntegrityError(
                    "a sample that stays is damaged: nothing was changed",
                    code="sample-damaged",
                    where=f"{task.entry.path}, sample {key}, bytes {offset}..{offset + length}",
                    hint=f"wdstools repair {quote(task.dataset.metadata.url)} --from COPY",
                )
            digester.update(group)
            out.write(memoryview(group))
            tick(length)
        trailer = bytes(trailer_bytes(sum(lengths)))
        digester.update(trailer)
        out.write(memoryview(trailer))
    index = write_index(kept)
    store.put(task.entry.index_path, index)
    old = task.entry
    entry = shard_entry(old.path, digester.digests(), kept, values=bool(old.values), extra=old.extra)
    return ThinShard(entry, sha256_hex(index))
