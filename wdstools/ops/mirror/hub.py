"""The Hugging Face Hub as a mirror: blobs first, then one commit, so that nobody sees new shards with an old manifest.

A repository's tree tells what is in it: the SHA-256 of large files, and git's blob id of those that it keeps inline. If it
is killed at any moment, the same call goes on: blobs that arrived are not sent again, and until the commit nothing has
changed. ``hub_commits.py`` handles what is too much for one commit.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wdstools.errors import BusyError, IntegrityError, NotFoundError, StoreError, UsageError, WdsError, option
from wdstools.formats.card import CARD_PATH
from wdstools.formats.digest import sha256_hex
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.ops.mirror.hub_commits import COMMIT_BOUND, Change, CommitBound, commit
from wdstools.ops.mirror.run import MirrorPlan, MirrorResult
from wdstools.results import Proved
from wdstools.stores.hf import HubStore, open_hf
from wdstools.stores.local import LocalStore
from wdstools.stores.meter import Waits
from wdstools.transfer.compare import ObjectState, Wanted, holder
from wdstools.transfer.known import KnownDigests

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wdstools.dataset import Dataset
    from wdstools.executors.base import Executor
    from wdstools.progress import Progress
    from wdstools.stores.hf import HubFile

#: How many files are sent between two reports of progress.
_BATCH = 16


def open_hub(url: str) -> HubStore:
    """The repository at ``hf://datasets/OWNER/NAME``; raises UsageError (``extra-missing``)."""
    if importlib.util.find_spec("huggingface_hub") is None:
        raise UsageError(
            "publishing to the Hub needs the hub extra", code="extra-missing", hint="pip install 'wdstools[hub]'"
        )
    return open_hf(url, Waits())


def require_local(dataset: Dataset) -> None:
    """Refuse a dataset that is not on this machine: the library sends local files; raises UsageError."""
    if not isinstance(dataset.metadata, LocalStore) or not isinstance(dataset.shards, LocalStore):
        raise UsageError(
            "a dataset can only be published to the Hub from a local folder",
            where=dataset.metadata.url,
            hint="wdstools pull URL DIR    first",
        )


def look(store: HubStore, *, create: bool) -> tuple[str, dict[str, HubFile]]:
    """The head of the repository and its files, by path; ("", {}) if it is to be created.

    Raises NotFoundError (``repository-missing``) if there is none and none may be created.
    """
    try:
        head = store.commit()
        return head, store.tree()
    except NotFoundError:
        if create:
            return "", {}
        raise NotFoundError(
            "there is no such repository, or you do not have access to it",
            code="repository-missing",
            where=store.url,
            hint=f"add {option('create', True)} to create it, and {option('private', True)} to make it private; "
            "or log in: hf auth login",
        ) from None


def compare_tree(
    dataset: Dataset, files: Mapping[str, HubFile], wanted: Sequence[Wanted], card: bytes
) -> list[ObjectState]:
    """The state of each file."""
    states = []
    for file in wanted:
        there = files.get(file.path)
        same = there is not None and there.bytes == file.bytes and is_same(dataset, file, there, card)
        states.append(ObjectState(file, "missing" if there is None else "same" if same else "different", "", {}))
    return states


def is_same(dataset: Dataset, file: Wanted, there: HubFile, card: bytes) -> bool:
    """Whether the Hub's file is the one here: by the SHA-256 of a large file, or the blob id of one that git keeps."""
    if there.sha256:
        return there.sha256 == file.digests["sha256"]
    data = card if file.path == CARD_PATH else holder(dataset, file.path).get(file.path)
    found = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    return sha256_hex(data) == file.digests["sha256"] and there.blob == found


@dataclass(frozen=True, slots=True, kw_only=True)
class HubMirrorPlan(MirrorPlan):
    """What it takes to make a repository a mirror. ``parent`` is its head when it was compared, "" if it does not exist yet."""

    hub: HubStore = field(repr=False)
    parent: str
    private: bool
    card: bytes = field(repr=False)
    bound: CommitBound = COMMIT_BOUND

    def carry_out(self, executor: Executor, progress: Progress) -> MirrorResult:
        """Send the blobs, then commit on top of ``parent``; if that is no longer the head, nothing changes (BusyError)."""
        return _Upload(self, executor, progress).run()


class _Upload:
    """One mirroring to a repository."""

    def __init__(self, plan: HubMirrorPlan, executor: Executor, progress: Progress) -> None:
        from huggingface_hub import HfApi

        utils: Any = importlib.import_module("huggingface_hub.utils")
        utils.disable_progress_bars()  # we show our own
        self.plan = plan
        self.api: Any = HfApi(endpoint=plan.hub.hub)
        self.where = {"repo_id": plan.hub.repository, "repo_type": "dataset", "revision": plan.hub.revision}
        self.executor = executor
        self.progress = progress

    def run(self) -> MirrorResult:
        """Do everything; at the end, compare the tree again."""
        plan = self.plan
        todo = [state.wanted for state in plan.files if state.state != "same"]
        deleted = [info.key for info in plan.extra] if plan.delete else []
        head = plan.parent
        if todo or deleted:
            head = self._translated(lambda: self._change(todo, deleted))
            self._look(plan.hub, todo)
            known = KnownDigests(plan.source)
            known.note(plan.hub.url, plan.files[-1].wanted, head, {})
            known.save()
        return MirrorResult(
            target=plan.target,
            root=plan.source.root,
            uploaded=len(todo),
            bytes=sum(file.bytes for file in todo),
            same=plan.counts.get("same", 0),
            deleted=len(deleted),
            unproved=(),
            proved=Proved.ACCIDENT,
            history=plan.parent if plan.counts.get("different") or deleted else None,
        )

    def _change(self, todo: list[Wanted], deleted: list[str]) -> str:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        plan, folder = self.plan, self.plan.hub.folder
        head = plan.parent
        if not head:
            self.api.create_repo(plan.hub.repository, repo_type="dataset", private=plan.private or None, exist_ok=True)
            head = plan.hub.commit()
        adds = [(file, self._operation(CommitOperationAdd, file)) for file in todo]
        self._send(adds)
        added = [operation for file, operation in adds if file.path != MANIFEST_PATH]
        last = [operation for file, operation in adds if file.path == MANIFEST_PATH]
        change = Change(
            hub=plan.hub,
            parent=head,
            title=self._title(),
            operations=[*added, *(CommitOperationDelete(folder + path) for path in deleted), *last],
            first=CommitOperationDelete(folder + MANIFEST_PATH) if plan.replaced is not None else None,
            bound=plan.bound,
        )
        return commit(self.api, change, lambda there: self._look(there, [state.wanted for state in plan.files]))

    def _title(self) -> str:
        manifest = self.plan.source.manifest
        return f"wdstools mirror: {manifest.name or 'dataset'} version {manifest.version}, root {manifest.root[:16]}"

    def _operation(self, kind: Any, file: Wanted) -> Any:
        """The operation that adds a file, after checking it: damaged files are never published."""
        source = self.plan.source
        path = self.plan.hub.folder + file.path
        if file.path == CARD_PATH:
            return kind(path_in_repo=path, path_or_fileobj=self.plan.card)
        store = holder(source, file.path)
        assert isinstance(store, LocalStore)
        seen = hashlib.sha256()
        for block in store.blocks(file.path):
            seen.update(block)
        if seen.hexdigest() != file.digests["sha256"]:
            raise IntegrityError(
                "a local file is damaged, and was not sent",
                code="source-damaged",
                where=store.locate(file.path),
                expected=file.digests["sha256"],
                got=seen.hexdigest(),
                hint=f"{source.verify_command}    then repair it from another copy",
            )
        made = kind(path_in_repo=path, path_or_fileobj=store.locate(file.path))
        made.upload_info.sha256 = seen.digest()
        return made

    def _send(self, adds: list[tuple[Wanted, Any]]) -> None:
        """Send the large files, some at a time; those whose blobs are already there are not sent."""
        self.progress.start("mirror", sum(file.bytes for file, _ in adds), "bytes")
        try:
            for at in range(0, len(adds), _BATCH):
                batch = adds[at : at + _BATCH]
                self.api.preupload_lfs_files(
                    additions=[operation for _, operation in batch],
                    num_threads=max(1, min(8, self.executor.jobs)),
                    free_memory=False,
                    **self.where,
                )
                self.progress.advance(sum(file.bytes for file, _ in batch))
        finally:
            self.progress.finish()

    def _look(self, there: HubStore, files: list[Wanted]) -> None:
        """Compare what the Hub says it has with what should be there."""
        for state in compare_tree(self.plan.source, there.tree(), files, self.plan.card):
            if state.state != "same":
                raise IntegrityError(
                    "the Hub does not have what was sent",
                    code="remote-damaged",
                    where=f"{there.url}/{state.wanted.path}",
                    expected=state.wanted.digests["sha256"],
                    got=state.state,
                    hint="run the same command again",
                )

    def _translated(self, work: Any) -> str:
        """Translate the library's errors. Their texts are not shown: a server may repeat a token in them."""
        from huggingface_hub.errors import HfHubHTTPError

        wire: Any = HfHubHTTPError.__bases__[0]  # the error of its HTTP library, which differs by version
        try:
            return str(work())
        except WdsError:
            raise
        except HfHubHTTPError as error:
            raise self._refused(getattr(error.response, "status_code", 0)) from None
        except (wire, OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
            inner = error.__cause__
            if isinstance(inner, HfHubHTTPError):
                raise self._refused(getattr(inner.response, "status_code", 0)) from None
            raise StoreError(
                "sending to the Hub failed",
                code="unavailable",
                where=self.plan.hub.url,
                got=type(inner or error).__name__,
                hint="run the same command again: what has arrived is not sent again",
            ) from None

    def _refused(self, status: int) -> WdsError:
        where = self.plan.hub.url
        if status in (409, 412):
            return BusyError(
                "somebody else changed the repository meanwhile; nothing was changed",
                where=where,
                expected=f"its head at {self.plan.parent or 'its beginning'}",
                hint="run the same command again: what has arrived is not sent again",
            )
        if status in (401, 403, 404):
            return StoreError(
                "the Hub does not allow you to write there",
                code="denied",
                where=where,
                got=f"status {status}",
                hint="hf auth login    with a token that can write to this repository",
            )
        return StoreError(
            "the Hub failed to process the request",
            code="unavailable",
            where=where,
            got=f"status {status}",
            hint="try again later",
        )
