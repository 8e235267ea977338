"""Commit to the Hub: in one commit if it fits, or else in several on a pull request that is merged once it is complete.

Nobody sees new shards with an old manifest: main moves once, from one whole dataset to the next. A run killed before that
leaves main as it was, and an unmerged pull request; the next call begins another one, sends no blob twice, and closes the
old ones.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from wdstools.errors import BusyError, StoreError
from wdstools.stores.hf import HubStore, open_hf
from wdstools.stores.meter import Waits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: The one branch that a pull request is merged into.
_MAIN = "main"
#: Files that are never inline, and the largest size of a file that is.
_LARGE, _MOST_INLINE_FILE = (".tar", ".parquet"), 10 << 20


class CommitBound(NamedTuple):
    """How much one commit may hold: files, and bytes of those that are sent inside the request because git keeps them."""

    files: int
    inline_bytes: int


#: The Hub refuses a commit of more than 25,000 large files or 1 GB inside the request, and gives up on one that takes
#: longer than a minute. A fifth of the files and a twentieth of the bytes stay clear of both limits on a slow line, and a
#: hundred thousand files (the most that a repository should hold) are 20 commits, far below the 128 allowed per hour.
COMMIT_BOUND = CommitBound(files=5_000, inline_bytes=48 << 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What to commit on top of ``parent``. Without a pull request, ``first`` is deleted before anything else."""

    hub: HubStore
    parent: str
    title: str
    #: In order; the manifest last.
    operations: Sequence[Any]
    #: The deletion of a manifest that must not appear with new shards; None if there is none.
    first: Any = None
    bound: CommitBound = COMMIT_BOUND


def commit(api: Any, change: Change, check: Callable[[HubStore], None]) -> str:
    """Make the change; returns the new head. ``check`` compares what is on a pull request, and raises if it is wrong.

    Raises BusyError if the head was not ``parent``, and the library's errors.
    """
    from huggingface_hub.errors import HfHubHTTPError

    parts = list(_parts(change.operations, change.bound))
    if len(parts) > 1 and change.hub.revision == _MAIN:
        try:
            request = api.create_pull_request(
                change.hub.repository, change.title, repo_type="dataset", description=_DESCRIPTION
            )
        except HfHubHTTPError as error:
            if error.response.status_code != _DISABLED:
                raise
        else:
            return _Request(api, change, request).merged(parts, check)
    if len(parts) > 1 and change.first is not None:
        # better no dataset until the last commit than one with shards of another
        parts[0] = [change.first, *parts[0]]
    return _send(api, change, parts, change.hub.revision, change.parent)


#: The status of a repository that does not accept pull requests: the blobs were accepted, so the token can write.
_DISABLED = 403
_DESCRIPTION = "A dataset too large for one commit is uploaded here, and merged when it is complete."


def _send(api: Any, change: Change, parts: list[list[Any]], revision: str, head: str) -> str:
    """Commit the parts one by one on top of a head; returns the last commit."""
    for number, part in enumerate(parts, 1):
        of = f" ({number} of {len(parts)})" if len(parts) > 1 else ""
        made = api.create_commit(
            change.hub.repository,
            part,
            commit_message=change.title + of,
            parent_commit=head,
            repo_type="dataset",
            revision=revision,
        )
        head = str(made.oid)
    return head


class _Request:
    """A pull request of our own."""

    def __init__(self, api: Any, change: Change, request: Any) -> None:
        self.api = api
        self.change = change
        self.request = request
        hub = change.hub
        self.revision = f"refs/pr/{request.num}"
        self.there = open_hf(f"hf://datasets/{hub.repository}@{self.revision}/{hub.folder}", Waits(), hub=hub.hub)

    def merged(self, parts: list[list[Any]], check: Callable[[HubStore], None]) -> str:
        """Commit the parts, check the result, and merge it; returns the new head of main.

        If anything goes wrong before the merge, main is as it was, and the pull request is closed.
        """
        try:
            self._require_parent()
            _send(self.api, self.change, parts, self.revision, self.there.commit())
            check(self.there)
            self._status("open", self.request.num)
            self._require_parent()
        except BaseException:
            with contextlib.suppress(Exception):
                self._status("closed", self.request.num)
            raise
        self._merge()
        with contextlib.suppress(Exception):  # just tidying up: the work is done
            self._close_older()
        return self.change.hub.commit()

    def _require_parent(self) -> None:
        """Refuse to go on if main has moved since it was compared: the merge would mix two datasets."""
        if self.change.hub.commit() != self.change.parent:
            raise BusyError(
                "somebody else changed the repository meanwhile; nothing was changed",
                where=self.change.hub.url,
                expected=f"its head at {self.change.parent}",
                hint="run the same command again: what has arrived is not sent again",
            )

    def _merge(self) -> None:
        from huggingface_hub.errors import HfHubHTTPError

        try:
            self.api.merge_pull_request(self.change.hub.repository, self.request.num, repo_type="dataset")
        except HfHubHTTPError as error:
            self._require_parent()
            raise StoreError(
                "the whole dataset is on a pull request that the Hub does not merge; nothing was changed",
                code="unavailable",
                where=self.change.hub.url,
                got=f"status {error.response.status_code}",
                hint=f"merge it by hand at {self.request.url}, or run the same command again",
            ) from None

    def _status(self, status: str, number: int) -> None:
        self.api.change_discussion_status(self.change.hub.repository, number, status, repo_type="dataset")

    def _close_older(self) -> None:
        """Close pull requests that killed runs left: by the same author and with the same title, which includes the root."""
        author, title = self.request.author, self.request.title
        found = self.api.get_repo_discussions(
            self.change.hub.repository, author=author, discussion_type="pull_request", repo_type="dataset"
        )
        left = [
            one.num for one in found if (one.author, one.title) == (author, title) and one.status in ("draft", "open")
        ]
        for number in left:
            self._status("closed", number)


def _parts(operations: Sequence[Any], bound: CommitBound) -> Iterator[list[Any]]:
    """Divide operations into as many commits as they need: one, unless there are very many."""
    part: list[Any] = []
    inline = 0
    for operation in operations:
        size = _inline_bytes(operation)
        if part and (len(part) >= bound.files or inline + size > bound.inline_bytes):
            yield part
            part, inline = [], 0
        part.append(operation)
        inline += size
    if part:
        yield part


def _inline_bytes(operation: Any) -> int:
    """The bytes that an operation adds to a request; a deletion adds none."""
    info = getattr(operation, "upload_info", None)
    if info is None or operation.path_in_repo.endswith(_LARGE):
        return 0
    return min(int(info.size), _MOST_INLINE_FILE)
