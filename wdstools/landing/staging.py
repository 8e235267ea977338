"""Replacing files of a dataset together: staged whole, then moved in; cut short, the next command moves on.

While they are moved there is no manifest, so that a reader finds the old dataset, none, or the new one.
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
    """A folder to stage files of these names in; what an earlier, never committed change left there goes first.

    Raises StoreError for a stage that is not ours or holds what we have not written. An exception in the block removes it.
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
    """The SHA-256 of the manifest that lies in a dataset's place, damaged or not; empty for none."""
    try:
        return sha256_hex(get_whole(store, MANIFEST_PATH, MAX_MANIFEST_BYTES))
    except (StoreError, FormatError):
        return ""


def refuse_replaced(store: Store, seen: str) -> None:
    """Raise StoreError (``dataset-replaced``) where another manifest lies there than the one that was read, by its digest."""
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
    """Whether a stage of ours lies here whose change was never committed, or is made: a process was killed at it."""
    return is_marked(_stage(root)) and not os.path.lexists(os.path.join(root, STAGED_MARK))


def clear_left_over(root: str) -> None:
    """Remove such a stage; raises StoreError (``scratch-not-ours``) if there is more in it than what we have written."""
    if is_left_over(root):
        with Scratch(_stage(root), root, (_COMMIT,)) as scratch:
            scratch.remove()


def _stage(root: str) -> str:
    return os.path.join(root, _STAGE)


def commit(root: str, moved: Sequence[str], deleted: Sequence[str]) -> None:
    """Everything in ``moved`` lies in the stage, durable: from here on the change will be made, then make it.

    Raises StoreError (``mounted-inside``) before anything is changed, and as ``finish`` does.
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
    """Refuse folders that lie on another disk than the stage: nothing can be renamed into them."""
    for folder in sorted({os.path.dirname(os.path.join(root, path)) for path in moved}):
        there = folder
        while not os.path.isdir(there):
            there = os.path.dirname(there)
        if _device(there) != _device(stage):
            raise StoreError(
                "a folder of the dataset lies on another disk than the dataset",
                code="mounted-inside",
                where=there,
                hint="unmount it, or write a new dataset elsewhere; nothing was changed",
            )


def _device(folder: str) -> int:
    return os.stat(folder).st_dev


def finish(root: str) -> None:
    """Move a committed change in, manifest last; may be cut short and called again.

    Raises FormatError (``stage-not-ours``) before anything is changed where what lies there is not what was noted.
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
            # what lists them is gone, or says so no more
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
    """The root digest that a dataset will have when its staged change is moved in; None if that changes no manifest."""
    path = os.path.join(_stage(root), NEW, MANIFEST_PATH)
    return sha256_hex(LocalStore(os.path.dirname(path)).get(os.path.basename(path))) if os.path.isfile(path) else None


@dataclass(frozen=True, slots=True)
class _Change:
    """A committed change: what is moved from ``made`` and what is deleted, each with the stamp that it had."""

    root: str
    moved: Mapping[str, Stamp]
    deleted: Mapping[str, Stamp | None]

    @property
    def made(self) -> str:
        return os.path.join(_stage(self.root), NEW)

    @property
    def staged(self) -> list[str]:
        """Where the files that are moved lie, below the dataset."""
        return [os.path.relpath(os.path.join(self.made, path), self.root) for path in self.moved]

    @property
    def is_made(self) -> bool:
        """Whether the manifest, which is moved last, is in its place: nothing is left to move, and what is there is new."""
        return MANIFEST_PATH in self.moved and not os.path.lexists(os.path.join(self.made, MANIFEST_PATH))

    def not_ours(self) -> list[str]:
        """Files that are not those that were noted: a dataset that was copied here carries no change of ours."""
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
    """By size and inode: a time can be made by whoever made the dataset, an inode on this disk cannot."""
    return (now[0], now[2]) == (noted[0], noted[2])


def _read_mark(root: str) -> _Change:
    """What to move and delete. The mark may come with a dataset from anywhere, so it is believed only of files of this disk."""
    stage = _stage(root)
    path = os.path.join(stage, _COMMIT)
    hint = f"this is no work of wdstools on this disk: look at {stage}, and delete it"
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
            "a staged change is not of files that wdstools wrote on this disk: nothing was changed",
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
    """A change that had been cut short was finished: the dataset's root and version now."""

    path: str
    root: str
    version: int


@dataclass(frozen=True, slots=True)
class FinishPlan(Plan[FinishResult]):
    """Moves in a change that was cut short after everything was staged: it can only go forward."""

    def carry_out(self, executor: Executor, progress: Progress) -> FinishResult:
        """Finish the change."""
        del executor, progress
        with locked_folder(os.path.join(self.target, ".wdstools"), self.target):
            finish(self.target)
        dataset = open_dataset(self.target)
        return FinishResult(self.target, dataset.root, dataset.manifest.version)


def plan_finish(root: str, anchor: str | None = None) -> FinishPlan | None:
    """The plan to finish a change of this dataset that was cut short; None if there is none.

    Raises IntegrityError (``root-differs``) where ``anchor``, the root digest that the dataset must have, is not the one
    that it would have then: whoever made the dataset may have staged the change.
    """
    mark = os.path.join(root, STAGED_MARK)
    if not os.path.exists(mark):
        return None
    change = _read_mark(root)
    if anchor is not None:
        then = staged_root(root) or open_dataset(root).root
        if then != anchor:
            raise IntegrityError(
                "a change is staged here that leads to another dataset",
                code="root-differs",
                where=mark,
                expected=anchor,
                got=then,
                hint=f"if it is a change of yours that was interrupted, wdstools repair {quote(root)} finishes it; "
                f"if not, delete {quote(_stage(root))}",
            )
    detail = f"a change that was interrupted: {len(change.moved)} files are moved in"
    if change.deleted and not change.is_made:
        detail += f", deleted are {some_of(list(change.deleted))}"
    return FinishPlan("finish", root, (Step("finish", STAGED_MARK, detail=detail),))


def _unlink(path: str) -> None:
    if os.path.lexists(path):
        os.unlink(path)
