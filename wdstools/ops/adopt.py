"""adopt: a manifest and indexes for tars that something else made, which are not touched."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING

from wdstools.dataset import LOCATION_PATH, Dataset, open_dataset
from wdstools.errors import NotFoundError, StoreError, UsageError
from wdstools.executors.open import open_executor
from wdstools.foreign.dots import dotted_heads
from wdstools.foreign.layout import Layout, note_counts, read_layout
from wdstools.foreign.shard import DIGEST_LEVELS, ForeignShard, ForeignShardTask, index_shard
from wdstools.foreign.window import encoding_of
from wdstools.formats.manifest import MANIFEST_PATH, PROVENANCE_PATH, Manifest, dumps
from wdstools.images.check import TYPE_OF_EXTENSION
from wdstools.landing.small_files import render_provenance
from wdstools.progress import Progress, Silent
from wdstools.results import AdoptResult, to_dict
from wdstools.stores.open import open_store
from wdstools.version import __version__

if TYPE_CHECKING:
    from wdstools.executors.base import Executor
    from wdstools.foreign.hazards import HazardCounts
    from wdstools.stores.base import Store

#: More extensions than these are not members that a dataset has in common.
_MAX_MEMBERS = 32


@dataclass(frozen=True, slots=True)
class AdoptOptions:
    """What adopting may be told. ``split`` names the split of everything; see ``read_layout`` and DIGEST_LEVELS."""

    name: str = ""
    version: int = 1
    split: str | None = None
    split_from: str = "auto"
    digests: str = "xxh3"
    replace: bool = False

    def __post_init__(self) -> None:
        if self.digests not in DIGEST_LEVELS:
            raise UsageError("no such digests", where="--digests", expected=", ".join(DIGEST_LEVELS), got=self.digests)
        if not 0 <= self.version < 2**53:
            raise UsageError(
                "version out of range", where="--version", expected="0 to 2**53 - 1", got=str(self.version)
            )


def run_adopt(
    shards: str, dest: str | None, options: AdoptOptions, *, executor: Executor, progress: Progress | None = None
) -> AdoptResult:
    """Adopt the tars at a folder, URL, file or brace pattern; ``dest`` is where the metadata goes, else beside them.

    The tars are only read. The same tars give the same manifest. Until the manifest is there, which is written last,
    nothing is adopted. Raises UsageError, StoreError, FormatError.
    """
    place, pattern = _split_pattern(shards)
    store, metadata = open_store(place), open_store(dest or place)
    _refuse_replacing(metadata, options)
    layout = read_layout(store, pattern, options.split_from, options.split)
    results = _index_all(store, metadata, layout, options, executor, progress or Silent())
    note_counts(store, layout, {result.entry.path: result.entry.samples for result in results})
    hazards = layout.hazards
    _note_dataset(results, hazards)
    manifest = _manifest(results, options)
    documents = {PROVENANCE_PATH: _provenance(options, hazards)}
    if dest is not None and os.path.abspath(dest) != os.path.abspath(place):
        where = place if "://" in place else os.path.abspath(place)
        documents[LOCATION_PATH] = (json.dumps({"shards": where}) + "\n").encode()
    for path, data in (*documents.items(), (MANIFEST_PATH, dumps(manifest))):
        metadata.put(path, data)
    return AdoptResult(
        path=dest or place,
        shards_at=place,
        root=manifest.root,
        samples={split: sum(entry.samples for entry in entries) for split, entries in manifest.splits.items()},
        shards=manifest.totals["shards"],
        bytes=manifest.totals["bytes"],
        digests=options.digests,
        members=manifest.members,
        hazards=hazards.hazards(),
    )


def adopt(
    shards: str,
    dest: str | None = None,
    *,
    jobs: int = 1,
    name: str = "",
    split: str | None = None,
    split_from: str = "auto",
    digests: str = "xxh3",
    replace: bool = False,
) -> Dataset:
    """Adopt tars that something else made, and open them: see ``run_adopt``. They are only read."""
    executor = open_executor("processes", jobs)
    try:
        options = AdoptOptions(name=name, split=split, split_from=split_from, digests=digests, replace=replace)
        result = run_adopt(shards, dest, options, executor=executor)
    finally:
        executor.close()
    return open_dataset(result.path)


def _split_pattern(shards: str) -> tuple[str, str]:
    """The place, and the file name or brace pattern in it ("" for everything)."""
    folder, _, name = shards.rstrip("/").rpartition("/")
    if "{" in name or (encoding_of(name) and not os.path.isdir(shards)):
        return folder or ("/" if shards.startswith("/") else "."), name
    if "://" not in shards and not os.path.isdir(shards):
        raise NotFoundError("no such folder or shard", where=shards)
    return shards.rstrip("/") or "/", ""


def _refuse_replacing(metadata: Store, options: AdoptOptions) -> None:
    try:
        there = open_dataset(metadata.url)
    except (NotFoundError, StoreError):
        return
    if there.manifest.profile == "canonical" or not options.replace:
        raise StoreError(
            "a dataset is here already",
            code="dataset-exists",
            where=metadata.url,
            hint=f"wdstools verify {quote(metadata.url)}"
            + (
                ""
                if there.manifest.profile == "canonical"
                else "    checks it; --replace adopts the tars as they are now"
            ),
        )


def _index_all(
    store: Store, metadata: Store, layout: Layout, options: AdoptOptions, executor: Executor, progress: Progress
) -> list[ForeignShard]:
    tasks = [
        ForeignShardTask(store, metadata, path, split, encoding_of(path) or "tar", options.digests)
        for path, split in layout.splits.items()
    ]
    results: dict[int, ForeignShard] = {}
    progress.start("adopt", sum(store.head(task.path).bytes for task in tasks), "bytes")
    try:
        for outcome in executor.map(index_shard, tasks, progress.advance):
            results[outcome.index] = outcome.result()
    finally:
        progress.finish()
    return [results[index] for index in sorted(results)]


def _note_dataset(results: list[ForeignShard], hazards: HazardCounts) -> None:
    """What only shows over all shards: dots, members that some samples lack, keys in two shards."""
    samples = sum(result.entry.samples for result in results)
    extensions: Counter[str] = Counter()
    for result in results:
        hazards.merge(result.hazards)
        extensions.update(result.extensions)
    heads = dotted_heads(extensions, samples)
    if heads:
        count = sum(n for extension, n in extensions.items() if extension.rpartition(".")[0] in heads)
        hazards.add("key-dots", f"an extension {next(e for e in extensions if e.rpartition('.')[0] in heads)}", count)
    for extension, count in sorted(extensions.items()):
        if extension.rpartition(".")[0] in heads:
            continue
        if 2 * count > samples > count:
            hazards.add("member-missing", f"{extension} is in {count:,} of {samples:,} samples", samples - count)
        if extension in ("jpeg", "jpe", "jfif"):
            hazards.add("extension-jpeg", f".{extension}", count)
    _note_repeated(results, hazards)


def _note_repeated(results: list[ForeignShard], hazards: HazardCounts) -> None:
    """Keys in two shards. Twice in one is the worker's to note."""
    import numpy as np

    hashes, counts = np.unique(np.concatenate([np.unique(r.key_hashes) for r in results]), return_counts=True)
    repeated = hashes[counts > 1]
    if len(repeated):
        first = next(r for r in results if repeated[0] in r.key_hashes)
        row = int(np.argmax(first.key_hashes == repeated[0]))
        hazards.add("key-duplicate-across", f"{first.entry.path}, sample number {row}", len(repeated))


def _manifest(results: list[ForeignShard], options: AdoptOptions) -> Manifest:
    splits: dict[str, list[ForeignShard]] = {}
    for result in results:
        splits.setdefault(result.split, []).append(result)
    extensions: Counter[str] = Counter()
    for result in results:
        extensions.update(result.extensions)
    return Manifest(
        name=options.name,
        version=options.version,
        labels=(),
        members=_members(extensions),
        seed=0,
        splits={split: tuple(result.entry for result in splits[split]) for split in sorted(splits)},
        profile="foreign",
    )


def _members(extensions: Counter[str]) -> tuple[str, ...]:
    """Extensions by how many samples have them, images first."""
    order = sorted(extensions, key=lambda e: (e.rpartition(".")[2].lower() not in TYPE_OF_EXTENSION, -extensions[e], e))
    return tuple(order[:_MAX_MEMBERS])


def _provenance(options: AdoptOptions, hazards: HazardCounts) -> bytes:
    document = {
        "adopted": {"digests": options.digests, "split_from": options.split_from},
        "hazards": to_dict(hazards.hazards()),
        "versions": {"wdstools": __version__},
    }
    return render_provenance(document)
