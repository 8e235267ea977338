"""diff: what is different between two datasets, from manifests and indexes alone; no shard is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wdstools.results import Difference, DiffResult

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wdstools.dataset import Dataset
    from wdstools.formats.manifest import Manifest, ShardEntry

_FIELDS = ("name", "version", "labels", "members", "seed", "profile", "authenticated_ranges")


def diff(before: Dataset, after: Dataset) -> DiffResult:
    """Compare two datasets sample by sample. Only the indexes of shards that differ are read.

    A sample is ``moved`` when the same bytes lie in another shard, ``changed`` when a member has other bytes.
    Raises what ``Dataset.index`` raises.
    """
    a, b = _shards(before.manifest), _shards(after.manifest)
    same = {path for path in a.keys() & b.keys() if a[path].sha256 == b[path].sha256}
    old = _samples(before, [entry for path, entry in a.items() if path not in same])
    new = _samples(after, [entry for path, entry in b.items() if path not in same])
    counted = {
        "same": len(same),
        "changed": len((a.keys() & b.keys()) - same),
        "added": len(b.keys() - a.keys()),
        "removed": len(a.keys() - b.keys()),
    }
    differences = tuple(sorted(_compare(old, new), key=lambda difference: difference.key))
    return DiffResult((before.root, after.root), _fields(before.manifest, after.manifest), counted, differences)


def _shards(manifest: Manifest) -> dict[str, ShardEntry]:
    return {entry.path: entry for _, entry in manifest.shards}


def _fields(a: Manifest, b: Manifest) -> dict[str, tuple[str, str]]:
    pairs = ((name, getattr(a, name), getattr(b, name)) for name in _FIELDS)
    return {name: (_text(x), _text(y)) for name, x, y in pairs if x != y}


def _text(value: Any) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)


#: A sample: the shard it lies in, and extension -> (size, XXH3-64).
_Found = tuple[str, dict[str, tuple[int, int]]]


def _samples(dataset: Dataset, entries: list[ShardEntry]) -> dict[str, _Found]:
    found: dict[str, _Found] = {}
    for entry in entries:
        table = dataset.index(entry)
        for key, members in zip(table.column("key").to_pylist(), table.column("members").to_pylist(), strict=True):
            found[key] = entry.path, {member["ext"]: (member["size"], member["xxh3_64"]) for member in members}
    return found


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
