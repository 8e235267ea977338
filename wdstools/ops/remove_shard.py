"""One shard without some of its samples. Runs in a worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from wdstools.errors import IntegrityError
from wdstools.formats.arrow import one_chunk, to_array, to_numpy
from wdstools.formats.digest import ShardDigester, sha256_hex, xxh3_128_digest
from wdstools.formats.index import SCHEMA, rows_digest, write_index
from wdstools.formats.manifest import ShardEntry
from wdstools.formats.tar import trailer_bytes
from wdstools.stores.local import DurableFile, LocalStore

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.executors.base import Tick


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
                    hint=f"wdstools repair {task.dataset.metadata.url} --from COPY",
                )
            digester.update(group)
            out.write(memoryview(group))
            tick(length)
        trailer = bytes(trailer_bytes(sum(lengths)))
        digester.update(trailer)
        out.write(memoryview(trailer))
    index = write_index(kept)
    store.put(task.entry.index_path, index)
    found = digester.digests()
    entry = ShardEntry(
        path=task.entry.path,
        bytes=found.bytes,
        samples=kept.num_rows,
        sha256=found.sha256,
        xxh3_128=found.xxh3_128,
        crc32c=found.crc32c,
        crc64nvme=found.crc64nvme,
        rows=rows_digest(kept),
        extra=task.entry.extra,
    )
    return ThinShard(entry, sha256_hex(index))


def keep_rows(table: pa.Table, kept: NDArray[np.bool_]) -> pa.Table:
    """The index of a canonical shard without some samples: what stays moves up, everything else is as it was."""
    rows = table.filter(to_array(kept, pa.bool_()))
    old, lengths = to_numpy(rows.column("offset")), to_numpy(rows.column("length"))
    new = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))[: rows.num_rows].astype(np.int64)
    members = one_chunk(rows.column("members"))
    counts = to_numpy(members.value_lengths())
    values = members.flatten()
    shifted = to_numpy(values.field("offset")) - np.repeat(old - new, counts)
    bounds = np.concatenate((np.zeros(1, np.int32), np.cumsum(counts, dtype=np.int32)))
    struct = pa.StructArray.from_arrays(
        [values.field("ext"), to_array(shifted, pa.int64()), values.field("size"), values.field("xxh3_64")],
        fields=list(SCHEMA.field("members").type.value_type),
    )
    moved = {
        "row": to_array(np.arange(rows.num_rows, dtype=np.int32), pa.int32()),
        "offset": to_array(new, pa.int64()),
        "members": pa.ListArray.from_arrays(to_array(bounds, pa.int32()), struct, type=SCHEMA.field("members").type),
    }
    arrays = [moved.get(name, rows.column(name)) for name in SCHEMA.names]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)
