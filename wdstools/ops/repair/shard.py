"""Repair one shard: decide where each sample's bytes come from, then write them. Both run in workers."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa

from wdstools.checks.salvage import find_groups, is_group, mend_group, rows_of
from wdstools.errors import StoreError, option
from wdstools.formats.arrow import to_array
from wdstools.formats.tar import trailer_bytes
from wdstools.ops.repair.copies import Copy, Wanted
from wdstools.stores.local import DurableFile, LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from wdstools.executors.base import Tick
    from wdstools.formats.manifest import ShardEntry

#: Where a sample's bytes come from: the damaged shard itself, its index row, or nowhere; 0 and up are positions of copies.
HERE, MENDED, NOWHERE = -1, -2, -3
#: How many repaired bytes of a shard are kept between plan and apply, so that they are fetched only once.
_HELD_BYTES = 32 << 20
_BATCH_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class MendTask:
    """A shard that does not match the manifest, with its index and the copies that may help.

    ``strict``: the root digest was given, and only SHA-256 counts as proof.
    """

    local_paths: ClassVar[tuple[str, ...]] = ("root",)

    root: str
    split: str
    entry: ShardEntry
    index: pa.Table
    copies: tuple[Copy, ...]
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to make a shard whole.

    For each row of its index: where the bytes come from (``origin``) and, for those that are in the shard itself, their
    offset there (``starts``). ``moved`` counts the bytes fetched from each copy; ``held`` has repaired groups, by row.
    ``seen`` is the size and time of the damaged file, so that the recipe is not used on a file that has changed.
    """

    task: MendTask
    origin: NDArray[np.int16]
    starts: NDArray[np.int64]
    moved: dict[int, int] = field(default_factory=dict)
    held: dict[int, bytes] = field(default_factory=dict)
    seen: tuple[int, int] | None = None

    @property
    def is_complete(self) -> bool:
        """Whether every sample can be made whole."""
        return not bool(np.any(self.origin == NOWHERE))


def find_recipe(task: MendTask, tick: Tick) -> Recipe:
    """Decide where each sample's bytes come from: each place is tried in turn, and what it gives is proved."""
    store, path = LocalStore(task.root), task.entry.path
    seen = _look(store.locate(path))
    rows = rows_of(task.index)
    starts = find_groups(store, path, rows)
    if task.strict and bool(np.all(starts >= 0)) and any(row["sha256"] is None for row in rows):
        return replace(_from_a_whole_copy(task, rows, tick), seen=seen)
    origin = np.where(starts >= 0, np.int16(HERE), np.int16(NOWHERE)).astype(np.int16)
    recipe = Recipe(task, origin, starts, seen=seen)
    _mend(recipe, rows, search=False)
    room = _HELD_BYTES
    for position, copy in enumerate(task.copies):
        missed = np.flatnonzero(origin == NOWHERE).tolist()
        for batch in _batches(missed, [row["length"] for row in rows]):
            wanted = Wanted(task.split, task.entry, [rows[number] for number in batch])
            for at, data, moved in copy.groups(wanted):
                recipe.moved[position] = recipe.moved.get(position, 0) + moved
                number = batch[at]
                if is_group(rows[number], data):
                    origin[number] = position
                    if len(data) <= room:
                        recipe.held[number] = data
                        room -= len(data)
    _mend(recipe, rows, search=True)
    tick(task.entry.bytes)
    return recipe


def _look(path: str) -> tuple[int, int] | None:
    """Size and time of a file; None if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _from_a_whole_copy(task: MendTask, rows: list[dict[str, Any]], tick: Tick) -> Recipe:
    """The recipe for a shard whose samples all have the right XXH3, but which does not match the manifest.

    Somebody forged it. Without a SHA-256 of each sample there is no telling which: the whole shard comes from a copy
    whose shard has the manifest's SHA-256, or from nowhere.
    """
    origin = np.full(len(rows), NOWHERE, np.int16)
    recipe = Recipe(task, origin, np.full(len(rows), NOWHERE, np.int64))
    for position, copy in enumerate(task.copies):
        if copy.holds(task.entry):
            origin[:] = position
            recipe.moved[position] = task.entry.bytes
            break
    tick(task.entry.bytes)
    return recipe


def _mend(recipe: Recipe, rows: list[dict[str, Any]], *, search: bool) -> None:
    """Repair what the damaged bytes and the index suffice for; ``search`` also looks for a flipped bit, which is slow."""
    store, path = LocalStore(recipe.task.root), recipe.task.entry.path
    for number in np.flatnonzero(recipe.origin == NOWHERE).tolist():
        row = rows[number]
        mended = mend_group(row, _what_is_left(store, path, row["offset"], row["length"]), search=search)
        if mended is not None:
            recipe.origin[number] = MENDED
            recipe.held[number] = mended


def _what_is_left(store: LocalStore, path: str, start: int, length: int) -> bytes:
    try:
        return store.get(path, start, length)
    except StoreError:
        return b""


def _batches(numbers: list[int], lengths: list[int]) -> Iterator[list[int]]:
    """Rows in runs of a bounded number of bytes."""
    batch: list[int] = []
    size = 0
    for number in numbers:
        if batch and size + lengths[number] > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(number)
        size += lengths[number]
    if batch:
        yield batch


def mend_shard(recipe: Recipe, tick: Tick) -> str:
    """Write the repaired shard next to the old one, verify it, and put it in the old one's place; returns its path.

    If the old one has changed since the recipe was made (a worker that was then lost has repaired it), a new recipe is made.
    Raises StoreError (``repair-not-proved``), and leaves the old shard as it is, if the result does not match the manifest.
    """
    entry = recipe.task.entry
    path = LocalStore(recipe.task.root).locate(entry.path)
    if _look(path) != recipe.seen:
        recipe = find_recipe(recipe.task, lambda _: None)
    if os.path.isdir(path):
        with contextlib.suppress(OSError):  # a folder that is not empty is not ours: the rename below is refused
            os.rmdir(path)
    with DurableFile(path) as out:
        old = os.open(path, os.O_RDONLY) if os.path.isfile(path) else -1
        try:
            size = _write_groups(recipe, out, old)
        finally:
            if old >= 0:
                os.close(old)
        out.write(memoryview(bytes(trailer_bytes(size))))
        if recipe.is_complete:
            _prove(out, entry)
    tick(entry.bytes)
    return entry.path


def _write_groups(recipe: Recipe, out: DurableFile, old: int) -> int:
    lengths: list[int] = recipe.task.index.column("length").to_pylist()
    # a sample that cannot be repaired keeps the bytes at its offset
    at_home = recipe.task.index.column("offset").to_pylist()
    starts = np.where(recipe.origin == NOWHERE, at_home, recipe.starts).tolist()
    kinds = [HERE if kind in (HERE, NOWHERE) else kind for kind in recipe.origin.tolist()]
    for kind, numbers in itertools.groupby(range(len(lengths)), kinds.__getitem__):
        run = list(numbers)
        if kind == HERE:
            for start, length in _stretches([(starts[number], lengths[number]) for number in run]):
                out.copy_from(old, start, length)
        else:
            for batch in _batches(run, lengths):
                for data in _fetch(recipe, kind, batch):
                    out.write(memoryview(data))
    return sum(lengths)


def _stretches(pieces: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Adjacent pieces, joined."""
    start, length = pieces[0]
    for following, size in pieces[1:]:
        if following == start + length:
            length += size
        else:
            yield start, length
            start, length = following, size
    yield start, length


def _fetch(recipe: Recipe, kind: int, batch: list[int]) -> Iterator[bytes]:
    rows = rows_of(recipe.task.index.take(to_array(np.array(batch), pa.int64())))
    groups = {at: recipe.held[number] for at, number in enumerate(batch) if number in recipe.held}
    missing = [at for at in range(len(batch)) if at not in groups]
    if missing:
        task = recipe.task
        wanted = Wanted(task.split, task.entry, [rows[at] for at in missing])
        groups |= {missing[at]: data for at, data, _ in task.copies[kind].groups(wanted)}
    for at, row in enumerate(rows):
        data = groups.get(at, b"")
        if not is_group(row, data):
            raise StoreError(
                "a copy has changed since the plan was made",
                code="repair-not-proved",
                where=f"{recipe.task.copies[kind].name}: {recipe.task.entry.path}, sample {row['key']}",
                hint="run the same command again",
            )
        yield data


def _prove(out: DurableFile, entry: ShardEntry) -> None:
    digest = hashlib.sha256()
    for block in out.reread():
        digest.update(block)
    if digest.hexdigest() != entry.sha256:
        raise StoreError(
            "the repaired shard does not match the manifest; the old one was kept",
            code="repair-not-proved",
            where=entry.path,
            expected=entry.sha256,
            got=digest.hexdigest(),
            hint=f"check the disk; if the manifest came from elsewhere, give its root digest: {option('root')}",
        )
