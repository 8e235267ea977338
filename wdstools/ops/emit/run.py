"""The plan of an emit, and carrying it out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wdstools.interop.emitted import EMITTED_PATH
from wdstools.landing.inside import require_inside
from wdstools.ops.emit.there import changed, digest_of, in_the_way, is_link, is_our_link, is_there
from wdstools.plan import Plan
from wdstools.results import Proved
from wdstools.stores.local import LocalStore
from wdstools.stores.locks import locked_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wdstools.dataset import Dataset
    from wdstools.executors.base import Executor
    from wdstools.interop.emitted import Emitted
    from wdstools.progress import Progress
    from wdstools.stores.base import Store


@dataclass(frozen=True, slots=True)
class EmitResult:
    """What emitting did: how many files were written, linked and deleted, and for which readers there are files now.

    ``proved`` is about the content of the files, which is taken from the manifest and the indexes.
    """

    target: str
    written: int
    linked: int
    deleted: int
    consumers: tuple[str, ...]
    proved: Proved = Proved.NOTHING


@dataclass(frozen=True, slots=True)
class EmitPlan(Plan[EmitResult]):
    """What to write and delete next to the manifest.

    ``files`` are contents, ``links`` lead to shards elsewhere, ``emitted`` is the new list (None: nothing is left).
    ``under_way`` is the list while files are being written; ``before`` has the digest of each file to replace or delete.
    """

    dataset: Dataset | None = None
    files: dict[str, bytes] = field(default_factory=dict, repr=False)
    links: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    emitted: Emitted | None = None
    under_way: Emitted | None = None
    before: Mapping[str, str] = field(default_factory=dict, repr=False)

    def carry_out(self, executor: Executor, progress: Progress) -> EmitResult:
        """Write the files, but first a list with their digests, so that they are known to be ours."""
        del executor
        assert self.dataset is not None
        store = self.dataset.metadata
        if not isinstance(store, LocalStore) or not self.steps:
            return self._write(store, progress)
        require_inside(store.path, [*self.files, *self.links, *self.deleted, EMITTED_PATH])
        with locked_folder(store.locate(".wdstools"), store.path):
            return self._write(store, progress)

    def _write(self, store: Store, progress: Progress) -> EmitResult:
        assert self.dataset is not None
        first = self.under_way or self.emitted
        if first is not None and self.steps:
            store.put(EMITTED_PATH, first.dumps())
        progress.start(self.verb, len(self.steps), "files")
        for path, data in self.files.items():
            self._require_as_planned(path)
            store.put(path, data)
            progress.advance(1)
        for path in self.links:
            if is_there(self.dataset, path) or is_link(self.dataset, path):
                raise in_the_way(path)
            assert isinstance(store, LocalStore)
            assert isinstance(self.dataset.shards, LocalStore)
            store.link(path, self.dataset.shards.locate(path))
            progress.advance(1)
        for path in self.deleted:
            self._require_as_planned(path)
            store.delete(path)
            if isinstance(store, LocalStore):
                store.remove_empty_folders(path)
            progress.advance(1)
        if self.emitted is None and self.steps:
            store.delete(EMITTED_PATH)
        elif self.emitted is not None and self.emitted != first:
            store.put(EMITTED_PATH, self.emitted.dumps())
        progress.finish()
        return EmitResult(
            target=self.target,
            written=sum(step.action == "write" for step in self.steps),
            linked=len(self.links),
            deleted=sum(step.action == "delete" for step in self.steps),
            consumers=tuple(sorted(self.emitted.consumers)) if self.emitted else (),
            proved=self._proved(),
        )

    def _require_as_planned(self, path: str) -> None:
        """Refuse to touch a file that has changed since the plan was made; raises StoreError."""
        assert self.dataset is not None
        if path in self.before:
            if digest_of(self.dataset, path) != self.before[path]:
                raise changed(path)
        elif is_link(self.dataset, path):
            if not is_our_link(self.dataset, path):
                raise in_the_way(path)
        elif is_there(self.dataset, path):
            raise in_the_way(path)

    def _proved(self) -> Proved:
        if self.dataset is None or not self.files:
            return Proved.NOTHING
        return Proved.FORGER if self.dataset.anchored and self.dataset.manifest.has_values else Proved.ACCIDENT
