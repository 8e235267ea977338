"""A shard's line in a manifest, rebuilt from the shard alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wdstools.checks.rebuild import rebuild_index
from wdstools.formats.digest import ShardDigester
from wdstools.formats.index import shard_entry
from wdstools.stores.reading import read_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from wdstools.executors.base import Tick
    from wdstools.formats.manifest import ShardEntry
    from wdstools.results import Finding
    from wdstools.stores.base import Store


@dataclass(frozen=True, slots=True)
class DescribeTask:
    """One shard to describe; ``labels``, ``authenticated`` and ``values`` are as in the manifest."""

    store: Store
    split: str
    path: str
    labels: tuple[str, ...]
    authenticated: bool
    values: bool


@dataclass(frozen=True, slots=True)
class Description:
    """A description of a shard: its manifest entry, its index, and the damage that its own checksums show."""

    split: str
    entry: ShardEntry
    index: pa.Table
    findings: tuple[Finding, ...]
    trailing: bool


def describe_shard(task: DescribeTask, tick: Tick) -> Description:
    """Read a canonical shard once and return everything that a manifest says about it; raises StoreError."""
    digester = ShardDigester()

    def hashed() -> Iterator[memoryview]:
        for block in read_blocks(task.store, task.path):
            digester.update(block)
            tick(len(block))
            yield block

    blocks = hashed()
    rebuilt = rebuild_index(
        blocks, path=task.path, split=task.split, labels=task.labels, authenticated=task.authenticated
    )
    for _ in blocks:  # what follows the end of the archive
        pass
    digests = digester.digests()
    entry = shard_entry(task.path, digests, rebuilt.table, values=task.values)
    return Description(task.split, entry, rebuilt.table, tuple(rebuilt.stream.findings), bool(rebuilt.trailing))
