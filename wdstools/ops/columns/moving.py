"""Move the next version of a set of columns into place in an object store, once all of it waits there and the list names it.

Any step may be done twice, by any process, or after its caller died: a waiting file is identified by its digest, and is
put where the list wants these bytes, overwriting only what was checked.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wdstools.columns.sets import is_of, read_sums
from wdstools.columns.waiting import can_be_finished, to_be_moved, waiting_for
from wdstools.errors import BusyError, FormatError, NotFoundError, StoreError
from wdstools.executors.base import run_all
from wdstools.formats.column_files import MAX_COLUMNS_BYTES
from wdstools.formats.columns import COLUMNS_WAITING, damaged, is_waiting, set_of, waiting_path
from wdstools.formats.digest import sha256_hex
from wdstools.formats.manifest import COLUMNS_LIST
from wdstools.landing.notes import BEGUN, clear_begun, read_note, write_note
from wdstools.landing.staging import FinishPlan, FinishResult
from wdstools.log import tell
from wdstools.ops.columns.ours import Ours
from wdstools.plan import Step
from wdstools.progress import Progress, under_way
from wdstools.stores.base import ABSENT, ANYTHING, RemoteStore
from wdstools.stores.open import remote
from wdstools.stores.reading import get_whole, sha256_there

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wdstools.dataset import Dataset
    from wdstools.executors.base import Executor, Tick, Work


@dataclass(frozen=True, slots=True)
class MoveTask:
    """A file of a set, and all its places: shards without samples have identical files, of which one waits.

    ``old`` is the digest of the file that it replaces; empty if there should be none.
    """

    store: RemoteStore
    paths: tuple[str, ...]
    digest: str
    old: str = ""


def look_at_place(task: MoveTask, tick: Tick) -> None:
    """Refuse to replace a file that does not belong to the set; raises StoreError (``file-in-the-way``).

    A damaged document still belongs to its set.
    """
    for path in task.paths:
        is_document = bool(task.old) and path.endswith(".json")
        if not is_document and sha256_there(task.store, path) not in ("", task.digest, task.old):
            raise in_the_way(task.store, path)
        tick(1)


def move(task: MoveTask, tick: Tick) -> None:
    """Put a waiting file into its places, then delete the waiting copy if the list already names it.

    Raises BusyError if another process changes the set meanwhile.
    """
    for path in task.paths:
        _move_to(path, task)
        tick(1)
    if task.old:
        with contextlib.suppress(NotFoundError):
            task.store.delete(waiting_path(task.paths[0], task.digest))


def move_if_whole(task: MoveTask, tick: Tick) -> None:
    """``move`` for what an earlier run left: a damaged file is left where it waits, and its set is damaged."""
    try:
        move(task, tick)
    except FormatError as error:
        tell("columns", "a waiting file is damaged; it is left there", where=error.where)


def _move_to(path: str, task: MoveTask) -> None:
    store, key = task.store, waiting_path(path, task.digest)
    try:
        there = store.head(path).etag
    except NotFoundError:
        there = ABSENT
    try:
        data = get_whole(store, key, MAX_COLUMNS_BYTES)
    except NotFoundError:
        if sha256_there(store, path) != task.digest:
            raise busy(store) from None
        return
    if (got := sha256_hex(data)) != task.digest:
        raise damaged(f"{store.url}/{key}", "a new file of these columns is damaged", expected=task.digest, got=got)
    try:
        if there == ABSENT or task.old:
            store.put_data(path, data, only_if=there)
            return
    except StoreError as error:
        if error.code == "store-cannot":
            store.put_data(path, data, only_if=ANYTHING)
            return
        if error.code not in ("object-exists", "object-changed"):
            raise
    if sha256_there(store, path) != task.digest:
        raise busy(store) if task.old else in_the_way(store, path)


def let_wait(ours: Ours, path: str, digest: str, file: str) -> None:
    """Store a local file among the waiting files of its set."""
    store, key = ours.store, waiting_path(path, digest)
    ours.create(key, digest, lambda only_if: store.put_file(key, file, {"sha256": digest}, only_if=only_if))


def move_all(
    store: RemoteStore,
    files: Mapping[str, str],
    executor: Executor,
    tick: Tick = lambda _: None,
    *,
    first: bool,
    work: Work[MoveTask, None] = move,
) -> None:
    """Move waiting files into place, the document before the others. ``first``: their places are still empty."""
    alike: dict[str, list[str]] = {}
    for path, digest in files.items():
        alike.setdefault(digest, []).append(path)
    tasks = [MoveTask(store, tuple(paths), digest, "" if first else digest) for digest, paths in alike.items()]
    documents = [task for task in tasks if task.paths[0].endswith(".json")]
    for task in documents:
        work(task, tick)
    run_all(executor, work, [task for task in tasks if task not in documents], tick)


def clear_waiting(ours: Ours, keys: Iterable[str]) -> None:
    """Delete files that need not wait any more, if they are ours: by the digest in their name, or by a note of ours."""
    store, others = ours.store, []
    for key in keys:
        digest = key.rpartition("/")[2]
        if not is_waiting(ours.name, digest):
            continue
        if sha256_there(store, key) == digest:
            store.delete(key)
        else:
            others.append(key)
    if others:
        ours.delete(others)


def note_gone(store: RemoteStore, name: str, gone: Mapping[str, str]) -> None:
    """Note the files, with digests, that a set's next version no longer has, before the list names that version."""
    before = read_note(store, _note(name)).get(BEGUN, {})
    if gone:
        write_note(store, _note(name), {**before, **gone})


def clear_gone(store: RemoteStore, name: str, sums: Mapping[str, str]) -> None:
    """Delete the noted files that the list no longer names; any that differs from its note stays."""
    note = read_note(store, _note(name))
    mine = {path: digest for path, digest in note.get(BEGUN, {}).items() if is_of(path, name) and path not in sums}
    if note:
        clear_begun(store, {BEGUN: mine}, {})
        store.delete(_note(name))


def _note(name: str) -> str:
    return f"{COLUMNS_WAITING}{name}/gone.json"


def in_the_way(store: RemoteStore, path: str) -> StoreError:
    """The error for an object that has the name of a set's file but does not belong to the set."""
    return StoreError(
        "a file that does not belong to any set of columns has the name of a new one",
        code="file-in-the-way",
        where=f"{store.url}/{path}",
        hint="move it away, or choose another name; the dataset was not changed",
    )


def busy(store: RemoteStore) -> BusyError:
    """The error for two processes that change columns at the same time."""
    return BusyError(
        "another process is changing the columns of this dataset",
        where=f"{store.url}/{COLUMNS_LIST}",
        hint="run the same command again",
    )


@dataclass(frozen=True, slots=True)
class FinishMoving(FinishPlan):
    """Moves the waiting files that the list already names: the change can only go forward."""

    dataset: Dataset | None = None

    def carry_out(self, executor: Executor, progress: Progress) -> FinishResult:
        """Finish the change."""
        assert self.dataset is not None
        store = remote(self.dataset.metadata)
        sums = read_sums(store)
        waiting = to_be_moved(store, sums)
        with under_way(progress, "move columns", len(waiting), "files") as tick:
            move_all(store, waiting, executor, tick, first=False, work=move_if_whole)
        for name in sorted({set_of(path) for path in waiting}):
            clear_gone(store, name, sums)
            Ours.of(store, name).tidy(sums)
        return FinishResult(self.target, self.dataset.root, self.dataset.manifest.version)


def plan_moving(dataset: Dataset) -> FinishMoving | None:
    """The plan to finish an interrupted change of the columns of a dataset in an object store; None if there is none."""
    store = remote(dataset.metadata)
    waiting = can_be_finished(store, read_sums(store))
    if not waiting:
        return None
    detail = f"an interrupted change: {len(waiting)} files of columns are moved into place"
    url = dataset.metadata.url
    return FinishMoving("finish", url, (Step("finish", COLUMNS_LIST, detail=detail),), dataset=dataset)


def left_waiting(store: RemoteStore, names: set[str]) -> list[str]:
    """Every file that waits for one of these sets."""
    return [key for name in sorted(names) for key in waiting_for(store, name)]
