"""Storing one file of a dataset elsewhere, and proving that it is there as it was packed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wdstools.errors import IntegrityError, SourceChangedError, StoreError
from wdstools.stores.cloud import check_source
from wdstools.stores.local import LocalStore
from wdstools.transfer.compare import Wanted, disagreements, evidence, holder, known_digests

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wdstools.dataset import Dataset
    from wdstools.executors.base import Tick
    from wdstools.stores.base import ObjectInfo
    from wdstools.stores.remote import RemoteStore

_ATTEMPTS = 2


@dataclass(frozen=True, slots=True)
class UploadTask:
    """One file to store; ``believed`` as in ``CompareTask``."""

    dataset: Dataset
    target: RemoteStore
    wanted: Wanted
    believed: bool


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A file that was stored; ``proved`` by a digest from the store that is not an echo of ours."""

    wanted: Wanted
    etag: str
    proved: bool
    computed: Mapping[str, str]


def upload(task: UploadTask, tick: Tick) -> Uploaded:
    """Store one file by one PUT whose checksum the server compares, and ask the server what it holds.

    Raises IntegrityError (``source-damaged``) when the file here is not what the manifest says, before anything is
    stored; StoreError (``upload-damaged``) when the store holds something else twice.
    """
    wanted = task.wanted
    differing: list[str] | None = None
    for _ in range(_ATTEMPTS):
        info = _put(task)
        given = evidence(task.target.remote_digests(wanted.path), believed=task.believed)
        known, computed = known_digests(task.dataset, wanted, given)
        differing = disagreements(known, given)
        if not differing:
            tick(wanted.bytes)
            return Uploaded(wanted, info.etag, differing is not None, computed)
    assert differing
    name = differing[0]
    raise StoreError(
        "the store holds something else than it was sent",
        code="upload-damaged",
        where=f"{task.target.url}/{wanted.path}",
        expected=f"{name} {known[name]}",
        got=f"{name} {given[name]}",
        hint="run the same command again; if this comes back, the way there or the store is broken",
    )


def _put(task: UploadTask) -> ObjectInfo:
    wanted = task.wanted
    source = holder(task.dataset, wanted.path)
    try:
        if isinstance(source, LocalStore):
            return task.target.put_file(wanted.path, source.locate(wanted.path), wanted.digests)
        data = source.get(wanted.path)
        check_source(data, wanted.path, {"sha256": wanted.digests["sha256"]})
    except SourceChangedError as error:
        raise IntegrityError(
            "a file is damaged here, and was not sent",
            code="source-damaged",
            where=f"{source.url}/{wanted.path}",
            expected=error.expected,
            got=error.got,
            hint=f"{task.dataset.verify_command}    then repair it from another copy",
        ) from error
    return task.target.put_data(wanted.path, data)
