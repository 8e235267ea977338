"""diff: compare two datasets by their manifests and indexes alone; no shard is opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wdstools.dataset import Dataset, as_dataset
from wdstools.executors.base import run_all
from wdstools.executors.open import executor_or_here
from wdstools.progress import Progress, Silent, under_way
from wdstools.results import Proved

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from wdstools.executors.base import Executor, Tick
    from wdstools.formats.manifest import Manifest, ShardEntry
    from wdstools.options.declare import StrPath

_FIELDS = ("name", "version", "labels", "members", "seed", "profile", "authenticated_ranges")


@dataclass(frozen=True, slots=True)
class Difference:
    """One sample that differs between two datasets: ``change`` is added, removed, changed or moved.

    ``before`` and ``after`` are the shards that hold it; ``members`` are the extensions whose bytes differ.
    """

    change: str
    key: str
    before: str | None = None
    after: str | None = None
    members: tuple[str, ...] = ()

    def __str__(self) -> str:
        place = " -> ".join(path for path in (self.before, self.after) if path)
        return f"{self.change} {self.key}: {place}" + (f" ({', '.join(self.members)})" if self.members else "")


@dataclass(frozen=True, slots=True)
class DiffResult:
    """What differs between two datasets. ``fields`` are the manifest's fields that differ, with both values.

    ``shards`` counts the shards that are the same, changed, added and removed; ``counts`` counts the samples by change.
    ``proved`` is about what counts as the same: shards are compared by SHA-256, samples of differing shards by their fast
    digests.
    """

    roots: tuple[str, str]
    fields: Mapping[str, tuple[str, str]]
    shards: Mapping[str, int]
    differences: tuple[Difference, ...]
    proved: Proved = Proved.NOTHING

    @property
    def same(self) -> bool:
        """Whether both are the same dataset."""
        return self.roots[0] == self.roots[1]

    @property
    def counts(self) -> dict[str, int]:
        """The number of samples by change."""
        found: dict[str, int] = {}
        for difference in self.differences:
            found[difference.change] = found.get(difference.change, 0) + 1
        return found


def diff(
    before: Dataset | StrPath,
    after: Dataset | StrPath,
    *,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> DiffResult:
    """Compare two datasets sample by sample, by manifests and indexes alone: no shard is opened.

    Only the indexes of shards that differ are read. A sample is ``moved`` if the same bytes are in another shard, and
    ``changed`` if a member has other bytes.

    Args:
        before: A dataset, its folder or URL, or a manifest file.
        after: The other dataset, in the same way.
        executor: Reads the indexes; without one, this process does.
        progress: Receives the number of indexes read.

    Returns:
        What differs; ``same`` says whether anything does.

    Raises:
        NotFoundError: A dataset, or an index that is needed, is missing.
        FormatError: A manifest or an index is damaged.
        StoreError: Storage could not be read.
    """
    before, after = as_dataset(before), as_dataset(after)
    a, b = _shards(before.manifest), _shards(after.manifest)
    same = {path for path in a.keys() & b.keys() if a[path].sha256 == b[path].sha256}
    wanted = [(before, entry) for path, entry in a.items() if path not in same]
    count = len(wanted)
    wanted += [(after, entry) for path, entry in b.items() if path not in same]
    with under_way(progress or Silent(), "diff", len(wanted), "indexes") as tick:
        read = run_all(executor_or_here(executor), _samples, [_IndexTask(*one) for one in wanted], tick)
    old, new = _joined(read[:count]), _joined(read[count:])
    counted = {
        "same": len(same),
        "changed": len((a.keys() & b.keys()) - same),
        "added": len(b.keys() - a.keys()),
        "removed": len(a.keys() - b.keys()),
    }
    differences = tuple(sorted(_compare(old, new), key=lambda difference: difference.key))
    anchored = before.anchored and after.anchored and len(same) == len(a) == len(b)
    return DiffResult(
        roots=(before.root, after.root),
        fields=_fields(before.manifest, after.manifest),
        shards=counted,
        differences=differences,
        proved=Proved.FORGER if anchored else Proved.ACCIDENT,
    )


def _shards(manifest: Manifest) -> dict[str, ShardEntry]:
    return {entry.path: entry for _, entry in manifest.shards}


def _fields(a: Manifest, b: Manifest) -> dict[str, tuple[str, str]]:
    pairs = ((name, getattr(a, name), getattr(b, name)) for name in _FIELDS)
    return {name: (_text(x), _text(y)) for name, x, y in pairs if x != y}


def _text(value: Any) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)


#: A sample: its shard, and extension -> (size, XXH3-64).
_Found = tuple[str, dict[str, tuple[int, int]]]


@dataclass(frozen=True, slots=True)
class _IndexTask:
    """A shard whose index to read."""

    dataset: Dataset
    entry: ShardEntry


def _samples(task: _IndexTask, tick: Tick) -> dict[str, _Found]:
    """The samples of one shard, by key."""
    found: dict[str, _Found] = {}
    table = task.dataset.index(task.entry)
    for key, members in zip(table.column("key").to_pylist(), table.column("members").to_pylist(), strict=True):
        found[key] = task.entry.path, {member["ext"]: (member["size"], member["xxh3_64"]) for member in members}
    tick(1)
    return found


def _joined(parts: Iterable[dict[str, _Found]]) -> dict[str, _Found]:
    return {key: found for part in parts for key, found in part.items()}


def _compare(old: dict[str, _Found], new: dict[str, _Found]) -> Iterator[Difference]:
    for key in old.keys() - new.keys():
        yield Difference("removed", key, before=old[key][0])
    for key in new.keys() - old.keys():
        yield Difference("added", key, after=new[key][0])
    for key in old.keys() & new.keys():
        (path_a, a), (path_b, b) = old[key], new[key]
        members = tuple(ext for ext in {**a, **b} if a.get(ext) != b.get(ext))
        if members:
            yield Difference("changed", key, path_a, path_b, members)
        elif path_a != path_b:
            yield Difference("moved", key, path_a, path_b)
