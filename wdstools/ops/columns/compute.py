"""Compute columns from the samples, shard by shard over an executor; finished shards are kept for the next run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wdstools.dataset import Dataset
from wdstools.errors import UsageError, option
from wdstools.executors.open import executor_or_here
from wdstools.formats.column_files import refuse_too_large, size_of
from wdstools.formats.columns import ColumnField, ColumnSet, column_path, is_field_name, set_path
from wdstools.formats.digest import sha256_hex
from wdstools.landing.journal import Journal
from wdstools.landing.scratch import Scratch
from wdstools.ops.columns.add import refuse_name
from wdstools.ops.columns.computing import (
    Begun,
    Computed,
    ComputeTask,
    Given,
    KeptHere,
    KeptThere,
    begun,
    compute,
    finished,
    land_computed,
)
from wdstools.ops.columns.existing import Earlier, find_earlier
from wdstools.ops.columns.function import digest_of, module_of, name_of, refuse_unnamed
from wdstools.ops.columns.land import opened_to_change, refuse_clashes, require_changeable
from wdstools.ops.columns.ours import Ours
from wdstools.ops.columns.result import ColumnsResult
from wdstools.ops.next_version.unfinished import JOURNAL, computing_elsewhere, computing_place, remove_if_empty
from wdstools.plan import apply
from wdstools.progress import Progress, Silent
from wdstools.stores.folders import make_folders
from wdstools.stores.local import LocalStore, translated
from wdstools.stores.open import remote

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from wdstools.executors.base import Executor
    from wdstools.landing.staging import FinishResult
    from wdstools.options.columns import Existing
    from wdstools.options.declare import StrPath
    from wdstools.reader.sample import Sample


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

    Each shard is one task. The set appears once all are finished, whole or not at all. If a run is stopped, the next one
    does not compute its finished shards again, provided that the function is the same: its code, its defaults, the
    variables that it closes over, the arguments of a ``partial``, and the functions and plain values that it uses from
    its own module. For a function that cannot be pickled with these, nothing is kept. Other modules, files and objects in
    global variables are not compared: if they have changed, pass ``restart=True``.

    Args:
        dataset: A dataset, its folder, or its URL in a bucket.
        function: Takes a sample (extension -> bytes, and ``key``) and returns a dictionary of values by field, or None for
            no values. With ``batch_size`` it takes a list of samples and returns a list or an array for each field.
            Other processes import it by name.
        columns: The type of each field: ``bool``, ``int64``, ``float32``, ``float64``, ``string``, or such as
            ``float32[512]``.
        name: The name of the set.
        batch_size: How many samples of a shard the function gets at once.
        restart: Compute everything again.
        existing: What to do if there is a set of this name: ``refuse`` raises an error, ``replace`` replaces it, ``update``
            replaces its values, and ``fill`` adds missing ones, such as those of samples added since: only these samples
            are computed.
        executor: Does the computing; without one, this process does.
        progress: Receives the number of samples done.

    Returns:
        What was added; a FinishResult if only an interrupted change was finished: call it again.

    Raises:
        UsageError: A name or type does not fit, or is taken; the function failed (``function-failed``), or returned
            something that does not fit its field (``columns-unsupported``).
        BusyError: Another process is computing this set, or columns of this name were begun with another function or
            other fields (``partial-of-other-plan``).
        IntegrityError: A sample is damaged.
        StoreError: Storage could not be read or written.
    """
    opened = opened_to_change(dataset)
    if not isinstance(opened, Dataset):
        return apply(opened, executor=executor, progress=progress)
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
    given = Given(function, digest_of(function))
    work = _Work(opened, name, fields, given, batch_size, earlier, sha256_hex(repr(what).encode()))
    made, done = _computed(work, executor_or_here(executor), progress or Silent(), restart=restart)
    kinds = {one.name: one.kind for one in fields}
    samples = opened.manifest.totals["samples"]
    filled = sum(one.covered for one in done)
    return ColumnsResult(
        opened.metadata.url, opened.root, name, kinds, samples, filled, bytes=made.bytes, change=earlier.change
    )


@dataclass(frozen=True, slots=True)
class _Work:
    """What to compute: ``plan`` is the digest of all of it."""

    dataset: Dataset
    name: str
    fields: tuple[ColumnField, ...]
    given: Given
    batch_size: int | None
    earlier: Earlier
    plan: str


def _computed(
    work: _Work, executor: Executor, progress: Progress, *, restart: bool
) -> tuple[ColumnSet, Collection[Computed]]:
    """The set as it landed, and the outcome for each shard."""
    dataset, name, given, earlier = work.dataset, work.name, work.given, work.earlier
    store = require_changeable(dataset)
    shards = [entry for _, entry in dataset.manifest.shards]
    empty = ColumnSet(name, dataset.root, earlier.fields(work.fields), ())
    here = computing_place(store.path, name) if isinstance(store, LocalStore) else computing_elsewhere(store, name)
    with translated(here), Scratch(here, f"{store.url}, columns {name}", (JOURNAL,)) as scratch:
        place = KeptHere(scratch.new) if isinstance(store, LocalStore) else KeptThere(Ours.of(remote(store), name))
        journal = Journal(scratch.locate(JOURNAL))
        head = Begun(name, given.digest, work.plan, earlier.seen.get(set_path(name), ""))
        lines = begun(scratch, journal, head, place, restart=restart)
        done = finished(place, lines, empty, {entry.path: entry.samples for entry in shards})
        if isinstance(place, KeptHere):
            scratch.note([column_path(name, entry.path) for entry in shards])
            make_folders(scratch.new)
        refuse_unnamed(given.call, executor)
        tasks = [
            ComputeTask(dataset, entry, given, work.fields, name, place, work.batch_size, earlier)
            for entry in shards
            if entry.path not in done
        ]
        made = None
        try:
            compute(tasks, journal, executor, progress, done)
            made = land_computed(dataset, empty, done, place, earlier, journal, executor=executor)
        finally:
            if made is None and given.digest is None:
                place.drop({column_path(name, path): one.shard.sha256 for path, one in done.items()})
            if made is not None or given.digest is None or len(journal.lines()) <= 1:  # nothing worth keeping
                scratch.remove()
    with translated(here):
        remove_if_empty(os.path.dirname(here))
    return made, done.values()


def _fields(columns: Mapping[str, str]) -> tuple[ColumnField, ...]:
    given: Any = columns
    if not isinstance(given, Mapping) or not columns:
        raise UsageError(
            "columns need names and types",
            where=option("columns"),
            expected="a dictionary, such as {'score': 'float32'}",
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
                expected="a name of letters, digits and _; a type: bool, int64, float32, float64, string, or a list such as float32[512]",
            )
        found.append(field)
    return tuple(found)
