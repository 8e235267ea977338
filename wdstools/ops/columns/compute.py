"""Columns that are computed from the samples: shard by shard over an executor, each finished shard kept for the next run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa

from wdstools.dataset import Dataset
from wdstools.errors import BusyError, FormatError, StoreError, UsageError, option
from wdstools.executors.open import open_executor
from wdstools.formats.arrow import numbers_over
from wdstools.formats.column_files import described, read_columns, refuse_too_large, size_of, write_columns
from wdstools.formats.columns import ColumnField, ColumnSet, ColumnShard, column_path, is_field_name
from wdstools.formats.digest import sha256_hex
from wdstools.given import Calling
from wdstools.landing.journal import Journal
from wdstools.landing.scratch import Scratch
from wdstools.log import tell
from wdstools.ops.columns.add import refuse_name
from wdstools.ops.columns.existing import Earlier, find_earlier
from wdstools.ops.columns.function import digest_of, module_of, name_of, refuse_unnamed
from wdstools.ops.columns.land import land_set, opened_to_change, refuse_clashes, require_folder
from wdstools.ops.columns.result import ColumnsResult
from wdstools.ops.columns.values import Values, covered
from wdstools.ops.next_version.unfinished import JOURNAL, computing_place, remove_if_empty
from wdstools.plan import apply
from wdstools.progress import Progress, Silent, under_way
from wdstools.reader.shard import ShardReader
from wdstools.stores.folders import make_folders
from wdstools.stores.local import LocalStore, translated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from wdstools.executors.base import Executor, Tick
    from wdstools.formats.manifest import ShardEntry
    from wdstools.landing.staging import FinishResult
    from wdstools.options.columns import Existing
    from wdstools.options.declare import StrPath
    from wdstools.reader.sample import Sample


@dataclass(frozen=True, slots=True)
class Given:
    """The function of the user's: a model in it goes to a worker once. ``digest`` tells it from others, if that is known."""

    travels_once: ClassVar[bool] = True

    call: Callable[..., Any]
    digest: str | None


@dataclass(frozen=True, slots=True)
class ComputeTask:
    """A shard whose values are computed, and the folder that they are written below; values of ``earlier`` stay where they should."""

    local_paths: ClassVar[tuple[str, ...]] = ("folder",)

    dataset: Dataset
    entry: ShardEntry
    function: Given
    fields: tuple[ColumnField, ...]
    name: str
    folder: str
    batch_size: int | None
    earlier: Earlier = field(default_factory=Earlier)


@dataclass(frozen=True, slots=True)
class Computed:
    """A file that is finished, and how many of its samples have a value in any field."""

    shard: ColumnShard
    covered: int


def compute_shard(task: ComputeTask, tick: Tick) -> Computed:
    """Compute the values of one shard's samples, and write them, durable; where none are wanted, the file stays."""
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
    LocalStore(task.folder).put(column_path(task.name, entry.path), data)
    return Computed(described(entry.path, table, data, fields), covered(table))


def _values(task: ComputeTask, reader: ShardReader, rows: Sequence[int], tick: Tick) -> Values:
    """What the function gives of some samples of a shard."""
    function = task.function.call
    values = Values(task.fields)
    step = task.batch_size or 1
    hint = "shards that are finished are kept: call it again" if task.function.digest else ""
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


def map_columns(
    dataset: Dataset | StrPath,
    function: Callable[[Sample], Mapping[str, object] | None] | Callable[[list[Sample]], Mapping[str, object]],
    *,
    columns: Mapping[str, str],
    name: str,
    batch_size: int | None = None,
    restart: bool = False,
    existing: Existing = "refuse",
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> ColumnsResult | FinishResult:
    """Compute columns from the samples of a dataset, and add them to it as a set.

    Each shard is one item of work. The set appears when all are finished, whole or not at all. Shards that were finished
    when a run was stopped are not computed again by the next one, as long as the function is the same: its code, its
    defaults, the variables that it encloses, the arguments of a ``partial``, and the functions and plain values that it
    uses of its own module. Of a function that cannot be pickled with these, nothing is kept. Other modules, files and
    objects in global variables are not looked at: if these changed, say ``restart=True``.

    Args:
        dataset: A dataset in a folder, or its path.
        function: Of a sample (extension -> bytes, and ``key``), giving a dictionary of values by field, or None for none; with
            ``batch_size`` of a list of samples, giving a list or an array for each field. Other processes import it by name.
        columns: The type of each field: ``bool``, ``int64``, ``float32``, ``float64``, ``string``, or as ``float32[512]``.
        name: What the set is called.
        batch_size: How many samples of a shard the function gets at once.
        restart: Compute everything again.
        existing: What becomes of a set of this name that is there: ``refuse`` it, ``replace`` it, ``update`` its values, or
            ``fill`` in those that are missing, as of samples that came since: only these samples are computed.
        executor: Who computes; without one it is done here.
        progress: Receives how many samples are done.

    Returns:
        What was added; a FinishResult where an older change was only finished: call it again.

    Raises:
        UsageError: A name or type does not fit, or is taken; the function failed (``function-failed``), or gave what is no
            value of a field (``columns-unsupported``).
        BusyError: Another process computes this set, or columns of this name were begun with another function or other
            fields (``partial-of-other-plan``).
        IntegrityError: A sample is damaged.
        StoreError: Storage could not be read or written.
    """
    opened = opened_to_change(dataset)
    if not isinstance(opened, Dataset):
        return apply(opened, executor=executor, progress=progress)
    target = require_folder(opened).path
    refuse_name(name)
    earlier = find_earlier(opened, name, existing)
    fields = earlier.kinds(_fields(columns))
    if batch_size is not None and batch_size < 1:
        raise UsageError("out of range", where=option("batch_size"), expected="at least 1", got=str(batch_size))
    refuse_clashes(opened, name, [one.name for one in fields])
    refuse_too_large(max((size_of(one.samples, fields) for _, one in opened.manifest.shards), default=0))
    what = (
        opened.root,
        name,
        fields,
        batch_size,
        module_of(function),
        name_of(function),
        existing,
        sorted(earlier.seen.items()),
    )
    plan = sha256_hex(repr(what).encode())
    given = Given(function, digest_of(function))
    empty = ColumnSet(name, opened.root, earlier.fields(fields), ())
    at_work = executor or open_executor("serial")
    paths = [column_path(name, entry.path) for _, entry in opened.manifest.shards]
    place = computing_place(target, name)
    with translated(place), Scratch(place, f"{opened.metadata.url}, columns {name}", (JOURNAL,)) as scratch:
        journal = Journal(scratch.locate(JOURNAL))
        begun = _begun(scratch, journal, {"function": given.digest, "plan": plan}, restart=restart)
        done = _finished(scratch, begun, empty, {entry.path: entry.samples for _, entry in opened.manifest.shards})
        scratch.note(paths)
        make_folders(scratch.new)
        refuse_unnamed(function, at_work)
        tasks = [
            ComputeTask(opened, entry, given, fields, name, scratch.new, batch_size, earlier)
            for _, entry in opened.manifest.shards
            if entry.path not in done
        ]
        made = None
        try:
            done |= _compute(tasks, journal, at_work, progress or Silent())
            made = _land(opened, empty, done, scratch.new, earlier)
        finally:
            if made is not None or given.digest is None or len(journal.lines()) <= 1:  # nothing that is of use again
                scratch.remove()
    with translated(place):
        remove_if_empty(os.path.dirname(place))
    kinds = {one.name: one.kind for one in fields}
    samples = opened.manifest.totals["samples"]
    filled = sum(one.covered for one in done.values())
    return ColumnsResult(
        opened.metadata.url, opened.root, name, kinds, samples, filled, bytes=made.bytes, change=earlier.change
    )


def _begun(scratch: Scratch, journal: Journal, head: dict[str, Any], *, restart: bool) -> list[dict[str, Any]]:
    """What an interrupted run of the same work has noted; raises BusyError (``partial-of-other-plan``)."""
    lines = journal.lines()
    if lines and lines[0] != head and not restart:
        raise BusyError(
            "columns of this name were begun with another function or other fields, and are not finished",
            code="partial-of-other-plan",
            where=scratch.path,
            hint=f"add {option('restart', True)} to begin again, or choose another name",
        )
    if lines and not restart and head["function"] is not None:
        return lines[1:]
    if lines and not restart:
        tell("columns", "begun again: this function cannot be told from another", where=scratch.path)
    scratch.clear()
    journal.remove()
    journal.append(head)
    return []


def _finished(
    scratch: Scratch, lines: Sequence[dict[str, Any]], columns: ColumnSet, samples: Mapping[str, int]
) -> dict[str, Computed]:
    """Those files that are as they were noted. What a line says is believed of none: it is computed again."""
    store = LocalStore(scratch.new)
    names = ["key", *(field.name for field in columns.fields)]
    found = {}
    for line in lines:
        try:
            noted = line["shard"]
            shard = ColumnShard(**{**noted, "nulls": tuple(noted["nulls"])})
            if samples.get(shard.path) != shard.rows:
                continue
            data = store.get(column_path(columns.name, shard.path))
            table = read_columns(data, columns, shard, names)
            whole = described(shard.path, table, data, columns.fields) == shard
        except (StoreError, FormatError, KeyError, TypeError, ValueError):
            continue
        if whole:
            found[shard.path] = Computed(shard, covered(table))
    return found


def _compute(
    tasks: Sequence[ComputeTask], journal: Journal, executor: Executor, progress: Progress
) -> dict[str, Computed]:
    """Compute shards, noting each that is finished; at the first error no more are begun."""
    errors: list[Exception] = []
    made: dict[str, Computed] = {}

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
            made[computed.shard.path] = computed
    if errors:
        raise errors[0]
    return made


def _land(dataset: Dataset, empty: ColumnSet, done: Mapping[str, Computed], folder: str, earlier: Earlier) -> ColumnSet:
    computed = LocalStore(folder)
    columns = replace(empty, shards=tuple(done[entry.path].shard for _, entry in dataset.manifest.shards))
    stays = () if earlier.columns is None else earlier.columns.shards

    def write(work: str) -> ColumnSet:
        store = LocalStore(work)
        for shard in columns.shards:
            path = column_path(columns.name, shard.path)
            if shard not in stays:
                store.put(path, computed.get(path))
        return columns

    files = [column_path(columns.name, shard.path) for shard in columns.shards]
    return land_set(dataset, empty.name, [*files, columns.path], (), write, earlier.seen)


def _fields(columns: Mapping[str, str]) -> tuple[ColumnField, ...]:
    given: Any = columns
    if not isinstance(given, Mapping) or not columns:
        raise UsageError(
            "columns need names and types",
            where=option("columns"),
            expected="a dictionary, as {'score': 'float32'}",
            got=repr(columns)[:100],
        )
    found = []
    for name, kind in sorted(columns.items()):
        field = ColumnField(name, kind)
        try:
            good = is_field_name(name) and field.arrow is not None
        except (ValueError, TypeError):
            good = False
        if not good:
            raise UsageError(
                "a column cannot have this name or type",
                code="columns-name",
                where=f"{name!r}: {kind!r}"[:200],
                expected="a name of letters, digits and _, and bool, int64, float32, float64, string, or as float32[512]",
            )
        found.append(field)
    return tuple(found)
