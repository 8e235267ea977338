"""Write the next version of a dataset with more samples: its shards, and then its small files."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from wdstools.executors.base import run_all
from wdstools.formats.arrow import to_ipc
from wdstools.formats.digest import xxh3_128
from wdstools.formats.manifest import SKIPPED_PATH, Manifest, needed_format, shard_path
from wdstools.landing.small_files import read_provenance
from wdstools.ops.append.leaked import identical_images
from wdstools.ops.append.skips import joined_skips
from wdstools.ops.next_version.files import NextVersion, small_files
from wdstools.ops.next_version.shard import Added, RewriteTask, Rewritten, rewrite_shard
from wdstools.planning.table import Samples
from wdstools.progress import under_way
from wdstools.sources.account import counts_of
from wdstools.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pyarrow as pa

    from wdstools.dataset import Dataset
    from wdstools.executors.base import Executor
    from wdstools.formats.manifest import ShardEntry
    from wdstools.ops.append.leaked import Leaked
    from wdstools.ops.append.shards import ShardChange
    from wdstools.ops.next_version.place import Place
    from wdstools.progress import Progress
    from wdstools.results import Skip
    from wdstools.writer.assembly import ShardSettings


class NothingNewError(Exception):
    """None of the samples could be packed, so there is no next version; ``skips`` says why."""

    def __init__(self, skips: tuple[Skip, ...]) -> None:
        super().__init__(len(skips))
        self.skips = skips


@dataclass(frozen=True, slots=True)
class Intake:
    """What to write: new ``samples``, how they are packed, the shards that change, and the number of shards of each split.

    ``skips`` are those known before anything is written; ``said`` is what the history will record about the source.
    """

    dataset: Dataset
    settings: ShardSettings
    samples: pa.Table
    changes: tuple[ShardChange, ...]
    counts: Mapping[str, int]
    skips: tuple[Skip, ...]
    said: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """A digest of everything that decides what is written, except the content of the source's files."""
        digest = xxh3_128(f"append {self.dataset.root} {self.settings.labels}\n".encode())
        digest.update(to_ipc(self.samples))
        for change in self.changes:
            digest.update(f"{change.path} {len(change.rows)}\n".encode())
            digest.update(change.rows.tobytes())
        return str(digest.hexdigest())


@dataclass(frozen=True, slots=True)
class Written:
    """The next version, and what to report about it."""

    version: NextVersion
    appended: dict[str, int]
    skips: tuple[Skip, ...]
    leaks: dict[str, int]
    duplicates: int
    notes: tuple[str, ...]
    leaked: tuple[Leaked, ...]


def write_version(
    intake: Intake,
    place: Place,
    executor: Executor,
    progress: Progress,
    *,
    emitted: Callable[[str], dict[str, bytes]] | None,
) -> Written:
    """Make everything of the new version that differs from the old one; shards go to ``place``. Raises NothingNewError."""
    dataset = intake.dataset
    total = sum(change.old_bytes for change in intake.changes)
    with under_way(progress, "append", total, "bytes") as tick:
        made: list[Rewritten] = run_all(executor, rewrite_shard, _tasks(intake, place), tick)
    by_split: Counter[str] = Counter()
    for change, one in zip(intake.changes, made, strict=True):
        by_split[change.split] += len(one.added)
    skips = (*intake.skips, *(skip for one in made for skip in one.skips))
    rewritten = tuple(one for one in made if not one.kept)
    if not rewritten:
        raise NothingNewError(skips)
    trailing, odd = sum(one.trailing for one in made), sum(one.odd_captions for one in made)
    manifest = _next_manifest(intake, rewritten, trailing=trailing)
    listed, fresh = joined_skips(dataset.metadata, skips)
    stray = sum(one.stray for one in made)
    remarks = {"caption-control": odd, "image-stray-bytes": stray, "image-trailing-bytes": trailing}
    appended = {split: count for split, count in sorted(by_split.items()) if count}
    entry = {
        "action": "append",
        "samples": sum(appended.values()),
        **intake.said,
        "versions": {"wdstools": __version__},
    }
    files = small_files(
        dataset, manifest, rewritten, entry, {SKIPPED_PATH: listed} if listed else {}, _said(dataset, fresh, remarks)
    )
    files |= emitted(manifest.root) if emitted is not None else {}
    added = {change.path: frozenset(one.added) for change, one in zip(intake.changes, made, strict=True)}
    written = {one.entry.path for one in rewritten}
    leaks, duplicates, leaked = identical_images(dataset, manifest, place.store, written, added)
    notes = []
    if manifest.format > dataset.manifest.format:
        notes.append(
            f"{trailing:,} images have bytes after their end: the dataset is now in format {manifest.format}, "
            f"and was in format {dataset.manifest.format}"
        )
    version = NextVersion(manifest, files, rewritten)
    return Written(version, appended, skips, leaks, duplicates, tuple(notes), leaked)


def _tasks(intake: Intake, place: Place) -> Iterator[RewriteTask]:
    for change in intake.changes:
        added = None
        if len(change.rows):
            added = Added(intake.settings, to_ipc(Samples(intake.samples).take(change.rows).table))
        yield RewriteTask(intake.dataset, change.split, change.path, change.parts, place, added)


def _next_manifest(intake: Intake, written: Sequence[Rewritten], *, trailing: int) -> Manifest:
    """The manifest with these shards; a new split is left out if none of its samples could be packed."""
    old = intake.dataset.manifest
    new = {one.entry.path: one.entry for one in written}
    known: dict[str, ShardEntry] = {entry.path: entry for _, entry in old.shards} | new
    splits = dict(old.splits)
    for split, count in intake.counts.items():
        entries = tuple(known[shard_path(split, number)] for number in range(count))
        if split in old.splits or any(entry.samples for entry in entries):
            splits[split] = entries
    return replace(
        old,
        version=old.version + 1,
        labels=intake.settings.labels if "cls" in old.members else old.labels,
        splits=dict(sorted(splits.items())),
        format=needed_format(old.members, trailing=bool(trailing), before=old.format),
    )


def _said(dataset: Dataset, skips: Sequence[Skip], remarks: Mapping[str, int]) -> dict[str, Any]:
    """What provenance counts for the whole dataset, with the new numbers added."""
    before = read_provenance(dataset.metadata)
    skipped = _sum(before.get("skipped"), counts_of(skips))
    noted = _sum(before.get("remarks"), {code: count for code, count in remarks.items() if count})
    return {"skipped": skipped} | ({"remarks": noted} if noted else {})


def _sum(before: object, more: Mapping[str, int]) -> dict[str, int]:
    old = before if isinstance(before, dict) else {}
    counts = {str(name): count for name, count in old.items() if type(count) is int}
    return dict(sorted((Counter(counts) + Counter(more)).items()))
