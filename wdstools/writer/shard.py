"""Writing one shard: read, check, lay out, hash, index, make durable. Runs in a worker process.

What a shard holds depends on its own samples and settings alone.
"""

from __future__ import annotations

import hashlib
from array import array
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.errors import FormatError, StoreError
from wdstools.formats.arrow import flat, one_chunk, to_numpy
from wdstools.formats.digest import sha256_hex
from wdstools.formats.index import read_index, shard_entry, write_index
from wdstools.formats.manifest import ShardEntry, index_path, shard_path
from wdstools.formats.sample import image_member
from wdstools.results import Skip, to_dict
from wdstools.stores.local import BlockFile, LocalStore
from wdstools.writer.assembly import Assembly, ShardSettings, rows_of, sources_digest, stats_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wdstools.executors.base import Tick


@dataclass(frozen=True, slots=True)
class ShardTask:
    """One shard to write; ``samples`` are the rows of the plan, as Arrow IPC bytes.

    ``finished`` is what an interrupted run had already made of it: kept if it still is as it was.
    """

    settings: ShardSettings
    split: str
    number: int
    samples: bytes
    finished: ShardResult | None = None


@dataclass(frozen=True, slots=True)
class ShardResult:
    """A shard that lies on the disk with its index.

    ``image_digests`` are the XXH3-64 of the images, in row order; ``sources`` is a digest of the sizes and
    modification times of the files that were read. ``other_sizes`` counts images that are not of the expected side,
    ``trailing`` those that were kept with the bytes that follow their end, ``frames`` those of which only the first frame
    was; ``odd_captions`` captions with a byte order mark or NUL.
    """

    split: str
    entry: ShardEntry
    index_sha256: str
    image_digests: NDArray[np.uint64]
    skips: tuple[Skip, ...]
    sources: str
    other_sizes: int = 0
    trailing: int = 0
    odd_captions: int = 0
    frames: int = 0
    kept: bool = False


def write_shard(task: ShardTask, tick: Tick) -> ShardResult:
    """Write one shard and its index below the root, durably; raises a WdsError and leaves no shard otherwise."""
    settings = task.settings
    path = shard_path(task.split, task.number)
    store = LocalStore(settings.root)
    if task.finished is not None and (kept := _keep(task, task.finished, store)):
        tick(kept.entry.samples + len(kept.skips))
        return kept
    reader = settings.opener.open()
    try:
        with BlockFile(store.locate(path)) as file:
            assembly = Assembly(settings, task.split, reader, file)
            assembly.run(rows_of(task.samples, task.split, settings.image_template, settings.members), tick)
            digests = assembly.buffer.finish()
    finally:
        reader.close()
    table = assembly.table()
    index = write_index(table)
    store.put(index_path(path), index)
    entry = shard_entry(path, digests, table)
    return ShardResult(
        task.split,
        entry,
        sha256_hex(index),
        assembly.image_digests(),
        tuple(assembly.skips),
        assembly.sources(),
        assembly.other_sizes(),
        assembly.trailing,
        assembly.odd_captions,
        assembly.frames,
    )


def _keep(task: ShardTask, finished: ShardResult, store: LocalStore) -> ShardResult | None:
    """The finished shard, if its bytes and its index are what was journalled and its sources have not changed."""
    if not finished.entry.values:
        return None  # by an older writer
    try:
        digest = hashlib.sha256()
        for block in store.blocks(finished.entry.path):
            digest.update(block)
        index = store.get(finished.entry.index_path)
        if digest.hexdigest() != finished.entry.sha256 or sha256_hex(index) != finished.index_sha256:
            return None
        if _sources_now(task) != finished.sources:
            return None
        members = flat(one_chunk(read_index(index).column("members")))
    except (StoreError, FormatError):
        return None
    named = task.settings.members
    images = to_numpy(members.field("xxh3_64"))[:: len(named)] if image_member(named) else np.zeros(0, np.uint64)
    return replace(finished, kept=True, image_digests=images)


def _sources_now(task: ShardTask) -> str:
    """What ``Assembly.sources`` would be now, by a look at the files alone."""
    stats = array("q")
    reader = task.settings.opener.open()
    try:
        for row in rows_of(task.samples, task.split, task.settings.image_template, task.settings.members):
            stats.extend(stats_of(reader, row, task.settings.members))
    finally:
        reader.close()
    return sources_digest(stats)


def to_line(result: ShardResult) -> dict[str, Any]:
    """A finished shard as JSON values, for the journal."""
    return {
        "split": result.split,
        "entry": asdict(result.entry),
        "index_sha256": result.index_sha256,
        "skips": [to_dict(skip) for skip in result.skips],
        "sources": result.sources,
        "other_sizes": result.other_sizes,
        "trailing": result.trailing,
        "odd_captions": result.odd_captions,
        "frames": result.frames,
    }


def from_line(line: dict[str, Any]) -> ShardResult:
    """A finished shard of an earlier run; the digests of its images come when it is looked at again."""
    return ShardResult(
        split=line["split"],
        entry=ShardEntry(**line["entry"]),
        index_sha256=line["index_sha256"],
        image_digests=np.zeros(0, np.uint64),
        skips=tuple(Skip(**skip) for skip in line["skips"]),
        sources=line["sources"],
        other_sizes=line["other_sizes"],
        trailing=line["trailing"],
        odd_captions=line["odd_captions"],
        frames=line.get("frames", 0),
    )
