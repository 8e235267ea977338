"""Shards and their indexes, checked in batches: each is an item of work that takes long enough to be worth sending."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wdstools.checks.metadata import IndexCheckTask, check_index
from wdstools.checks.remote import RemoteCheckTask, check_remote
from wdstools.checks.shard import ShardCheck, ShardCheckTask, check_shard

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wdstools.dataset import Dataset
    from wdstools.executors.base import Tick
    from wdstools.formats.manifest import ShardEntry
    from wdstools.results import Finding

#: A task takes about five seconds: as many bytes at each level as a disk and a core manage, or as many shards, each of
#: which costs a few milliseconds on this machine, and a request or two elsewhere.
_BYTES = {"digest": 4 << 30, "samples": 2 << 30, "decode": 512 << 20}
_NEAR, _FAR = 2000, 250
#: Each worker gets at least this many tasks, if there are enough shards, so that all end at about the same time.
_TASKS_A_WORKER = 8


@dataclass(frozen=True, slots=True)
class Look:
    """A shard to check; ``listed`` is its index's SHA-256 on the checksum list, ``md5`` the noted MD5 of the shard."""

    split: str
    entry: ShardEntry
    listed: str | None = None
    md5: str | None = None


@dataclass(frozen=True, slots=True)
class Manner:
    """How to check shards: ``level``, ``digest`` (xxh3_128 or sha256), and at level remote the ``believed`` digests.

    ``may_lack``: the index of a missing shard is not required.
    """

    level: str
    digest: str
    believed: tuple[str, ...] | None
    may_lack: bool


@dataclass(frozen=True, slots=True)
class BatchTask:
    """Some shards to check, one after another."""

    dataset: Dataset
    manner: Manner
    looks: tuple[Look, ...]


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found in one shard and in its index."""

    shard: ShardCheck
    index: tuple[Finding, ...] = ()

    @property
    def missing(self) -> bool:
        """Whether the shard is missing."""
        return any(finding.cause == "shard-missing" for finding in self.shard.findings)

    @property
    def whole(self) -> bool:
        """Whether there are no findings, and nothing is unproved."""
        return not self.shard.findings and not self.shard.unproved and not self.index


def check_batch(task: BatchTask, tick: Tick) -> tuple[Looked, ...]:
    """Check each shard and its index; at level size, indexes are not opened."""
    return tuple(_check(task.dataset, task.manner, look, tick) for look in task.looks)


def _check(dataset: Dataset, manner: Manner, look: Look, tick: Tick) -> Looked:
    if manner.level == "remote":
        shard = check_remote(RemoteCheckTask(dataset, look.entry, look.md5, manner.believed), tick)
    else:
        shard = check_shard(ShardCheckTask(dataset, look.split, look.entry, manner.level, manner.digest), tick)
    looked = Looked(shard)
    if manner.level == "size" or (manner.may_lack and looked.missing):
        return looked
    found = check_index(IndexCheckTask(dataset, look.split, look.entry, look.listed), lambda _: None)
    return Looked(shard, tuple(f for f in found if not (manner.may_lack and f.cause == "index-missing")))


def batches(looks: Iterable[Look], level: str, *, total: int, jobs: int, near: bool) -> Iterator[tuple[Look, ...]]:
    """Shards in batches of about five seconds; of ``total`` bytes, each of ``jobs`` workers gets several batches."""
    count = _NEAR if near else _FAR
    most = min(_BYTES.get(level, total), total // (_TASKS_A_WORKER * jobs))
    held: list[Look] = []
    size = 0
    for look in looks:
        if held and (size + look.entry.bytes > most or len(held) == count):
            yield tuple(held)
            held, size = [], 0
        held.append(look)
        size += look.entry.bytes
    if held:
        yield tuple(held)
