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
from wdstools.errors import FormatError, IntegrityError
from wdstools.formats.digest import sha256_hex
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.landing.inside import require_inside
from wdstools.landing.scratch import Scratch, is_marked, remove_empty
from wdstools.plan import Plan, Step
from wdstools.stores.abilities import replace, sync_folder
from wdstools.stores.folders import make_folders
from wdstools.stores.local import LocalStore, storage_error
from wdstools.stores.locks import locked_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from wdstools.executors.base import Executor
    from wdstools.progress import Progress

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
            raise storage_error(error, scratch.path) from error
        try:
            yield scratch.new
        except BaseException:
            scratch.remove()
            raise


def _stage(root: str) -> str:
    return os.path.join(root, _STAGE)


def commit(root: str, moved: Sequence[str], deleted: Sequence[str]) -> None:
    """Everything in ``moved`` lies in the stage, durable: from here on the change will be made, then make it."""
    document = {"moved": sorted(moved), "deleted": sorted(deleted)}
    LocalStore(_stage(root)).put(_COMMIT, json.dumps(document).encode())
    finish(root)


def finish(root: str) -> None:
    """Move a committed change in, manifest last; may be cut short and called again."""
    stage = _stage(root)
    try:
        document = _read_mark(stage)
        ours = is_marked(stage)
        made = os.path.join(stage, "new") if ours else stage  # version 0.1 staged without a mark
        staged_paths = [os.path.relpath(os.path.join(made, path), root) for path in (*document["moved"], _COMMIT)]
        require_inside(root, [*document["deleted"], *document["moved"], *staged_paths, MANIFEST_PATH, STAGED_MARK])
        if os.path.exists(os.path.join(made, MANIFEST_PATH)):
            _unlink(os.path.join(root, MANIFEST_PATH))
            sync_folder(os.path.join(root, ".wdstools"))
        for path in document["deleted"]:
            _unlink(os.path.join(root, path))
        for path in sorted(document["moved"], key=lambda path: (path == MANIFEST_PATH, path)):
            target = os.path.join(root, path)
            if os.path.exists(os.path.join(made, path)):
                make_folders(os.path.dirname(target))
                replace(os.path.join(made, path), target)
                sync_folder(os.path.dirname(target))
        os.unlink(os.path.join(stage, _COMMIT))
        if ours:
            with Scratch(stage, root, (_COMMIT,)) as scratch:
                scratch.remove()
        else:
            remove_empty(stage)
    except OSError as error:
        raise storage_error(error, stage) from error


def staged_root(root: str) -> str | None:
    """The root digest that a dataset will have when its staged change is moved in; None if that changes no manifest."""
    for place in ("new", ""):
        path = os.path.join(_stage(root), place, MANIFEST_PATH)
        if os.path.isfile(path):
            return sha256_hex(LocalStore(os.path.dirname(path)).get(os.path.basename(path)))
    return None


def _read_mark(stage: str) -> dict[str, list[str]]:
    """What to move and delete; the mark may come with a dataset from anywhere, so nothing in it may lead outside."""
    path = os.path.join(stage, _COMMIT)
    try:
        document = json.loads(LocalStore(stage).get(_COMMIT))
        found = {name: [str(item) for item in document[name]] for name in ("moved", "deleted")}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FormatError("a staged change cannot be read", code="stage-damaged", where=path) from error
    for item in (*found["moved"], *found["deleted"]):
        if os.path.isabs(item) or "\0" in item or ".." in item.split("/"):
            raise FormatError(
                "a staged change leads outside the dataset",
                code="stage-damaged",
                where=path,
                got=repr(item[:200]),
                hint=f"this is no work of wdstools: look at {stage}, and delete it",
            )
    return found


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
    return FinishPlan("finish", root, (Step("finish", STAGED_MARK, detail="a change that was interrupted"),))


def _unlink(path: str) -> None:
    if os.path.lexists(path):
        os.unlink(path)
