"""columns rm: remove a set of columns. Files in its folder that do not belong to it stay."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wdstools.columns.sets import names_in, read_set, read_sums
from wdstools.columns.waiting import waiting_for
from wdstools.dataset import Dataset
from wdstools.errors import FormatError, StoreError, UsageError
from wdstools.formats.columns import is_set_name, is_waiting, set_path
from wdstools.landing.inside import lies
from wdstools.ops.columns.land import drop_set, lines_of, opened_to_change, require_changeable
from wdstools.ops.columns.ours import Ours, left_in_place
from wdstools.ops.columns.result import ColumnsPlan, ColumnsResult
from wdstools.plan import Plan, Step, apply
from wdstools.stores.local import LocalStore
from wdstools.stores.open import remote
from wdstools.stores.reading import sha256_there
from wdstools.units import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wdstools.executors.base import Executor
    from wdstools.landing.staging import FinishResult
    from wdstools.options.declare import StrPath
    from wdstools.progress import Progress
    from wdstools.stores.base import Store


@dataclass(frozen=True, slots=True)
class RemoveColumnsPlan(ColumnsPlan):
    """Which files of a set to delete."""

    dataset: Dataset | None = None
    seen: Mapping[str, str] = field(default_factory=dict)

    def carry_out(self, executor: Executor, progress: Progress) -> ColumnsResult:
        """Take the set out of the list, and delete its files."""
        del executor, progress
        assert self.dataset is not None
        deleted = tuple(step.path for step in self.steps if step.action == "delete")
        drop_set(self.dataset, self.name, deleted, self.seen)
        return ColumnsResult(
            self.target,
            self.dataset.root,
            self.name,
            self.fields,
            samples=self.samples,
            deleted=deleted,
            change="removed",
        )


def plan_remove_columns(dataset: Dataset | StrPath, name: str) -> Plan[ColumnsResult | FinishResult]:
    """Plan to remove a set of columns: exactly the files that its document names, which the plan lists.

    If a set was begun in a bucket and never finished, its waiting files are deleted. A file whose bytes do not match the
    list does not belong to the set: it stays, and the plan names it.

    Args:
        dataset: A dataset, its folder, or its URL in a bucket.
        name: The name of the set.

    Returns:
        The plan; applying it gives a ColumnsResult, or a FinishResult if it only finished an interrupted change.

    Raises:
        UsageError: There is no such set (``columns-missing``), or the dataset is on a web server.
        StoreError: Storage could not be read; or an unfinished set has only files that are not known to be ours
            (``file-in-the-way``): they stay.
        FormatError: A manifest, or the list of sets, is damaged.
    """
    opened = opened_to_change(dataset)
    if not isinstance(opened, Dataset):
        return opened
    path, store = opened.metadata.url, require_changeable(opened)
    sums = read_sums(store)
    names = names_in(sums)
    if name not in names and (steps := _left_of(store, name)):
        return RemoveColumnsPlan("remove columns of", path, steps, name=name, dataset=opened)
    if name not in names:
        _refuse_foreign(store, name)
        raise UsageError(
            "no such set of columns",
            code="columns-missing",
            where=path,
            expected=", ".join(names) or "none: no columns were added",
            got=name[:100],
        )
    listed = lines_of(sums, name)
    fields: dict[str, str] = {}
    samples = 0
    try:
        columns = read_set(store, name, sums[set_path(name)])
        fields, samples = {one.name: one.kind for one in columns.fields}, columns.samples
        files = [file for file in columns.files() if file in sums]
    except (FormatError, StoreError):  # its document is damaged or gone: the list tells which files are its own
        files = list(listed)
    there = [file for file in files if lies(store, file)]
    changed = [file for file in there if file != set_path(name) and sha256_there(store, file) != listed[file]]
    steps = tuple(Step("delete", file, detail=f"of the set {name}") for file in sorted(there) if file not in changed)
    steps += tuple(Step("keep", file, detail="its bytes do not match the set") for file in sorted(changed))
    return RemoveColumnsPlan(
        "remove columns of", path, steps, name=name, fields=fields, samples=samples, dataset=opened, seen=listed
    )


def _left_of(store: Store, name: str) -> tuple[Step, ...]:
    """The steps to delete a set that was begun in an object store and never finished."""
    if isinstance(store, LocalStore) or not is_set_name(name):
        return ()
    ours = Ours.of(remote(store), name)
    waiting, notes, named = waiting_for(store, name), ours.notes(), ours.named()
    whole = [key for key in waiting if key not in named and sha256_there(store, key) == key.rpartition("/")[2]]
    in_place = left_in_place(ours.store, name, {})
    keys = {*whole, *notes, *ours.removable([*waiting, *in_place])}
    detail = f"of the set {name}, which was begun and not finished"
    return tuple(Step("delete", key, detail=detail) for key in sorted(keys))


def _refuse_foreign(store: Store, name: str) -> None:
    """Raise StoreError (``file-in-the-way``) if there are files of an unlisted set, and no note of ours names any of them."""
    if isinstance(store, LocalStore) or not is_set_name(name):
        return
    waiting = (key for key in waiting_for(store, name) if is_waiting(name, key.rpartition("/")[2]))
    if found := [*waiting, *left_in_place(remote(store), name, {})]:
        raise StoreError(
            "files of these columns are not known to be ours, and are not removed",
            code="file-in-the-way",
            where=f"{store.url}/{found[0]}",
            got=counted(len(found), "file"),
            hint="move them away yourself, if nobody is adding these columns",
        )


def remove_columns(
    dataset: Dataset | StrPath, name: str, *, executor: Executor | None = None, progress: Progress | None = None
) -> ColumnsResult | FinishResult:
    """Remove a set of columns from a dataset: ``plan_remove_columns``, applied.

    Args:
        dataset: A dataset, its folder, or its URL in a bucket.
        name: The name of the set.
        executor: Accepted, as in every verb; not used here.
        progress: Accepted; not used here.

    Returns:
        What was removed; a FinishResult if only an interrupted change was finished: call it again.

    Raises:
        UsageError: As ``plan_remove_columns``.
        BusyError: Another process is changing the dataset.
        StoreError: Storage could not be read or written.
        FormatError: A manifest, or the list of sets, is damaged.
    """
    return apply(plan_remove_columns(dataset, name), executor=executor, progress=progress)
