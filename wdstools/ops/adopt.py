"""adopt: make a manifest and indexes for tars made by other tools, without touching the tars."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass, field
from shlex import quote
from typing import TYPE_CHECKING, Unpack

from wdstools.address import Url, display
from wdstools.dataset import LOCATION_PATH, Dataset, open_dataset
from wdstools.errors import NotFoundError, StoreError, option
from wdstools.executors.base import run_all
from wdstools.executors.open import workers
from wdstools.foreign.dots import dotted_heads
from wdstools.foreign.layout import Layout, note_counts, read_layout
from wdstools.foreign.shard import ForeignShard, ForeignShardTask, index_shard
from wdstools.formats.image_types import TYPE_OF_EXTENSION
from wdstools.formats.manifest import MANIFEST_PATH, PROVENANCE_PATH, Manifest, dumps
from wdstools.formats.tar_names import encoding_of
from wdstools.landing.inside import refuse_read_only
from wdstools.landing.small_files import render_provenance
from wdstools.ops.made import FormerlyDataset
from wdstools.options.declare import settle
from wdstools.options.move import AdoptChoices
from wdstools.progress import Progress, Silent, under_way
from wdstools.results import to_dict
from wdstools.stores.confirmed import confirm
from wdstools.stores.local import LocalStore
from wdstools.stores.open import open_store
from wdstools.units import counted
from wdstools.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wdstools.executors.base import Executor
    from wdstools.foreign.hazards import HazardCounts
    from wdstools.options.declare import StrPath
    from wdstools.results import Hazard
    from wdstools.stores.base import Store

#: The modules that worker processes import first.
WORKER_MODULES = ("wdstools.foreign.shard",)
#: Hazards of shards that could not be adopted completely.
_INCOMPLETE = ("shard-cut", "shard-damaged", "shard-unreadable", "member-sparse", "archive-resumed")
#: With more extensions than this, the others are not members that the dataset's samples share.
_MAX_MEMBERS = 32


@dataclass(frozen=True, slots=True)
class AdoptResult(FormerlyDataset):
    """What was adopted: where its manifest is, what it contains, and its hazards."""

    path: str
    shards_at: str
    root: str
    samples: Mapping[str, int]
    shards: int
    bytes: int
    digests: str
    members: tuple[str, ...]
    hazards: tuple[Hazard, ...] = ()
    notes: tuple[str, ...] = ()
    #: Where to open the manifest and the tars; ``path`` and ``shards_at`` are the same without secrets.
    opens: Url = field(default=Url(""), repr=False, compare=False)
    reads: Url = field(default=Url(""), repr=False, compare=False)

    @property
    def dataset(self) -> Dataset:
        """The adopted dataset, opened with its tars."""
        return open_dataset(self.opens.secret, at=self.reads.secret)

    @property
    def incomplete(self) -> bool:
        """Whether some bytes could not be adopted, or are invisible to other readers."""
        return any(hazard.code in _INCOMPLETE for hazard in self.hazards)


def adopt(
    shards: StrPath,
    dest: StrPath | None = None,
    *,
    executor: Executor | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
    **choices: Unpack[AdoptChoices],
) -> AdoptResult:
    """Make a manifest and indexes for tars made by other tools, and report what will go wrong with them in which reader.

    The tars are only read. The same tars give the same manifest. It is written last: until then, nothing is adopted.

    Args:
        shards: A folder or URL of tars, a single tar, or a pattern such as ``x-{000..123}.tar``.
        dest: Where to put the manifest and the indexes; without it, next to the tars.
        executor: Does the work; without one, ``jobs`` worker processes do, which end with the call.
        jobs: How many processes to start.
        progress: Receives the number of bytes read.
        **choices: What to put into the manifest, and how thoroughly to read the tars; see ``AdoptChoices``.

    Returns:
        What was adopted, and the hazards found; its ``dataset`` opens the dataset.

    Raises:
        UsageError: An option is invalid.
        NotFoundError: There are no tars.
        StoreError: Storage could not be read or written, or there is already a dataset (``dataset-exists``).
        FormatError: The file that assigns the splits cannot be parsed.
    """
    chosen = settle(AdoptChoices, choices)
    shards, dest = os.fspath(shards), None if dest is None else os.fspath(dest)
    place, pattern = _split_pattern(shards)
    refuse_read_only(dest or place, "put the manifest and the indexes in a folder: wdstools adopt SHARDS -o DIR")
    store, metadata = open_store(place), open_store(dest or place)
    _refuse_replacing(metadata, place, replace=chosen["replace"])
    layout = read_layout(store, pattern, chosen["split_from"], chosen["split"])
    with workers(executor, "processes", jobs, WORKER_MODULES) as at_work:
        results = _index_all(store, metadata, layout, chosen["digests"], at_work, progress or Silent())
    note_counts(store, layout, {result.entry.path: result.entry.samples for result in results})
    hazards = layout.hazards
    _note_dataset(results, hazards)
    manifest = _manifest(results, chosen)
    documents = {PROVENANCE_PATH: _provenance(chosen, hazards)}
    if dest is not None and os.path.abspath(dest) != os.path.abspath(place):
        where = display(place) if "://" in place else os.path.abspath(place)
        documents[LOCATION_PATH] = (json.dumps({"shards": where}) + "\n").encode()
    for path, data in (*documents.items(), (MANIFEST_PATH, dumps(manifest))):
        metadata.put(path, data)
    if LOCATION_PATH in documents and isinstance(metadata, LocalStore) and display(place) == place:
        confirm(metadata.path, where)
    return AdoptResult(
        path=display(dest or place),
        shards_at=display(place),
        root=manifest.root,
        samples={split: sum(entry.samples for entry in entries) for split, entries in manifest.splits.items()},
        shards=manifest.totals["shards"],
        bytes=manifest.totals["bytes"],
        digests=chosen["digests"],
        members=manifest.members,
        hazards=hazards.hazards(),
        opens=Url(dest or place),
        reads=Url(place),
    )


def _split_pattern(shards: str) -> tuple[str, str]:
    """The place, and the file name or brace pattern in it ("" for everything)."""
    folder, _, name = shards.rstrip("/").rpartition("/")
    if "{" in name or (encoding_of(name) and not os.path.isdir(shards)):
        return folder or ("/" if shards.startswith("/") else "."), name
    if "://" not in shards and not os.path.isdir(shards):
        raise NotFoundError("no such folder or shard", where=shards)
    return shards.rstrip("/") or "/", ""


def _refuse_replacing(metadata: Store, place: str, *, replace: bool) -> None:
    try:
        there = open_dataset(metadata.url, at=place)
    except (NotFoundError, StoreError):
        return
    if there.manifest.profile == "canonical" or not replace:
        raise StoreError(
            "there is already a dataset here",
            code="dataset-exists",
            where=metadata.url,
            hint=f"wdstools verify {quote(metadata.url)}"
            + (
                ""
                if there.manifest.profile == "canonical"
                else f"    checks it; {option('replace', True)} adopts the tars as they are now"
            ),
        )


def _index_all(
    store: Store, metadata: Store, layout: Layout, digests: str, executor: Executor, progress: Progress
) -> list[ForeignShard]:
    tasks = [
        ForeignShardTask(store, metadata, path, split, encoding_of(path) or "tar", digests)
        for path, split in layout.splits.items()
    ]
    total = sum(store.head(task.path).bytes for task in tasks)
    with under_way(progress, "adopt", total, "bytes") as tick:
        return run_all(executor, index_shard, tasks, tick)


def _note_dataset(results: list[ForeignShard], hazards: HazardCounts) -> None:
    """Note hazards that only show across all shards: dots, members that some samples lack, keys in two shards."""
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
            hazards.add(
                "member-missing", f"{extension} is in {count:,} of {counted(samples, 'sample')}", samples - count
            )
        if extension in ("jpeg", "jpe", "jfif"):
            hazards.add("extension-jpeg", f".{extension}", count)
    _note_repeated(results, hazards)


def _note_repeated(results: list[ForeignShard], hazards: HazardCounts) -> None:
    """Note keys that are in two shards. Keys that are twice in one shard are noted by the worker."""
    import numpy as np

    hashes, counts = np.unique(np.concatenate([np.unique(r.key_hashes) for r in results]), return_counts=True)
    repeated = hashes[counts > 1]
    if len(repeated):
        first = next(r for r in results if repeated[0] in r.key_hashes)
        row = int(np.argmax(first.key_hashes == repeated[0]))
        hazards.add("key-duplicate-across", f"{first.entry.path}, sample number {row}", len(repeated))


def _manifest(results: list[ForeignShard], chosen: AdoptChoices) -> Manifest:
    splits: dict[str, list[ForeignShard]] = {}
    for result in results:
        splits.setdefault(result.split, []).append(result)
    extensions: Counter[str] = Counter()
    for result in results:
        extensions.update(result.extensions)
    return Manifest(
        name=chosen["name"],
        version=chosen["version"],
        labels=(),
        members=_members(extensions),
        seed=0,
        splits={split: tuple(result.entry for result in splits[split]) for split in sorted(splits)},
        profile="foreign",
    )


def _members(extensions: Counter[str]) -> tuple[str, ...]:
    """Extensions, images first, then by how many samples have them."""
    order = sorted(extensions, key=lambda e: (e.rpartition(".")[2].lower() not in TYPE_OF_EXTENSION, -extensions[e], e))
    return tuple(order[:_MAX_MEMBERS])


def _provenance(chosen: AdoptChoices, hazards: HazardCounts) -> bytes:
    document = {
        "adopted": {"digests": chosen["digests"], "split_from": chosen["split_from"]},
        "hazards": to_dict(hazards.hazards()),
        "versions": {"wdstools": __version__},
    }
    return render_provenance(document)
