"""remove: take samples out of a dataset. Only the shards that hold them are rewritten; the version goes up by one."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from wdstools.checks.rebuild import proved_index
from wdstools.dataset import Dataset, open_dataset
from wdstools.errors import UsageError, option
from wdstools.executors.base import run_all
from wdstools.executors.open import executor_or_here
from wdstools.formats.digest import parse_root, sha256_hex, xxh3_128
from wdstools.landing.inside import refuse_own_place
from wdstools.landing.staging import FinishResult, plan_finish
from wdstools.ops.made import Made
from wdstools.ops.next_version.derived import Derived, as_left_behind, find_derived
from wdstools.ops.next_version.files import NextVersion, next_version, small_files
from wdstools.ops.next_version.in_bucket import Crew
from wdstools.ops.next_version.land import (
    beside_others,
    change_in_place,
    make_elsewhere,
    refuse_in_place,
    refuse_unchangeable,
)
from wdstools.ops.next_version.removed import removed_before
from wdstools.ops.next_version.shard import RewriteTask, Rewritten, rewrite_shard
from wdstools.plan import Plan, Step, apply
from wdstools.progress import under_way
from wdstools.results import Proved
from wdstools.stores.folders import path_here

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from wdstools.executors.base import Executor, Tick
    from wdstools.formats.manifest import ShardEntry
    from wdstools.ops.next_version.place import Place
    from wdstools.options.declare import StrPath
    from wdstools.progress import Progress
    from wdstools.reader.select import Selection


@dataclass(frozen=True, slots=True)
class RemoveResult(Made):
    """What a removal made: the dataset's new root and version, and the shards that were rewritten.

    ``proved`` is about the rewritten samples, before they got a new digest. ``absent`` are given keys that are not in the
    dataset, and ``earlier`` those of them that an earlier version removed. ``rewritten`` and ``deleted`` are files made
    from the samples; ``elsewhere`` are places that may still hold them and were not changed.
    """

    path: str
    root: str
    removed: int
    shards: tuple[str, ...]
    version: int
    proved: Proved = Proved.NOTHING
    absent: tuple[str, ...] = ()
    rewritten: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    earlier: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RemovePlan(Plan[RemoveResult]):
    """Which samples to remove, by shard: ``kept`` masks the rows that stay. ``output`` is the new dataset, None for in place.

    ``absent`` are given keys that are not in the dataset, ``earlier`` those of them that an earlier version removed;
    ``derived`` is what was made from the samples.
    """

    dataset: Dataset | None = None
    kept: tuple[tuple[str, ShardEntry, NDArray[np.bool_]], ...] = ()
    receipt: tuple[dict[str, str], ...] = ()
    absent: tuple[str, ...] = ()
    output: str | None = None
    derived: Derived = field(default_factory=Derived)
    earlier: tuple[str, ...] = ()

    def carry_out(self, executor: Executor, progress: Progress) -> RemoveResult:
        """Write the affected shards without those samples, and everything that follows from that, as one change.

        In place, the dataset is at any moment the old one, absent, or the new one; a new one appears whole or not at all.
        """
        assert self.dataset is not None
        dataset = self.dataset
        if not self.kept:
            return RemoveResult(
                path=self.output or self.target,
                root=dataset.root,
                removed=0,
                shards=(),
                version=dataset.manifest.version,
                absent=self.absent,
                earlier=self.earlier,
            )
        touched = [path for _, entry, _ in self.kept for path in (entry.path, entry.index_path)]

        def write(place: Place) -> NextVersion:
            return self._write(place, executor, progress)

        if self.output is None:
            return self._result(change_in_place(dataset, touched, self.derived, write), self.target)
        crew = Crew(executor, progress, self._digest())
        return self._result(make_elsewhere(dataset, touched, self.output, self.derived, write, crew), self.output)

    def _digest(self) -> str:
        """A digest of everything that decides what is written."""
        assert self.dataset is not None
        digest = xxh3_128(f"remove {self.dataset.root}\n".encode())
        for _, entry, kept in self.kept:
            digest.update(f"{entry.path} {len(kept)}\n".encode())
            digest.update(np.packbits(kept).tobytes())
        return str(digest.hexdigest())

    def _result(self, made: NextVersion, path: str) -> RemoveResult:
        assert self.dataset is not None
        derived = self.derived
        return RemoveResult(
            path=path,
            root=made.manifest.root,
            removed=len(self.receipt),
            shards=tuple(sorted(one.entry.path for one in made.shards)),
            version=made.manifest.version,
            proved=Proved.FORGER if self.dataset.anchored else Proved.ACCIDENT,
            absent=self.absent,
            earlier=self.earlier,
            rewritten=derived.rewritten(made.manifest.root) if self.output is None else (),
            deleted=(*sorted(derived.deleted), *derived.unfinished, *derived.cached),
            elsewhere=derived.elsewhere,
        )

    def _write(self, place: Place, executor: Executor, progress: Progress) -> NextVersion:
        """Make everything of the new version that differs from the old one; shards go to ``place``."""
        assert self.dataset is not None
        dataset = self.dataset
        tasks = [RewriteTask(dataset, split, entry.path, ((entry, kept),), place) for split, entry, kept in self.kept]
        with under_way(progress, "remove", sum(entry.bytes for _, entry, _ in self.kept), "bytes") as tick:
            thinned: list[Rewritten] = run_all(executor, rewrite_shard, tasks, tick)
        manifest = next_version(dataset.manifest, thinned)
        change = {"action": "remove", "samples": len(self.receipt), "receipt": list(self.receipt)}
        files = small_files(dataset, manifest, thinned, change)
        if self.output is None:
            files |= self.derived.emitted_list(manifest.root)
        return NextVersion(manifest, files, tuple(thinned))


def plan_remove(
    dataset: Dataset | StrPath,
    selection: Selection,
    *,
    output: StrPath | None = None,
    root: str | None = None,
    caches: Sequence[StrPath] = (),
    executor: Executor | None = None,
) -> Plan[RemoveResult | FinishResult]:
    """Plan to take the selected samples out; nothing changes until the plan is applied.

    If an earlier change was interrupted, the plan only finishes it: until then no manifest says which samples there are.
    What was made from the samples goes with them: hashes, emitted files, columns, signatures.

    Args:
        dataset: A dataset, its folder or URL; one in a bucket needs ``output``.
        selection: Which samples to remove; it must name keys or a condition.
        output: Where to make a new dataset: a folder or an empty prefix of a bucket. Without it, the dataset itself is changed.
        root: The root digest that the dataset must have.
        caches: Folders of cached reads, from which the samples' shards are deleted too.
        executor: Finds the samples; without one, this process does.

    Returns:
        The plan; applying it gives a RemoveResult, or a FinishResult if it only finished an interrupted change.

    Raises:
        UsageError: The selection names neither keys nor a condition, or the dataset is not canonical or not in a folder.
        IntegrityError: It is another dataset, or an interrupted change would make it one (``root-differs``).
        NotFoundError: There is no dataset.
        FormatError: A manifest or an index is damaged.
        StoreError: Storage could not be read.
    """
    path = dataset.metadata.url if isinstance(dataset, Dataset) else os.fspath(dataset)
    output = None if output is None else os.fspath(output)
    anchor = None if root is None else parse_root(root)
    refuse_in_place(path, output)
    unfinished = plan_finish(path, anchor) if output is None else None
    if unfinished is not None:
        return unfinished
    opened = open_dataset(path, root=root)
    _refuse(opened, selection, output)
    for cache in caches:
        path_here(cache, option("caches"))
    if output is not None:
        refuse_own_place(opened, output)
    with beside_others(opened):
        return _plan(opened, selection, output, caches, executor_or_here(executor))


def _plan(
    opened: Dataset, selection: Selection, output: str | None, caches: Sequence[StrPath], executor: Executor
) -> RemovePlan:
    concerned: list[tuple[str, ShardEntry, NDArray[np.bool_]]] = []
    steps: list[Step] = []
    receipt: list[dict[str, str]] = []
    found: set[str] = set()
    tasks = [_FindTask(opened, split, entry, selection) for split, entry in opened.manifest.shards]
    for task, gone in zip(tasks, run_all(executor, _find, tasks), strict=True):
        if gone is None:
            continue
        concerned.append((task.split, task.entry, gone.kept))
        detail = f"{len(gone.keys):,} of {len(gone.kept):,} samples are removed"
        steps.append(Step("rewrite", task.entry.path, gone.kept_bytes, None, detail))
        found.update(gone.keys)
        receipt += [
            {"shard": task.entry.path, "key_sha256": sha256_hex(key.encode()), "xxh3_128": digest}
            for key, digest in zip(gone.keys, gone.digests, strict=True)
        ]
    absent, earlier = _absent(opened, (selection.keys or frozenset()) - found)
    derived = (
        find_derived(opened, [entry for _, entry, _ in concerned], [os.fspath(cache) for cache in caches])
        if concerned
        else Derived()
    )
    if output is not None:
        derived = as_left_behind(derived)
    steps += derived.steps
    return RemovePlan(
        "remove",
        opened.metadata.url,
        tuple(steps),
        (),
        opened,
        tuple(concerned),
        tuple(receipt),
        absent,
        output,
        derived,
        earlier,
    )


@dataclass(frozen=True, slots=True)
class _FindTask:
    """A shard to search for selected samples."""

    dataset: Dataset
    split: str
    entry: ShardEntry
    selection: Selection


@dataclass(frozen=True, slots=True)
class _Gone:
    """Which rows of a shard stay, their bytes, and the keys and XXH3-128 of the removed ones."""

    kept: NDArray[np.bool_]
    kept_bytes: int
    keys: tuple[str, ...]
    digests: tuple[str, ...]


def _find(task: _FindTask, tick: Tick) -> _Gone | None:
    """The selected samples of one shard; None if there are none."""
    del tick
    table = task.dataset.index(task.entry)
    if task.selection.needs_members(task.dataset):
        table = proved_index(task.dataset, task.split, task.entry)
    gone = task.selection.rows(task.dataset, task.split, task.entry, table)
    if not gone.any():
        return None
    lengths = np.array(table.column("length").to_pylist(), np.int64)
    keys, digests = (table.column(name).to_pylist() for name in ("key", "xxh3_128"))
    rows = np.flatnonzero(gone).tolist()
    return _Gone(
        ~gone, int(lengths[~gone].sum()), tuple(keys[row] for row in rows), tuple(digests[row].hex() for row in rows)
    )


def _absent(dataset: Dataset, keys: AbstractSet[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Keys that are not in the dataset, and those of them that the receipt of an earlier removal names."""
    gone = removed_before(dataset) if keys else frozenset()
    earlier = {key for key in keys if sha256_hex(key.encode()) in gone}
    return tuple(sorted(keys)), tuple(sorted(earlier))


def remove(
    dataset: Dataset | StrPath,
    selection: Selection,
    *,
    output: StrPath | None = None,
    root: str | None = None,
    caches: Sequence[StrPath] = (),
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> RemoveResult | FinishResult:
    """Take samples out of a dataset: ``plan_remove``, applied. Only the shards that hold them are rewritten.

    In place, the dataset is at any moment the old one, absent, or the new one; a new one appears whole or not at all.

    Args:
        dataset: A dataset, its folder or URL; one in a bucket needs ``output``.
        selection: Which samples to remove; it must name keys or a condition.
        output: Where to make a new dataset: a folder or an empty prefix of a bucket. Without it, the dataset itself is changed.
        root: The root digest that the dataset must have.
        caches: Folders of cached reads, from which the samples' shards are deleted too.
        executor: Does the work; without one, this process does.
        progress: Receives the number of bytes done.

    Returns:
        What was removed; a FinishResult if only an interrupted change was finished: call it again.

    Raises:
        UsageError: As ``plan_remove``.
        BusyError: Another process is changing the dataset.
        IntegrityError: A sample that stays is damaged: repair the dataset first.
        StoreError: Storage could not be read or written.
        FormatError: A manifest or an index is damaged.
    """
    plan = plan_remove(dataset, selection, output=output, root=root, caches=caches, executor=executor)
    return apply(plan, executor=executor, progress=progress)


def _refuse(dataset: Dataset, selection: Selection, output: str | None) -> None:
    refuse_unchangeable(dataset, output)
    if selection.keys is None and selection.where is None:
        raise UsageError(
            "no selection of samples to remove was given",
            where="remove",
            expected=f"{option('keys', 'FILE')} or {option('where', 'EXPR')}",
        )
    selection.check(dataset, by_members=True)
