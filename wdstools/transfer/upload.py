"""Upload one file of a dataset, and prove that it arrived as it was packed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wdstools.errors import IntegrityError, NotFoundError, SourceChangedError, StoreError
from wdstools.stores.local import LocalStore
from wdstools.stores.remote import check_source, proves, upload_damaged
from wdstools.transfer.compare import Wanted, evidence, holder, known_digests

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wdstools.dataset import Dataset
    from wdstools.executors.base import Tick
    from wdstools.stores.base import ObjectInfo, RemoteStore


@dataclass(frozen=True, slots=True)
class UploadTask:
    """One file to store; ``believed`` as in ``CompareTask``."""

    dataset: Dataset
    target: RemoteStore
    wanted: Wanted
    believed: bool


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A file that was stored; ``proved`` by a digest from the store that does not merely echo ours.

    ``answered`` says that the digest came in the answer to the PUT: the store has not been asked yet what it holds.
    """

    wanted: Wanted
    etag: str
    proved: bool
    computed: Mapping[str, str]
    answered: bool = False


def upload(task: UploadTask, tick: Tick) -> Uploaded:
    """Store one file by one PUT whose checksum the server verifies; if its answer proves nothing, ask what it holds.

    Raises IntegrityError (``source-damaged``), before anything is stored, if the local file does not match the
    manifest; StoreError (``upload-damaged``) if the store holds something else after two attempts.
    """
    info = _put(task)
    if info.md5:
        done = Uploaded(task.wanted, info.etag, proved=True, computed={"md5": info.md5}, answered=True)
    else:
        try:
            done = prove(task, info.etag)
        except StoreError as error:
            if error.code != "upload-damaged":
                raise
            done = prove(task, _put(task).etag)
    tick(task.wanted.bytes)
    return done


def prove(task: UploadTask, etag: str) -> Uploaded:
    """Ask the store what it holds of a file that it stored under an ETag; raises StoreError (``upload-damaged``)."""
    wanted = task.wanted
    try:
        given = evidence(task.target.remote_digests(wanted.path), believed=task.believed)
    except NotFoundError:
        raise damaged(task, f"{wanted.bytes} bytes", "nothing") from None
    known, computed = known_digests(task.dataset, wanted, given)
    return Uploaded(wanted, etag, proves(f"{task.target.url}/{wanted.path}", known, given), computed)


def damaged(task: UploadTask, expected: str, got: str) -> StoreError:
    """The error for a store that does not hold a file as it was sent."""
    return upload_damaged(f"{task.target.url}/{task.wanted.path}", expected, got)


def _put(task: UploadTask) -> ObjectInfo:
    wanted = task.wanted
    source = holder(task.dataset, wanted.path)
    try:
        if isinstance(source, LocalStore):
            digests = {"sha256": wanted.digests["sha256"]} if task.dataset.anchored else wanted.digests
            return task.target.put_file(wanted.path, source.locate(wanted.path), digests)
        data = source.get(wanted.path)
        check_source(data, wanted.path, {"sha256": wanted.digests["sha256"]})
    except SourceChangedError as error:
        task.dataset.refuse_replaced()
        raise IntegrityError(
            "a file is damaged here and was not uploaded",
            code="source-damaged",
            where=f"{source.url}/{wanted.path}",
            expected=error.expected,
            got=error.got,
            hint=f"{task.dataset.verify_command}    then repair it from another copy",
        ) from None
    return task.target.put_data(wanted.path, data)
