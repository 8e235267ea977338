"""Replace several files of a dataset together: stage them all, then move them in.

If that is interrupted, the next command completes it. During the move there is no manifest, so a reader finds the old
dataset, none, or the new one.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING

from wdstools.dataset import STAGED_MARK, open_dataset
from wdstools.errors import FormatError, IntegrityError, StoreError
from wdstools.formats.digest import sha256_hex
from wdstools.formats.manifest import COLUMNS_LIST, MANIFEST_PATH, MAX_MANIFEST_BYTES
from wdstools.landing.inside import require_inside
from wdstools.landing.scratch import Scratch, is_marked
from wdstools.plan import Plan, Step
from wdstools.stores.abilities import replace, sync_folder
from wdstools.stores.folders import make_folders
from wdstools.stores.local import LocalStore, storage_error
from wdstools.stores.locks import locked_folder
from wdstools.stores.reading import get_whole
from wdstools.stores.receipts import NEW, Stamp, stamp
from wdstools.units import some_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from wdstools.executors.base import Executor
    from wdstools.progress import Progress
    from wdstools.stores.base import Store

_STAGE, _COMMIT = os.path.split(STAGED_MARK)


@contextlib.contextmanager
def staged(root: str, names: Iterable[str]) -> Iterator[str]:
    """A folder to stage files of these names in; what an earlier, uncommitted change left there is removed first.

    Raises StoreError for a stage that is not ours or contains what we did not write. An exception in the block removes
    it.
    """
    with Scratch(_stage(root), root, (_COMMIT,)) as scratch:
        try:
            scratch.clear()
            scratch.note(names)
            os.mkdir(scratch.new)
        except OSError as error:
            raise storage_error(error, scratch.path) from None
        try:
            yield scratch.new
        except BaseException:
            scratch.remove()
            raise


def digest_of_manifest(store: Store) -> str:
    """The SHA-256 of a dataset's manifest, damaged or not; empty if there is none."""
    try:
        return sha256_hex(get_whole(store, MANIFEST_PATH, MAX_MANIFEST_BYTES))
    except (StoreError, FormatError):
        return ""


def refuse_replaced(store: Store, seen: str) -> None:
    """Raise StoreError (``dataset-replaced``) if the manifest no longer has the digest ``seen``."""
    if (now := digest_of_manifest(store)) != seen:
        raise StoreError(
            "the dataset has changed since the plan was made",
            code="dataset-replaced",
            where=store.url,
            expected=seen or "no manifest",
            got=now or "no manifest",
            hint="run the same command again",
        )


def is_left_over(root: str) -> bool:
    """Whether there is a stage of ours without a change to finish: a process was killed before or after its commit."""
    return is_marked(_stage(root)) and not os.path.lexists(os.path.join(root, STAGED_MARK))


def clear_left_over(root: str) -> None:
    """Remove such a stage; raises StoreError (``scratch-not-ours``) if it contains anything that we did not write."""
    if is_left_over(root):
        with Scratch(_stage(root), root, (_COMMIT,)) as scratch:
            scratch.remove()


def _stage(root: str) -> str:
    return os.path.join(root, _STAGE)


def commit(root: str, moved: Sequence[str], deleted: Sequence[str]) -> None:
    """Commit a change, all of whose ``moved`` files are in the stage and durable, and carry it out.

    Raises StoreError (``mounted-inside``) before anything is changed, and whatever ``finish`` raises.
    """
    stage = _stage(root)
    _refuse_mounts(root, os.path.join(stage, NEW), moved)
    document = {
        "moved": {path: stamp(os.lstat(os.path.join(stage, NEW, path))) for path in sorted(moved)},
        "deleted": {path: _stamp_of(os.path.join(root, path)) for path in sorted(deleted)},
    }
    LocalStore(stage).put(_COMMIT, json.dumps(document).encode())
    finish(root)


def _refuse_mounts(root: str, stage: str, moved: Sequence[str]) -> None:
    """Refuse folders on another disk than the stage: nothing can be renamed into them."""
    for folder in sorted({os.path.dirname(os.path.join(root, path)) for path in moved}):
        there = folder
        while not os.path.isdir(there):
            there = os.path.dirname(there)
        if _device(there) != _device(stage):
            raise StoreError(
                "a folder of the dataset is on another disk than the dataset",
                code="mounted-inside",
                where=there,
                hint="unmount it, or write a new dataset elsewhere; nothing was changed",
            )


def _device(folder: str) -> int:
    return os.stat(folder).st_dev


def finish(root: str) -> None:
    """Move in a committed change, manifest last; may be interrupted and called again.

    Raises FormatError (``stage-not-ours``), before anything is changed, if the files there are not those noted.
    """
    stage = _stage(root)
    try:
        change = _read_mark(root)
        require_inside(root, [*change.deleted, *change.moved, *change.staged, MANIFEST_PATH, STAGED_MARK])
        if not change.is_made:
            if MANIFEST_PATH in change.moved:
                _unlink(os.path.join(root, MANIFEST_PATH))
                sync_folder(os.path.join(root, ".wdstools"))
            for path in sorted(change.moved.keys() - {MANIFEST_PATH}, key=lambda path: (path == COLUMNS_LIST, path)):
                _move_in(root, change, path)
            # the list goes first, or no longer names the others
            for path in sorted(change.deleted, key=lambda path: (path != COLUMNS_LIST, path)):
                _unlink(os.path.join(root, path))
            if MANIFEST_PATH in change.moved:
                _move_in(root, change, MANIFEST_PATH)
        os.unlink(os.path.join(stage, _COMMIT))
        with Scratch(stage, root, (_COMMIT,)) as scratch:
            scratch.remove()
    except OSError as error:
        raise storage_error(error, stage) from None


def _move_in(root: str, change: _Change, path: str) -> None:
    target = os.path.join(root, path)
    if os.path.exists(os.path.join(change.made, path)):
        make_folders(os.path.dirname(target))
        replace(os.path.join(change.made, path), target)
        sync_folder(os.path.dirname(target))


def staged_root(root: str) -> str | None:
    """The root digest of a dataset once its staged change is moved in; None if the manifest does not change."""
    path = os.path.join(_stage(root), NEW, MANIFEST_PATH)
    return sha256_hex(LocalStore(os.path.dirname(path)).get(os.path.basename(path))) if os.path.isfile(path) else None


@dataclass(frozen=True, slots=True)
class _Change:
    """A committed change: the files moved from ``made`` and those deleted, each with the stamp that it had."""

    root: str
    moved: Mapping[str, Stamp]
    deleted: Mapping[str, Stamp | None]

    @property
    def made(self) -> str:
        return os.path.join(_stage(self.root), NEW)

    @property
    def staged(self) -> list[str]:
        """The staged files, as paths relative to the dataset."""
        return [os.path.relpath(os.path.join(self.made, path), self.root) for path in self.moved]

    @property
    def is_made(self) -> bool:
        """Whether the manifest, which is moved last, is in place: nothing is left to move, and all files are new."""
        return MANIFEST_PATH in self.moved and not os.path.lexists(os.path.join(self.made, MANIFEST_PATH))

    def not_ours(self) -> list[str]:
        """Files that are not those noted: a dataset copied here does not bring a change of ours."""
        if self.is_made:
            return []
        staged = {os.path.join(self.made, path): noted for path, noted in self.moved.items()}
        gone = {os.path.join(self.root, path): noted for path, noted in self.deleted.items()}
        return [
            path
            for path, noted in {**staged, **gone}.items()
            if (now := _stamp_of(path)) is not None and (noted is None or not _is_same_file(now, noted))
        ]


def _stamp_of(path: str) -> Stamp | None:
    return stamp(os.lstat(path)) if os.path.lexists(path) else None


def _is_same_file(now: Stamp, noted: Stamp) -> bool:
    """By size and inode: the maker of a dataset can choose a time, but not an inode on this disk."""
    return (now[0], now[2]) == (noted[0], noted[2])


def _read_mark(root: str) -> _Change:
    """What to move and delete. The mark may come with a dataset from anywhere, so it counts only for files of this disk."""
    stage = _stage(root)
    path = os.path.join(stage, _COMMIT)
    hint = f"wdstools did not make this on this disk: look at {stage}, and delete it"
    try:
        document = json.loads(LocalStore(stage).get(_COMMIT))
        moved = {str(item): _noted(value) for item, value in document["moved"].items()}
        deleted = {str(item): value and _noted(value) for item, value in document["deleted"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise FormatError("a staged change cannot be read", code="stage-damaged", where=path, hint=hint) from None
    for item in (*moved, *deleted):
        if os.path.isabs(item) or "\0" in item or ".." in item.split("/"):
            raise FormatError(
                "a staged change leads outside the dataset",
                code="stage-damaged",
                where=path,
                got=repr(item[:200]),
                hint=hint,
            )
    change = _Change(root, moved, deleted)
    others = change.not_ours() if is_marked(stage) else [stage]
    if others:
        raise FormatError(
            "a staged change names files that wdstools did not write on this disk: nothing was changed",
            code="stage-not-ours",
            where=path,
            got=some_of([os.path.relpath(other, root) for other in others]),
            hint=hint,
        )
    return change


def _noted(value: object) -> Stamp:
    if not isinstance(value, list) or len(value) != 3 or not all(type(number) is int for number in value):
        raise TypeError("not a stamp")
    return value[0], value[1], value[2]


@dataclass(frozen=True, slots=True)
class FinishResult:
    """An interrupted change was finished: the dataset's new root and version."""

    path: str
    root: str
    version: int


@dataclass(frozen=True, slots=True)
class FinishPlan(Plan[FinishResult]):
    """Moves in a change that was interrupted after everything was staged: it can only go forward."""

    def carry_out(self, executor: Executor, progress: Progress) -> FinishResult:
        """Finish the change."""
        del executor, progress
        with locked_folder(os.path.join(self.target, ".wdstools"), self.target):
            finish(self.target)
        dataset = open_dataset(self.target)
        return FinishResult(self.target, dataset.root, dataset.manifest.version)


def plan_finish(root: str, anchor: str | None = None) -> FinishPlan | None:
    """The plan to finish an interrupted change of this dataset; None if there is none.

    Raises IntegrityError (``root-differs``) if the dataset would then not have the root digest ``anchor``: the maker of
    the dataset may have staged the change.
    """
    mark = os.path.join(root, STAGED_MARK)
    if not os.path.exists(mark):
        return None
    change = _read_mark(root)
    if anchor is not None:
        then = staged_root(root) or open_dataset(root).root
        if then != anchor:
            raise IntegrityError(
                "the change staged here leads to another dataset",
                code="root-differs",
                where=mark,
                expected=anchor,
                got=then,
                hint=f"if it is an interrupted change of your own, wdstools repair {quote(root)} finishes it; "
                f"if not, delete {quote(_stage(root))}",
            )
    detail = f"an interrupted change: {len(change.moved)} files are moved in"
    if change.deleted and not change.is_made:
        detail += f", and {some_of(list(change.deleted))} deleted"
    return FinishPlan("finish", root, (Step("finish", STAGED_MARK, detail=detail),))


def _unlink(path: str) -> None:
    if os.path.lexists(path):
        os.unlink(path)
