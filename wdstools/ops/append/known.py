"""Find which samples of a source a dataset already has: by key, then by the bytes they would be packed to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wdstools.executors.base import run_all
from wdstools.formats.arrow import to_ipc, to_list
from wdstools.formats.digest import sha256_hex
from wdstools.formats.index import ROW_COLUMNS
from wdstools.planning.place import shards_of
from wdstools.progress import under_way
from wdstools.results import Skip
from wdstools.writer.assembly import Assembly
from wdstools.writer.buffer import Nowhere
from wdstools.writer.rows import rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from wdstools.dataset import Dataset
    from wdstools.executors.base import Executor, Tick
    from wdstools.planning.table import Samples
    from wdstools.progress import Progress
    from wdstools.writer.assembly import ShardSettings

_ROWS_A_TASK = 256
#: The reason for skipping a sample that was removed earlier.
REMOVED_BEFORE = "removed-before"


class Place(NamedTuple):
    """Where a key is in the dataset, and the digests of its sample: XXH3-128, and SHA-256 if there is one."""

    split: str
    xxh3_128: bytes
    sha256: bytes | None


@dataclass(frozen=True, slots=True)
class CompareTask:
    """Samples to pack only for their digests; ``samples`` are rows as Arrow IPC bytes."""

    settings: ShardSettings
    samples: bytes


@dataclass(slots=True)
class Known:
    """The samples with new keys, how many of the others are the same in the dataset, and those that are not, as skips."""

    fresh: Samples
    there: int = 0
    skips: list[Skip] = field(default_factory=list)


def without_removed(known: Known, gone: AbstractSet[str]) -> None:
    """Leave out new samples whose keys an earlier version removed; ``gone`` has the SHA-256 of those keys.

    Somebody may have asked for the removal, and the source may not reflect it.
    """
    keys = known.fresh.texts("key") if gone else []
    back = np.array([sha256_hex(key) in gone for key in keys], bool)
    rows = np.flatnonzero(back).tolist()
    if rows:
        known.skips += known.fresh.skips(rows, REMOVED_BEFORE, ["an earlier version has removed this key"] * len(rows))
        known.fresh = known.fresh.keep(~back)


def places_of(dataset: Dataset, samples: Samples) -> dict[bytes, Place]:
    """Where the dataset has keys of these samples; reads only the indexes of shards that can have one."""
    keys = set(samples.texts("key"))
    hashes = samples.numbers("order_hash")
    found: dict[bytes, Place] = {}
    for split, entries in dataset.manifest.splits.items():
        for number in np.unique(shards_of(hashes, len(entries))).tolist() if entries else ():
            table = dataset.index(entries[number], ROW_COLUMNS)
            columns = (to_list(table.column(name)) for name in ("key", "xxh3_128", "sha256"))
            for key, xxh3_128, sha256 in zip(*columns, strict=True):
                if key.encode() in keys:
                    found[key.encode()] = Place(split, xxh3_128, sha256)
    return found


def digest_samples(task: CompareTask, tick: Tick) -> tuple[dict[bytes, tuple[bytes, bytes | None]], tuple[Skip, ...]]:
    """The digests that samples would have in a shard, by key, and the skips of those that cannot be packed."""
    settings = task.settings
    reader = settings.opener.open()
    try:
        assembly = Assembly(settings, "", reader, Nowhere())
        assembly.run(rows_of(task.samples, "", settings.image_template, settings.members), tick)
        assembly.buffer.finish()
    finally:
        reader.close()
    columns = (to_list(assembly.table().column(name)) for name in ("key", "xxh3_128", "sha256"))
    return {key.encode(): (xxh3, sha256) for key, xxh3, sha256 in zip(*columns, strict=True)}, tuple(assembly.skips)


def tell_apart(
    dataset: Dataset, samples: Samples, settings: ShardSettings, executor: Executor, progress: Progress
) -> Known:
    """Divide samples by whether the dataset has them.

    A sample's ``split`` is the one it would go to, null if that is not decided yet. A sample with a known key but other
    bytes, or another split, is skipped (``key-exists``).
    """
    places = places_of(dataset, samples)
    keys = samples.texts("key")
    mask = np.array([key in places for key in keys], bool)
    known = Known(samples.keep(~mask))
    met = samples.keep(mask)
    if not len(met):
        return known
    table = met.table.drop_columns(["order_hash"])
    tasks = [
        CompareTask(settings, to_ipc(table.slice(start, _ROWS_A_TASK))) for start in range(0, len(met), _ROWS_A_TASK)
    ]
    with under_way(progress, "compare", len(met), "samples") as tick:
        parts = run_all(executor, digest_samples, tasks, tick)
    digests = {key: pair for part, _ in parts for key, pair in part.items()}
    known.skips += [Skip(skip.reason, skip.path, None, skip.key, skip.detail) for _, skips in parts for skip in skips]
    _sort_out(known, met, places, digests)
    return known


def _sort_out(
    known: Known, met: Samples, places: dict[bytes, Place], digests: dict[bytes, tuple[bytes, bytes | None]]
) -> None:
    rows: list[int] = []
    details: list[str] = []
    columns: Sequence[list[object]] = (met.texts("key"), met.texts("split"))
    for row, (key, split) in enumerate(zip(*columns, strict=True)):
        assert isinstance(key, bytes)
        made, place = digests.get(key), places[key]
        if made is None:
            continue  # it cannot be packed, which is why it is skipped
        if made[0] != place.xxh3_128 or (place.sha256 is not None and made[1] not in (None, place.sha256)):
            rows.append(row)
            details.append(f"the dataset has another sample with this key, in {place.split}")
        elif split not in (None, place.split):
            rows.append(row)
            details.append(f"the dataset has this sample in {place.split}")
        else:
            known.there += 1
    known.skips += met.skips(rows, "key-exists", details)
