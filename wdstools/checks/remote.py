"""Check shards in place, by the digests that the provider returns, without downloading anything."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wdstools.checks.shard import ShardCheck, check_size, missing_shard
from wdstools.errors import FormatError, NotFoundError, StoreError
from wdstools.results import Finding
from wdstools.stores.open import remote
from wdstools.stores.reading import get_whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wdstools.dataset import Dataset
    from wdstools.executors.base import Tick
    from wdstools.formats.manifest import ShardEntry

#: What a mirror noted about its dataset beyond the manifest; see ``transfer/known.py``.
NOTED_PATH = "remote-digests.json"
#: Digests that prove a shard, the strongest first.
_PROOFS = ("sha256", "xxh3_128", "crc64nvme", "crc32c", "md5")


@dataclass(frozen=True, slots=True)
class RemoteCheckTask:
    """One shard to check by its provider's digests. ``md5`` is its noted MD5; ``believed`` digests prove (None: all)."""

    dataset: Dataset
    entry: ShardEntry
    md5: str | None
    believed: tuple[str, ...] | None


def check_remote(task: RemoteCheckTask, tick: Tick) -> ShardCheck:
    """Check one shard by one or two HEAD requests. If the provider proves nothing, ``unproved`` says so."""
    entry, where = task.entry, f"{task.dataset.shards.url}/{task.entry.path}"
    store = remote(task.dataset.shards)
    try:
        findings = check_size(entry, store.head(entry.path).bytes)
        given = store.remote_digests(entry.path) if not findings else {}
    except NotFoundError:
        return missing_shard(entry)
    except StoreError as error:
        return ShardCheck(entry.path, (), unproved=(f"{where}: {error.message} ({error.code})",))
    finally:
        tick(entry.bytes)
    if findings:
        return ShardCheck(entry.path, tuple(findings), samples=entry.samples)
    if task.believed is not None:
        given = {name: value for name, value in given.items() if name in task.believed}
    return _compare(entry, given, task.md5, where)


def _compare(entry: ShardEntry, given: Mapping[str, str], md5: str | None, where: str) -> ShardCheck:
    known = {name: getattr(entry, name) for name in _PROOFS if name != "md5"} | ({"md5": md5} if md5 else {})
    common = [name for name in _PROOFS if name in given and name in known]
    if not common:
        names = ", ".join(sorted(given)) or "no digest"
        return ShardCheck(
            entry.path, (), unproved=(f"{where}: the store returns {names}: there is nothing to compare with",)
        )
    wrong = next((name for name in common if given[name] != known[name]), None)
    if wrong is None:
        return ShardCheck(entry.path, (), samples=entry.samples)
    message = f"the store holds other bytes, according to its {wrong}"
    finding = Finding(
        "payload",
        entry.path,
        message,
        start=0,
        length=entry.bytes,
        expected=known[wrong],
        got=given[wrong],
        cause="store-differs",
        field=wrong,
    )
    return ShardCheck(entry.path, (finding,), samples=entry.samples)


def noted_md5(dataset: Dataset) -> dict[str, str]:
    """MD5 by SHA-256, as a mirror noted them next to the manifest; empty without a valid file."""
    folder = dataset.manifest_key.rpartition("/")[0]
    try:
        document = json.loads(get_whole(dataset.metadata, f"{folder}/{NOTED_PATH}" if folder else NOTED_PATH))
    except (StoreError, FormatError, ValueError, RecursionError):
        return {}
    found = document.get("md5") if isinstance(document, dict) else None
    return {sha: md5 for sha, md5 in found.items() if isinstance(md5, str)} if isinstance(found, dict) else {}
