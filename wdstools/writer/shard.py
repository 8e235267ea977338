"""Write one shard: read, check, lay out, hash, index, make durable. Runs in a worker process.

The content of a shard depends only on its own samples and settings.
"""

from __future__ import annotations

from array import array
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.errors import FormatError, StoreError
from wdstools.formats.arrow import flat, one_chunk, release_memory, to_numpy
from wdstools.formats.digest import sha256_hex
from wdstools.formats.index import misplaced, read_index, shard_entry, unlike, write_index
from wdstools.formats.manifest import ShardEntry, shard_path
from wdstools.formats.sample import image_member
from wdstools.results import Skip, to_dict
from wdstools.sources.base import ExpectsFiles
from wdstools.writer.assembly import Assembly, ShardSettings
from wdstools.writer.rows import files_of, rows_of, sources_digest, stats_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wdstools.executors.base import Tick
    from wdstools.writer.home import ShardHome


@dataclass(frozen=True, slots=True)
class ShardTask:
    """One shard to write, to ``home``; ``samples`` are the rows of the plan, as Arrow IPC bytes.

    ``finished`` is what an interrupted run noted about it: the shard is kept if it is unchanged.
    """

    settings: ShardSettings
    home: ShardHome
    split: str
    number: int
    samples: bytes
    finished: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ShardResult:
    """A shard that is in its home, with its index.

    ``image_digests`` are the XXH3-64 of the images, in row order; ``sources`` is a digest of the sizes and
    modification times of the files that were read. ``other_sizes`` counts images without the expected side,
    ``trailing`` those kept with bytes after their end, ``stray`` those with bytes between their parts, ``frames`` those
    of which only the first frame was kept; ``odd_captions`` counts captions with a byte order mark or NUL.
    ``kept`` says that an earlier run had finished the shard; ``remade`` that a note says so, but without this user's
    seal, so that the shard was made again.
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
    stray: int = 0
    kept: bool = False
    remade: bool = False


def write_shard(task: ShardTask, tick: Tick) -> ShardResult:
    """Write one shard and its index to its home, durably; if it raises a WdsError, no finished shard is noted."""
    settings = task.settings
    path = shard_path(task.split, task.number)
    line = task.finished if task.finished is not None else task.home.noted(path)
    known = line is not None and task.home.vouches_for(path, line)
    if line is not None and known and (kept := _keep(task, path, line)) is not None:
        tick(kept.entry.samples + len(kept.skips))
        return kept
    with task.home.making(path) as made:
        reader = settings.opener.open()
        if isinstance(reader, ExpectsFiles):
            rows = rows_of(task.samples, task.split, settings.image_template, settings.members)
            reader.expect(file for row in rows for file in files_of(row, settings.members))
        try:
            with made.filling() as file:
                assembly = Assembly(settings, task.split, reader, file)
                assembly.run(rows_of(task.samples, task.split, settings.image_template, settings.members), tick)
                digests = assembly.buffer.finish()
        finally:
            reader.close()
        assembly.buffer.release()
        table = assembly.table()
        index = write_index(table)
        result = ShardResult(
            task.split,
            shard_entry(path, digests, table),
            sha256_hex(index),
            assembly.image_digests(),
            tuple(assembly.skips),
            assembly.sources(),
            assembly.other_sizes(),
            assembly.trailing,
            assembly.odd_captions,
            assembly.frames,
            stray=assembly.stray,
            remade=line is not None and not known,
        )
        made.land(to_line(result), index)
    release_memory()  # what the index took: each worker would keep it while it makes the next shard
    return result


def _keep(task: ShardTask, path: str, line: dict[str, Any]) -> ShardResult | None:
    """The finished shard, if its bytes and index are as noted and its sources have not changed."""
    try:
        finished = from_line(line)
        if finished.entry.path != path or not finished.entry.values:
            return None  # made by an older writer
        index = task.home.index_if_held(line)
        if index is None or _sources_now(task) != finished.sources:
            return None
        table = read_index(index)
        if unlike(table, finished.entry) is not None or misplaced(table, task.split) is not None:
            return None
        members = flat(one_chunk(table.column("members")))
    except (StoreError, FormatError, LookupError, TypeError, ValueError, AttributeError):
        return None  # a note may have come from anywhere
    named = task.settings.members
    images = to_numpy(members.field("xxh3_64"))[:: len(named)] if image_member(named) else np.zeros(0, np.uint64)
    return replace(finished, kept=True, image_digests=images)


def _sources_now(task: ShardTask) -> str:
    """What ``Assembly.sources`` would be now, without reading the files."""
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
        "stray": result.stray,
    }


def from_line(line: dict[str, Any]) -> ShardResult:
    """A finished shard of an earlier run, without the digests of its images, which are read later from its index."""
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
        stray=line.get("stray", 0),
    )
