"""Carry out a mirror: everything in an order that is safe for readers."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wdstools.dataset import CLAIM_PATH
from wdstools.errors import BusyError, IntegrityError, NotFoundError, StoreError, option
from wdstools.executors.open import open_executor
from wdstools.formats.card import CARD_PATH
from wdstools.formats.digest import sha256_hex
from wdstools.formats.manifest import MANIFEST_PATH, MAX_MANIFEST_BYTES, PROVENANCE_PATH, SKIPPED_PATH
from wdstools.formats.sums import SUMS_PATH
from wdstools.landing.names import refuse_clashes_at
from wdstools.plan import Plan
from wdstools.results import Proved
from wdstools.stores.base import ABSENT
from wdstools.stores.reading import get_whole
from wdstools.stores.remote import etag_md5
from wdstools.transfer.compare import listing
from wdstools.transfer.known import KnownDigests
from wdstools.transfer.upload import Uploaded, UploadTask, damaged, prove, upload

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wdstools.dataset import Dataset
    from wdstools.executors.base import Executor
    from wdstools.progress import Progress
    from wdstools.stores.base import ObjectInfo, RemoteStore
    from wdstools.transfer.compare import ObjectState, Wanted

#: Files that are being sent are held in memory, up to this many bytes (or one file).
_MEMORY_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class MirrorResult:
    """What a mirror did. ``unproved`` names files for which the store gives no digest to compare.

    ``proved`` is about what the store holds, by the store's own account. ``history`` is the commit from which everything
    that was replaced or deleted can still be had from a repository.
    """

    target: str
    root: str
    uploaded: int
    bytes: int
    same: int
    deleted: int
    unproved: tuple[str, ...]
    proved: Proved = Proved.NOTHING
    history: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorPlan(Plan[MirrorResult]):
    """What it takes to make ``target`` a mirror. ``counts`` and ``sizes`` are by state (see ``compare.STATES``).

    ``replaced`` is the root of another dataset, whose manifest has to be deleted first; ``published``: the manifest is
    already there; ``extra`` are files there that are not part of this dataset.
    """

    source: Dataset = field(repr=False)
    store: RemoteStore = field(repr=False)
    files: tuple[ObjectState, ...] = field(repr=False)
    counts: Mapping[str, int]
    sizes: Mapping[str, int]
    extra: tuple[ObjectInfo, ...] = field(repr=False)
    replaced: str | None
    published: bool
    claimed: bool
    take_over: bool
    delete: bool
    believed: bool

    def carry_out(self, executor: Executor, progress: Progress) -> MirrorResult:
        """Store shards, indexes, provenance, lists, card, and the manifest last: until then there is no dataset there.

        If it is killed at any moment, the same call goes on; what was stored is recognised by the store's own digests.
        """
        return MirrorRun(self, executor, progress).run()


class MirrorRun:
    """One mirror being made."""

    def __init__(self, plan: MirrorPlan, executor: Executor, progress: Progress) -> None:
        self.plan = plan
        self.store = plan.store
        self.source = plan.source
        self.executor = executor
        self.progress = progress
        self.known = KnownDigests(plan.source)
        self.unproved: list[str] = []
        self.answered: list[Uploaded] = []

    def run(self) -> MirrorResult:
        """Do everything, in an order that is safe for readers."""
        plan = self.plan
        todo = [state.wanted for state in plan.files if state.state != "same"]
        deleted = plan.extra if plan.delete else ()
        if todo or deleted or plan.claimed:
            if "://" not in self.store.url:
                refuse_clashes_at(_existing(self.store.url), [state.wanted.path for state in plan.files])
            self._claim()
            if plan.replaced is not None:
                self.store.delete(MANIFEST_PATH)
            self._upload([file for file in todo if file.path != MANIFEST_PATH])
            self._look_again()
            if not plan.published:
                self._publish(plan.files[-1].wanted)
            for info in deleted:
                self._remove(info.key)
            self._remove(CLAIM_PATH)
        return MirrorResult(
            target=plan.target,
            root=self.source.root,
            uploaded=len(todo),
            bytes=sum(file.bytes for file in todo),
            same=plan.counts.get("same", 0),
            deleted=len(deleted),
            unproved=tuple(self.unproved),
            proved=Proved.NOTHING if self.unproved else Proved.ACCIDENT,
        )

    def _claim(self) -> None:
        """Claim the prefix, so that two datasets are never mixed in it."""
        data = (json.dumps({"root": self.source.root, "version": self.source.manifest.version}) + "\n").encode()
        try:
            self.store.put_data(CLAIM_PATH, data, only_if=ABSENT)
        except StoreError as error:
            if error.code == "store-cannot":
                self.store.put_data(CLAIM_PATH, data)
                return
            if error.code != "object-exists":
                raise
            if self._claimed_root() != self.source.root:
                if not self.plan.take_over:
                    raise self._busy("another dataset is being mirrored to this place", "") from None
                self.store.put_data(CLAIM_PATH, data)

    def _claimed_root(self) -> str | None:
        try:
            root = json.loads(get_whole(self.store, CLAIM_PATH)).get("root")
        except (NotFoundError, ValueError, RecursionError, AttributeError):
            return None
        return root if isinstance(root, str) else None

    def _busy(self, message: str, got: str) -> BusyError:
        return BusyError(
            message,
            where=self.store.url,
            expected=f"root {self.source.root}",
            got=got or f"root {self._claimed_root()}",
            hint=f"wait for it; if it was abandoned, run the same command again with {option('replace', True)}",
        )

    def _upload(self, files: list[Wanted]) -> None:
        """Store shards first, then their indexes; once all of these are there, the files about the whole dataset."""
        whole = (PROVENANCE_PATH, SKIPPED_PATH, SUMS_PATH, CARD_PATH)
        self.progress.start("mirror", sum(file.bytes for file in files), "bytes")
        try:
            self._all([file for file in files if file.path not in whole])
            self._all([file for file in files if file.path in whole])
        finally:
            self.progress.finish()
            self.known.save()

    def _all(self, files: list[Wanted]) -> None:
        """Store files in this order, as many in parallel as fit into memory."""
        executor = self.executor
        fitting = max(1, _MEMORY_BYTES // max((file.bytes for file in files), default=1))
        if fitting < executor.jobs:
            executor = open_executor("threads", fitting)
        tasks = (UploadTask(self.source, self.store, file, self.plan.believed) for file in files)
        for outcome in executor.map(upload, tasks, self.progress.advance):
            self._note(outcome.result())

    def _note(self, done: Uploaded) -> None:
        self.known.note(self.store.url, done.wanted, "" if done.proved else done.etag, done.computed)
        if done.answered:
            self.answered.append(done)
        if not done.proved:
            self.unproved.append(done.wanted.path)
            self.known.save()  # only the ETag will tell that it is there

    def _look_again(self) -> None:
        """Compare the store's answers with its listing: the answer may have come from a gateway that stored nothing.

        That takes one request per thousand files; files that the listing does not confirm are checked one by one.
        """
        if not self.answered:
            return
        there = listing(self.store) or {}
        for done in self.answered:
            info = there.get(done.wanted.path)
            if info is not None and info.bytes == done.wanted.bytes and etag_md5(info.etag) == done.computed["md5"]:
                continue
            task = UploadTask(self.source, self.store, done.wanted, self.plan.believed)
            if prove(task, done.etag).proved:
                continue
            if info is not None:  # the listing decides
                raise damaged(task, f"md5 {done.computed['md5']}", f"{info.bytes} bytes, ETag {info.etag}")
            self.unproved.append(done.wanted.path)

    def _publish(self, wanted: Wanted) -> None:
        """Store the manifest if there is none: from now on there is a dataset."""
        if (root := self._claimed_root()) != self.source.root:
            raise self._busy("another mirror has taken over this place", f"root {root}")
        data = get_whole(self.source.metadata, MANIFEST_PATH, MAX_MANIFEST_BYTES)
        if sha256_hex(data) != wanted.digests["sha256"]:
            raise IntegrityError("the manifest changed while it was being mirrored", code="source-damaged")
        try:
            self.store.put_data(MANIFEST_PATH, data, only_if=ABSENT)
        except StoreError as error:
            if error.code == "store-cannot":
                self.store.put_data(MANIFEST_PATH, data)
            elif error.code != "object-exists":
                raise
        if sha256_hex(get_whole(self.store, MANIFEST_PATH, MAX_MANIFEST_BYTES)) != self.source.root:
            raise self._busy("another writer has published a dataset here", "another manifest")

    def _remove(self, path: str) -> None:
        try:
            self.store.delete(path)
        except NotFoundError:
            return


def _existing(folder: str) -> str:
    """A folder, or its nearest parent that exists."""
    folder = os.path.abspath(folder)
    while not os.path.isdir(folder) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
    return folder
