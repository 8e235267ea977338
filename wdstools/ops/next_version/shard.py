"""Write one shard of a dataset's next version: old samples, each proved as it is copied, and new ones. Runs in a worker."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from shlex import quote
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from wdstools.checks.rebuild import proved_index
from wdstools.checks.salvage import is_group, rows_of
from wdstools.errors import IntegrityError, NotFoundError, UsageError, option
from wdstools.formats.arrow import to_array, to_list
from wdstools.formats.digest import ShardDigester, sha256_hex
from wdstools.formats.index import shard_entry, write_index
from wdstools.formats.sample import order_hash
from wdstools.formats.tar import trailer_bytes
from wdstools.ops.next_version.place import Passing, line_of
from wdstools.stores.local import DurableFile, LocalStore
from wdstools.stores.reading import read_blocks
from wdstools.transfer.shape import lay_out
from wdstools.writer import assembly as writing
from wdstools.writer.rows import rows_of as rows_from

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.executors.base import Tick
    from wdstools.formats.manifest import ShardEntry
    from wdstools.ops.next_version.place import Place, Sink
    from wdstools.results import Skip
    from wdstools.writer.assembly import ShardSettings

#: Neighbours are read together up to about this many bytes, in one request from a remote store.
_READ_BYTES = 8 << 20
#: Reads bytes: offset, length.
Read = Callable[[int, int], bytes]


@dataclass(frozen=True, slots=True)
class Added:
    """New samples of a shard: rows of a plan as Arrow IPC bytes, and how to pack them."""

    settings: ShardSettings
    samples: bytes


@dataclass(frozen=True, slots=True)
class RewriteTask:
    """A shard to write: the masked rows of old shards, and what is ``added``."""

    dataset: Dataset
    split: str
    path: str
    parts: tuple[tuple[ShardEntry, NDArray[np.bool_]], ...]
    place: Place
    added: Added | None = None


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A rewritten shard, and the SHA-256 of its index.

    ``added`` are the keys of its new samples, ``skips`` those that could not be packed; ``trailing``, ``odd_captions`` and
    ``stray`` count oddities of the others. ``kept``: no new sample could be packed, and nothing was written.
    """

    entry: ShardEntry
    index_sha256: str
    added: tuple[str, ...] = ()
    skips: tuple[Skip, ...] = ()
    trailing: int = 0
    odd_captions: int = 0
    stray: int = 0
    kept: bool = False


def rewrite_shard(task: RewriteTask, tick: Tick) -> Rewritten:
    """Write a shard and its index, both durably, unless an interrupted run has finished it.

    The shard gets a new SHA-256, so old samples are first proved by the old one: each sample's, or else the shard's. Raises
    IntegrityError (``sample-damaged``, ``shard-damaged``): damage and forgeries are not carried into a new version.
    """
    held = task.place.held(task.path) if task.added is None else None
    if held is not None:
        tick(sum(entry.bytes for entry, _ in task.parts))
        return Rewritten(*held)
    tables = [_kept(task, entry, mask) for entry, mask in task.parts]
    shards = task.dataset.shards
    reads: list[Read] = [partial(shards.get, entry.path) for entry, _ in task.parts]
    with contextlib.ExitStack() as stack:
        assembly = None
        if task.added is not None:
            passing = Passing(task.place.scratch)
            stack.callback(passing.close)
            assembly = _assemble(task, task.added, passing)
            tables.append(assembly.table())
            reads.append(passing.get)
            if not tables[-1].num_rows and _is_as_it_was(task):
                return Rewritten(task.parts[0][0], "", skips=tuple(assembly.skips), kept=True)
        table, origin = _in_order(tables, None if assembly is None else task.dataset.manifest.seed)
        _refuse_size(table, task.path)
        made = stack.enter_context(task.place.making(task.path))
        groups = _groups(task, table, origin, reads)
        with made.filling() as out:
            digester = _fill(groups, out, tick)
        table = lay_out(table)
        index = write_index(table)
        old = [entry for entry, _ in task.parts]
        values = all(entry.values for entry in old) if old else task.dataset.manifest.has_values
        extra = old[0].extra if len(old) == 1 and old[0].path == task.path else {}
        entry = shard_entry(task.path, digester.digests(), table, values=values, extra=extra)
        made.land(line_of(entry, sha256_hex(index)), index)
    if assembly is None:
        return Rewritten(entry, sha256_hex(index))
    return Rewritten(
        entry,
        sha256_hex(index),
        tuple(to_list(tables[-1].column("key"))),
        tuple(assembly.skips),
        assembly.trailing,
        assembly.odd_captions,
        assembly.stray,
    )


def _kept(task: RewriteTask, entry: ShardEntry, mask: NDArray[np.bool_]) -> pa.Table:
    """The rows of an old shard that go into the new one, proved as strictly as the dataset allows."""
    dataset = task.dataset
    table = dataset.index(entry)
    if dataset.anchored and not entry.values:
        table = proved_index(dataset, task.split, entry)
    elif table.column("sha256").null_count:
        _require_whole(dataset, entry)
    return table.filter(to_array(mask, pa.bool_()))


def _is_as_it_was(task: RewriteTask) -> bool:
    return len(task.parts) == 1 and task.parts[0][0].path == task.path and bool(task.parts[0][1].all())


def _assemble(task: RewriteTask, added: Added, passing: Passing) -> writing.Assembly:
    """Pack the new samples into a tar of their own."""
    settings = added.settings
    reader = settings.opener.open()
    try:
        assembly = writing.Assembly(settings, task.split, reader, passing)
        rows = rows_from(added.samples, task.split, settings.image_template, settings.members)
        assembly.run(rows, lambda _: None)
        assembly.buffer.finish()
    finally:
        reader.close()
    return assembly


def _in_order(tables: Sequence[pa.Table], seed: int | None) -> tuple[pa.Table, list[int]]:
    """All rows in the order of the format (without a seed, as they are), and the number of the table of each."""
    table = pa.concat_tables(tables).combine_chunks()
    origin = np.repeat(np.arange(len(tables)), [part.num_rows for part in tables])
    if seed is None:
        return table, origin.tolist()
    keys = [key.encode() for key in to_list(table.column("key"))]
    order = sorted(range(len(keys)), key=lambda row: (order_hash(keys[row], seed), keys[row]))
    return table.take(to_array(order, pa.int64())), origin[order].tolist()


def _refuse_size(table: pa.Table, path: str) -> None:
    total = sum(to_list(table.column("length")))
    if total + trailer_bytes(total) > writing.MAX_SHARD_BYTES:
        raise UsageError(
            "a shard would be larger than 5 GB",
            code="shard-too-large",
            where=path,
            got=f"{total:,} bytes in {table.num_rows:,} samples",
            hint=f"divide the splits into more {option('shards')}; nothing was changed",
        )


def _groups(task: RewriteTask, table: pa.Table, origin: list[int], reads: Sequence[Read]) -> Iterator[bytes]:
    """Each row's group of members, read from where it is now; neighbours there are read together."""
    rows = rows_of(table)
    mine: list[list[dict[str, Any]]] = [[] for _ in reads]
    for row, number in zip(rows, origin, strict=True):
        mine[number].append(row)
    paths = [entry.path for entry, _ in task.parts]
    given = [_read(task, one, read, path) for one, read, path in zip(mine, reads, [*paths, task.path], strict=False)]
    return (next(given[number]) for number in origin)


def _read(task: RewriteTask, rows: list[dict[str, Any]], read: Read, path: str) -> Iterator[bytes]:
    """The groups of some rows of one file, in their order there."""
    at = 0
    while at < len(rows):
        start = end = rows[at]["offset"]
        stop = at
        while stop < len(rows) and rows[stop]["offset"] == end and (stop == at or end - start < _READ_BYTES):
            end += rows[stop]["length"]
            stop += 1
        try:
            data = memoryview(read(start, end - start))
        except NotFoundError:
            raise _damaged(task.dataset, "a shard with samples to keep is missing; nothing was changed", path) from None
        for row in rows[at:stop]:
            begin = row["offset"] - start
            group = bytes(data[begin : begin + row["length"]])
            if not is_group(row, group):
                where = f"{path}, sample {row['key']}, bytes {row['offset']}..{row['offset'] + row['length']}"
                raise IntegrityError(
                    "a sample to keep is damaged; nothing was changed",
                    code="sample-damaged",
                    where=where,
                    hint=f"wdstools repair {quote(task.dataset.metadata.url)} --from COPY",
                )
            yield group
        at = stop


def _fill(groups: Iterator[bytes], out: Sink, tick: Tick) -> ShardDigester:
    """Write the groups, and the trailer."""
    digester, size = ShardDigester(), 0
    for group in groups:
        digester.update(group)
        out.write(memoryview(group))
        size += len(group)
        tick(len(group))
    trailer = bytes(trailer_bytes(size))
    digester.update(trailer)
    out.write(memoryview(trailer))
    return digester


def copy_shard(dataset: Dataset, entry: ShardEntry, work: str) -> None:
    """Copy an unchanged shard with its index to the new dataset: read once, and proved by its SHA-256.

    Raises IntegrityError (``shard-damaged``), FormatError (``index-damaged``).
    """
    store, digest = LocalStore(work), hashlib.sha256()
    with DurableFile(store.locate(entry.path)) as out:
        for block in read_blocks(dataset.shards, entry.path):
            digest.update(block)
            out.write(block)
        if digest.hexdigest() != entry.sha256:
            raise not_whole(dataset, entry, digest.hexdigest())
    data = dataset.index_bytes(entry)
    dataset.checked_index(entry, data)
    store.put(entry.index_path, data)


def _require_whole(dataset: Dataset, entry: ShardEntry) -> None:
    digest = hashlib.sha256()
    for block in read_blocks(dataset.shards, entry.path):
        digest.update(block)
    if digest.hexdigest() != entry.sha256:
        raise not_whole(dataset, entry, digest.hexdigest())


def not_whole(dataset: Dataset, entry: ShardEntry, got: str) -> IntegrityError:
    """The error for a shard that does not match the manifest."""
    message = "a shard with samples to keep is damaged; nothing was changed"
    return _damaged(dataset, message, entry.path, expected=f"sha256 {entry.sha256}", got=f"sha256 {got}")


def _damaged(dataset: Dataset, message: str, path: str, expected: str = "", got: str = "") -> IntegrityError:
    return IntegrityError(
        message,
        code="shard-damaged",
        where=f"{dataset.shards.url}/{path}",
        expected=expected,
        got=got,
        hint=f"wdstools repair {quote(dataset.metadata.url)} --root {dataset.root} --from COPY",
    )
