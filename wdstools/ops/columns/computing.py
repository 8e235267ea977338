"""The shards of columns that are being computed: each is one task, and finished ones are kept for the next run."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa

from wdstools.columns.sets import read_sums
from wdstools.errors import BusyError, FormatError, StoreError, option
from wdstools.formats.arrow import numbers_over
from wdstools.formats.column_files import MAX_COLUMNS_BYTES, described, read_columns, write_columns
from wdstools.formats.columns import ColumnField, ColumnSet, ColumnShard, column_path, dumps, waiting_path
from wdstools.formats.digest import sha256_hex
from wdstools.given import Calling
from wdstools.log import tell
from wdstools.ops.columns.existing import Earlier
from wdstools.ops.columns.function import name_of
from wdstools.ops.columns.land import land_set
from wdstools.ops.columns.moving import clear_waiting
from wdstools.ops.columns.values import Values, covered
from wdstools.progress import Progress, under_way
from wdstools.reader.shard import ShardReader
from wdstools.stores.local import LocalStore
from wdstools.stores.reading import get_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from wdstools.dataset import Dataset
    from wdstools.executors.base import Executor, Tick
    from wdstools.formats.manifest import ShardEntry
    from wdstools.landing.journal import Journal
    from wdstools.landing.scratch import Scratch
    from wdstools.ops.columns.ours import Ours
    from wdstools.stores.base import RemoteStore


@dataclass(frozen=True, slots=True)
class KeptHere:
    """Finished files of a set, kept below a folder on this machine."""

    local_paths: ClassVar[tuple[str, ...]] = ("folder",)

    folder: str

    def keep(self, path: str, data: bytes, sha256: str) -> None:
        """Keep a file of the set, durably."""
        del sha256
        LocalStore(self.folder).put(path, data)

    def kept(self, path: str, sha256: str) -> bytes:
        """A file that was kept; the caller checks whether it is whole."""
        del sha256
        return LocalStore(self.folder).get(path)

    def drop(self, paths: Mapping[str, str]) -> None:
        """Do nothing: they go with the folder."""

    def bring(self, paths: Mapping[str, str], work: str) -> None:
        """Put these files (path -> SHA-256) below ``work``, from where they are moved into the set."""
        for path in paths:
            LocalStore(work).put(path, LocalStore(self.folder).get(path))


@dataclass(frozen=True, slots=True)
class KeptThere:
    """Finished files of a set, kept in the object store that it is for, where files of its next version wait."""

    ours: Ours

    @property
    def store(self) -> RemoteStore:
        """The object store."""
        return self.ours.store

    def keep(self, path: str, data: bytes, sha256: str) -> None:
        """Store a file of the set, from the worker that made it."""
        key, store = waiting_path(path, sha256), self.store
        self.ours.create_noted(key, sha256, lambda only_if: store.put_data(key, data, only_if=only_if))

    def kept(self, path: str, sha256: str) -> bytes:
        """A file that was kept; the caller checks whether it is whole."""
        return get_whole(self.store, waiting_path(path, sha256), MAX_COLUMNS_BYTES)

    def drop(self, paths: Mapping[str, str]) -> None:
        """Delete these files (path -> SHA-256), which are of no more use; those that the list names belong to the set and stay.

        If the list cannot be read, all stay.
        """
        with contextlib.suppress(StoreError, FormatError):
            listed = {waiting_path(path, sha256) for path, sha256 in read_sums(self.store).items()}
            gone = {waiting_path(path, sha256) for path, sha256 in paths.items()} - listed
            clear_waiting(self.ours, sorted(gone))
            self.ours.tidy(read_sums(self.store))

    def bring(self, paths: Mapping[str, str], work: str) -> None:
        """Do nothing: they are moved within the store."""


Kept = KeptHere | KeptThere


@dataclass(frozen=True, slots=True)
class Given:
    """The user's function; a model in it is sent to each worker once. ``digest`` identifies it; None if it has none."""

    travels_once: ClassVar[bool] = True

    call: Callable[..., Any]
    digest: str | None


@dataclass(frozen=True, slots=True)
class ComputeTask:
    """A shard whose values to compute, and where to keep them; values of ``earlier`` stay as its rule says."""

    dataset: Dataset
    entry: ShardEntry
    function: Given
    fields: tuple[ColumnField, ...]
    name: str
    place: Kept
    batch_size: int | None
    earlier: Earlier = field(default_factory=Earlier)


@dataclass(frozen=True, slots=True)
class Computed:
    """A finished file, and how many of its samples have a value in any field."""

    shard: ColumnShard
    covered: int


def compute_shard(task: ComputeTask, tick: Tick) -> Computed:
    """Compute the values of one shard's samples, and write them durably; if none are wanted, the old file stays."""
    entry, earlier = task.entry, task.earlier
    before = earlier.table(entry.path)
    wanted = earlier.wanted(before, task.fields, entry.samples)
    tick(int(entry.samples - wanted.sum()))
    if earlier.columns is not None and before is not None and not wanted.any():
        return Computed(earlier.columns.shard(entry.path), covered(before))
    reader = ShardReader(task.dataset, entry)
    rows = np.flatnonzero(wanted).tolist()
    made = _values(task, reader, rows, tick).table([reader.keys[row] for row in rows])
    if len(rows) < entry.samples:
        at = np.cumsum(wanted) - 1
        made = made.take(numbers_over(at, wanted, pa.int64()))
    table = earlier.merged(before, made, wanted)
    fields = earlier.fields(task.fields)
    data = write_columns(table, fields)
    shard = described(entry.path, table, data, fields)
    task.place.keep(column_path(task.name, entry.path), data, shard.sha256)
    return Computed(shard, covered(table))


def _values(task: ComputeTask, reader: ShardReader, rows: Sequence[int], tick: Tick) -> Values:
    """What the function returns for some samples of a shard."""
    function = task.function.call
    values = Values(task.fields)
    step = task.batch_size or 1
    hint = "finished shards are kept: run it again to go on from there" if task.function.digest else ""
    with Calling(name_of(function), hint=hint) as calling:
        for first in range(0, len(rows), step):
            samples = [reader.sample(row) for row in rows[first : first + step]]
            calling.at = f"sample {samples[0].key}" + (f" and {len(samples) - 1} more" if len(samples) > 1 else "")
            if task.batch_size:
                values.take_batch(function(samples), samples)
            else:
                values.take(function(samples[0]), samples[0])
            tick(len(samples))
    return values


@dataclass(frozen=True, slots=True)
class Begun:
    """Identifies the work: the set's name, and the digests of the function, of everything else, and of the existing set."""

    name: str
    function: str | None
    plan: str
    there: str = ""


def begun(scratch: Scratch, journal: Journal, head: Begun, place: Kept, *, restart: bool) -> list[dict[str, Any]]:
    """What an interrupted run of the same work has recorded; raises BusyError (``partial-of-other-plan``).

    Work that is not resumed is deleted.
    """
    lines = journal.lines()
    first = {"function": head.function, "plan": head.plan}
    landing = journal.landing()
    is_over = landing is not None and landing["landing"] == head.there  # it was killed after its set had landed
    if lines and lines[0] != first and not restart and not is_over:
        raise BusyError(
            "columns of this name were begun with another function or other fields, and not finished",
            code="partial-of-other-plan",
            where=scratch.path,
            hint=f"add {option('restart', True)} to start again, or choose another name",
        )
    if lines and not restart and not is_over and head.function is not None:
        return lines[1:]
    if lines and not restart and not is_over:
        tell("columns", "starting again: there is no telling whether this is the same function", where=scratch.path)
    place.drop(_noted(lines[1:], head.name))
    scratch.clear()
    journal.remove()
    journal.append(first)
    return []


def _noted(lines: Sequence[dict[str, Any]], name: str) -> dict[str, str]:
    """The files that a journal names, path -> SHA-256."""
    shards = [line["shard"] for line in lines if isinstance(line.get("shard"), dict)]
    return {column_path(name, str(shard.get("path"))): str(shard.get("sha256")) for shard in shards}


def finished(
    place: Kept, lines: Sequence[dict[str, Any]], columns: ColumnSet, samples: Mapping[str, int]
) -> dict[str, Computed]:
    """Those files that match their record. Records are not trusted: each file is read and described again."""
    names = ["key", *(field.name for field in columns.fields)]
    found = {}
    for line in lines:
        try:
            noted = line["shard"]
            shard = ColumnShard(**{**noted, "nulls": tuple(noted["nulls"])})
            if samples.get(shard.path) != shard.rows:
                continue
            data = place.kept(column_path(columns.name, shard.path), shard.sha256)
            table = read_columns(data, columns, shard, names)
            whole = described(shard.path, table, data, columns.fields) == shard
        except (StoreError, FormatError, KeyError, TypeError, ValueError):
            continue
        if whole:
            found[shard.path] = Computed(shard, covered(table))
    return found


def compute(
    tasks: Sequence[ComputeTask], journal: Journal, executor: Executor, progress: Progress, done: dict[str, Computed]
) -> None:
    """Compute shards, and record each finished one, also in ``done``; after the first error no more are begun."""
    errors: list[Exception] = []

    def offered() -> Iterator[ComputeTask]:
        for task in tasks:
            if errors:
                return
            yield task

    with under_way(progress, "compute columns", sum(task.entry.samples for task in tasks), "samples") as tick:
        for outcome in executor.map(compute_shard, offered(), tick):
            if outcome.error is not None:
                errors.append(outcome.error)
                continue
            computed = outcome.result()
            journal.append({"shard": asdict(computed.shard)})
            done[computed.shard.path] = computed
    if errors:
        raise errors[0]


def land_computed(
    dataset: Dataset,
    empty: ColumnSet,
    done: Mapping[str, Computed],
    place: Kept,
    earlier: Earlier,
    journal: Journal,
    *,
    executor: Executor | None = None,
) -> ColumnSet:
    """Land the computed files of all shards as a set. Raises as ``land_set``."""
    columns = replace(empty, shards=tuple(done[entry.path].shard for _, entry in dataset.manifest.shards))
    stays = () if earlier.columns is None else earlier.columns.shards
    made = {column_path(columns.name, shard.path): shard.sha256 for shard in columns.shards if shard not in stays}

    journal.append({"landing": sha256_hex(dumps(columns))})

    def write(work: str) -> ColumnSet:
        place.bring(made, work)
        return columns

    files = [column_path(columns.name, shard.path) for shard in columns.shards]
    return land_set(dataset, empty.name, [*files, columns.path], (), write, earlier.seen, executor=executor)
