"""The readers for which files are emitted, and the files of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from wdstools.errors import UsageError, option
from wdstools.executors.base import run_all
from wdstools.interop.croissant import croissant_files
from wdstools.interop.sizes import open_clip_files, timm_files
from wdstools.interop.tarindexes import ENERGON_DATABASE, OffsetsTask, energon_database, energon_files, offsets_file
from wdstools.options.move import Consumer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wdstools.dataset import Dataset
    from wdstools.executors.base import Executor

CONSUMERS: tuple[Consumer, ...] = tuple(name for name in get_args(Consumer) if name != "all")


def consumers_of(names: Iterable[str]) -> tuple[str, ...]:
    """The readers given as names or comma-separated lists, in the order of ``CONSUMERS``; raises UsageError."""
    wanted = [part.strip() for name in names for part in name.split(",") if part.strip()]
    unknown = next((name for name in wanted if name not in (*CONSUMERS, "all")), None)
    if unknown is not None or not wanted:
        raise UsageError(
            "no such consumer", where=option("consumers"), expected=", ".join((*CONSUMERS, "all")), got=unknown or ""
        )
    return tuple(name for name in CONSUMERS if name in wanted or "all" in wanted)


def files_for(
    dataset: Dataset, license_name: str | None, executor: Executor, consumer: str
) -> Iterable[tuple[str, bytes]]:
    """The files that one reader needs, each with its path; the executor makes the indexes of shards."""
    manifest = dataset.manifest
    if consumer == "open_clip":
        yield from open_clip_files(manifest).items()
    elif consumer == "timm":
        yield from timm_files(manifest).items()
    elif consumer == "croissant":
        yield from croissant_files(manifest, license_name).items()
    elif consumer == "energon":
        yield from energon_files(manifest).items()
        yield from run_all(
            executor, offsets_file, [OffsetsTask(dataset, entry, consumer) for _, entry in manifest.shards]
        )
        yield ENERGON_DATABASE, energon_database(dataset)
    elif consumer in ("dali", "webshart"):
        yield from run_all(
            executor, offsets_file, [OffsetsTask(dataset, entry, consumer) for _, entry in manifest.shards]
        )
