"""columns add: store the columns of a table, joined to the samples by key, next to the unchanged shards."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Unpack

from wdstools.dataset import Dataset
from wdstools.errors import UsageError, option
from wdstools.executors.open import executor_or_here
from wdstools.formats.column_files import refuse_too_large, size_of
from wdstools.formats.columns import column_path, is_set_name, set_path
from wdstools.ops.columns.existing import Earlier, find_earlier
from wdstools.ops.columns.join import Join, join
from wdstools.ops.columns.land import land_set, opened_to_change, refuse_clashes
from wdstools.ops.columns.place import Places, spill_names
from wdstools.ops.columns.result import ColumnsPlan, ColumnsResult
from wdstools.ops.columns.table import Table, open_table
from wdstools.options.columns import ColumnsChoices
from wdstools.options.declare import settle
from wdstools.plan import Plan, Step, apply
from wdstools.progress import Progress, Silent, under_way
from wdstools.units import some_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa

    from wdstools.executors.base import Executor
    from wdstools.formats.columns import ColumnSet
    from wdstools.landing.staging import FinishResult
    from wdstools.options.declare import StrPath


@dataclass(frozen=True, slots=True)
class AddPlan(ColumnsPlan):
    """Which columns of a table go to which samples."""

    dataset: Dataset | None = None
    table: Table | None = None
    joined: Join | None = None
    earlier: Earlier = field(default_factory=Earlier)

    def carry_out(self, executor: Executor, progress: Progress) -> ColumnsResult:
        """Write the set in a staging folder, then move it in: it appears whole or not at all."""
        assert self.dataset is not None
        assert self.table is not None
        assert self.joined is not None
        dataset, table = self.dataset, self.table
        places = Places(dataset, table, self.joined, self.name, earlier=self.earlier)
        paths = [column_path(self.name, entry.path) for _, entry in dataset.manifest.shards]

        def write(work: str) -> ColumnSet:
            with under_way(progress, "columns", self.samples, "samples") as tick:
                return places.write(work, tick)

        made = land_set(
            dataset,
            self.name,
            (*paths, set_path(self.name)),
            spill_names(places),
            write,
            self.earlier.seen,
            executor=executor,
        )
        return ColumnsResult(
            self.target,
            dataset.root,
            self.name,
            self.fields,
            self.samples,
            self.covered,
            self.absent,
            self.absent_keys,
            made.bytes,
            change=self.earlier.change,
        )


def plan_add_columns(
    dataset: Dataset | StrPath,
    table: StrPath | pa.Table,
    *,
    executor: Executor | None = None,
    progress: Progress | None = None,
    **choices: Unpack[ColumnsChoices],
) -> Plan[ColumnsResult | FinishResult]:
    """Plan to add the columns of a table to a dataset: keys are looked up, and nothing changes until the plan is applied.

    If an earlier change was interrupted, the plan only finishes it.

    Args:
        dataset: A dataset, its folder, or its URL in a bucket.
        table: Parquet, CSV, TSV, JSON lines or JSON, with a column of keys; or a pyarrow Table.
        executor: Reads the indexes; without one, this process does.
        progress: Receives the number of samples looked up.
        **choices: The set's name, the column of keys, and which columns; see ``ColumnsChoices``.

    Returns:
        The plan; applying it gives a ColumnsResult, or a FinishResult if it only finished an interrupted change.

    Raises:
        UsageError: A name does not fit or is taken (``columns-name``, ``columns-taken``), the table lacks a column
            (``table-columns``) or holds values of no supported type (``columns-unsupported``) or too many for one shard
            (``columns-too-large``), a key is missing or fits several samples (``columns-key``), or no key is in the
            dataset (``columns-empty``).
        FormatError: The table, a manifest or an index is damaged.
        StoreError: Storage could not be read.
    """
    chosen = settle(ColumnsChoices, choices)
    opened = opened_to_change(dataset)
    if not isinstance(opened, Dataset):
        return opened
    name = _name_of(table) if chosen["name"] is None else chosen["name"]
    refuse_name(name)
    earlier = find_earlier(opened, name, chosen["existing"])
    source = open_table(table, chosen["key_column"], chosen["fields"])
    source = replace(source, fields=earlier.kinds(source.fields, texts=source.texts, empty=source.empty))
    refuse_clashes(opened, name, [one.name for one in source.fields])
    refuse_too_large(max((size_of(one.samples, source.fields) for _, one in opened.manifest.shards), default=0))
    samples = opened.manifest.totals["samples"]
    with under_way(progress or Silent(), "keys", samples, "samples") as tick:
        found = join(source, opened, executor_or_here(executor), tick)
    if not found.covered:
        raise UsageError(
            "no key of the table is in this dataset",
            code="columns-empty",
            where=source.path,
            expected="keys as `wdstools ls DATASET SPLIT` lists them",
            got=some_of(list(found.absent_keys)) or "no rows",
            hint=f"{option('key_column', 'NAME')} says which column holds the keys; nothing was changed",
        )
    return AddPlan(
        "add columns to",
        opened.metadata.url,
        tuple(_steps(opened, name, found, earlier, grows=earlier.grows(source.fields))),
        name=name,
        fields={one.name: one.kind for one in source.fields},
        samples=samples,
        covered=found.covered,
        repeated=found.repeated,
        absent=found.absent,
        absent_keys=found.absent_keys,
        dataset=opened,
        table=source,
        joined=found,
        earlier=earlier,
    )


def add_columns(
    dataset: Dataset | StrPath,
    table: StrPath | pa.Table,
    *,
    executor: Executor | None = None,
    progress: Progress | None = None,
    **choices: Unpack[ColumnsChoices],
) -> ColumnsResult | FinishResult:
    """Add the columns of a table to a dataset: ``plan_add_columns``, applied. No shard is touched, and the root stays.

    Each row goes to the sample with its key. A sample without a row has no value (null), or with ``existing="update"`` or
    ``"fill"`` keeps the one that it has. The set appears whole or not at all. Afterwards its fields can be used in
    ``where`` and in ``wt.loader(..., columns=[...])``. Memory needed: about 64 bytes for each row of the table, plus half
    a gigabyte, plus a few times the size of the values of one shard.

    Args:
        dataset: A dataset, its folder, or its URL in a bucket.
        table: Parquet, CSV, TSV, JSON lines or JSON, with a column of keys; or a pyarrow Table.
        executor: Reads the indexes; without one, this process does.
        progress: Receives the number of samples done.
        **choices: The set's name, the column of keys, and which columns; see ``ColumnsChoices``.

    Returns:
        What was added; a FinishResult if only an interrupted change was finished: call it again.

    Raises:
        UsageError: As ``plan_add_columns``; or one key has different values (``columns-differ``).
        BusyError: Another process is changing the dataset.
        FormatError: The table, a manifest or an index is damaged.
        StoreError: Storage could not be read or written, or the table changed while it was read.
    """
    plan = plan_add_columns(dataset, table, executor=executor, progress=progress, **choices)
    return apply(plan, executor=executor, progress=progress)


def _name_of(table: Any) -> str:
    """The default name of a set: that of its file."""
    if not isinstance(table, str | os.PathLike):
        raise UsageError("a set of columns needs a name", where=option("name"), expected="a name, such as scores")
    name = os.path.basename(os.fspath(table)).partition(".")[0].lower()
    return re.sub(r"[^a-z0-9_-]+", "-", name).strip("-")[:64]


def refuse_name(name: str) -> None:
    """Refuse a name that no set can have; raises UsageError (``columns-name``)."""
    if not is_set_name(name):
        raise UsageError(
            "a set of columns cannot have this name",
            code="columns-name",
            where=option("name"),
            expected="lower-case letters, digits, - and _, at most 64",
            got=repr(name)[:100],
        )


def _steps(dataset: Dataset, name: str, found: Join, earlier: Earlier, *, grows: bool) -> Iterable[Step]:
    made = {column_path(name, entry.path): entry for _, entry in dataset.manifest.shards}
    for (path, entry), rows in zip(made.items(), found.of_shards, strict=True):
        covered = int((rows >= 0).sum())
        if covered or grows:
            action = "rewrite" if path in earlier.seen else "write"
            yield Step(action, path, detail=f"{covered:,} of {entry.samples:,} samples have a row")
    for path in sorted(earlier.seen.keys() - made.keys() - {set_path(name)}):
        yield Step("delete", path, detail=f"of the old set {name}")
    yield Step("rewrite" if earlier.seen else "write", set_path(name))
