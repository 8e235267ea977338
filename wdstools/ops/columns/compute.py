"""Columns that are computed from the samples: shard by shard over an executor, each finished shard kept for the next run."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa

from wdstools.dataset import Dataset, open_dataset
from wdstools.errors import BusyError, StoreError, UsageError, option
from wdstools.executors.local import Serial, Threads
from wdstools.executors.open import open_executor
from wdstools.formats.columns import (
    ColumnField,
    ColumnSet,
    ColumnShard,
    column_path,
    described,
    is_field_name,
    schema_of,
    set_path,
    write_columns,
)
from wdstools.formats.digest import sha256_hex
from wdstools.given import Calling
from wdstools.landing.journal import Journal
from wdstools.landing.scratch import Scratch
from wdstools.landing.staging import FinishResult, plan_finish
from wdstools.ops.columns.add import refuse_clashes, refuse_name
from wdstools.ops.columns.land import land_set, require_folder
from wdstools.ops.columns.result import ColumnsResult
from wdstools.plan import apply
from wdstools.progress import Progress, Silent, under_way
from wdstools.reader.shard import ShardReader
from wdstools.stores.folders import make_folders
from wdstools.stores.local import LocalStore, translated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from wdstools.executors.base import Executor, Tick
    from wdstools.formats.manifest import ShardEntry
    from wdstools.options.declare import StrPath
    from wdstools.reader.sample import Sample

_PLACE, _JOURNAL = ".wdstools/computing", "journal.jsonl"


@dataclass(frozen=True, slots=True)
class Given:
    """The function of the user's: a model in it goes to a worker once."""

    travels_once: ClassVar[bool] = True

    call: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class ComputeTask:
    """A shard whose values are computed, and the folder that they are written below."""

    local_paths: ClassVar[tuple[str, ...]] = ("folder",)

    dataset: Dataset
    entry: ShardEntry
    function: Given
    fields: tuple[ColumnField, ...]
    name: str
    folder: str
    batch_size: int | None


def compute_shard(task: ComputeTask, tick: Tick) -> ColumnShard:
    """Compute the values of one shard's samples, and write them, durable."""
    function = task.function.call
    reader = ShardReader(task.dataset, task.entry)
    values: dict[str, list[Any]] = {field.name: [] for field in task.fields}
    step = task.batch_size or 1
    keys = reader.keys
    with Calling(_name_of(function), hint="shards that are finished are kept: call it again") as calling:
        for first in range(0, len(reader), step):
            samples = [reader.sample(row) for row in range(first, min(first + step, len(reader)))]
            calling.at = f"sample {samples[0].key}" + (f" and {len(samples) - 1} more" if len(samples) > 1 else "")
            given = function(samples) if task.batch_size else function(samples[0])
            _take(given, values, samples, batched=task.batch_size is not None)
            tick(len(samples))
    arrays = [pa.array(keys, pa.string()), *(_array(values[field.name], field, keys) for field in task.fields)]
    table = pa.Table.from_arrays(arrays, schema=schema_of(task.fields))
    data = write_columns(table, task.fields)
    LocalStore(task.folder).put(column_path(task.name, task.entry.path), data)
    return described(task.entry.path, table, data, task.fields)


def map_columns(
    dataset: Dataset | StrPath,
    function: Callable[[Sample], Mapping[str, object] | None] | Callable[[list[Sample]], Mapping[str, object]],
    *,
    columns: Mapping[str, str],
    name: str,
    batch_size: int | None = None,
    restart: bool = False,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> ColumnsResult | FinishResult:
    """Compute columns from the samples of a dataset, and add them to it as a set.

    Each shard is one item of work. Shards that were finished when a run was stopped are not computed again by the next
    one; the set appears when all are, whole or not at all.

    Args:
        dataset: A dataset in a folder, or its path.
        function: Of a sample (extension -> bytes, and ``key``), giving a dictionary of values by field, or None for none; with
            ``batch_size`` of a list of samples, giving a list or an array for each field. Other processes import it by name.
        columns: The type of each field: ``bool``, ``int64``, ``float32``, ``float64``, ``string``, or as ``float32[512]``.
        name: What the set is called.
        batch_size: How many samples of a shard the function gets at once.
        restart: Compute everything again.
        executor: Who computes; without one it is done here.
        progress: Receives how many samples are done.

    Returns:
        What was added; a FinishResult where an older change was only finished: call it again.

    Raises:
        UsageError: A name or type does not fit, or is taken; the function failed (``function-failed``), or gave what is no
            value of a field (``columns-unsupported``).
        BusyError: Another process computes this set, or other columns of this name were begun (``partial-of-other-plan``).
        IntegrityError: A sample is damaged.
        StoreError: Storage could not be read or written.
    """
    path = dataset.metadata.url if isinstance(dataset, Dataset) else os.fspath(dataset)
    unfinished = plan_finish(path)
    if unfinished is not None:
        return apply(unfinished)
    opened = dataset if isinstance(dataset, Dataset) else open_dataset(path)
    target = require_folder(opened).path
    refuse_name(name)
    fields = _fields(columns)
    if batch_size is not None and batch_size < 1:
        raise UsageError("out of range", where=option("batch_size"), expected="at least 1", got=str(batch_size))
    refuse_clashes(opened, name, [field.name for field in fields])
    plan = sha256_hex(repr((opened.root, name, fields, batch_size, _name_of(function))).encode())
    at_work = executor or open_executor("serial")
    paths = [column_path(name, entry.path) for _, entry in opened.manifest.shards]
    place = os.path.join(target, _PLACE, name)
    with translated(place), Scratch(place, f"{path}, columns {name}", (_JOURNAL,)) as scratch:
        journal = Journal(scratch.locate(_JOURNAL))
        done = _begun(scratch, journal, plan, restart=restart)
        scratch.note(paths)
        make_folders(scratch.new)
        _refuse_unnamed(function, at_work)
        given = Given(function)
        tasks = [
            ComputeTask(opened, entry, given, fields, name, scratch.new, batch_size)
            for _, entry in opened.manifest.shards
            if entry.path not in done
        ]
        try:
            done |= _compute(tasks, journal, at_work, progress or Silent())
            made = _land(opened, name, fields, done, scratch.new)
        finally:
            if len(journal.lines()) <= 1:  # nothing was finished: nothing is kept
                scratch.remove()
        scratch.remove()
    with translated(place):
        _tidy(os.path.dirname(place))
    kinds = {field.name: field.kind for field in fields}
    samples = opened.manifest.totals["samples"]
    return ColumnsResult(path, opened.root, name, kinds, samples, samples, bytes=made.bytes)


def _begun(scratch: Scratch, journal: Journal, plan: str, *, restart: bool) -> dict[str, ColumnShard]:
    """What an interrupted run of the same plan has finished."""
    lines = journal.lines()
    if lines and lines[0].get("plan") != plan and not restart:
        raise BusyError(
            "other columns of this name were begun and not finished",
            code="partial-of-other-plan",
            where=scratch.path,
            hint=f"add {option('restart', True)} to begin again, or choose another name",
        )
    if not lines or restart or lines[0].get("plan") != plan:
        scratch.clear()
        journal.remove()
        journal.append({"plan": plan})
        return {}
    store = LocalStore(scratch.new)
    found = {}
    for line in lines[1:]:
        shard = ColumnShard(**{**line["shard"], "nulls": tuple(line["shard"]["nulls"])})
        try:
            whole = sha256_hex(store.get(line["path"])) == shard.sha256
        except StoreError:
            whole = False
        if whole:
            found[shard.path] = shard
    return found


def _compute(
    tasks: Sequence[ComputeTask], journal: Journal, executor: Executor, progress: Progress
) -> dict[str, ColumnShard]:
    """Compute shards, noting each that is finished; at the first error no more are begun."""
    errors: list[Exception] = []
    made: dict[str, ColumnShard] = {}

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
            shard, task = outcome.result(), tasks[outcome.index]
            journal.append({"shard": asdict(shard), "path": column_path(task.name, shard.path)})
            made[shard.path] = shard
    if errors:
        raise errors[0]
    return made


def _land(
    dataset: Dataset, name: str, fields: tuple[ColumnField, ...], done: Mapping[str, ColumnShard], folder: str
) -> ColumnSet:
    computed = LocalStore(folder)
    shards = tuple(done[entry.path] for _, entry in dataset.manifest.shards)

    def write(work: str) -> ColumnSet:
        store = LocalStore(work)
        for shard in shards:
            path = column_path(name, shard.path)
            store.put(path, computed.get(path))
        return ColumnSet(name, dataset.root, fields, shards)

    return land_set(dataset, [*(column_path(name, shard.path) for shard in shards), set_path(name)], (), write)


def _tidy(folder: str) -> None:
    if os.path.isdir(folder) and not os.listdir(folder):
        os.rmdir(folder)


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
                "no such column can be",
                code="columns-name",
                where=f"{name!r}: {kind!r}"[:200],
                expected="a name of letters, digits and _, and bool, int64, float32, float64, string, or as float32[512]",
            )
        found.append(field)
    return tuple(found)


def _refuse_unnamed(function: Any, executor: Executor) -> None:
    """Refuse a function that other processes cannot import; raises UsageError (``function-unnamed``)."""
    if isinstance(executor, Serial | Threads):
        return
    try:
        pickle.dumps(function)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise UsageError(
            "this function cannot go to other processes: they import it by its name",
            code="function-unnamed",
            where=_name_of(function),
            got=str(error)[:200],
            hint="define it at the top of a module, or compute here: without executor, or with threads",
        ) from error


def _name_of(function: Any) -> str:
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def _take(given: Any, values: dict[str, list[Any]], samples: Sequence[Sample], *, batched: bool) -> None:
    """Note what a function gave of some samples; a field that it left out has no value."""
    if given is None:
        given = {}
    if not isinstance(given, Mapping) or not set(given) <= values.keys():
        raise UsageError(
            "a function did not give the columns that were asked for",
            code="columns-unsupported",
            where=f"sample {samples[0].key}",
            expected=f"a dictionary with {', '.join(values)}",
            got=", ".join(map(str, given)) if isinstance(given, Mapping) else repr(given)[:100],
        )
    for name, held in values.items():
        some = given.get(name)
        if not batched:
            held.append(some)
            continue
        some = [None] * len(samples) if some is None else list(some)
        if len(some) != len(samples):
            raise UsageError(
                "a function did not give a value for each sample",
                code="columns-unsupported",
                where=f"{name}, sample {samples[0].key}",
                expected=f"{len(samples)} values",
                got=str(len(some)),
            )
        held.extend(some)


def _array(values: list[Any], field: ColumnField, keys: Sequence[str]) -> pa.Array:
    """Values as a column; raises UsageError for one that does not fit, naming its sample."""
    plain = []
    for value, key in zip(values, keys, strict=True):
        try:
            plain.append(_plain(value, field))
        except (ValueError, TypeError, OverflowError) as error:
            raise UsageError(
                "a function gave what is not a value of a column",
                code="columns-unsupported",
                where=f"{field.name}, sample {key}",
                expected=field.kind,
                got=f"{str(value)[:60]!r} ({error})"[:200],
            ) from error
    return pa.array(plain, field.arrow)


def _plain(value: Any, field: ColumnField) -> Any:
    """One value as its field holds it: arrays and tensors of one number are numbers."""
    if value is None:
        return None
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    kind = field.kind
    if kind == "string":
        if not isinstance(value, str):
            raise TypeError("not a text")
        value.encode()
        return value
    array = np.asarray(value)
    if width := field.width:
        if array.dtype.kind not in "fiu" or array.size != width:
            raise ValueError(f"not {width} numbers")
        return array.reshape(-1).astype(np.float32 if kind.startswith("float32") else np.float64)
    wanted = {"bool": "b", "int64": "iu"}.get(kind, "fiu")
    if array.dtype.kind not in wanted or array.size != 1:
        raise ValueError(f"not a value of {kind}")
    found = array.reshape(-1)[0].item()
    if kind == "int64" and not -(2**63) <= found < 2**63:
        raise OverflowError("out of range")
    return found
